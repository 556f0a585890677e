export { parseRetryAfter } from '../protocol/delay'
export type { HeadersHook, HeadersRequest } from './credentials'
export type { EventSourceFactory, EventSourceLike, EventSourceSetup, StreamHandlers } from './eventSource'
export { defaultEventSource, openEventSource } from './eventSourceStream'
export { fetchStreamTransport } from './fetchStreamTransport'
export {
  createUpstream,
  type PostOptions,
  type Upstream,
  type UpstreamOptions,
} from './fetchUpstream'
export { type PageLifecycle, type PageScope, type PageSignal, pageLifecycle } from './pageLifecycle'
export { watchSilence } from './silence'
export { type Carrier, eventSourceTransport, type Transport, type TransportSetup } from './transport'
