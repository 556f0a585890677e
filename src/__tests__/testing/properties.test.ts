import fc from 'fast-check'
import { commands, createWorld, type World } from 'holdline/testing'
import { expect, test, vi } from 'vitest'
import { FEATURES } from '../../protocol'

// Messages that wait for `connect` are told there.
vi.spyOn(console, 'warn').mockImplementation(() => {})

/**
 * Random runs, far longer than what can be explored in every order. A failure shrinks to the
 * letters that matter.
 */
const RUNS = 150
const LENGTH = 300

test.each([
  ['no feature', []],
  ['receipts and idempotency', ['contiguous-seq', 'receipts', 'idempotency']],
  ['every feature', FEATURES],
  ['every feature but suspend-keeps', FEATURES.filter((feature) => feature !== 'suspend-keeps')],
] as const)(
  'I1–I15: whatever happens, for long, each holds, and a healthy network ends it well: %s',
  async (_, features) => {
    let happened = 0
    const letters = commands().map((command) =>
      fc.constant({
        ...command,
        run(world: World) {
          happened++
          return command.run(world)
        },
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.commands(letters, { maxCommands: LENGTH, size: 'max' }), async (run) => {
        let world: World | undefined
        await fc.asyncModelRun(() => {
          world = createWorld({ features })
          return { model: world, real: world }
        }, run)
        await world?.heals()
        world?.oracle.check()
      }),
      { numRuns: RUNS, seed: 20_261_122 },
    )
    expect(happened).toBeGreaterThan(20 * RUNS)
  },
)
