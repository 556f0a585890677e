import type { Clock } from '../../types'

export interface VirtualClock extends Clock {
  /** Timers that are still to fire. */
  readonly pending: number
}

/** Time that passes only when a test says so. The two clocks show the same time; their timers are counted apart. */
export interface VirtualTime {
  /** The connection's. */
  readonly clock: VirtualClock
  /** The server's, and the test's own. */
  readonly outside: VirtualClock
  /** When the next timer fires, ms since the epoch; `Infinity` if there is none. */
  readonly next: number
  /** Fires what is due within `ms`, in order, with everything that follows from it, chained timers included. */
  passes(ms: number): Promise<void>
  /** The machine slept: the wall clock moves on, and no timer has had a chance to fire. */
  jumps(ms: number): void
}

interface Timer {
  readonly at: number
  readonly id: number
  readonly callback: () => void
}

const START = Date.UTC(2026, 0, 1)

export function createVirtualTime(settles: () => Promise<void>): VirtualTime {
  let now = START
  let lastId = 0
  const own = new Map<number, Timer>()
  const foreign = new Map<number, Timer>()

  const clockOver = (timers: Map<number, Timer>): VirtualClock => ({
    now: () => now,
    setTimeout(callback, ms) {
      const id = ++lastId
      timers.set(id, { at: now + Math.max(0, ms), id, callback })
      return id
    },
    clearTimeout(id) {
      timers.delete(id as number)
    },
    get pending() {
      return timers.size
    },
  })

  function first(): Timer | undefined {
    let earliest: Timer | undefined
    for (const timers of [own, foreign]) {
      for (const timer of timers.values()) {
        if (!earliest || timer.at < earliest.at || (timer.at === earliest.at && timer.id < earliest.id))
          earliest = timer
      }
    }
    return earliest
  }

  return {
    clock: clockOver(own),
    outside: clockOver(foreign),
    get next() {
      return first()?.at ?? Number.POSITIVE_INFINITY
    },
    async passes(ms) {
      const until = now + ms
      await settles()
      for (let timer = first(); timer && timer.at <= until; timer = first()) {
        own.delete(timer.id)
        foreign.delete(timer.id)
        now = Math.max(now, timer.at)
        timer.callback()
        await settles()
      }
      now = Math.max(now, until)
    },
    jumps(ms) {
      now += ms
    },
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
