import { type Behaviour, createHarness, resumeFails, streamDropsAfter, welcomeNeverComes } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { createChatStore } from './chatStore'
import { firstDraft, type Reducer, reducer } from './reducer'

/** An answer of five tokens while things go wrong; then the page must show what the server has. */
async function shows(reduce: Reducer, mishaps: readonly Behaviour[], restartsAfter?: number) {
  let store: ReturnType<typeof createChatStore> | undefined
  const harness = createHarness({
    server: mishaps,
    create: (environment) => {
      store = createChatStore(environment, 's1', reduce)
      return store.connection
    },
  })
  await harness.opens()
  let said = ''
  for (let n = 0; n < 5; n++) {
    harness.server.publish('s1', { type: 'token', answer: 1, text: `${n}` })
    said += n
    await harness.passes(100)
    if (n !== restartsAfter) continue
    harness.server.restarts()
    await harness.reaches('open')
    said = ''
  }
  await harness.passes(120_000)
  return { shown: store?.transcript(), said: [{ answer: 1, text: said }] }
}

const MISHAPS: readonly [name: string, mishaps: readonly Behaviour[], restartsAfter?: number][] = [
  ['nothing goes wrong', []],
  ['every stream drops after two events', [streamDropsAfter(2)]],
  ['… and every other resume fails', [streamDropsAfter(2), resumeFails({ status: 503, times: 2 })]],
  ['the second stream is never welcomed', [streamDropsAfter(3), welcomeNeverComes({ times: 1 })]],
  ['the server is restarted in the middle', [], 2],
]

describe('the page shows what the server has', () => {
  test.each(MISHAPS)('%s', async (_, mishaps, restartsAfter) => {
    const { shown, said } = await shows(reducer, mishaps, restartsAfter)
    expect(shown).toEqual(said)
  })
})

test('the kit finds the bug of the first draft', async () => {
  const failed: string[] = []
  for (const [name, mishaps, restartsAfter] of MISHAPS) {
    const { shown, said } = await shows(firstDraft, mishaps, restartsAfter)
    if (JSON.stringify(shown) !== JSON.stringify(said)) failed.push(name)
  }
  expect(failed).toEqual(['the server is restarted in the middle'])
})
