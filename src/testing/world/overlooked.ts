import type { Clock } from '../../environment'

/** The same clock; `timers` are those that were set on it. */
export const overlooked = (clock: Clock, timers: Map<unknown, number>): Clock => ({
  now: clock.now,
  setTimeout(callback, ms) {
    const id = clock.setTimeout(() => {
      timers.delete(id)
      callback()
    }, ms)
    timers.set(id, clock.now() + Math.max(0, ms))
    return id
  },
  clearTimeout(id) {
    timers.delete(id)
    clock.clearTimeout(id)
  },
})
