import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isText, LANE_HEADER, parseJson } from '../protocol'
import type { Clock, InboundLimits } from '../types'

export interface HeadersRequest {
  /** `unauthorized`: the headers given last were answered 401. */
  readonly reason: 'stream' | 'post' | 'unauthorized'
  /** The connection's failures in a row. */
  readonly attempt: number
}
export type HeaderMap = Readonly<Record<string, string>>
export type HeadersHook = (request: HeadersRequest) => HeaderMap | Promise<HeaderMap>

/** Default of `inbound.maxBytes`. */
export const MAX_INBOUND_BYTES = 8_388_608

export interface UpstreamOptions {
  readonly url: string
  readonly fetch: typeof fetch
  readonly headers?: HeaderMap | HeadersHook
  /** Where it is not given no request names any, so a `fetch` of the app's own sets what it likes. */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined
  readonly clock: Clock
  /** Default: 8 MiB per answer. */
  readonly inbound?: Pick<InboundLimits, 'maxBytes'>
  /** Of the connection as it is now. */
  readonly context: () => { readonly attempt: number; readonly connectionId: string | null }
}

export interface PostOptions {
  /** ms for the whole exchange, the body of the answer included. Default: none, the caller aborts. */
  readonly timeout?: number
  readonly idempotencyKey?: string | undefined
  /** The order that it belongs to, where the server keeps orders apart. */
  readonly lane?: string | undefined
  readonly keepalive?: boolean
  /**
   * Of a message: whether a 2xx counts only with a body. If not, one that is cut off counts too. Undefined: an empty body
   * counts, one that is cut off does not.
   */
  readonly needsReceipt?: boolean | undefined
  /** Called in the same tick as `fetch`, after everything asynchronous: what it throws ends the POST before it starts. */
  readonly onStart?: () => void
}

/** The status's word on an answer, should the body never come; null is success. */
interface Known {
  answer?: ConnectionError | null
}

export type Upstream = ReturnType<typeof createUpstream>

/** Everything that goes over `fetch`. It tells what happened; what that means is decided elsewhere. */
export function createUpstream({ url, fetch, headers, credentials, clock, inbound, context }: UpstreamOptions) {
  const maxBytes = inbound?.maxBytes ?? MAX_INBOUND_BYTES
  /** The hook's answer to a 401. Exists until the next 2xx: meanwhile another 401 to these headers is final. */
  let renewal: Promise<Headers> | null = null
  let isRenewed = false
  /** POSTs whose redirect was hidden: where from, and to. */
  const moved = new Map<string, string>()
  const shared = credentials && { credentials }

  async function ask(reason: HeadersRequest['reason']): Promise<Headers> {
    if (typeof headers !== 'function') return new Headers(headers)
    try {
      return new Headers(await headers({ reason, attempt: context().attempt }))
    } catch (cause) {
      throw new ConnectionError('hook-failed', 'headers threw, or gave no header map; see cause', { cause })
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

  const at = (endpoint: string) => `${url}/${endpoint}`
  /** Where a page is redirected to. [spec] Fetch: it is told that only after the redirect was followed. */
  const whereTo = (target: string, init: RequestInit) =>
    fetch(target, { ...init, credentials: 'omit' }).then(
      (answer) => {
        discard(answer)
        return answer.url
      },
      () => '',
    )
  const origin = `${/^\w+:\/\/[^/]*/.exec(url)}/`

  /**
   * Performs a request. Redirects are followed by hand: `fetch` makes a POST a GET after a 301, 302 or 303, and carries all but the
   * cookies to any origin. Where the status is not seen, a target of a POST counts that ends with the endpoint: a login page does not.
   * `probe` asks for the same without anything secret.
   */
  async function follow(start: string, probe: RequestInit, perform: (target: string) => Promise<Response>) {
    let target = moved.get(start) ?? start
    for (let hops = 0; ; hops++) {
      const response = await perform(target)
      const { status, type, redirected, url: followed } = response
      const location = isRedirect(status) && response.headers.get('location')
      const isHidden = type === 'opaqueredirect'
      // Not every `fetch` of an app's own obeys `redirect`, nor tells that it has followed one.
      if (!location && !isHidden && !(redirected ?? followed))
        return hops ? Object.defineProperty(response, 'redirected', { value: true }) : response
      const seen = location ? new URL(location, target).href : isHidden ? await whereTo(target, probe) : followed
      const [place = ''] = seen.split(/[?#]/)
      const endpoint = start.slice(url.length)
      const isFit = location
        ? (!probe.method || status > 306) && hops < MAX_HOPS
        : !hops && (!probe.method || place.replace(/\/$/, '').endsWith(endpoint))
      const isOurs = isFit && place.startsWith(origin)
      if (isOurs && !location && !isHidden) return response
      discard(response)
      if (!isOurs) {
        const why = `${probe.method ?? 'GET'} ${endpoint.slice(1)}: redirected to ${place || 'another origin'}; log in, or correct \`url\``
        throw new ConnectionError('redirected', why, { status: location ? status : undefined })
      }
      // Of a stream it may be a login page, which is the place of none once somebody has logged in.
      if (isHidden && probe.method) moved.set(start, seen)
      target = seen
    }
  }

  /** The JSON of an answer to `what`. */
  async function read(response: Response, what: string, needsReceipt: boolean | undefined, known: Known) {
    const { ok, status, headers } = response
    const type = headers.get('content-type') ?? 'no content type'
    const where = `${what} (${type}): `
    const isJson = JSON_TYPE.test(type)
    if (!ok) {
      const retryAfter = parseRetryAfter(headers.get('retry-after'), clock.now(), headers.get('date'))
      const fail = (json?: unknown) => {
        known.answer = toHttpError(status, Object(json).error, retryAfter, where + answered(status, json))
      }
      fail()
      if (isJson) fail(parseJson(await readText(response, maxBytes, what)))
      else discard(response)
      throw known.answer
    }
    // A page answered in the server's place, e.g. by a captive portal.
    const isHtml = HTML_TYPE.test(type)
    if (needsReceipt === false && !isHtml) known.answer = null
    const text = await readText(response, maxBytes, what)
    // WebKit takes a body that was cut off for complete.
    const isMissed = isJson && status !== 204 && headers.get('content-length') !== '0'
    const json = text ? parseJson(text) : needsReceipt || isMissed ? undefined : null
    if (json !== undefined || !(isHtml || isMissed)) return json
    const why = `${where}the server answered ${status}, ${text.length} characters, no JSON`
    throw new ConnectionError('bad-response', why)
  }

  return {
    /**
     * Posts JSON. Resolves with the JSON of the answer: null if that is empty, `undefined` if it is no JSON. Rejects with a
     * `ConnectionError`. `abort` ends the POST, and is what its timeout ends it with.
     */
    post(endpoint: string, body: string, abort: AbortController, options: PostOptions = {}): Promise<unknown> {
      const { timeout, idempotencyKey, lane, keepalive, needsReceipt, onStart } = options
      const { signal } = abort
      let late: ConnectionError | undefined
      const timer =
        timeout &&
        clock.setTimeout(() => {
          late = new ConnectionError('timeout', `POST ${endpoint}: no answer within ${timeout} ms`)
          abort.abort(late)
        }, timeout)
      const known: Known = {}
      const perform = async (target: string, own: Headers) => {
        onStart?.()
        if (signal.aborted) throw signal.reason
        const { connectionId } = context()
        // Set, not spread: whoever names one of them must not send it twice.
        const all = new Headers(own)
        all.set('Content-Type', 'application/json')
        if (connectionId) all.set(CONNECTION_ID_HEADER, connectionId)
        if (idempotencyKey) all.set(IDEMPOTENCY_KEY_HEADER, idempotencyKey)
        // [spec] Fetch: a header value is bytes; a lane may be named by any text.
        if (lane !== undefined) all.set(LANE_HEADER, encodeURIComponent(lane))
        const more = keepalive && { keepalive }
        return fetch(target, { method: 'POST', body, headers: all, redirect: 'manual', signal, ...shared, ...more })
      }
      const exchange = async () => {
        const response = await authorized('post', signal, (own) =>
          follow(at(endpoint), { method: 'POST', body: '{}', signal }, (target) => perform(target, own)),
        )
        return read(response, `POST ${endpoint}`, needsReceipt, known)
      }
      // A hook or a body that never settles does not watch the signal.
      const aborted = new Promise((_, reject) => {
        signal.onabort = () => reject(signal.reason)
        if (signal.aborted) signal.onabort({} as Event)
      })
      return Promise.race([exchange(), aborted])
        .catch((cause) => {
          const { answer } = known
          if (answer === null) return null
          // WebKit's own reason for an abort is another than the one that was given.
          const error = answer ?? late ?? cause
          if (error instanceof ConnectionError) throw error
          throw new ConnectionError('network', `POST ${endpoint}: ${cause}`, { cause })
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
        const { cache, ...rest } = init
        const { signal } = rest
        const more = canRequest('cache') && cache && { cache }
        return follow(String(input), signal ? { signal } : {}, (target) =>
          fetch(target, { ...rest, ...more, headers: all, redirect: 'manual', ...shared }),
        )
      }),
    /** Where `keepalive` is not supported: no headers, so the body has to say whose it is. False: it was not taken. */
    beacon: (endpoint: string, body: string): boolean =>
      globalThis.navigator?.sendBeacon?.(
        moved.get(at(endpoint)) ?? at(endpoint),
        new Blob([body], { type: 'application/json' }),
      ) ?? false,
  }
}

/** Also where there is no `Request` at all. */
export const canRequest = (option: 'cache' | 'keepalive') => option in (globalThis.Request?.prototype ?? {})

const MAX_HOPS = 5
const isRedirect = (status: number) => /30[12378]/.test(String(status))
// [spec] RFC 9110 §8.3.1: the names of media types are case-insensitive.
export const JSON_TYPE = /^[^\s;,]+[/+]json\s*([;,]|$)/i
const HTML_TYPE = /^(text\/html|application\/xhtml)\b/i

const discard = ({ body }: Response) => void body?.cancel().catch(() => {})

/** The body of the answer to `what`, if it is not too long. */
export async function readText(response: Response, maxBytes: number, what: string): Promise<string> {
  // React Native's has none that can be read in parts.
  const reader = response.body?.getReader?.()
  if (!reader) return response.text()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0; ; ) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    size += value.length
    if (size > maxBytes) {
      void reader.cancel().catch(() => {})
      throw new ConnectionError(
        'bad-response',
        `${what}: the answer has more than ${maxBytes} bytes (inbound.maxBytes)`,
      )
    }
    text += decoder.decode(value, { stream: true })
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

/** A server's own word that is a code here too. */
const OWN_CODES: readonly unknown[] = ['id-reused', 'cancelled'] satisfies ConnectionErrorCode[]

const MAX_SENTENCE = 500

/** With what the server says for itself: the `error` of its JSON, and the `message` for people. */
export function answered(status: number, json?: unknown): string {
  const { error, message } = Object(json)
  const said = [error, message].filter(isText).map((text) => `: ${text.slice(0, MAX_SENTENCE)}`)
  return `the server answered ${status}${said.join('')}`
}

/** `reason` is the server's own word for it. */
export function toHttpError(
  status: number,
  reason?: unknown,
  retryAfter?: number,
  message = answered(status, { error: reason }),
): ConnectionError {
  const code = OWN_CODES.includes(reason)
    ? (reason as ConnectionErrorCode)
    : isRedirect(status)
      ? 'redirected'
      : (CODES[status] ?? 'http')
  return new ConnectionError(code, message, {
    status,
    retryable: RETRYABLE.test(String(status)),
    retryAfter: retryAfter && clampServerDelay(retryAfter),
    cause: reason,
  })
}

/**
 * [spec] RFC 9110 §10.2.3: `Retry-After` is a number of seconds or an HTTP date. In ms, clamped to 5 min; `undefined` for anything
 * else. Decimals are rounded up, and of several numbers (`fetch` joins headers) the first counts. A date is read against `date`, the
 * answer's own `Date`: `now` is the clock of this machine, which may be wrong.
 */
export function parseRetryAfter(value: string | null, now: number, date?: string | null): number | undefined {
  const [seconds] = /^\d+(\.\d+)?(?=\s*(,|$))/.exec(String(value).trim()) ?? []
  const ms = seconds ? Math.ceil(Number(seconds)) * 1_000 : parseDate(value) - (parseDate(date) || now)
  return Number.isNaN(ms) ? undefined : clampServerDelay(ms)
}

// [spec] RFC 9110 §5.6.7: three forms, of which the last one, asctime's, names no zone. `Date.parse` reads nearly anything.
const parseDate = (text: string | null | undefined) =>
  /^[A-Z].+:\d\d (GMT|\d{4})$/.test(String(text)) ? Date.parse(String(text).replace(/\d{4}$/, '$& GMT')) : Number.NaN
