import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ALPHABET, INVARIANTS, ODDITIES, replay } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { locate } from '../../../tools/proof/anchor'
import { loadPlanted } from '../../../tools/proof/load'
import { PLANTED } from '../../../tools/proof/planted'

test('every planted bug still has its place in the code, exactly once, and changes it', () => {
  const misplaced = PLANTED.filter(({ file, replace, ...anchor }) => {
    const text = readFileSync(fileURLToPath(new URL(`../../../${file}`, import.meta.url)), 'utf8')
    return locate(text, anchor).length !== 1 || anchor.find === replace
  })
  expect(misplaced.map(({ row, bug }) => `${row}: ${bug}`)).toEqual([])
  expect(PLANTED.length).toBeGreaterThanOrEqual(25)
})

test('a place is code in a declaration: white space may change, and what is outside does not count', () => {
  const source = `
    const f = () => { a(1);
      b() }
    class Inbox { take() { a( 1 ) } get size() { return 1 } constructor() { a(1) } }
    function g() { a(1); a(1) }`
  const at = (within: string, find = 'a(1)') =>
    locate(source, { within, find }).map(([start, end]) => source.slice(start, end))
  expect(at('f', 'a(1);b()')).toEqual(['a(1);\n      b()'])
  expect(at('Inbox.take')).toEqual(['a( 1 )'])
  expect(at('Inbox.constructor')).toEqual(['a(1)'])
  expect(at('g')).toHaveLength(2)
  expect([at('Inbox.size'), at('h'), at('f', 'c()')]).toEqual([[], [], []])
})

describe('each invariant is broken by a planted bug, and the oracle says which', () => {
  const shown = PLANTED.flatMap((planted) => (planted.shows ? [{ planted, shows: planted.shows }] : []))

  test.each(shown)('$shows.invariant: $planted.bug', async ({ planted, shows }) => {
    const { invariant, letters, ...announced } = shows
    const heal = async (kit: Pick<Awaited<ReturnType<typeof loadPlanted>>, 'replay' | 'ALPHABET' | 'ODDITIES'>) => {
      const world = await kit.replay(letters, {
        features: [],
        ...announced,
        alphabet: { ...kit.ALPHABET, ...kit.ODDITIES },
      })
      await world.heals()
    }
    await heal({ replay, ALPHABET, ODDITIES })
    await expect(loadPlanted(planted).then(heal)).rejects.toThrow(`  ${invariant} (`)
  })

  test('all of them, once each', () => {
    expect(shown.map(({ shows }) => shows.invariant).sort()).toEqual(
      Object.keys(INVARIANTS)
        .filter((name) => name !== 'app')
        .sort(),
    )
  })
})
