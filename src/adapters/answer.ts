import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import { parseJson } from '../protocol'
import { parseRetryAfter } from '../protocol/delay'
import { answered, toHttpError } from './httpError'

// [spec] RFC 9110 §8.3.1: the names of media types are case-insensitive.
export const JSON_TYPE = /^[^\s;,]+[/+]json\s*([;,]|$)/i
const HTML_TYPE = /^(text\/html|application\/xhtml)\b/i

/**
 * Whether a 2xx has to carry JSON.
 *
 * | | a 2xx without a body | a 2xx whose body is cut off, or comes too late |
 * | --- | --- | --- |
 * | `required` | no JSON (`undefined`): the message is posted again | fails |
 * | `none` | success | success |
 * | `ifAnnounced` | success, unless it says that it is JSON | fails |
 */
export type Receipt = 'required' | 'none' | 'ifAnnounced'

/** One POST, from its start to the last byte of its answer. */
export interface Exchange {
  /** For people: `POST send`. */
  readonly what: string
  readonly clock: Clock
  readonly maxBytes: number
  readonly receipt?: Receipt
  /** Absent until the status is known; then it holds, even if the body never comes. */
  answer?: 'success' | ConnectionError
}

/**
 * The JSON of an answer: null if it has no body, undefined if the body is no JSON. Throws for any
 * status but a 2xx.
 */
export async function readAnswer(response: Response, exchange: Exchange) {
  const { what, clock, maxBytes, receipt } = exchange
  const { ok, status, headers } = response
  const type = headers.get('content-type') ?? 'no content type'
  const where = `${what} (${type}): `
  const isJson = JSON_TYPE.test(type)
  if (!ok) {
    const retryAfter = parseRetryAfter(headers.get('retry-after'), clock.now(), headers.get('date'))
    const fail = (json?: unknown) => {
      exchange.answer = toHttpError(status, Object(json).error, retryAfter, where + answered(status, json))
    }
    fail()
    if (isJson) fail(parseJson(await readText(response, maxBytes, what)))
    else discard(response)
    throw exchange.answer
  }
  // HTML is no answer of the server: a captive portal, or a login page.
  const isHtml = HTML_TYPE.test(type)
  if (receipt === 'none' && !isHtml) exchange.answer = 'success'
  const text = await readText(response, maxBytes, what)
  // WebKit takes a body that was cut off for complete.
  const isMissed = isJson && status !== 204 && headers.get('content-length') !== '0'
  const json = text ? parseJson(text) : receipt === 'required' || isMissed ? undefined : null
  if (json !== undefined || !(isHtml || isMissed)) return json
  const why = `${where}the server answered ${status}, ${text.length} characters, no JSON`
  throw new ConnectionError('bad-response', why)
}

/** The body of the answer to `what`. Throws once it is longer than `maxBytes`. */
export async function readText(response: Response, maxBytes: number, what: string): Promise<string> {
  // React Native cannot read a body in parts.
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

export const discard = ({ body }: Response) => void body?.cancel().catch(() => {})
