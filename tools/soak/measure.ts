import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Bytes in use, once everything that can be collected is. `node --expose-gc` has to have been said.
 */
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

/**
 * Bytes for each iteration, from the lowest point of the first third to the lowest of the last one.
 * What is collected late, and what the engine keeps for itself, only adds to a point; what leaks is
 * in each of them.
 */
export function slopeOf(points: readonly Point[]): number {
  const third = Math.ceil(points.length / 3)
  const first = lowestOf(points.slice(0, third))
  const last = lowestOf(points.slice(-third))
  if (!first || !last || first === last) throw new Error('soak: a slope takes two points')
  return (last.bytes - first.bytes) / (last.iterations - first.iterations)
}

const lowestOf = (points: readonly Point[]) => [...points].sort((a, b) => a.bytes - b.bytes)[0]
