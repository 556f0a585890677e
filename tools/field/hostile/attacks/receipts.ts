import { RECEIPTS } from '../names'
import type { Attack } from '../types'
import { flood, found, freshId, keptLine } from '../wire'

/** What a batch holds. */
const BATCH = 50
const LINES = 4

/**
 * One client's commands push everybody's receipts out. The honest client repeats a payment
 * afterwards.
 */
export const receipts: Attack = {
  row: 'C100',
  name: 'batches that evict the receipts of others',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  seconds: 6,
  async run(target, signal) {
    const lines = Array.from({ length: LINES }, () => keptLine(target))
    let taken = 0
    let refused = 0
    const pace = { count: Math.ceil((1.5 * RECEIPTS) / BATCH), atOnce: LINES, perSecond: 60 }
    await flood(signal, pace, async (n) => {
      const body = { type: 'send', sessionId: `mallory-${n % LINES}` }
      const messages = Array.from({ length: BATCH }, () => ({ id: freshId(), endpoint: 'send', body }))
      const answer = await (await lines[n % LINES]?.())?.post('batch', JSON.stringify({ messages }))
      for (const { status } of [answer?.json.results ?? []].flat() as { status: number }[]) {
        if (status === 200) taken += 1
        else refused += 1
      }
    })
    return found({ taken, refused })
  },
  async audit(redis) {
    const kept = (await redis.keys('*:receipt:*')).length
    return kept <= RECEIPTS ? [] : [`Redis keeps ${kept} receipts, where limits.receipts is ${RECEIPTS}`]
  },
}
