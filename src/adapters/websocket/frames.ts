import { ConnectionError } from '../../errors'
import {
  type BatchResult,
  CONNECTION_ID_HEADER,
  IDEMPOTENCY_KEY_HEADER,
  LANE_HEADER,
  PROTOCOL_VERSION,
} from '../../protocol'
import { clampServerDelay } from '../../protocol/delay'
import { asksToWait, meaningOf } from '../../protocol/status'

/** An `ack` says what an element of a batch's `results` does. */
export type Answer = Partial<BatchResult> & Pick<BatchResult, 'status'>

/**
 * [spec] RFC 6455 §7.4.1: 1008 and 1009; its registry: 1012 and 1013, which WebKit tells as 1006.
 */
export const TOO_BIG = 1009
const STATUSES: Partial<Record<number, number>> = { 1008: 403, 1012: 503, 1013: 503, 4204: 204 }
/** When, where the reason does not say, ms. */
const COME_BACK_DELAY = 1_000

/** A hello is about all frames after it, so what concerns a single one is not in it. */
export function toHello(given: Headers): string {
  const headers = new Headers(given)
  for (const name of [CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, LANE_HEADER, 'Content-Type']) headers.delete(name)
  return JSON.stringify({ type: 'hello', protocolVersion: PROTOCOL_VERSION, headers: Object.fromEntries(headers) })
}

/** What a message of a batch is. `body` is JSON, `lane` as the header has it. */
export const toFrame = (id: string, endpoint: string, body: string, lane: string | null = null) =>
  `${JSON.stringify({ id, endpoint, lane: lane === null ? undefined : decodeURIComponent(lane) }).slice(0, -1)},"body":${body}}`

export function toResponse({ status, receipt = null, error, retryAfter }: Answer): Response {
  if (status < 300) return new Response(JSON.stringify(receipt))
  const seconds = retryAfter ? String(Math.ceil(clampServerDelay(retryAfter) / 1_000)) : ''
  const headers = { 'Content-Type': 'application/json', 'Retry-After': seconds }
  return new Response(JSON.stringify({ error }), { status, headers })
}

/**
 * The HTTP status that a close stands for: ours are 4000 and the status. Undefined if it says
 * nothing but that the socket is closed.
 */
export const statusOf = (code: number) => (code >= 4_400 && code < 4_600 ? code - 4_000 : STATUSES[code])

/** What a close says to a request for a stream. */
export function toRefused(code: number, status: number, reason: string): Response {
  if (status === 204) return new Response(null, { status })
  const error = code > 4_000 ? reason || undefined : undefined
  return toResponse({ status, error, retryAfter: toDelay(status, reason) })
}

const toDelay = (status: number | undefined, reason: string) =>
  status && asksToWait(status) ? clampServerDelay(/^\d+$/.test(reason) ? Number(reason) : COME_BACK_DELAY) : undefined

/** Of a close after the welcome no more is taken than whether and when to come back. */
export function toStreamError(code = 0, reason = '', cause?: unknown): ConnectionError {
  const status = statusOf(code)
  const details = { retryable: true, retryAfter: toDelay(status, reason), cause }
  const why = cause ? String(cause) : `the socket was closed: ${code}`
  return new ConnectionError(meaningOf(status) === 'credentials' ? 'unauthorized' : 'stream-failed', why, details)
}
