import { ALPHABET } from '../world/alphabet'
import type { World } from '../world/world'
import { type Finding, isSame, shorten, testOf } from './finding'
import { fingerprint, hash } from './fingerprint'
import { type ReplayOptions, replay, step } from './replay'

/** One letter, and where it led to. */
export interface Edge {
  readonly letter: string
  /** The state's hash; none, if an invariant is broken there. */
  readonly state?: number
  readonly findings: readonly Finding[]
}
export type Expand = (path: readonly string[]) => Promise<readonly Edge[]>

/**
 * Works out what follows from a node, and remembers which states it has handed to a healthy
 * network.
 */
export function createExpand(options: ReplayOptions): Expand {
  const { alphabet = ALPHABET } = options
  const healed = new Set<number>()
  const found: Finding[] = []

  /** What is wrong with this world, each in its shortest form. Nothing that is known. */
  async function find({ oracle }: World, path: readonly string[]): Promise<readonly Finding[]> {
    const news = oracle.violations.filter((violation) => !found.some((known) => isSame(known, violation)))
    const findings: Finding[] = []
    for (const violation of news) {
      const { invariant, message } = violation
      const shortest = await shorten(path, invariant, options)
      findings.push({ invariant, message, path: shortest, test: testOf(shortest, violation, options) })
    }
    found.push(...findings)
    return findings
  }

  async function expand(path: readonly string[]): Promise<readonly Edge[]> {
    const edges: Edge[] = []
    let world = await replay(path, options)
    let trail = path
    const here = hash(fingerprint(world))
    for (const letter of Object.keys(alphabet)) {
      if (!alphabet[letter]?.isEnabled(world)) continue
      await step(world, letter, options)
      trail = [...trail, letter]
      const state = world.oracle.violations.length ? undefined : hash(fingerprint(world))
      // What changes nothing leaves the world as good as new.
      if (state === here) {
        edges.push({ letter, state, findings: [] })
        continue
      }
      if (state !== undefined && !healed.has(state)) {
        healed.add(state)
        await world.heals().catch(() => {})
      }
      edges.push({ letter, ...(state !== undefined && { state }), findings: await find(world, trail) })
      world = await replay(path, options)
      trail = path
    }
    return edges
  }

  return async (path) => {
    const before = Error.stackTraceLimit
    // Most of what fails here is meant to fail; nobody reads the stacks, and they take their time.
    Error.stackTraceLimit = 0
    return expand(path).finally(() => {
      Error.stackTraceLimit = before
    })
  }
}
