import { ConnectionError, type Verdict } from 'holdline'
import { expect, test, vi } from 'vitest'
import { Feed } from '../../threads/feed'
import type { Line } from '../../threads/line'

const RECEIPT = { run: 'r', state: 'running', after: 4, head: 7, epoch: 'e' }

/** A feed whose line answers when the test says so. */
function createFeed({ known, cursor }: { readonly known?: string; readonly cursor?: number } = {}) {
  const answers: ((verdict: Partial<Verdict>) => void)[] = []
  const watched: unknown[] = []
  const unwatch = vi.fn(() => void watched.pop())
  const line = {
    pending: [],
    cursor: () => cursor && { sessionId: 's', lastSeq: cursor },
    send: vi.fn(() => ({ settled: new Promise((resolve) => answers.push(resolve as never)) })),
    watch: (_: string, options: { after: unknown }) => {
      watched.push(options.after)
      return unwatch
    },
    unwatch: vi.fn(() => void watched.splice(0)),
  }
  const breakOff = vi.fn()
  const feed = new Feed(line as unknown as Line, 's', { known, breakOff })
  const answer = (receipt: unknown = RECEIPT) => answers.shift()?.({ status: 'accepted', receipt } as Partial<Verdict>)
  const refuse = (code: 'forbidden' | 'cancelled' | 'http') =>
    answers.shift()?.({ status: 'rejected', error: new ConnectionError(code as never, code) } as Partial<Verdict>)
  return { feed, line, watched, breakOff, answer, refuse }
}

const FROM_RECEIPT = { sessionId: 's', lastSeq: 4, epoch: 'e' }

test('readers who come at the same time ask once, and a feed that misses nothing does not ask', async () => {
  const { feed, line, watched, answer } = createFeed()
  const both = Promise.all([feed.catchUp(), feed.catchUp()])
  answer()
  await both
  await feed.catchUp()
  expect([line.send.mock.calls.length, watched, feed.isWhole]).toEqual([1, [FROM_RECEIPT], true])
})

test('a run that the page does not know is coming, and what happened before the answer is a replay up to its head', async () => {
  const { feed, answer } = createFeed()
  const asked = feed.catchUp()
  answer()
  await asked
  expect([feed.coming, feed.replay?.head]).toEqual(['r', 7])
  feed.heard(6)
  expect(feed.replay).toBeDefined()
  feed.heard(7)
  expect([feed.coming, feed.replay, feed.isWhole]).toEqual([undefined, undefined, true])
})

test('a run that the page knows is not rewound; one that began before the cursor, unknown, is', async () => {
  for (const known of ['r', undefined]) {
    const { feed, line, watched, answer } = createFeed({ cursor: 6, ...(known && { known }) })
    const asked = feed.catchUp()
    answer()
    await asked
    expect([line.unwatch.mock.calls.length, feed.coming]).toEqual(known ? [0, undefined] : [1, 'r'])
    expect(watched).toEqual([FROM_RECEIPT])
  }
})

test('a thread that is left while the server is asked watches nothing, whatever the answer', async () => {
  const { feed, watched, breakOff, answer } = createFeed()
  const asked = feed.catchUp()
  feed.close()
  answer({ ...RECEIPT, broken: { id: 'b', reason: 'failed' } })
  await asked
  // The thread that comes after it asks, and tells it.
  expect([watched, breakOff.mock.calls]).toEqual([[], []])
  const other = createFeed()
  const refused = other.feed.catchUp()
  other.feed.close()
  other.refuse('forbidden')
  await refused
  expect(other.watched).toEqual([])
})

test('a reader who may not write follows from now on; any other refusal is told, and the next one asks again', async () => {
  const { feed, line, watched, refuse, answer } = createFeed()
  const asked = feed.catchUp()
  refuse('http')
  await expect(asked).rejects.toMatchObject({ code: 'http' })
  const again = feed.catchUp()
  refuse('forbidden')
  await again
  expect([watched, feed.isWhole, line.send.mock.calls.length]).toEqual([['head'], true, 2])
  answer()
})

test('what an own answer brings holds while the server is asked, and after events were lost all is asked anew', async () => {
  const { feed, watched, answer } = createFeed()
  const asked = feed.catchUp()
  feed.follow({ ...RECEIPT, broken: undefined })
  expect([watched, feed.isWhole]).toEqual([[FROM_RECEIPT], true])
  answer()
  await asked
  feed.lose('reset')
  expect([watched, feed.isWhole, feed.coming]).toEqual([[], false, undefined])
  const again = feed.catchUp()
  feed.lose('reset')
  answer()
  await again
  expect([watched, feed.isWhole]).toEqual([[FROM_RECEIPT], true])
})

test('a run that broke is handed on, and is not coming', async () => {
  const { feed, breakOff, answer } = createFeed()
  const asked = feed.catchUp()
  answer({ run: null, after: 7, head: 7, epoch: 'e', broken: { id: 'b', reason: 'failed' } })
  await asked
  expect([breakOff.mock.calls, feed.coming]).toEqual([[['b', 'failed']], undefined])
})
