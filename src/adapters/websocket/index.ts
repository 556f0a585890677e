export {
  type WebSocketClass,
  type WebSocketEvent,
  type WebSocketLike,
  type WebSocketTransportOptions,
  webSocketTransport,
} from './webSocketTransport'
