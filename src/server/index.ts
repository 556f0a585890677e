export { CommandRejected } from './command/commands'
export { type ChatServer, type CloseOptions, createChatServer } from './create'
export type { Answer, Claim, Cluster, ClusterHost, Outcome } from './log/cluster'
export { type MemoryLogOptions, memoryLog } from './log/memoryLog'
export type { LogEntry, MaybePromise, Once, SessionEvent, SessionHead, SessionLog } from './log/sessionLog'
export { METRICS, type Metric, type MetricName } from './metrics'
export type { ChatServerOptions, Clock, CommandCall, Principal, ServerLimits, SuspendCall } from './options'
export {
  createWebSocketGateway,
  type GatewaySocket,
  type WebSocketGateway,
  type WebSocketGatewayOptions,
} from './websocket/webSocketGateway'
