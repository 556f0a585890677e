import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { isText, text } from '../protocol'
import { clampServerDelay } from '../protocol/delay'
import { codeOf, mayPass } from '../protocol/status'

/** A server's own word that is a code here too. */
const OWN_CODES: readonly unknown[] = ['id-reused', 'cancelled'] satisfies ConnectionErrorCode[]

const MAX_SENTENCE = 500

/** With what the server says for itself: the `error` of its JSON, and the `message` for people. */
export function answered(status: number, json?: unknown): string {
  const { error, message } = Object(json)
  const said = [error, message].filter(isText).map((word) => `: ${word.slice(0, MAX_SENTENCE)}`)
  return `the server answered ${status}${said.join('')}`
}

/** `reason` is the server's own word for it. */
export function toHttpError(
  status: number,
  reason?: unknown,
  retryAfter?: number,
  message = answered(status, { error: reason }),
): ConnectionError {
  const code = OWN_CODES.includes(reason) ? (reason as ConnectionErrorCode) : codeOf(status)
  return new ConnectionError(code, message, {
    status,
    retryable: mayPass(status),
    retryAfter: retryAfter && clampServerDelay(retryAfter),
    cause: reason,
    reason: text(reason),
  })
}
