export interface Clock {
  /** ms since the epoch. */
  now(): number
  setTimeout(callback: () => void, ms: number): unknown
  /** Also called with `undefined`, and with timers that have fired. */
  clearTimeout(timer: unknown): void
}

export type Timers = Pick<Clock, 'setTimeout' | 'clearTimeout'>

export const wallClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout> | undefined),
}

/** It keeps no process alive. */
export function setIdleTimeout(clock: Timers, callback: () => void, ms: number) {
  // In a browser it is a number.
  const timer = clock.setTimeout(callback, ms) as { unref?(): void } | undefined
  timer?.unref?.()
}
