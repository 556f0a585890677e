import type { Clock } from '../types'

/**
 * Calls back once there has been no sign of life for `limit` ms. It compares wall clocks, so a throttled timer or a
 * sleep is noticed at the first chance. Returns the function that stops it.
 */
export function watchSilence(clock: Clock, limit: number, lastSign: () => number, onSilent: () => void): () => void {
  let timer: unknown
  const check = () => {
    const left = lastSign() + limit - clock.now()
    // More than the limit left: the clock was set back, and nobody knows for how long it has been silent.
    if (left <= 0 || left > limit) onSilent()
    else timer = clock.setTimeout(check, left)
  }
  check()
  return () => clock.clearTimeout(timer)
}
