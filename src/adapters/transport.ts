import { ConnectionError } from '../errors'
import type { Feature } from '../protocol'
import type { EventSourceFactory, StreamHandlers } from './eventSource'
import { type EventSourceStream, openEventSource } from './eventSourceStream'
import { createUpstream, type PostOptions, type Upstream, type UpstreamOptions } from './fetchUpstream'
import { expectStream } from './streamResponse'

/**
 * What a transport is given by its connection: the options, checked and complete, and the
 * connection as it is now.
 */
export interface TransportSetup extends UpstreamOptions {
  readonly createEventSource: EventSourceFactory
}

/**
 * One connection's way to its server and back. docs/transports.md says what each of its promises is
 * for.
 */
export interface Carrier {
  /**
   * Opens a stream; there is at most one at a time. The returned function closes it: after that no
   * handler may be called. After `error` the stream is over. Before the welcome an error with the
   * code `unauthorized`, `forbidden` or `ended` stops the line, unless it is `retryable`; the third
   * `forbidden` in a row does in any case.
   */
  open(handlers: StreamHandlers): () => void
  /**
   * Delivers JSON to an endpoint. Resolves with the JSON of the answer: null if that is empty,
   * `undefined` if it is no JSON. Rejects with a `ConnectionError`, whose `status` is read as in
   * HTTP. `abort` ends it, and is what its timeout ends it with.
   */
  post(endpoint: string, body: string, abort: AbortController, options?: PostOptions): Promise<unknown>
  /** Delivers without an answer, while the page goes away. False: it was not taken. */
  beacon(endpoint: string, body: string): unknown
  /**
   * Called when the page may have lost the stream, e.g. at a wake: if it is over and has told no
   * error, it tells one now.
   */
  check?(): void
  /**
   * How many POSTs may be under way at a time where `outbox.maxInFlight` is not given. Default: 1.
   */
  maxInFlight?(features: readonly Feature[]): number
  /** POSTs need the stream, e.g. a socket: tabs cannot share it and post for themselves. */
  readonly postsOverStream?: true
}

/** Called once per connection; touches nothing before `open` and `post`. */
export type Transport = (setup: TransportSetup) => Carrier

/** How long a server may take to say why an EventSource did not open, ms. */
const ASK_TIMEOUT = 3_000

/** The default: Server-Sent Events down, read by an EventSource, and `fetch` up. */
export const eventSourceTransport: Transport = (setup) => {
  const { streamFetch, post, beacon } = createUpstream(setup)
  let stream: EventSourceStream | undefined
  const check = () => stream?.check()

  return {
    open(handlers) {
      stream = openExplained(setup, streamFetch, handlers)
      return stream.close
    },
    check,
    post(...request) {
      // In a tick of its own: it may end the stream, and with it what is being posted.
      queueMicrotask(check)
      return post(...request)
    },
    beacon,
  }
}

/** `asking`: it did not open, and the server is asked why. */
type Stage = 'opening' | 'open' | 'asking' | 'over'

/** An EventSource that, where it does not open, says why. */
function openExplained(
  setup: TransportSetup,
  fetch: Upstream['streamFetch'],
  handlers: StreamHandlers,
): EventSourceStream {
  const { createEventSource, clock, context, credentials, inbound } = setup
  const url = `${setup.url}/events`
  let stage: Stage = 'opening'
  /** Of the question, in `asking`. */
  let abort: AbortController | undefined
  let timer: unknown
  let stream: EventSourceStream | undefined

  const close = () => {
    stage = 'over'
    stream?.close()
    abort?.abort()
    clock.clearTimeout(timer)
  }
  const fail = (error: ConnectionError) => {
    if (stage === 'over') return
    close()
    handlers.error(error)
  }
  /**
   * The native EventSource does not tell with which status it was refused. Nothing is asked at a
   * first failure, which may pass.
   */
  const ask = (error: ConnectionError) => {
    const { attempt, connectionId } = context()
    if (stage !== 'opening' || connectionId || error.status || error.cause || !attempt) return fail(error)
    stage = 'asking'
    timer = clock.setTimeout(() => fail(error), ASK_TIMEOUT)
    abort = new AbortController()
    fetch(`${url}?ask`, { headers: { Accept: 'text/event-stream' }, signal: abort.signal })
      .then(async (response) => {
        await expectStream(response, url, clock.now())
        return error
      })
      .catch((reason) => (reason instanceof ConnectionError ? reason : error))
      .then(fail)
  }
  stream = openEventSource(
    createEventSource,
    url,
    { withCredentials: credentials === 'include', fetch, maxBytes: inbound?.maxBytes, clock },
    {
      ...handlers,
      open() {
        stage = 'open'
        handlers.open()
      },
      error: ask,
    },
  )
  return { close, check: stream.check }
}
