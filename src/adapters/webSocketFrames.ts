import { ConnectionError } from '../errors'
import { clampServerDelay } from '../machine/backoff'
import { type BatchResult, CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, PROTOCOL_VERSION } from '../protocol'

/** An `ack` says what an element of a batch's `results` does. */
export type Answer = Partial<BatchResult> & Pick<BatchResult, 'status'>

/** [spec] RFC 6455 §7.4.1: 1008 and 1009; its registry: 1012 and 1013. 4401 is ours. */
export const REFUSED = [1008, 4401]
export const TOO_BIG = 1009
const COME_BACK = [1012, 1013]
/** When, where the reason does not say, ms. */
const COME_BACK_DELAY = 1_000

/** A hello is about all frames after it, so what concerns a single one is not in it. */
export function toHello(given: Headers): string {
  const headers = new Headers(given)
  for (const name of [CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, 'Content-Type']) headers.delete(name)
  return JSON.stringify({ type: 'hello', protocolVersion: PROTOCOL_VERSION, headers: Object.fromEntries(headers) })
}

/** What a message of a batch is. `body` is JSON. */
export const toFrame = (id: string, endpoint: string, body: string) =>
  `{"id":${JSON.stringify(id)},"endpoint":"${endpoint}","body":${body}}`

export function toResponse({ status, receipt = null, error, retryAfter }: Answer): Response {
  if (status < 300) return new Response(JSON.stringify(receipt))
  const seconds = retryAfter ? String(Math.ceil(clampServerDelay(retryAfter) / 1_000)) : ''
  const headers = { 'Content-Type': 'application/json', 'Retry-After': seconds }
  return new Response(JSON.stringify({ error }), { status, headers })
}

/** Of what a close says, no more is taken than whether and when to come back. */
export function toStreamError(code = 0, reason = '', cause?: unknown): ConnectionError {
  const delay = clampServerDelay(/^\d+$/.test(reason) ? Number(reason) : COME_BACK_DELAY)
  const details = { retryable: true, retryAfter: COME_BACK.includes(code) ? delay : undefined, cause }
  const why = cause ? String(cause) : `the socket was closed: ${code}`
  return new ConnectionError(REFUSED.includes(code) ? 'unauthorized' : 'stream-failed', why, details)
}
