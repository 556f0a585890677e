import type { Finding } from '../../../src/testing/explore/finding'
import { hash } from '../../../src/testing/explore/fingerprint'
import { seededRandom } from '../../../src/testing/harness/random'
import { calm } from './calm'
import { alphabetOf, createFinder, step, type TabOptions, withoutStacks } from './expand'
import { fingerprint } from './fingerprint'
import { ModelBrowser } from './modelBrowser'
import { rootOf } from './sets'

/** What a walk has tried: hashes of a state with a letter. */
export interface Walk {
  readonly edges: readonly number[]
  readonly findings: readonly Finding[]
}

/**
 * Walks far beyond the depth of the breadth-first search: from the root so many letters, each one
 * drawn of those that were not tried in that state before; and then comes the calm.
 */
export function createWalk(options: TabOptions, set: string, length: number): (seed: number) => Promise<Walk> {
  const alphabet = alphabetOf(options)
  const tried = new Set<number>()
  const find = createFinder(options, set)

  async function walk(seed: number): Promise<Walk> {
    const random = seededRandom(seed)
    const browser = new ModelBrowser(options)
    const path: string[] = []
    const edges: number[] = []
    const go = (letter: string) => {
      path.push(letter)
      return step(browser, letter, alphabet)
    }
    for (const letter of rootOf(options)) await go(letter)
    for (let index = 0; index < length && !browser.faults.length; index++) {
      const state = fingerprint(browser)
      const can = Object.keys(alphabet).filter((letter) => alphabet[letter]?.isEnabled(browser))
      const edgeOf = (letter: string) => hash(`${state} ${letter}`)
      // A few are drawn, and the first that is new is taken: all of them would take their time.
      const drawn = Array.from({ length: 4 }, () => can[Math.floor(random() * can.length)] as string)
      const letter = drawn.find((one) => !tried.has(edgeOf(one))) ?? (drawn[0] as string)
      const edge = edgeOf(letter)
      tried.add(edge)
      edges.push(edge)
      await go(letter)
    }
    if (!browser.faults.length) await calm(browser)
    return { edges, findings: await find(browser, path) }
  }

  return (seed) => withoutStacks(() => walk(seed))
}
