import { ConnectionError, type ConnectionErrorCode } from '../../errors'
import type { ProtocolIssue } from './schema'

/**
 * A message, or a receipt, that does not fit the protocol. It tells nothing of the message but its
 * type and the names of its fields.
 *
 * | code | |
 * | --- | --- |
 * | `unknown-type` | there is no such message on the way up |
 * | `invalid-message` | a message on the way up does not fit its schema |
 * | `bad-message` | a message on the way down, or a receipt, does not fit its schema, or there is no such message |
 */
export class ProtocolError extends ConnectionError {
  /**
   * Of an async schema, for those who can wait: the message as the app gets it. Rejects with a
   * `ProtocolError`.
   */
  readonly later?: Promise<unknown>

  constructor(
    code: ConnectionErrorCode,
    message: string,
    readonly issues: readonly ProtocolIssue[],
    cause?: unknown,
  ) {
    super(code, message, { cause })
  }
}
