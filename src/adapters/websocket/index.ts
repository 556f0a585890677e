export type { WebSocketEvent, WebSocketLike } from './streamSocket'
export { type WebSocketClass, type WebSocketTransportOptions, webSocketTransport } from './webSocketTransport'
