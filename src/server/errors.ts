import { isToBeRepeated, mayPass } from '../protocol/status'

/**
 * An answer other than success. `code` is all that the client is told, and `detail`, where it is
 * meant for it.
 */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly headers: Readonly<Record<string, string>> = {},
    readonly detail?: string,
    readonly issues?: readonly unknown[],
  ) {
    super(detail ?? code)
  }
}

/**
 * A refusal that a setting of the server, or of a proxy, is to blame for. So those who can change
 * it are told too.
 */
export class Misconfiguration extends Refusal {
  constructor(status: number, code: string, detail: string) {
    super(status, code, {}, detail)
  }
}

/** @param rule which field breaks which rule: a sentence for those who write the client */
export const badRequest = (rule: string) => new Refusal(400, 'bad-request', {}, rule)
/** To a client: open another stream. */
export const unknownStream = () => new Refusal(404, 'unknown-stream')
/** Also what a log rejects with that has told why. */
export const unavailable = () => new Refusal(503, 'unavailable', { 'Retry-After': '1' })
/** @param wait ms */
export const tooMany = (wait = 5_000) =>
  new Refusal(429, 'too-many', { 'Retry-After': String(Math.ceil(wait / 1_000)) })

/**
 * Statuses that tell the client something else: ask for a new token, take a fresh stream, try again
 * unchanged.
 */
const MISLEADING = Array.from({ length: 100 }, (_, index) => 400 + index).filter(
  (status) => isToBeRepeated(status) || mayPass(status),
)

/**
 * Throw it in `onCommand` to turn a command down for good. The client's verdict is `rejected`; a
 * repeat under the same Idempotency-Key is answered the same without asking again.
 */
export class CommandRejected extends Error {
  override readonly name = 'CommandRejected'

  /**
   * @param status 400–499 without 401, 404, 408, 410, 425, 429, which a client takes for something
   * else than a rejection
   * @param code what the client is told, as `{ "error": code }`: lower case letters, digits and
   * dashes, at most 64
   * @throws TypeError if one of them is not that
   */
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code)
    if (!Number.isInteger(status) || status < 400 || status > 499 || MISLEADING.includes(status)) {
      throw new TypeError(`CommandRejected: 'status' must be 4xx, but none of ${MISLEADING.join(', ')}`)
    }
    if (!/^[a-z0-9-]{1,64}$/.test(code)) throw new TypeError("CommandRejected: 'code' must match ^[a-z0-9-]{1,64}$")
  }
}
