import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { isText, parseJson } from '../protocol'
import { parseRetryAfter } from './fetchUpstream'

const CODES: Partial<Record<number, ConnectionErrorCode>> = { 204: 'ended', 401: 'unauthorized', 403: 'forbidden' }

/** Why there is no stream. `reason` is the server's own word for it; a 403 without one may be a firewall's, and may pass. */
export function toRefusal(status: number, reason?: unknown, retryAfter?: number): ConnectionError {
  const code = CODES[status] ?? 'stream-failed'
  const retryable = status === 403 ? !isText(reason) : code === 'stream-failed'
  const message = `the server answered ${status}${isText(reason) ? `: ${reason}` : ''}`
  return new ConnectionError(code, message, { status, retryAfter, retryable, cause: reason })
}

/** [spec] HTML, server-sent events: anything but 200 and `text/event-stream` is a failure. `undefined` if it is a stream. */
export async function refusalOf(response: Response, url: string, now: number): Promise<ConnectionError | undefined> {
  const { status, headers, redirected } = response
  const type = String(headers.get('content-type'))
  const foreign = redirected && foreignOrigin(new URL(response.url).origin, url)
  if (foreign) return foreign
  if (status !== 200) {
    const { error } = Object(status === 403 && /json/i.test(type) && parseJson(await response.text()))
    return toRefusal(status, error, parseRetryAfter(headers.get('retry-after'), now))
  }
  return /^text\/event-stream\b/i.test(type)
    ? undefined
    : new ConnectionError('stream-failed', `${type}, not text/event-stream`, { status })
}

/** `undefined` if a stream from that origin is one from `url`. */
export const foreignOrigin = (origin: string, url: string) =>
  url.startsWith(`${origin}/`)
    ? undefined
    : new ConnectionError('redirected', `the stream comes from ${origin}`, { retryable: true })
