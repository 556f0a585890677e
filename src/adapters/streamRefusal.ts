import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { isText, parseJson } from '../protocol'
import { answered, JSON_TYPE, parseRetryAfter, readText } from './fetchUpstream'

const CODES: Partial<Record<number, ConnectionErrorCode>> = { 204: 'ended', 401: 'unauthorized', 403: 'forbidden' }

/** Of an answer that is read for its `error`, bytes. */
const MAX_REASON = 65_536

/** Why there is no stream. `json` is what the server says of it; a 403 without an `error` may be a firewall's, and may pass. */
export function toRefusal(status: number, json?: unknown, retryAfter?: number): ConnectionError {
  const { error: reason } = Object(json)
  const code = CODES[status] ?? 'stream-failed'
  const retryable = status === 403 ? !isText(reason) : code === 'stream-failed'
  return new ConnectionError(code, answered(status, json), { status, retryAfter, retryable, cause: reason })
}

/** The same, of an answer whose status is not 200. */
export async function readRefusal(response: Response, now: number): Promise<ConnectionError> {
  const { status, headers } = response
  const isJson = status === 403 && JSON_TYPE.test(headers.get('content-type') ?? '')
  const json = isJson && parseJson(await readText(response, MAX_REASON, 'GET events').catch(() => ''))
  return toRefusal(status, json, parseRetryAfter(headers.get('retry-after'), now, headers.get('date')))
}
