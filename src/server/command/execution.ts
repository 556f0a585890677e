import { type Answer, refusalOf } from '../answer'
import { unknownStream } from '../errors'
import { CANCELLED, type Outcome } from '../log/cluster'
import type { MaybePromise } from '../log/sessionLog'
import type { Presence } from './presence'

export interface Command {
  /** Commands of one chain run one after the other. Those of several principals take turns. */
  readonly chain: string
  readonly principalId: string
  /** Whose command it is and its Idempotency-Key; without one it is run each time. */
  readonly identity: string | undefined
  /** Says whether two commands of one identity are the same. */
  readonly fingerprint: string
  /**
   * Why it must not be run. A repeat gets its receipt all the same: what it did may be the very
   * reason.
   */
  readonly refusal: Answer | undefined
  /** Identities of commands of the same principal that must not run, unless they have begun. */
  readonly cancels: readonly string[]
  /** The memory that it takes while it runs, bytes. */
  readonly weight: number
  run(): MaybePromise<unknown>
}

/** A command on its way, and those who wait for its answer: it, and its repeats. */
export interface Execution {
  readonly fingerprint: string
  readonly waiting: Set<(answer: Answer) => void>
  /** `takenBack`: a stop has named it when it had begun. If it fails, it is not run again. */
  state: 'queued' | 'begun' | 'takenBack' | 'over'
  /**
   * Answers all who wait. Without an answer, no one waits. A queued command is not run any more.
   */
  end(answer?: Answer): void
}

export const ID_REUSED: Answer = { status: 409, json: '{"error":"id-reused"}' }
/** To a repeat: the same answer, if it is the same command. */
export const answerTo = (known: Outcome, fingerprint: string) =>
  known.fingerprint === fingerprint || known.fingerprint === CANCELLED.fingerprint ? known.answer : ID_REUSED
export const UNAVAILABLE: Answer = { status: 503, json: '{"error":"unavailable"}', headers: { 'Retry-After': '1' } }

/**
 * Waits for the answer until the client is gone, and then answers that its stream is unknown: where
 * a host does not tell that a request was aborted, the end of the stream is all that is known.
 */
export function answerOf(execution: Execution, presence: Presence): Promise<Answer> {
  return new Promise((resolve) => {
    execution.waiting.add(resolve)
    // One that has begun, and the one that began it, have an end of their own.
    if (execution.state !== 'queued' && execution.waiting.size === 1) return
    void presence.gone.then(() => {
      if (!execution.waiting.delete(resolve)) return
      resolve(refusalOf(unknownStream(), () => {}))
      if (execution.waiting.size === 0 && execution.state === 'queued') execution.end()
    })
  })
}
