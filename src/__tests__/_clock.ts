import type { Clock } from '../types'

/** Time that stands still until a test moves it; synchronous, chained timers included. Fits XState as well. */
export function fakeClock(start = 1_700_000_000_000) {
  let now = start
  let ids = 0
  const timers = new Map<unknown, { readonly at: number; readonly callback: () => void }>()

  const clock: Clock = {
    now: () => now,
    setTimeout(callback, ms) {
      ids += 1
      timers.set(ids, { at: now + ms, callback })
      return ids
    },
    clearTimeout: (timer) => void timers.delete(timer),
  }

  return {
    ...clock,
    /** The wall clock moves, no timer runs: a sleep, a throttled tab, or somebody who sets the clock. */
    jump(ms: number) {
      now += ms
    },
    /** Every timer that is due runs, in order, at its time; an overdue one runs now. */
    advance(ms: number) {
      const end = now + ms
      for (;;) {
        const [due] = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)
        if (!due) break
        const [id, { at, callback }] = due
        timers.delete(id)
        now = Math.max(now, at)
        callback()
      }
      now = Math.max(now, end)
    },
    /** How far away each timer is, ms, the nearest first. */
    get pending(): readonly number[] {
      return Array.from(timers.values(), ({ at }) => at - now).sort((a, b) => a - b)
    },
  }
}

export type FakeClock = ReturnType<typeof fakeClock>
