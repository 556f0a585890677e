'use client'

export type { DeliveryView } from '../sessions/deliveries'
export type { AnyConnection } from '../sessions/holdLine'
export type { Loaded, SessionOptions, SessionView, SessionViewStatus, StatePlace } from '../sessions/types'
export type { MakeConnection, OwnedConnection } from '../sessions/userLine'
export { useConnectionStatus, useDelivery, useHoldline, usePending, useRetryCountdown, useSend } from './line'
export { HoldlineProvider, type HoldlineProviderProps, useConnection } from './provider'
export { useSession, useSessionSuspense } from './session'
