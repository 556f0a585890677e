import { ConnectionError } from '../errors'
import { isText, parseJson, text } from '../protocol'
import { parseRetryAfter } from '../protocol/delay'
import { codeOf, REFUSALS } from '../protocol/status'
import { JSON_TYPE, readText } from './answer'
import { answered } from './httpError'

/** Of an answer that is read for its `error`, bytes. */
const MAX_REASON = 65_536

/**
 * Why there is no stream. `json` is what the server says of it; a 403 without an `error` may be a
 * firewall's, and may pass.
 */
export function toRefusal(status: number, json?: unknown, retryAfter?: number): ConnectionError {
  const { error: reason } = Object(json)
  const said = codeOf(status)
  const code = REFUSALS.includes(said) ? said : 'stream-failed'
  const retryable = code === 'forbidden' ? !isText(reason) : code === 'stream-failed'
  const details = { status, retryAfter, retryable, cause: reason, reason: text(reason) }
  return new ConnectionError(code, answered(status, json), details)
}

/** The same, of an answer whose status is not 200. */
export async function readRefusal(response: Response, now: number): Promise<ConnectionError> {
  const { status, headers } = response
  const isJson = codeOf(status) === 'forbidden' && JSON_TYPE.test(headers.get('content-type') ?? '')
  const json = isJson && parseJson(await readText(response, MAX_REASON, 'GET events').catch(() => ''))
  return toRefusal(status, json, parseRetryAfter(headers.get('retry-after'), now, headers.get('date')))
}
