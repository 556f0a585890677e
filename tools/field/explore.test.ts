import { explore } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { createShowingApp, SUSPENDING } from '../shared/explorations'

/** Two letters more than in `npm test`; `npm run explore` goes to six and seven. */
describe('no sequence of five letters breaks an invariant, and each leads back to an open line', () => {
  test.each([
    ['no feature', { features: [] }, 2_500],
    ['some features', { features: ['contiguous-seq', 'receipts', 'idempotency'] as const }, 2_500],
    ['all features and a heartbeat', { heartbeat: 20_000 }, 3_800],
  ])('with %s', async (_, options, edges) => {
    const exploration = await explore({ ...options, depth: 5 })
    expect(exploration).toMatchObject({ depth: 5, violations: [] })
    expect(exploration.edges).toBeGreaterThan(edges)
  })
})

test.each(SUSPENDING)(
  'C71 I14: no four letters around a suspend break an invariant, with a server that detaches, and %s',
  async (_, options) => {
    const { violations, edges } = await explore({ ...options, depth: 4 })
    expect(violations).toEqual([])
    expect(edges).toBeGreaterThan(400)
  },
)

test.each([
  ['no feature', { features: [] }],
  ['all features and a heartbeat', { heartbeat: 20_000 }],
])('no four letters break an invariant of an app whose server loses what it had, with %s', async (_, options) => {
  const { violations, edges } = await explore({ ...createShowingApp(), ...options, depth: 4 })
  expect(violations).toEqual([])
  expect(edges).toBeGreaterThan(1_000)
})
