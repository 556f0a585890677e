import { setImmediate as nextTurn } from 'node:timers/promises'

/** Bytes in use, once everything that can be collected is. `node --expose-gc` has to have been said. */
export async function bytesInUse(): Promise<number> {
  const { gc } = globalThis
  if (!gc) throw new Error('soak: start node with --expose-gc')
  // What a finaliser or a timer of 0 ms lets go of is collected by the next one.
  for (let round = 0; round < 3; round++) {
    gc()
    await nextTurn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export interface Point {
  readonly iterations: number
  readonly bytes: number
}

/** Bytes for each iteration: the median of the slopes between all pairs of points (Theil–Sen), so one step of the engine's own does not bend it. */
export function slopeOf(points: readonly Point[]): number {
  const slopes = points.flatMap((later, index) =>
    points.slice(0, index).map((earlier) => (later.bytes - earlier.bytes) / (later.iterations - earlier.iterations)),
  )
  if (slopes.length === 0) throw new Error('soak: a slope takes two points')
  slopes.sort((a, b) => a - b)
  const middle = (slopes.length - 1) / 2
  return ((slopes[Math.floor(middle)] ?? 0) + (slopes[Math.ceil(middle)] ?? 0)) / 2
}
