export { CommandRejected } from './commands'
export { type ChatServer, createChatServer } from './createChatServer'
export { type MemoryLogOptions, memoryLog } from './memoryLog'
export type { ChatServerOptions, Clock, CommandCall, Principal, ServerLimits, SuspendCall } from './options'
export type { LogEntry, MaybePromise, SessionEvent, SessionHead, SessionLog } from './sessionLog'
export {
  createWebSocketGateway,
  type GatewaySocket,
  type WebSocketGateway,
  type WebSocketGatewayOptions,
} from './webSocketGateway'
