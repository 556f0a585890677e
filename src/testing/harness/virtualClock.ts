import type { Clock } from '../../environment'
import { Timeline } from './fakeClock'

export interface VirtualClock extends Clock {
  /** Timers that are still to fire. */
  readonly pending: number
}

/**
 * Time that passes only when a test says so. The two clocks show the same time; their timers are
 * counted apart.
 */
export interface VirtualTime {
  /** The connection's. */
  readonly clock: VirtualClock
  /** The server's, and the test's own. */
  readonly outside: VirtualClock
  /** When the next timer fires, ms since the epoch; `Infinity` if there is none. */
  readonly next: number
  /**
   * Fires what is due within `ms`, in order, with everything that follows from it, chained timers
   * included.
   */
  passes(ms: number): Promise<void>
  /** The machine slept: the wall clock moves on, and no timer has had a chance to fire. */
  jumps(ms: number): void
}

const START = Date.UTC(2026, 0, 1)

export function createVirtualTime(settles: () => Promise<void>): VirtualTime {
  const timeline = new Timeline(START)
  const counted = (): VirtualClock => {
    const clock = timeline.createClock()
    const { now, setTimeout, clearTimeout } = clock
    return {
      now,
      setTimeout,
      clearTimeout,
      get pending() {
        return clock.pending.length
      },
    }
  }
  return {
    clock: counted(),
    outside: counted(),
    get next() {
      return timeline.next
    },
    passes: (ms) => timeline.passes(ms, settles),
    jumps: timeline.sleep,
  }
}

// Taken before a test can put fake timers in its place.
const { setImmediate: immediate, MessageChannel: Channel } = globalThis

/** Lets every promise that can settle do so: one macrotask, which takes no time. */
export const settles = (): Promise<void> =>
  new Promise((resolve) => {
    if (immediate) {
      immediate(resolve)
      return
    }
    const { port1, port2 } = new Channel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
