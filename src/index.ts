export type { HeadersHook, HeadersRequest } from './adapters/credentials'
export type { EventSourceFactory, EventSourceLike, EventSourceSetup } from './adapters/eventSource'
export type { PageLifecycle, PageSignal } from './adapters/pageLifecycle'
export type { Transport } from './adapters/transport'
export type * from './connection/api'
export type * from './connection/limits'
export type * from './connection/messages'
export type { ConnectionOptions, Some } from './connection/options'
export type { Persistence } from './connection/store'
export { createConnection } from './createConnection'
export type { Clock } from './environment'
export {
  ConnectionError,
  type ConnectionErrorCode,
  type ConnectionErrorDetails,
  type LineErrorCode,
  type ReportErrorCode,
  type RunErrorCode,
  type SendError,
  type SendErrorCode,
  type StopError,
  type StopErrorCode,
  type UsageErrorCode,
} from './errors'
export type { BackoffPolicy, CloseReason, Phase, Timeouts } from './machine/types'
export type { Cursor, Feature, JsonObject, SessionStatus } from './protocol'
export type * from './trace/trace'
