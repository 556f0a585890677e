import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isText, type JsonObject, parseJson } from '../protocol'
import type { Clock } from '../types'

export interface HeadersRequest {
  /** `unauthorized`: the headers given last were answered 401. */
  readonly reason: 'stream' | 'post' | 'unauthorized'
  /** The connection's failures in a row. */
  readonly attempt: number
}
export type HeaderMap = Readonly<Record<string, string>>
export type HeadersHook = (request: HeadersRequest) => HeaderMap | Promise<HeaderMap>

export interface UpstreamOptions {
  readonly url: string
  readonly fetch: typeof fetch
  readonly headers?: HeaderMap | HeadersHook
  readonly credentials: 'omit' | 'same-origin' | 'include'
  readonly clock: Clock
  /** Of the connection as it is now. */
  readonly context: () => { readonly attempt: number; readonly connectionId: string | null }
}

export interface PostOptions {
  /** ms for the whole exchange, the body of the answer included. Default: none, the caller aborts. */
  readonly timeout?: number
  readonly idempotencyKey?: string | undefined
  readonly keepalive?: boolean
  /**
   * Of a message: whether a 2xx counts only with a body. If not, one that is cut off counts too. Undefined: an empty body
   * counts, one that is cut off does not.
   */
  readonly needsReceipt?: boolean
  /** Called in the same tick as `fetch`, after everything asynchronous: what it throws ends the POST before it starts. */
  readonly onStart?: () => void
}

export type Upstream = ReturnType<typeof createUpstream>

/** Everything that goes over `fetch`. It tells what happened; what that means is decided elsewhere. */
export function createUpstream({ url, fetch, headers, credentials, clock, context }: UpstreamOptions) {
  /** The hook's answer to a 401. Exists until the next 2xx: meanwhile another 401 to these headers is final. */
  let renewal: Promise<Headers> | null = null
  let isRenewed = false

  async function ask(reason: HeadersRequest['reason']): Promise<Headers> {
    if (typeof headers !== 'function') return new Headers(headers)
    try {
      return new Headers(await headers({ reason, attempt: context().attempt }))
    } catch (cause) {
      throw new ConnectionError('hook-failed', undefined, { cause })
    }
  }

  async function authorized(
    reason: HeadersRequest['reason'],
    signal: AbortSignal | null | undefined,
    perform: (headers: Headers) => Promise<Response>,
  ) {
    const before = isRenewed ? renewal : null
    let response = await perform(await ask(reason))
    // Requests that were under way together share one renewal.
    if (response.status === 401 && typeof headers === 'function' && (!renewal || renewal !== before)) {
      void response.body?.cancel().catch(() => {})
      if (!renewal) {
        isRenewed = false
        const mine = ask('unauthorized')
        renewal = mine
        mine.then(
          () => {
            if (renewal === mine) isRenewed = true
          },
          () => {
            if (renewal === mine) renewal = null
          },
        )
      }
      const shared = renewal
      const giveUp = () => {
        // Who waited longest has lost patience: the next 401 asks again.
        if (renewal === shared && !isRenewed) renewal = null
      }
      signal?.addEventListener('abort', giveUp)
      try {
        response = await perform(await shared)
      } finally {
        signal?.removeEventListener('abort', giveUp)
      }
    }
    // A final 401 stops the line; what starts it again begins with a new allowance.
    if (response.ok || response.status === 401) renewal = null
    return response
  }

  return {
    /**
     * Posts JSON. Resolves with the JSON of the answer: null if that is empty, `undefined` if it is no JSON. Rejects with a
     * `ConnectionError`. `abort` ends the POST, and is what its timeout ends it with.
     */
    post(endpoint: string, body: string, abort: AbortController, options: PostOptions = {}): Promise<unknown> {
      const { timeout, idempotencyKey, keepalive = false, needsReceipt, onStart } = options
      const { signal } = abort
      const timer =
        timeout &&
        clock.setTimeout(() => abort.abort(new ConnectionError('timeout', `no answer: ${endpoint}`)), timeout)
      /** What the status says, should the body never come; null is success. */
      let answer: ConnectionError | null | undefined
      const exchange = async () => {
        const response = await authorized('post', signal, (own) => {
          onStart?.()
          signal.throwIfAborted()
          const { connectionId } = context()
          // Set, not spread: whoever names one of them must not send it twice.
          const all = new Headers(own)
          all.set('Content-Type', 'application/json')
          if (connectionId) all.set(CONNECTION_ID_HEADER, connectionId)
          if (idempotencyKey) all.set(IDEMPOTENCY_KEY_HEADER, idempotencyKey)
          return fetch(`${url}/${endpoint}`, { method: 'POST', body, headers: all, credentials, keepalive, signal })
        })
        if (!response.ok) {
          const retryAfter = parseRetryAfter(response.headers.get('retry-after'), clock.now())
          answer = toHttpError(response.status, undefined, retryAfter)
          if (!/json/.test(String(response.headers.get('content-type')))) {
            void response.body?.cancel().catch(() => {})
            throw answer
          }
          const { error }: JsonObject = Object(parseJson(await response.text()))
          answer = toHttpError(response.status, error, retryAfter)
          throw answer
        }
        // A page answered in the server's place, e.g. by a captive portal.
        const isHtml = /^text\/html/.test(String(response.headers.get('content-type')))
        if (needsReceipt === false && !isHtml) answer = null
        const text = await response.text()
        const json = text ? parseJson(text) : needsReceipt ? undefined : null
        if (json === undefined && isHtml) throw new ConnectionError('bad-response', `HTML, not JSON: ${endpoint}`)
        return json
      }
      // A hook or a body that never settles does not watch the signal.
      const aborted = new Promise((_, reject) => {
        signal.onabort = () => reject(signal.reason)
      })
      return Promise.race([exchange(), aborted])
        .catch((cause) => {
          if (answer === null) return null
          if (answer || cause instanceof ConnectionError) throw answer ?? cause
          throw new ConnectionError('network', `POST failed: ${endpoint}`, { cause })
        })
        .finally(() => clock.clearTimeout(timer))
    },
    /** For EventSource implementations that take a `fetch`. */
    streamFetch: (input: string | URL, init: RequestInit): Promise<Response> =>
      authorized('stream', init.signal, (own) => {
        // Not every `fetch` knows signals.
        if (init.signal?.aborted) throw init.signal.reason
        const all = new Headers(init.headers)
        own.forEach((value, name) => {
          all.set(name, value)
        })
        return fetch(input, { ...init, headers: all, credentials })
      }),
    /** Where `keepalive` is not supported: no headers, so the body has to say whose it is. */
    beacon: (endpoint: string, body: string) =>
      globalThis.navigator?.sendBeacon?.(`${url}/${endpoint}`, new Blob([body], { type: 'application/json' })),
  }
}

const CODES: Partial<Record<number, ConnectionErrorCode>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'unknown-stream',
  410: 'unknown-stream',
}
// Worth another try, unchanged. 404 and 410 speak of the stream: a fresh one helps.
const RETRYABLE = /^([^4]|404|408|410|425|429)/

/** `reason` is what the server says for itself, the `error` of its JSON. */
export function toHttpError(status: number, reason?: unknown, retryAfter?: number): ConnectionError {
  const code = reason === 'id-reused' ? reason : (CODES[status] ?? 'http')
  return new ConnectionError(code, `the server answered ${status}${isText(reason) ? `: ${reason}` : ''}`, {
    status,
    retryable: RETRYABLE.test(String(status)),
    retryAfter,
    cause: reason,
  })
}

/** [spec] RFC 9110 §10.2.3: `Retry-After` is a number of seconds or an HTTP date. In ms, clamped to 5 min. */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  const text = String(value).trim()
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : clampServerDelay(ms)
}
