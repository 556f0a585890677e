import type { Harness } from '../harness/harness'
import { alternate } from './alternate'
import { flow } from './flow'
import { inOrder } from './inOrder'
import { noneHeldUp } from './noneHeldUp'
import { nothingInIdle } from './nothingInIdle'
import { oneResume } from './oneResume'
import { oneStream } from './oneStream'
import { oneVerdict } from './oneVerdict'
import { repeatPace } from './pacing/repeatPace'
import { resumePace } from './pacing/resumePace'
import { streamPace } from './pacing/streamPace'
import { resumedFirst } from './resumedFirst'
import { risingOnce } from './risingOnce'
import { sendsInOpen } from './sendsInOpen'
import { stale } from './stale'
import { waitsAreTold } from './waitsAreTold'
import type { Watch } from './watch'

/** The promises that hold at every moment, whatever happens. I9 is about the future: `world.heals()` judges it. */
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
  /** Throws an error that lists all violations until everything had settled last, if there are any. */
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
   * Whether a POST may wait for its headers now, which cannot be seen from outside. I13 is judged only while this is false. Default: it
   * always may.
   */
  readonly isPreparing?: () => boolean
}

const WATCHES: Readonly<Record<Exclude<Invariant, 'I9' | 'app'>, readonly Watch[]>> = {
  I1: [oneStream],
  I2: [oneResume],
  I3: [sendsInOpen],
  I4: [inOrder],
  I5: [oneVerdict],
  I6: [risingOnce],
  I7: [alternate],
  I8: [nothingInIdle],
  I10: [flow],
  I11: [stale],
  I12: [streamPace, repeatPace, resumePace],
  I13: [noneHeldUp],
  I14: [resumedFirst],
  I15: [waitsAreTold],
}

/**
 * Watches a connection from the outside: the streams and requests that it makes, the time at which it makes them, and what it tells. It
 * shares nothing with the code that it judges. To be called before the connection is used.
 *
 * Let things settle (`harness.settles()`, `passes()`) between a late result and the next step of the app: changes that come in one go
 * cannot be told apart. With `dedupe: false` I6 does not hold.
 */
export function watchInvariants(
  harness: Harness,
  { maxFailures = 12, maxInFlight = 3, isPreparing = () => true }: OracleOptions = {},
): Oracle {
  const violations: Violation[] = []
  const report = (invariant: Invariant, message: string) => {
    if (violations.some((known) => known.invariant === invariant && known.message === message)) return
    violations.push({ invariant, message, at: harness.time.clock.now() })
  }
  const settings = { maxFailures, maxInFlight, isPreparing }
  const observers = Object.entries(WATCHES).flatMap(([name, watches]) =>
    watches.map((watch) => watch(harness, (message) => report(name as Invariant, message), settings)),
  )
  for (const observer of observers) harness.observe(observer)
  return {
    violations,
    report,
    check() {
      if (violations.length) throw new Error(`holdline invariants:\n${violations.map(describe).join('\n')}`)
    },
    memory: () => observers.map((observer) => observer.memory?.()),
  }
}

const describe = ({ invariant, message }: Violation) => `  ${invariant} (${INVARIANTS[invariant]}): ${message}`
