import { ALPHABET } from './alphabet'
import type { Alphabet } from './letter'
import type { World } from './world'

/** What fast-check calls an `AsyncCommand`; the world is its model and the real thing at once. */
export interface Command {
  check(world: World): boolean
  run(world: World): Promise<void>
  toString(): string
}

/**
 * The letters as commands, for long random runs that shrink: `fc.commands(commands().map((command)
 * => fc.constant(command)))`.
 */
export const commands = (alphabet: Alphabet = ALPHABET): readonly Command[] =>
  Object.entries(alphabet).map(([letter, { isEnabled, act }]) => ({
    check: (world) => !!isEnabled(world),
    async run(world) {
      await act(world)
      await world.harness.settles()
      world.oracle.check()
    },
    toString: () => letter,
  }))
