import type { Attack } from '../types'
import { control, flood, found, freshId, keptLine, MIB } from '../wire'

const PER_RESUME = 100
/** What may be left of 40,000 sessions that nobody ever wrote to, MiB. One stream may carry 1,000 of them. */
const LEFT = 24
const KEYS = 2_000

/** Cursors of sessions that never were: as many as one likes, a hundred for each POST. */
export const readingCreates: Attack = {
  row: 'C101',
  name: 'resumes of sessions that never were',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const line = keptLine(target)
    const before = await control(target).kept()
    const pace = { count: 400, atOnce: 8, perSecond: target.log === 'redis' ? 60 : 100 }
    const posts = await flood(signal, pace, async () => {
      const sessions = Array.from({ length: PER_RESUME }, () => ({ sessionId: `mallory-${freshId()}`, lastSeq: 0 }))
      await (await line())?.post('reconnect', JSON.stringify({ type: 'reconnect', sessions }))
    })
    const left = Math.round(((await control(target).kept()) - before) / MIB)
    return found(
      { sessions: posts * PER_RESUME, 'left MiB': left },
      left > LEFT && `${posts * PER_RESUME} sessions that were only read keep ${left} MiB, more than ${LEFT}`,
    )
  },
  async audit(redis) {
    const keys = await redis.dbsize()
    return keys <= KEYS ? [] : [`reading has left ${keys} keys in Redis, more than ${KEYS}`]
  },
}
