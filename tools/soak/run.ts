import { setTimeout as sleep } from 'node:timers/promises'
import { CHURNS, type Churn } from './churns'
import { bytesInUse, type Point, slopeOf } from './measure'
import type { Options } from './options'
import { createWorld } from './world'

/**
 * Before anything is counted caches fill, and code is compiled: so many iterations, or a quarter of
 * what follows.
 */
const WARM_UP = 1_000
/** What is kept for a moment is gone by then, ms. */
const MOMENT = 120

export interface Finding {
  readonly churn: Churn
  readonly iterations: number
  readonly points: readonly Point[]
  /** Bytes that an iteration leaves behind. */
  readonly slope: number
  /** What the connections reported: there is nothing that they should. */
  readonly errors: readonly string[]
  /** ms. */
  readonly took: number
}

export async function soak(
  options: Options,
  onFinding: (finding: Finding) => void = () => {},
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const churn of CHURNS.filter(({ name }) => options.only.includes(name))) {
    const finding = await soakOne(churn, options)
    findings.push(finding)
    onFinding(finding)
  }
  return findings
}

async function soakOne(churn: Churn, { redis, checkpoints, ...options }: Options): Promise<Finding> {
  const iterations = options.iterations * (churn.times ?? 1)
  const start = Date.now()
  const world = await createWorld(redis)
  const running = await churn.begin(world)
  const points: Point[] = []
  const each = Math.ceil(iterations / (checkpoints - 1))
  const first = Math.max(WARM_UP, Math.ceil(iterations / 4))
  await running.run(1, first)
  for (let done = 0; points.length < checkpoints; done += each) {
    if (done > 0) await running.run(first + 1 + done - each, each)
    await sleep(MOMENT)
    points.push({ iterations: done, bytes: await bytesInUse() })
  }
  running.end()
  await world.close()
  return {
    churn,
    iterations,
    points,
    slope: slopeOf(points),
    errors: [...world.errors.values()],
    took: Date.now() - start,
  }
}

export const isFlat = ({ slope, errors }: Finding, { bar }: Pick<Options, 'bar'>) => slope <= bar && errors.length === 0

/** One line. */
export function describe(finding: Finding, options: Pick<Options, 'bar'>): string {
  const { churn, iterations, points, slope, errors, took } = finding
  const [first, last] = [points[0], points.at(-1)].map((point) => ((point?.bytes ?? 0) / 1_048_576).toFixed(1))
  const verdict = errors.length > 0 ? 'FAILS' : isFlat(finding, options) ? 'flat ' : 'GROWS'
  const facts = [
    `${slope.toFixed(1).padStart(8)} B`,
    `${iterations} × ${churn.what}`,
    `${first} → ${last} MiB`,
    `${(took / 1_000).toFixed(0)} s`,
    ...errors,
  ]
  return `${verdict} ${churn.name.padEnd(12)} ${facts.join(' · ')}`
}
