/** ms since the epoch, finer than `Date.now`. The same in all processes of one machine. */
export const now = () => performance.timeOrigin + performance.now()

/** Of this process so far, µs. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/**
 * Times in ms, as counts of buckets that are 2 % wide: it takes the same memory for ten of them and
 * for ten million.
 */
export interface Histogram {
  readonly counts: number[]
  max: number
}

const FINEST = 0.01
const WIDTH = Math.log(1.02)

export const emptyHistogram = (): Histogram => ({ counts: [], max: 0 })

export function record(histogram: Histogram, ms: number) {
  const bucket = Math.floor(Math.log(Math.max(ms, FINEST) / FINEST) / WIDTH)
  histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1
  histogram.max = Math.max(histogram.max, ms)
}

export function merge(histograms: readonly Histogram[]): Histogram {
  const merged = emptyHistogram()
  for (const { counts, max } of histograms) {
    merged.max = Math.max(merged.max, max)
    // Not null: what has crossed a process as JSON has it in place of a hole.
    for (const [bucket, count] of counts.entries()) merged.counts[bucket] = (merged.counts[bucket] ?? 0) + (count ?? 0)
  }
  return merged
}

/** `share` of all are at or below it; 0 if there are none. */
export function quantile({ counts, max }: Histogram, share: number): number {
  let left = share * counts.reduce((sum, count) => sum + (count ?? 0), 0)
  for (const [bucket, count] of counts.entries()) {
    left -= count ?? 0
    if (left <= 0) return Math.min(max, FINEST * Math.exp((bucket + 1) * WIDTH))
  }
  return 0
}
