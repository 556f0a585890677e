import type { Clock } from '../../environment'

interface Timer {
  readonly at: number
  readonly callback: () => void
}
type Timers = Map<unknown, Timer>

/**
 * Time that stands still until a test moves it; any number of clocks show it, each with timers of
 * its own.
 */
export class Timeline {
  /** The time that timers run by, ms. */
  #time = 0
  /** How far the wall clock is off it, ms. */
  #offset: number
  #lastId = 0
  readonly #all: Timers[] = []

  constructor(start: number) {
    this.#offset = start
  }

  readonly now = () => this.#time + this.#offset

  createClock(): Clock & { readonly pending: readonly number[] } {
    const timers: Timers = new Map()
    const pending = () => Array.from(timers.values(), ({ at }) => at - this.#time).sort((a, b) => a - b)
    this.#all.push(timers)
    return {
      now: this.now,
      setTimeout: (callback, ms) => {
        timers.set(++this.#lastId, { at: this.#time + Math.max(0, ms), callback })
        return this.#lastId
      },
      clearTimeout: (timer) => void timers.delete(timer),
      /** How far away each timer is, ms, the nearest first. */
      get pending() {
        return pending()
      },
    }
  }

  /** Time passes, and no timer has a chance to fire: a sleep, a throttled tab. */
  readonly sleep = (ms: number) => {
    this.#time += ms
  }

  /** Somebody sets the wall clock; timers do not notice. */
  readonly set = (ms: number) => {
    this.#offset += ms
  }

  /** When the next timer fires, ms since the epoch; `Infinity` if there is none. */
  get next(): number {
    return (this.#first()?.[1].at ?? Number.POSITIVE_INFINITY) + this.#offset
  }

  /**
   * Fires all that is due within `ms`, in order, each at its time and an overdue one now, chained
   * timers included.
   */
  readonly advance = (ms: number) => {
    const end = this.#time + ms
    while (this.#fires(end));
    this.#time = end
  }

  /** The same, with everything that follows from each of them. */
  readonly passes = async (ms: number, settles: () => Promise<unknown>) => {
    const end = this.#time + ms
    do await settles()
    while (this.#fires(end))
    this.#time = Math.max(this.#time, end)
  }

  #fires(end: number): boolean {
    const first = this.#first()
    if (!first || first[1].at > end) return false
    const [timers, { at, callback }, id] = first
    timers.delete(id)
    this.#time = Math.max(this.#time, at)
    callback()
    return true
  }

  /** Of two that are due at the same time, the one that was set first. */
  #first(): readonly [Timers, Timer, unknown] | undefined {
    let first: readonly [Timers, Timer, number] | undefined
    for (const timers of this.#all) {
      for (const [id, timer] of timers) {
        const isEarlier = !first || timer.at < first[1].at || (timer.at === first[1].at && (id as number) < first[2])
        if (isEarlier) first = [timers, timer, id as number]
      }
    }
    return first
  }
}

/** One clock, and the hand that moves it. Fits XState as well. */
export function fakeClock(start = 1_700_000_000_000) {
  const timeline = new Timeline(start)
  const { sleep, set, advance, passes } = timeline
  return Object.assign(timeline.createClock(), { sleep, set, advance, passes })
}

export type FakeClock = ReturnType<typeof fakeClock>
