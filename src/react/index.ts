'use client'

export type { DeliveryView } from '../sessions/deliveries'
export type { AnyConnection } from '../sessions/holdLine'
export type { LineStatus } from '../sessions/lineStatus'
export type { OwnMessage, OwnOptions, Shown } from '../sessions/ownMessages'
export type {
  Loaded,
  SessionEnd,
  SessionOptions,
  SessionView,
  SessionViewStatus,
  StatePlace,
} from '../sessions/types'
export { createHooks, type Hooks } from './createHooks'
export { useConnectionStatus, useDelivery, useHoldline, useLineStatus, usePending, useSend } from './line'
export { useOwnMessages } from './ownMessages'
export { HoldlineProvider, type HoldlineProviderProps, useConnection } from './provider'
export { useSession, useSessionSuspense } from './session'
