import type { Clock } from '../environment'

/** Time that stands still until a test moves it; synchronous, chained timers included. Fits XState as well. */
export function fakeClock(start = 1_700_000_000_000) {
  /** What timers run by, and how far the wall clock is off it. */
  let time = 0
  let offset = start
  let ids = 0
  const timers = new Map<unknown, { readonly at: number; readonly callback: () => void }>()

  const clock: Clock = {
    now: () => time + offset,
    setTimeout(callback, ms) {
      ids += 1
      timers.set(ids, { at: time + ms, callback })
      return ids
    },
    clearTimeout: (timer) => void timers.delete(timer),
  }

  return {
    ...clock,
    /** Time passes and no timer runs: a sleep, a throttled tab. What is due then runs with the next `advance`. */
    sleep(ms: number) {
      time += ms
    },
    /** Somebody sets the wall clock; timers do not notice. */
    set(ms: number) {
      offset += ms
    },
    /** Every timer that is due runs, in order, at its time; an overdue one runs now. */
    advance(ms: number) {
      const end = time + ms
      for (;;) {
        const [due] = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)
        if (!due) break
        const [id, { at, callback }] = due
        timers.delete(id)
        time = Math.max(time, at)
        callback()
      }
      time = end
    },
    /** How far away each timer is, ms, the nearest first. */
    get pending(): readonly number[] {
      return Array.from(timers.values(), ({ at }) => at - time).sort((a, b) => a - b)
    },
  }
}

export type FakeClock = ReturnType<typeof fakeClock>
