import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isText, parseJson } from '../protocol'
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
  /** Where it is not given no request names any, so a `fetch` of the app's own sets what it likes. */
  readonly credentials?: 'omit' | 'same-origin' | 'include'
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
  readonly needsReceipt?: boolean | undefined
  /** Called in the same tick as `fetch`, after everything asynchronous: what it throws ends the POST before it starts. */
  readonly onStart?: () => void
}

export type Upstream = ReturnType<typeof createUpstream>

/** Everything that goes over `fetch`. It tells what happened; what that means is decided elsewhere. */
export function createUpstream({ url, fetch, headers, credentials, clock, context }: UpstreamOptions) {
  /** The hook's answer to a 401. Exists until the next 2xx: meanwhile another 401 to these headers is final. */
  let renewal: Promise<Headers> | null = null
  let isRenewed = false
  /** The endpoints that a redirect whose target is hidden has led to, and where they are. */
  const moved = new Map<string, string>()
  const shared = credentials && { credentials }

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
      discard(response)
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

  const at = (endpoint: string) => moved.get(endpoint) ?? `${url}/${endpoint}`

  /** Where an answer sends the POST; `undefined` if it is the answer. */
  function redirectOf({ url: seen, type, status, headers, redirected }: Response, target: string, signal: AbortSignal) {
    // Not every `fetch` of an app's own obeys `redirect`, nor tells that it has followed one.
    if (redirected ?? (seen && seen.toLowerCase() !== target.toLowerCase())) return seen
    const location = isRedirect(status) && headers.get('location')
    if (location) return resolve(location, target)
    if (type !== 'opaqueredirect') return undefined
    // [spec] Fetch: a page is not told the target of a redirect before it has been followed.
    return fetch(target, { method: 'POST', body: '{}', credentials: 'omit', signal }).then(
      (followed) => followed.url,
      () => '',
    )
  }

  /**
   * Performs a POST. Redirects are followed by hand: `fetch` makes it a GET after a 301, 302 or 303, and carries it to any origin
   * after a 307 or 308. Where the status is hidden, a target counts that ends with the endpoint: a login page does not.
   */
  async function follow(endpoint: string, signal: AbortSignal, perform: (target: string) => Promise<Response>) {
    let target = at(endpoint)
    for (let hops = 0; ; hops++) {
      const response = await perform(target)
      const seen = await redirectOf(response, target, signal)
      if (seen === undefined) return response
      const { ok, status, redirected } = response
      const isVisible = !redirected && isRedirect(status)
      const [, origin = '', path = ''] = ORIGIN_AND_PATH.exec(seen) ?? []
      const keepsPost = isVisible ? status > 306 : !hops && path.replace(/\/$/, '').endsWith(`/${endpoint}`)
      if (!keepsPost || hops === MAX_HOPS || !`${url}/`.startsWith(`${origin}/`)) {
        discard(response)
        const why = `POST ${endpoint}: redirected to ${origin + path || 'another origin'}; log in, or correct \`url\``
        throw new ConnectionError('redirected', why, { status: isVisible ? status : undefined })
      }
      if (!isVisible) moved.set(endpoint, seen)
      // It was followed already, so this is the answer.
      if (redirected && ok) return response
      discard(response)
      target = seen
    }
  }

  return {
    /**
     * Posts JSON. Resolves with the JSON of the answer: null if that is empty, `undefined` if it is no JSON. Rejects with a
     * `ConnectionError`. `abort` ends the POST, and is what its timeout ends it with.
     */
    post(endpoint: string, body: string, abort: AbortController, options: PostOptions = {}): Promise<unknown> {
      const { timeout, idempotencyKey, keepalive, needsReceipt, onStart } = options
      const { signal } = abort
      let late: ConnectionError | undefined
      const timer =
        timeout &&
        clock.setTimeout(() => {
          late = new ConnectionError('timeout', `POST ${endpoint}: no answer within ${timeout} ms`)
          abort.abort(late)
        }, timeout)
      /** What the status says, should the body never come; null is success. */
      let answer: ConnectionError | null | undefined
      const perform = (target: string, own: Headers) => {
        onStart?.()
        if (signal.aborted) throw signal.reason
        const { connectionId } = context()
        // Set, not spread: whoever names one of them must not send it twice.
        const all = new Headers(own)
        all.set('Content-Type', 'application/json')
        if (connectionId) all.set(CONNECTION_ID_HEADER, connectionId)
        if (idempotencyKey) all.set(IDEMPOTENCY_KEY_HEADER, idempotencyKey)
        const init: RequestInit = { method: 'POST', body, headers: all, redirect: 'manual', signal, ...shared }
        if (keepalive) init.keepalive = true
        return fetch(target, init)
      }
      const exchange = async () => {
        const response = await authorized('post', signal, (own) =>
          follow(endpoint, signal, async (target) => perform(target, own)),
        )
        return read(endpoint, response, clock.now(), needsReceipt, (known) => {
          answer = known
        })
      }
      // A hook or a body that never settles does not watch the signal.
      const aborted = new Promise((_, reject) => {
        signal.onabort = () => reject(signal.reason)
      })
      return Promise.race([exchange(), aborted])
        .catch((cause) => {
          if (answer === null) return null
          // WebKit's own reason for an abort is another than the one that was given.
          const error = answer ?? late ?? cause
          if (error instanceof ConnectionError) throw error
          throw new ConnectionError('network', `POST ${endpoint}: ${cause}`, { cause })
        })
        .finally(() => clock.clearTimeout(timer))
    },
    /** For EventSource implementations that take a `fetch`. */
    async streamFetch(input: string | URL, init: RequestInit): Promise<Response> {
      const response = await authorized('stream', init.signal, (own) => {
        const all = new Headers(init.headers)
        own.forEach((value, name) => {
          all.set(name, value)
        })
        const { cache, ...rest } = init
        const cached = cache && canRequest('cache') && { cache }
        return fetch(input, { ...rest, ...cached, headers: all, ...shared })
      })
      const type = response.headers.get('content-type')
      if (!/[A-Z]/.test(type ?? '')) return response
      // The `eventsource` package takes Text/Event-Stream for another type.
      const headers = new Headers(response.headers)
      headers.set('content-type', String(type).toLowerCase())
      return Object.defineProperty(response, 'headers', { value: headers })
    },
    /** Where `keepalive` is not supported: no headers, so the body has to say whose it is. False: it was not taken. */
    beacon: (endpoint: string, body: string): boolean =>
      globalThis.navigator?.sendBeacon?.(at(endpoint), new Blob([body], { type: 'application/json' })) ?? false,
  }
}

/** Also where there is no `Request` at all. */
export const canRequest = (option: 'cache' | 'keepalive') => option in (globalThis.Request?.prototype ?? {})

const MAX_HOPS = 5
const isRedirect = (status: number) => /^30[12378]$/.test(String(status))
const ORIGIN_AND_PATH = /^(\w+:\/\/[^/?#]+)([^?#]*)/
// [spec] RFC 9110 §8.3.1: the names of media types are case-insensitive.
const JSON_TYPE = /^\s*[^\s;,]+[/+]json\s*([;,]|$)/i
const HTML_TYPE = /^\s*(text\/html|application\/xhtml\+xml)\b/i

const discard = ({ body }: Response) => void body?.cancel().catch(() => {})

function resolve(location: string, base: string): string {
  try {
    return new URL(location, base).href
  } catch {
    return ''
  }
}

/** The JSON of an answer. `tell` is told as soon as the rest of it does not matter any more. */
async function read(
  endpoint: string,
  response: Response,
  now: number,
  needsReceipt: boolean | undefined,
  tell: (answer: ConnectionError | null) => void,
): Promise<unknown> {
  const { ok, status, headers } = response
  const type = headers.get('content-type') ?? ''
  const isJson = JSON_TYPE.test(type)
  const where = `POST ${endpoint} (${type || 'no content type'}): `
  if (!ok) {
    const retryAfter = parseRetryAfter(headers.get('retry-after'), now, headers.get('date'))
    const refuse = (reason?: unknown) => {
      const error = toHttpError(status, reason, retryAfter, where)
      tell(error)
      return error
    }
    const refusal = refuse()
    if (isJson) throw refuse(Object(parseJson(await response.text())).error)
    discard(response)
    throw refusal
  }
  // A page answered in the server's place, e.g. by a captive portal.
  const isHtml = HTML_TYPE.test(type)
  if (needsReceipt === false && !isHtml) tell(null)
  const text = await response.text()
  // WebKit takes a body that was cut off for complete.
  const isPromised = isJson && !/20[45]/.test(String(status)) && headers.get('content-length') !== '0'
  const json = text ? parseJson(text) : needsReceipt || isPromised ? undefined : null
  if (json !== undefined || !(isHtml || isPromised)) return json
  throw new ConnectionError('bad-response', `${where}the server answered ${status}, ${text.length} characters, no JSON`)
}

const CODES: Partial<Record<number, ConnectionErrorCode>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'unknown-stream',
  410: 'unknown-stream',
}
// Worth another try, unchanged. 404 and 410 speak of the stream: a fresh one helps.
const RETRYABLE = /^([^4]|404|408|410|425|429)/

/** `reason` is what the server says for itself, the `error` of its JSON; `where` is the beginning of the message. */
export function toHttpError(status: number, reason?: unknown, retryAfter?: number, where = ''): ConnectionError {
  const code = reason === 'id-reused' ? reason : isRedirect(status) ? 'redirected' : (CODES[status] ?? 'http')
  return new ConnectionError(code, `${where}the server answered ${status}${isText(reason) ? `: ${reason}` : ''}`, {
    status,
    retryable: RETRYABLE.test(String(status)),
    retryAfter: retryAfter && clampServerDelay(retryAfter),
    cause: reason,
  })
}

// [spec] RFC 9110 §5.6.7: three forms, of which the last one, asctime's, names no zone.
const HTTP_DATE = /^[A-Z][a-z]+,? .+:\d\d (GMT|\d{4})$/

/**
 * [spec] RFC 9110 §10.2.3: `Retry-After` is a number of seconds or an HTTP date. In ms, clamped to 5 min; `undefined` for anything
 * else. Decimals are rounded up, and of several values the longest counts. A date is read against `date`, the answer's own `Date`:
 * `now` is the clock of this machine, which may be wrong.
 */
export function parseRetryAfter(value: string | null, now: number, date?: string | null): number | undefined {
  const delays = String(value)
    .split(/,(?!\s*\d\d[ -][A-Z])/)
    .flatMap((part) => {
      const text = part.trim()
      const delay = /^\d+(\.\d+)?$/.test(text)
        ? Math.ceil(Number(text)) * 1_000
        : parseDate(text) - (parseDate(date ?? '') || now)
      return Number.isNaN(delay) ? [] : [clampServerDelay(delay)]
    })
  return delays.length ? Math.max(...delays) : undefined
}

const parseDate = (text: string) => (HTTP_DATE.test(text) ? Date.parse(text.replace(/(\d{4})$/, '$1 GMT')) : Number.NaN)
