import { ConnectionError } from '../errors'
import type { UpstreamEvent } from '../machine/types'
import type { Feature } from '../protocol'
import { meaningOf } from '../status'
import type { Verdict } from '../types'

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

/**
 * [spec] RFC 9110 §15.5.10, §15.5.11 and RFC 4918 §11.3: what the state of a resource brings about. Browsers and Deno repeat a POST
 * by themselves when a kept-alive socket is reset, so that state may be the work of the first one.
 */
const CONFLICTS = [409, 410, 423]

/** What the end of a POST means for a message. */
export function judge({ outcome, features, isInDoubt }: Case): Judgement {
  if (!(outcome instanceof ConnectionError)) {
    if (outcome !== undefined || !features.includes('receipts'))
      return { ruling: 'settle', ending: { status: 'accepted', receipt: outcome ?? null } }
    return repeat(new ConnectionError('bad-response', 'a 2xx without JSON, but the server announced receipts'))
  }
  const { status = 0 } = outcome
  const meaning = meaningOf(status)
  if (meaning === 'credentials') return { ruling: 'line', fact: 'upstream.unauthorized', error: outcome }
  if (meaning === 'stream') return { ruling: 'line', fact: 'upstream.disowned', error: outcome }
  if (meaning === 'refused' || (status === 0 && !outcome.retryable)) {
    // An idempotent server would have said of a repeat what it said of the first; one that cancels knows what it did not begin.
    const mayRepeat = isInDoubt || (CONFLICTS.includes(status) && outcome.code !== 'id-reused')
    const isOpen = mayRepeat && !features.includes('idempotency') && outcome.code !== 'cancelled'
    return { ruling: 'settle', ending: { status: isOpen ? 'unknown' : 'rejected', error: outcome } }
  }
  return repeat(outcome)
}

function repeat(error: ConnectionError): Judgement {
  const { code, status = 0, cause } = error
  return {
    ruling: 'repeat',
    error,
    counts: status !== 425,
    leavesDoubt: !(status >= 400 && status < 500),
    // The server half explains itself in JSON, whose `error` becomes the cause. A proxy in front of a dead one does not.
    isOminous: status >= 500 ? cause === undefined : code === 'network' || code === 'timeout',
  }
}
