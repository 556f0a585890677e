import type { Clock, StorageLike } from '../../environment'

/** One load of the page. When it has ended, nothing reaches its code any more. */
export interface Visit {
  readonly clock: Clock
  readonly isOver: () => boolean
  end(): void
}

/** The clock is asked each time: a test may change it, so that it throws. */
export function createVisit(clock: Clock): Visit {
  const timers = new Set<unknown>()
  let state: 'live' | 'over' = 'live'
  const forget = (timer: unknown) => {
    timers.delete(timer)
    clock.clearTimeout(timer)
  }
  return {
    clock: {
      now: () => clock.now(),
      setTimeout(callback, ms) {
        if (state === 'over') return undefined
        const timer = clock.setTimeout(() => {
          timers.delete(timer)
          callback()
        }, ms)
        timers.add(timer)
        return timer
      },
      clearTimeout: forget,
    },
    isOver: () => state === 'over',
    end() {
      state = 'over'
      for (const timer of timers) forget(timer)
    },
  }
}

/** What a browser keeps for an origin, whatever becomes of its pages. */
export function createStorage(): StorageLike {
  const entries = new Map<string, string>()
  return {
    get length() {
      return entries.size
    },
    key: (index) => [...entries.keys()][index] ?? null,
    getItem: (key) => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
    removeItem: (key) => void entries.delete(key),
  }
}
