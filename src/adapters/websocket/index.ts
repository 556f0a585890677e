export type { WebSocketEvent, WebSocketLike } from './line'
export { type WebSocketClass, type WebSocketTransportOptions, webSocketTransport } from './webSocketTransport'
