import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, parseJson } from '../protocol'
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
  readonly credentials: RequestCredentials
  readonly clock: Clock
  /** Of the connection as it is now. */
  readonly context: () => { readonly attempt: number; readonly connectionId: string | null }
}

export interface Post {
  readonly endpoint: string
  /** JSON. */
  readonly body: string
  /** Ends the POST, and is what its timeout ends it with. */
  readonly abort: AbortController
  /** ms for the whole exchange, the body of the answer included. Default: none, the caller aborts. */
  readonly timeout?: number
  readonly idempotencyKey?: string
  readonly keepalive?: boolean
  /** Asked in the same tick in which `fetch` is called, after everything asynchronous: false holds the POST back. */
  readonly mayStart?: () => boolean
}

export interface Answer {
  /** The JSON of the body; null if it is empty or unreadable. */
  readonly json: unknown
  /** False: there is a body, and it is not JSON. */
  readonly readable: boolean
  /** An HTML page answered in the server's place, e.g. a captive portal. */
  readonly isHtml: boolean
}

export type Upstream = ReturnType<typeof createUpstream>

/** Everything that goes over `fetch`. It tells what happened; what that means is decided elsewhere. */
export function createUpstream({ url, fetch, headers, credentials, clock, context }: UpstreamOptions) {
  /** The hook's answer to a 401. Exists until the next 2xx: meanwhile another 401 to these headers is final. */
  let renewal: Promise<HeaderMap> | null = null

  async function ask(reason: HeadersRequest['reason']): Promise<HeaderMap> {
    if (typeof headers !== 'function') return headers ?? {}
    try {
      const answer = await headers({ reason, attempt: context().attempt })
      new Headers(answer)
      return answer
    } catch (cause) {
      throw new ConnectionError('hook-failed', 'the headers hook failed', { cause })
    }
  }

  async function authorized(reason: HeadersRequest['reason'], perform: (headers: HeaderMap) => Promise<Response>) {
    const before = renewal
    let response = await perform(await ask(reason))
    // Requests that were under way together share one renewal.
    if (response.status === 401 && typeof headers === 'function' && (!renewal || renewal !== before)) {
      renewal ??= ask('unauthorized').catch((error) => {
        renewal = null
        throw error
      })
      response = await perform(await renewal)
    }
    if (response.ok) renewal = null
    return response
  }

  async function post({ endpoint, body, abort, timeout, idempotencyKey, keepalive, mayStart }: Post): Promise<Answer> {
    const { signal } = abort
    const timer =
      timeout && clock.setTimeout(() => abort.abort(new ConnectionError('timeout', `no answer: ${endpoint}`)), timeout)
    try {
      const response = await authorized('post', (own) => {
        if (mayStart?.() === false) throw new HeldBack()
        signal.throwIfAborted()
        const { connectionId } = context()
        return fetch(`${url}/${endpoint}`, {
          method: 'POST',
          body,
          headers: {
            ...own,
            'Content-Type': 'application/json',
            ...(connectionId && { [CONNECTION_ID_HEADER]: connectionId }),
            ...(idempotencyKey && { [IDEMPOTENCY_KEY_HEADER]: idempotencyKey }),
          },
          credentials,
          keepalive: !!keepalive,
          signal,
        })
      })
      if (!response.ok) {
        void response.body?.cancel().catch(() => {})
        throw toHttpError(response, clock.now())
      }
      const text = await response.text()
      const json = text ? parseJson(text) : null
      const isHtml = response.headers.get('content-type')?.startsWith('text/html') ?? false
      return { json: json ?? null, readable: json !== undefined, isHtml }
    } catch (cause) {
      if (cause instanceof ConnectionError || cause instanceof HeldBack) throw cause
      throw new ConnectionError('network', `the POST failed: ${endpoint}`, { cause })
    } finally {
      clock.clearTimeout(timer)
    }
  }

  return {
    post,
    /** For EventSource implementations that take a `fetch`. */
    streamFetch: (input: string | URL, init: RequestInit): Promise<Response> =>
      authorized('stream', (own) =>
        fetch(input, { ...init, headers: { ...(init.headers as HeaderMap), ...own }, credentials }),
      ),
    /** Where `keepalive` is not supported: no headers, so the body has to say whose it is. */
    beacon: (endpoint: string, body: string) =>
      globalThis.navigator?.sendBeacon?.(`${url}/${endpoint}`, new Blob([body], { type: 'application/json' })),
  }
}

/** The gate closed while the headers were being fetched: nothing was sent. */
export class HeldBack extends Error {}

const CODES: Partial<Record<number, ConnectionErrorCode>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'unknown-stream',
  410: 'unknown-stream',
}
// Worth another try, unchanged. 404 and 410 speak of the stream: a fresh one helps.
const RETRYABLE_4XX = [404, 408, 410, 425, 429]

function toHttpError(response: Response, now: number): ConnectionError {
  const { status } = response
  return new ConnectionError(CODES[status] ?? 'http', `the server answered ${status}`, {
    status,
    retryable: status >= 500 || status < 400 || RETRYABLE_4XX.includes(status),
    retryAfter: parseRetryAfter(response.headers.get('retry-after'), now),
  })
}

/** [spec] RFC 9110 §10.2.3: `Retry-After` is a number of seconds or an HTTP date. In ms, clamped to 5 min. */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined
  const text = value.trim()
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : clampServerDelay(ms)
}
