import type { Harness } from '../harness/harness'
import { ALPHABET } from '../world/alphabet'
import type { WorldOptions } from '../world/course'
import type { Alphabet } from '../world/letter'
import { createWorld, type World } from '../world/world'

export interface ReplayOptions extends WorldOptions {
  /** What can happen. Default: `ALPHABET`. */
  readonly alphabet?: Alphabet
  /**
   * Called after each letter, when everything that follows from it has happened. What it throws is
   * a violation.
   */
  readonly onStep?: (harness: Harness, letter: string) => void
}

/**
 * Carries out a sequence of letters, each of them when everything that follows from the one before
 * has happened. Rejects as soon as an invariant is broken, or a letter cannot happen.
 */
export async function replay(path: readonly string[], options: ReplayOptions = {}): Promise<World> {
  const world = createWorld(options)
  for (const letter of path) {
    if (!(options.alphabet ?? ALPHABET)[letter]?.isEnabled(world)) {
      throw new Error(`holdline replay: "${letter}" cannot happen here`)
    }
    await step(world, letter, options)
    world.oracle.check()
  }
  return world
}

export async function step(world: World, letter: string, { alphabet = ALPHABET, onStep }: ReplayOptions) {
  try {
    await alphabet[letter]?.act(world)
    await world.harness.settles()
    onStep?.(world.harness, letter)
  } catch (cause) {
    world.oracle.report('app', String(cause))
  }
}
