import type { Verdict } from '../connection/messages'
import { ConnectionError, type SendError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Feature } from '../protocol'
import { isServerFault, isUnapplied, meaningOf, type StatusMeaning } from '../protocol/status'

/** A verdict before it is known whose it is. */
export type Ending = Verdict extends infer V ? (V extends Verdict ? Omit<V, 'id' | 'attempts'> : never) : never

export interface Case {
  /** How the POST ended: a `ConnectionError`, or the JSON of a 2xx; `undefined` is a 2xx that is no JSON. */
  readonly outcome: unknown
  /** What the server announced on the stream that the POST belonged to. */
  readonly features: readonly Feature[]
  /** An earlier POST of the message may have been applied. */
  readonly isInDoubt: boolean
}

export type Judgement =
  | { readonly ruling: 'settle'; readonly ending: Ending }
  /** It speaks of the line: the message stays where it is until that is settled. */
  | { readonly ruling: 'line'; readonly fact: UpstreamEvent['type']; readonly error: ConnectionError }
  | {
      readonly ruling: 'repeat'
      readonly error: ConnectionError
      /** Whether it says something about the message: 425 says only that another one has to go first. */
      readonly counts: boolean
      /** The POST may have been applied. */
      readonly leavesDoubt: boolean
      /** Nothing says that a server of ours has answered: the line itself may be dead. */
      readonly isOminous: boolean
    }

/** What speaks of the line, and not of the message. */
export const FACTS: Partial<Record<StatusMeaning, 'upstream.unauthorized' | 'upstream.disowned'>> = {
  credentials: 'upstream.unauthorized',
  stream: 'upstream.disowned',
}

/** What the end of a POST means for a message. */
export function judge({ outcome, features, isInDoubt }: Case): Judgement {
  if (!(outcome instanceof ConnectionError)) {
    if (outcome !== undefined || !features.includes('receipts'))
      return { ruling: 'settle', ending: { status: 'accepted', receipt: outcome ?? null } }
    return repeat(new ConnectionError('bad-response', 'a 2xx without JSON, but the server announced receipts'))
  }
  const { status = 0 } = outcome
  const meaning = meaningOf(status)
  const fact = FACTS[meaning]
  if (fact) return { ruling: 'line', fact, error: outcome }
  const isConflict = meaning === 'conflict' || meaning === 'gone'
  if (isConflict || meaning === 'refused' || (status === 0 && !outcome.retryable)) {
    // An idempotent server would have said of a repeat what it said of the first; one that cancels knows what it did not begin.
    const mayRepeat = isInDoubt || (isConflict && outcome.code !== 'id-reused')
    const isOpen = mayRepeat && !features.includes('idempotency') && outcome.code !== 'cancelled'
    return { ruling: 'settle', ending: { status: isOpen ? 'unknown' : 'rejected', error: outcome as SendError } }
  }
  return repeat(outcome)
}

function repeat(error: ConnectionError): Judgement {
  const { code, status = 0, cause } = error
  return {
    ruling: 'repeat',
    error,
    counts: meaningOf(status) !== 'early',
    leavesDoubt: !isUnapplied(status),
    // The server half explains itself in JSON, whose `error` becomes the cause. A proxy in front of a dead one does not.
    isOminous: isServerFault(status) ? cause === undefined : code === 'network' || code === 'timeout',
  }
}
