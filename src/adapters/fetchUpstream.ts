import { ConnectionError } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { CONNECTION_ID_HEADER } from '../protocol'
import type { Clock } from '../types'

export interface HeadersRequest {
  /** `unauthorized`: the headers given last were answered 401. */
  readonly reason: 'stream' | 'post' | 'unauthorized'
  /** The connection's failures in a row. */
  readonly attempt: number
}
export type HeadersHook = (
  request: HeadersRequest,
) => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>

export interface UpstreamOptions {
  readonly url: string
  readonly fetch: typeof fetch
  readonly headers: Readonly<Record<string, string>> | HeadersHook | undefined
  readonly credentials: RequestCredentials
  readonly clock: Clock
  readonly attempt: () => number
}

export interface Post {
  readonly endpoint: string
  /** JSON. */
  readonly body: string
  readonly connectionId: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** ms for the whole exchange, the body of the answer included. Default: none, the caller aborts. */
  readonly timeout?: number
  readonly keepalive?: boolean
  /** Asked in the same tick in which `fetch` is called, after everything asynchronous: false holds the POST back. */
  readonly mayStart?: () => boolean
}

export interface Answer {
  readonly status: number
  /** The JSON of the body; null if it is empty or unreadable. */
  readonly json: unknown
  /** False: there is a body, and it is not JSON. */
  readonly readable: boolean
  /** An HTML page answered in the server's place, e.g. a captive portal. */
  readonly isHtml: boolean
}

export type Upstream = ReturnType<typeof createUpstream>

/** Everything that goes over `fetch`. It tells what happened; what that means is decided elsewhere. */
export function createUpstream({ url, fetch, headers, credentials, clock, attempt }: UpstreamOptions) {
  /** Counts the answers of the hook to a 401, so that a request can tell whether its headers are older. */
  let renewals = 0
  let renewing: Promise<void> | null = null
  let allowance = true

  async function ask(reason: HeadersRequest['reason']): Promise<Readonly<Record<string, string>>> {
    if (typeof headers !== 'function') return headers ?? {}
    try {
      const answer = await headers({ reason, attempt: attempt() })
      new Headers(answer)
      return answer
    } catch (cause) {
      throw new ConnectionError('hook-failed', 'the `headers` function failed', { retryable: true, cause })
    }
  }

  function renew(): Promise<void> {
    allowance = false
    renewing ??= ask('unauthorized')
      .then((answer) => {
        renewals++
        renewed = answer
      })
      .finally(() => {
        renewing = null
      })
    return renewing
  }
  let renewed: Readonly<Record<string, string>> = {}

  /** A 401 is repeated once with fresh headers; any 2xx renews that allowance. */
  async function authorized(
    reason: HeadersRequest['reason'],
    perform: (headers: Readonly<Record<string, string>>) => Promise<Response>,
  ): Promise<Response> {
    const before = renewals
    let response = await perform(await ask(reason))
    if (response.status === 401 && typeof headers === 'function' && (allowance || renewing || renewals > before)) {
      void response.body?.cancel().catch(() => {})
      if (renewals === before) await renew()
      response = await perform(renewed)
    }
    if (response.ok) allowance = true
    return response
  }

  async function post({ endpoint, body, connectionId, timeout, mayStart, ...rest }: Post): Promise<Answer> {
    const controller = new AbortController()
    const abort = () => controller.abort(rest.signal?.reason)
    rest.signal?.addEventListener('abort', abort)
    if (rest.signal?.aborted) abort()
    let timedOut = false
    const timer =
      timeout !== undefined &&
      clock.setTimeout(() => {
        timedOut = true
        controller.abort()
      }, timeout)
    try {
      const response = await authorized('post', (own) => {
        if (mayStart?.() === false) throw new HeldBack()
        controller.signal.throwIfAborted()
        return fetch(`${url}/${endpoint}`, {
          method: 'POST',
          body,
          headers: {
            ...own,
            'Content-Type': 'application/json',
            ...(connectionId !== null && { [CONNECTION_ID_HEADER]: connectionId }),
            ...rest.headers,
          },
          credentials,
          keepalive: rest.keepalive ?? false,
          signal: controller.signal,
        })
      })
      if (!response.ok) {
        void response.body?.cancel().catch(() => {})
        throw toHttpError(response, clock.now())
      }
      return await readAnswer(response)
    } catch (cause) {
      if (cause instanceof ConnectionError || cause instanceof HeldBack) throw cause
      if (timedOut) throw new ConnectionError('timeout', `no answer from ${endpoint} in time`, { retryable: true })
      throw new ConnectionError('network', `the POST to ${endpoint} failed`, { retryable: true, cause })
    } finally {
      if (timer !== false) clock.clearTimeout(timer)
      rest.signal?.removeEventListener('abort', abort)
    }
  }

  return {
    post,
    /** For EventSource implementations that take a `fetch`. */
    streamFetch: (input: string | URL, init: RequestInit): Promise<Response> =>
      authorized('stream', (own) => {
        const merged = new Headers(init.headers)
        for (const [name, value] of Object.entries(own)) merged.set(name, value)
        return fetch(input, { ...init, headers: merged, credentials })
      }),
    /** Where `keepalive` is not supported: no headers, so the body has to say whose it is. */
    beacon: (endpoint: string, body: string): boolean =>
      globalThis.navigator?.sendBeacon?.(`${url}/${endpoint}`, new Blob([body], { type: 'application/json' })) ?? false,
  }
}

/** The gate closed while the headers were being fetched: nothing was sent. */
export class HeldBack extends Error {}

async function readAnswer(response: Response): Promise<Answer> {
  const { status } = response
  const isHtml = response.headers.get('content-type')?.startsWith('text/html') ?? false
  const text = await response.text()
  if (text === '') return { status, json: null, readable: true, isHtml }
  try {
    return { status, json: JSON.parse(text), readable: true, isHtml }
  } catch {
    return { status, json: null, readable: false, isHtml }
  }
}

// Worth another try, unchanged. 404 and 410 speak of the stream: a fresh one helps.
const RETRYABLE_4XX = [404, 408, 410, 425, 429]

function toHttpError(response: Response, now: number): ConnectionError {
  const { status } = response
  const code =
    status === 401
      ? 'unauthorized'
      : status === 403
        ? 'forbidden'
        : status === 404 || status === 410
          ? 'unknown-stream'
          : 'http'
  return new ConnectionError(code, `the server answered ${status}`, {
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
