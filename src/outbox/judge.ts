import type { Verdict } from '../connection/messages'
import { ConnectionError, type SendError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Feature } from '../protocol'
import { isServerFault, isUnapplied, meaningOf, type StatusMeaning } from '../protocol/status'

/** A verdict before it is known whose it is. */
export type Ending = Verdict extends infer V ? (V extends Verdict ? Omit<V, 'id' | 'attempts'> : never) : never

export interface Case {
  /**
   * How the POST ended: a `ConnectionError`, or the JSON of a 2xx; `undefined` is a 2xx that is no
   * JSON.
   */
  readonly outcome: unknown
  /** What the server announced on the stream that the POST belonged to. */
  readonly features: readonly Feature[]
  /** An earlier POST of the message may have been applied. */
  readonly isInDoubt: boolean
}

/**
 * How a POST failed that is to be repeated; exactly one kind applies.
 *
 * | kind | it says |
 * | --- | --- |
 * | `early` | another message has to go first (425): nothing about this one |
 * | `unapplied` | the message has failed; the server says that it has not applied it |
 * | `unclear` | it may have been applied |
 * | `unanswered` | no server of ours has answered: the line itself may be dead |
 */
export type FailureKind = 'early' | 'unapplied' | 'unclear' | 'unanswered'

export const mayBeApplied = (kind: FailureKind) => kind === 'unclear' || kind === 'unanswered'

export type Judgement =
  | { readonly ruling: 'settle'; readonly ending: Ending }
  /** It speaks of the line: the message stays where it is until that is settled. */
  | { readonly ruling: 'line'; readonly fact: UpstreamEvent['type']; readonly error: ConnectionError }
  | { readonly ruling: 'repeat'; readonly error: ConnectionError; readonly kind: FailureKind }

/** The statuses that speak of the line, and not of the message. */
export const FACTS: Partial<Record<StatusMeaning, 'upstream.unauthorized' | 'upstream.disowned'>> = {
  credentials: 'upstream.unauthorized',
  stream: 'upstream.disowned',
}

/** Decides what the end of a POST means for a message. */
export function judge({ outcome, features, isInDoubt }: Case): Judgement {
  if (!(outcome instanceof ConnectionError)) {
    if (outcome !== undefined || !features.includes('receipts'))
      return { ruling: 'settle', ending: { status: 'accepted', receipt: outcome ?? null } }
    return repeat(new ConnectionError('bad-response', 'a 2xx without JSON, but the server announced receipts'))
  }
  const { status = 0, code } = outcome
  const meaning = meaningOf(status)
  const fact = FACTS[meaning]
  if (fact) return { ruling: 'line', fact, error: outcome }
  const isConflict = meaning === 'conflict' || meaning === 'gone'
  if (isConflict || meaning === 'refused' || (status === 0 && !outcome.retryable)) {
    // The refusal may be that of a repeat, after a first POST was applied: an earlier one of ours,
    // or one that the browser repeated by itself. A server with `idempotency` answers a repeat as
    // it did the first; `cancelled` says that the message never began.
    const mayBeRepeat = isInDoubt || (isConflict && code !== 'id-reused')
    const isUnknown = mayBeRepeat && !features.includes('idempotency') && code !== 'cancelled'
    return { ruling: 'settle', ending: { status: isUnknown ? 'unknown' : 'rejected', error: outcome as SendError } }
  }
  return repeat(outcome)
}

const repeat = (error: ConnectionError): Judgement => ({ ruling: 'repeat', error, kind: kindOf(error) })

function kindOf({ code, status = 0, cause }: ConnectionError): FailureKind {
  if (isUnapplied(status)) return meaningOf(status) === 'early' ? 'early' : 'unapplied'
  // The server half explains itself in JSON, whose `error` becomes the cause. A proxy in front of a
  // dead one does not.
  const isAnswered = isServerFault(status) ? cause !== undefined : code !== 'network' && code !== 'timeout'
  return isAnswered ? 'unclear' : 'unanswered'
}
