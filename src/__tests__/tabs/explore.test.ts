import { describe, expect, test } from 'vitest'
import { loadPlantedInTabs } from '../../../tools/proof/load'
import { PLANTED } from '../../../tools/proof/planted'
import {
  createTabsExpand,
  createWalk,
  faultsAfter,
  replayTabs,
  rootOf,
  SETS,
  type TabOptions,
} from '../../../tools/proof/tabs'
import type { Finding } from '../../testing'
import { range } from './browser'

// A slice of what `npm run explore -- tabs` does.

const optionsOf = (set: string) => SETS[set] as TabOptions
const tell = (findings: readonly Finding[]) => findings.map(({ invariant, test }) => `${invariant}: ${test}`)

describe('whatever happens to the tabs of a browser, no promise is broken, and a calm leads back to one line that has everything', () => {
  test('each single thing, to two tabs that share a line', async () => {
    const expand = createTabsExpand(optionsOf('two'), 'two')
    const edges = await expand(rootOf(optionsOf('two')))
    expect(edges.flatMap(({ findings }) => tell(findings))).toEqual([])
    expect(edges.length).toBeGreaterThan(30)
  })

  test.each([
    ['two', 40],
    ['three', 25],
    ['detaching', 15],
    ['restarts', 10],
    ['users', 15],
    ['builds', 10],
    ['logout', 10],
  ])(
    'ten things in a row, %s, %i times',
    async (set, times) => {
      const walk = createWalk(optionsOf(set), set, 10)
      const tried = new Set<number>()
      for (const seed of range(1, times)) {
        const { edges, findings } = await walk(seed)
        expect(tell(findings)).toEqual([])
        for (const edge of edges) tried.add(edge)
      }
      expect(tried.size).toBeGreaterThan(5 * times)
    },
    120_000,
  )
})

test('a path is carried out the same each time, and one that cannot be is refused', async () => {
  const path = [...rootOf(optionsOf('two')), 'a crashes', 'an event', 'b sends']
  for (const _ of ['first', 'again']) {
    const { tabs } = await replayTabs(path, optionsOf('two'))
    expect(tabs.get('a')?.isGone).toBe(true)
    expect(tabs.get('b')).toMatchObject({ role: 'leading', isOpen: true, had: new Map([['s1', 1]]) })
  }
  await expect(replayTabs(['b opens'], optionsOf('two'))).rejects.toThrow('"b opens" cannot happen here')
})

describe('a bug in the tabs is seen, and the promise that it breaks is named', () => {
  const shown = PLANTED.flatMap((planted) => (planted.showsInTabs ? [{ planted, ...planted.showsInTabs }] : []))

  test.each(shown)('$invariant: $planted.bug', async ({ planted, set, path, invariant }) => {
    const letters = path.split(', ')
    expect(await faultsAfter(letters, optionsOf(set))).toEqual([])
    const kit = await loadPlantedInTabs(planted)
    const faults = await kit.faultsAfter(letters, optionsOf(set))
    expect(faults.map((fault) => fault.invariant)).toContain(invariant)
  })

  test('fifteen of them at least', () => expect(shown.length).toBeGreaterThanOrEqual(15))
})
