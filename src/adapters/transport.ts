import type { Feature } from '../protocol'
import { type EventSourceFactory, openEventSource, type StreamHandlers } from './eventSourceStream'
import { createUpstream, type PostOptions, type UpstreamOptions } from './fetchUpstream'

/** What a transport is given by its connection: the options, checked and complete, and the connection as it is now. */
export interface TransportSetup extends UpstreamOptions {
  readonly createEventSource: EventSourceFactory
}

/** One connection's way to its server and back. docs/transports.md says what each of its promises is for. */
export interface Carrier {
  /**
   * Opens a stream; there is at most one at a time. The returned function closes it: after that no handler may be called. After
   * `error` the stream is over.
   */
  open(handlers: StreamHandlers): () => void
  /**
   * Delivers JSON to an endpoint. Resolves with the JSON of the answer: null if that is empty, `undefined` if it is no JSON. Rejects
   * with a `ConnectionError`, whose `status` is read as in HTTP. `abort` ends it, and is what its timeout ends it with.
   */
  post(endpoint: string, body: string, abort: AbortController, options?: PostOptions): Promise<unknown>
  /** Delivers without an answer, while the page goes away. False: it was not taken. */
  beacon(endpoint: string, body: string): unknown
  /** How many POSTs may be under way at a time where `outbox.maxInFlight` is not given. Default: 1. */
  maxInFlight?(features: readonly Feature[]): number
}

/** Called once per connection; touches nothing before `open` and `post`. */
export type Transport = (setup: TransportSetup) => Carrier

/** The default: Server-Sent Events down, read by an EventSource, and `fetch` up. */
export const eventSourceTransport: Transport = (setup) => {
  const { streamFetch, ...upstream } = createUpstream(setup)
  const { createEventSource, url, credentials } = setup
  const stream = { withCredentials: credentials === 'include', fetch: streamFetch }
  return { ...upstream, open: (handlers) => openEventSource(createEventSource, `${url}/events`, stream, handlers) }
}
