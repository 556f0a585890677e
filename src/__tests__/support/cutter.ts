import { afterAll, afterEach, beforeEach, expect } from 'vitest'
import { seededRandom } from '../../testing/harness/random'

/** How many times in one test at most: each line then comes to its end. */
const MOST = 12

/**
 * Cuts all sockets of a server at seeded moments: between the events of its answers, before a
 * request leaves, and before its answer is read. A test gives it the server before the first of
 * them.
 *
 * @param chance of a cut at each of them
 */
export function createCutter(seed: number, chance = 0.15) {
  const random = seededRandom(seed)
  let count = 0
  let cut = () => {}
  const maybe = () => {
    if (count >= MOST || random() >= chance) return
    count += 1
    cut()
  }
  return {
    get count() {
      return count
    },
    cuts(server: { destroySockets(): void }) {
      cut = () => server.destroySockets()
    },
    /** To be awaited before each event of an answer. */
    async shake() {
      maybe()
      await new Promise((resolve) => setTimeout(resolve, 6 * random()))
    },
    /** Of a page. */
    fetch: async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
      maybe()
      const response = await fetch(input, init)
      maybe()
      return response
    },
  }
}

/**
 * A cutter for each test of this block; returns the one of the current test. Over all of them there
 * have to be cuts.
 */
export function cutters(seed: number): () => ReturnType<typeof createCutter> {
  let cutter = createCutter(seed)
  let cuts = 0
  let tests = 0
  beforeEach(() => {
    tests += 1
    cutter = createCutter(100 * tests + seed)
  })
  afterEach(() => {
    cuts += cutter.count
  })
  afterAll(() => {
    // One test alone may have none.
    if (tests > 5) expect(cuts).toBeGreaterThan(2 * tests)
  })
  return () => cutter
}
