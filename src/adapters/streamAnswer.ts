import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { isText, parseJson } from '../protocol'
import { parseRetryAfter } from './fetchUpstream'

const CODES: Partial<Record<number, ConnectionErrorCode>> = { 204: 'ended', 401: 'unauthorized', 403: 'forbidden' }
const LF = 10
const CR = 13

/** What `fetch` is given for a stream. [spec] HTML, server-sent events: this is what an EventSource asks for. */
export const toStreamRequest = (signal: AbortSignal): RequestInit => ({
  headers: { Accept: 'text/event-stream' },
  signal,
  // Some run-times refuse what they do not know.
  ...('cache' in Request.prototype && { cache: 'no-store' }),
})

/** Why there is no stream. `reason` is the server's own word for it; a 403 without one may be a firewall's, and may pass. */
export function toRefusal(status: number, reason?: unknown, retryAfter?: number): ConnectionError {
  const code = CODES[status] ?? 'stream-failed'
  return new ConnectionError(code, `the server answered ${status}${isText(reason) ? `: ${reason}` : ''}`, {
    status,
    retryAfter,
    retryable: code === 'stream-failed' || (status === 403 && !isText(reason)),
    cause: reason,
  })
}

/** [spec] HTML, server-sent events: anything but 200 and `text/event-stream` is a failure. `undefined` if it is a stream. */
export async function refusalOf(response: Response, url: string, now: number): Promise<ConnectionError | undefined> {
  const { status, headers, redirected } = response
  const type = String(headers.get('content-type'))
  const isForeign = redirected && isOfAnother(response.url, url)
  if (status === 200 && !isForeign && /^text\/event-stream\b/i.test(type)) return undefined
  const text = status === 403 && /json/i.test(type) && response.text().catch(() => '')
  if (!text) void response.body?.cancel().catch(() => {})
  if (isForeign) return redirectedTo(response.url)
  if (status === 200) return new ConnectionError('stream-failed', `${type}, not text/event-stream`, { status })
  return toRefusal(
    status,
    text ? Object(parseJson(await text)).error : undefined,
    parseRetryAfter(headers.get('retry-after'), now),
  )
}

const ORIGIN = /^[^/]*\/\/[^/]*/
/** Whether a URL, or an origin, is of another origin than a URL. Not every run-time has `URL.prototype.origin`. */
export const isOfAnother = (given: string, url: string) => ORIGIN.exec(given)?.[0] !== ORIGIN.exec(url)?.[0]

export const redirectedTo = (where: string) =>
  new ConnectionError('redirected', `the stream comes from ${where}, which is another origin than that of url`, {
    retryable: true,
  })

/**
 * `eventsource-parser` keeps a CR at the end of a chunk back, as it may be half of a CRLF, and with it the event that it ends.
 * [spec] HTML, server-sent events: a CR alone ends a line. So that CRLF is completed at once, and the LF that may follow is dropped.
 */
export function completeLines(): (bytes: Uint8Array) => Uint8Array {
  let isHalf = false
  return (bytes) => {
    const rest = isHalf && bytes[0] === LF ? bytes.subarray(1) : bytes
    if (bytes.length) isHalf = bytes.at(-1) === CR
    if (!isHalf || !rest.length) return rest
    const whole = new Uint8Array(rest.length + 1)
    whole.set(rest)
    whole[rest.length] = LF
    return whole
  }
}

/** An event stream for the `eventsource` package, which compares the media type by case and has that parser. */
export function toPackageResponse(response: Response): Response {
  const headers = new Headers(response.headers)
  headers.set('content-type', 'text/event-stream')
  const { body } = Object.defineProperty(response, 'headers', { value: headers })
  const getReader = body?.getReader.bind(body) as (() => ReadableStreamDefaultReader<Uint8Array>) | undefined
  const complete = completeLines()
  const readLines = () => {
    const reader = getReader?.() as ReadableStreamDefaultReader<Uint8Array>
    const read = reader.read.bind(reader)
    return Object.assign(reader, {
      read: async () => {
        const chunk = await read()
        if (chunk.value) chunk.value = complete(chunk.value)
        return chunk
      },
    })
  }
  if (body) Object.assign(body, { getReader: readLines })
  return response
}
