import type { Clock } from '../environment'

/**
 * Looks per `limit`. A sign counts from the look that finds it, so silence is noticed an eighth of
 * the limit late at most.
 */
const LOOKS = 8

/**
 * Calls back once there has been no sign of life for `limit` ms. Signs are counted and not timed,
 * because they are as many as messages. It compares wall clocks, so a late timer or a sleep is
 * noticed at the first chance; only where a sign came just before the sleep, the limit runs anew
 * (and the page lifecycle has told of the sleep). Returns the function that stops it.
 */
export function watchSilence(clock: Clock, limit: number, signs: () => number, onSilent: () => void): () => void {
  let seen = signs()
  let lastSign = clock.now()
  let timer: unknown
  const look = () => {
    if (signs() !== seen) lastSign = clock.now()
    seen = signs()
    const silence = clock.now() - lastSign
    // Below 0: the clock was set back, and nobody knows for how long it has been silent.
    if (silence >= limit || silence < 0) onSilent()
    else timer = clock.setTimeout(look, Math.min(limit / LOOKS, limit - silence))
  }
  timer = clock.setTimeout(look, limit / LOOKS)
  return () => clock.clearTimeout(timer)
}
