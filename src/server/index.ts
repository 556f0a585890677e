export type { Answer } from './answer'
export type { Clock } from './clock'
export { type ChatServer, type CloseOptions, createChatServer } from './create'
export { CommandRejected } from './errors'
export type { ServerLimits } from './limits/limits'
export type { Claim, Cluster, ClusterHost, Outcome } from './log/cluster'
export { type MemoryLogOptions, memoryLog } from './log/memoryLog'
export type { JoinRuns, Overdue, RunBatch, RunChange, RunLog, RunPage, RunProcess } from './log/runLog'
export type { LogEntry, MaybePromise, Once, SessionEvent, SessionHead, SessionLog } from './log/sessionLog'
export { METRICS, type Metric, type MetricName } from './metrics'
export type { ChatServerOptions, CommandCall, CommandOf, SuspendCall } from './options'
export type { Principal } from './request/principal'
export type { GatewaySocket } from './websocket/socket'
export {
  createWebSocketGateway,
  type WebSocketGateway,
  type WebSocketGatewayOptions,
} from './websocket/webSocketGateway'
