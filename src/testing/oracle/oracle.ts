/**
 * The promises that hold at every moment, whatever happens. I9 is about the future: `world.heals()`
 * judges it.
 */
export const INVARIANTS = {
  I1: 'at most one live stream; none in idle and backoff',
  I2: 'at most one resume in flight, only in reconnecting, only for the current connectionId',
  I3: 'no send POST starts outside open',
  I4: 'messages of a lane are posted in the order of send()',
  I5: 'every message ends in exactly one verdict, or is still pending',
  I6: 'an event reaches the app at most once and in rising order',
  I7: 'opened and closed alternate, beginning with opened',
  I8: 'in idle no timer, request, stream or page listener is left',
  I9: 'a healthy network leads to open in a bounded number of steps',
  I10: 'messages flow in reconnecting as in open',
  I11: 'a result that belongs to an earlier stream or POST changes nothing',
  I12: 'attempts are never closer than the pacing allows, unless the app or the page asked',
  I13: 'on an open line no message holds up another lane, and none its own once the server is known to take others',
  I14: 'after a suspend no send leaves on that stream before it has been resumed',
  I15: 'what the outbox waits for, and until when, is in the snapshot; no wait of its own outlives its stream',
  app: 'no listener throws, and what the app promises',
} as const
export type Invariant = keyof typeof INVARIANTS

export interface Violation {
  readonly invariant: Invariant
  /** The fact that breaks it. */
  readonly message: string
  /** ms since the epoch. */
  readonly at: number
}

export interface Oracle {
  /** In the order in which they were seen. */
  readonly violations: readonly Violation[]
  /**
   * Throws an error that lists all violations until everything had settled last, if there are any.
   */
  check(): void
  /** Adds a violation that was found elsewhere. */
  report(invariant: Invariant, message: string): void
  /** Everything that it remembers and that decides what it will report. */
  memory(): readonly unknown[]
}

export interface OracleOptions {
  /** `outbox.maxFailures` of the connection. Default 12. */
  readonly maxFailures?: number
  /** `outbox.maxInFlight` of the connection. Default 3. */
  readonly maxInFlight?: number
  /**
   * Whether a POST may wait for its headers now, which cannot be seen from outside. I13 is judged
   * only while this is false. Default: it always may.
   */
  readonly isPreparing?: () => boolean
}
