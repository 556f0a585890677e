export type { Answer, Claim, Cluster, ClusterHost, Outcome } from './cluster'
export { CommandRejected } from './commands'
export { type ChatServer, type CloseOptions, createChatServer } from './createChatServer'
export { type MemoryLogOptions, memoryLog } from './memoryLog'
export { METRICS, type Metric, type MetricName } from './metrics'
export type { ChatServerOptions, Clock, CommandCall, Principal, ServerLimits, SuspendCall } from './options'
export type { LogEntry, MaybePromise, Once, SessionEvent, SessionHead, SessionLog } from './sessionLog'
export {
  createWebSocketGateway,
  type GatewaySocket,
  type WebSocketGateway,
  type WebSocketGatewayOptions,
} from './webSocketGateway'
