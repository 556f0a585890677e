import type { Harness } from '../harness/harness'
import { alternate } from './alternate'
import { flow } from './flow'
import { inOrder } from './inOrder'
import { noneHeldUp } from './noneHeldUp'
import { nothingInIdle } from './nothingInIdle'
import { oneResume } from './oneResume'
import { oneStream } from './oneStream'
import { oneVerdict } from './oneVerdict'
import { INVARIANTS, type Invariant, type Oracle, type OracleOptions, type Violation } from './oracle'
import { repeatPace } from './pacing/repeatPace'
import { resumePace } from './pacing/resumePace'
import { streamPace } from './pacing/streamPace'
import { resumedFirst } from './resumedFirst'
import { risingOnce } from './risingOnce'
import { sendsInOpen } from './sendsInOpen'
import { stale } from './stale'
import { waitsAreTold } from './waitsAreTold'
import type { Watch } from './watch'

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
 * Watches a connection from the outside: the streams and requests that it makes, the time at which
 * it makes them, and what it tells. It shares nothing with the code that it judges. To be called
 * before the connection is used.
 *
 * Let things settle (`harness.settles()`, `passes()`) between a late result and the next step of
 * the app: changes that come in one go cannot be told apart. With `dedupe: false` I6 does not hold.
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
