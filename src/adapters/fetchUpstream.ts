import type { InboundLimits } from '../connection/limits'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER } from '../protocol'
import { type Exchange, type Receipt, readAnswer } from './answer'
import { Credentials, type HeaderMap, type HeadersHook } from './credentials'
import { Redirects } from './redirects'

/** Default of `inbound.maxBytes`. */
export const MAX_INBOUND_BYTES = 8_388_608

export interface UpstreamOptions {
  readonly url: string
  readonly fetch: typeof fetch
  readonly headers?: HeaderMap | HeadersHook
  /**
   * Where it is not given no request names any, so a `fetch` of the app's own sets what it likes.
   */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined
  readonly clock: Clock
  /** Default: 8 MiB per answer. */
  readonly inbound?: Pick<InboundLimits, 'maxBytes'>
  /** Of the connection as it is now. */
  readonly context: () => { readonly attempt: number; readonly connectionId: string | null }
}

export interface PostOptions {
  /**
   * ms for the whole exchange, the body of the answer included. Default: none, the caller aborts.
   */
  readonly timeout?: number
  readonly idempotencyKey?: string | undefined
  /** The lane that it belongs to, for a server that keeps the order of each lane. */
  readonly lane?: string | undefined
  readonly keepalive?: boolean
  /** Default: `ifAnnounced`. */
  readonly receipt?: Receipt
  /**
   * Called right before `fetch`, in the same tick, with nothing left to wait for. If it throws, the
   * POST does not start.
   */
  readonly onStart?: () => void
}

export type Upstream = ReturnType<typeof createUpstream>

/**
 * Everything that goes over `fetch`. It tells what happened; the outbox and the machine decide what
 * follows.
 */
export function createUpstream({ url, fetch, headers, credentials, clock, inbound, context }: UpstreamOptions) {
  const access = new Credentials(headers, () => context().attempt)
  const redirects = new Redirects(url, fetch)
  const shared = credentials && { credentials }
  const at = (endpoint: string) => `${url}/${endpoint}`

  return {
    /**
     * Posts JSON. Resolves with the JSON of the answer: null if that is empty, `undefined` if it is
     * no JSON. Rejects with a `ConnectionError`. `abort` ends the POST, and is what its timeout
     * ends it with.
     */
    post(endpoint: string, body: string, abort: AbortController, options: PostOptions = {}): Promise<unknown> {
      const { keepalive, onStart } = options
      const { signal } = abort
      const exchange = { ...options, what: `POST ${endpoint}`, clock, maxBytes: inbound?.maxBytes ?? MAX_INBOUND_BYTES }
      const perform = async (target: string, own: Headers | undefined) => {
        onStart?.()
        if (signal.aborted) throw signal.reason
        const all = headersOf(own, context().connectionId, options)
        const more = keepalive && { keepalive }
        return fetch(target, { method: 'POST', body, headers: all, redirect: 'manual', signal, ...shared, ...more })
      }
      return settle(exchange, abort, async () => {
        const response = await access.send('post', signal, (own) =>
          redirects.follow(at(endpoint), { method: 'POST', body: '{}', signal }, (target) => perform(target, own)),
        )
        return readAnswer(response, exchange)
      })
    },
    /** For EventSource implementations that take a `fetch`. */
    streamFetch: (input: string | URL, init: RequestInit): Promise<Response> =>
      access.send('stream', init.signal, (own) => {
        // Not every `fetch` knows signals.
        if (init.signal?.aborted) throw init.signal.reason
        const all = new Headers(init.headers)
        own?.forEach((value, name) => {
          all.set(name, value)
        })
        const { cache, ...rest } = init
        const { signal } = rest
        const more = canRequest('cache') && cache && { cache }
        return redirects.follow(String(input), signal ? { signal } : {}, (target) =>
          fetch(target, { ...rest, ...more, headers: all, redirect: 'manual', ...shared }),
        )
      }),
    /**
     * For browsers without `keepalive`. A beacon has no headers, so the body names its stream.
     * False: the browser did not take it.
     */
    beacon: (endpoint: string, body: string) => beaconTo(redirects.targetOf(at(endpoint)), body),
  }
}

export const beaconTo = (url: string, body: string): boolean =>
  globalThis.navigator?.sendBeacon?.(url, new Blob([body], { type: 'application/json' })) ?? false

/**
 * The headers of a POST. They are set, not spread: `content-type` in the app's own spelling must
 * not be sent twice.
 */
function headersOf(
  own: Headers | undefined,
  connectionId: string | null,
  { idempotencyKey, lane }: PostOptions,
): Headers {
  const all = new Headers(own)
  all.set('Content-Type', 'application/json')
  if (connectionId) all.set(CONNECTION_ID_HEADER, connectionId)
  if (idempotencyKey) all.set(IDEMPOTENCY_KEY_HEADER, idempotencyKey)
  // [spec] Fetch: a header value is bytes; a lane may be named by any text.
  if (lane !== undefined) all.set(LANE_HEADER, encodeURIComponent(lane))
  return all
}

/**
 * Settles with the answer, the timeout or the abort, whichever is first; once the status has come,
 * it outranks the other two.
 */
function settle(exchange: Exchange & PostOptions, abort: AbortController, run: () => Promise<unknown>) {
  const { what, clock, timeout } = exchange
  const { signal } = abort
  let late: ConnectionError | undefined
  const timer =
    timeout &&
    clock.setTimeout(() => {
      late = new ConnectionError('timeout', `${what}: no answer within ${timeout} ms`)
      abort.abort(late)
    }, timeout)
  return new Promise((resolve, reject) => {
    // A hook or a body that never settles does not watch the signal.
    signal.onabort = () => reject(signal.reason)
    if (signal.aborted) reject(signal.reason)
    run().then(resolve, reject)
  })
    .catch((cause) => {
      const { answer } = exchange
      if (answer === 'success') return null
      // WebKit's own reason for an abort is another than the one that was given.
      const error = answer ?? late ?? cause
      if (error instanceof ConnectionError) throw error
      throw new ConnectionError('network', `${what}: ${cause}`, { cause })
    })
    .finally(() => clock.clearTimeout(timer))
}

/** Also where there is no `Request` at all. */
export const canRequest = (option: 'cache' | 'keepalive') => option in (globalThis.Request?.prototype ?? {})
