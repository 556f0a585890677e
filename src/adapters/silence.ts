import type { Clock } from '../types'

/**
 * Calls back once there has been no sign of life for `limit` ms. It compares wall clocks, so a throttled timer or a
 * sleep is noticed at the first chance. Returns the function that stops it.
 */
export function watchSilence(clock: Clock, limit: number, lastSign: () => number, onSilent: () => void): () => void {
  let timer: unknown
  const check = () => {
    const left = lastSign() + limit - clock.now()
    if (left <= 0) onSilent()
    else timer = clock.setTimeout(check, left)
  }
  timer = clock.setTimeout(check, limit)
  return () => clock.clearTimeout(timer)
}
