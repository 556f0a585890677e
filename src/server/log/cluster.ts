import type { Answer } from '../answer'
import type { Metric } from '../metrics'

/**
 * How a command ended, and which one it was: another one under the same identity has another
 * fingerprint.
 */
export interface Outcome {
  readonly fingerprint: string
  readonly answer: Answer
}

/**
 * The outcome of a command that a stop took back before it had begun. No command has its
 * fingerprint: each one under that key is answered so.
 */
export const CANCELLED: Outcome = { fingerprint: '*', answer: { status: 409, json: '{"error":"cancelled"}' } }

/** The right to run a command, until it is settled. */
export interface Claim {
  /**
   * Ends the claim with what is kept for repeats; without an answer the command is run again when
   * it is repeated.
   */
  settle(answer: Answer | undefined): Promise<void>
}

/** The server of this process, as the log knows it. */
export interface ClusterHost {
  /** How long outcomes are kept, ms. */
  readonly receiptAge: number
  /** How many outcomes are kept of all principals. One principal has at most an eighth of them. */
  readonly receipts: number
  /** Does what another process asks of one of the streams here. Never rejects. */
  serve(request: unknown): Promise<Answer>
  /**
   * Another process has revoked what a principal may read: one session or, without it, everything.
   */
  onRevoked(principalId: string, sessionId: string | undefined): void
  onMetric(metric: Metric): void
  onError(error: unknown): void
}

/** The things that processes which share a log share besides the events. */
export interface Cluster {
  /** The name of this process, `^[A-Za-z0-9_-]+$`; no other one, now or later, has it. */
  readonly node: string
  /**
   * The answer of `node`; `'gone'`, soon, if there is no such process; `'silent'` if nothing came
   * within 5 s.
   */
  ask(node: string, request: object): Promise<Answer | 'gone' | 'silent'>
  /** How the command ended, in whichever process. */
  outcome(identity: string): Promise<Outcome | undefined>
  /**
   * The claim, or the outcome if the command has been run. While another process runs it this
   * waits. A process that dies loses its claims after a while. `identity` is the JSON of the
   * principal's id and the Idempotency-Key. Rejects with `Refusal` 429 if as many outcomes of that
   * principal are kept as may be.
   */
  claim(identity: string, fingerprint: string): Promise<Claim | Outcome>
  /**
   * Keeps `CANCELLED` as the outcome of each of these commands, which are one principal's, that no
   * process has begun or run. Resolves with those that it is kept of. Rejects with `Refusal` 429 as
   * `claim` does.
   */
  cancel(identities: readonly string[]): Promise<readonly string[]>
  /**
   * Has each other process call its `onRevoked`. Resolves when that cannot be lost any more;
   * rejects if it was not told.
   */
  revoke(principalId: string, sessionId: string | undefined): Promise<void>
  /** No other process reaches this one any more. The log itself stays open. */
  leave(): Promise<void>
}
