import { setTimeout as sleep } from 'node:timers/promises'
import type { Attack } from '../types'
import { aborted, control, dial, flood, found, freshId, MIB } from '../wire'

const PER_RESUME = 100
/** What may be left when the clients are gone, MiB; 10,000 sessions are 12 MiB if they are kept. */
const LEFT = 4
/** Sessions in Redis that somebody has written to: the honest client's, and a few. */
const WRITTEN = 10

/** Cursors of sessions that never were: as many as one likes, a hundred for each POST. */
export const readingCreates: Attack = {
  row: 'C101',
  name: 'resumes of sessions that never were',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const before = await control(target).kept()
    let sessions = 0
    // A stream may carry 1,000; those beyond are looked up as well, and answered `forbidden`.
    await flood(signal, { count: 36, atOnce: 4, perSecond: 9 }, async () => {
      const line = await dial(target)
      for (let n = 0; line && n < 12 && !signal.aborted; n += 1) {
        sessions += PER_RESUME
        const cursors = Array.from({ length: PER_RESUME }, () => ({ sessionId: `mallory-${freshId()}`, lastSeq: 0 }))
        await Promise.race([
          line.post('reconnect', JSON.stringify({ type: 'reconnect', sessions: cursors })),
          aborted(signal),
        ])
      }
      line?.cut()
    })
    await sleep(300)
    const left = Math.round(((await control(target).kept()) - before) / MIB)
    return found(
      { sessions, 'left MiB': left },
      left > LEFT && `${sessions} sessions that were only read keep ${left} MiB, more than ${LEFT}`,
    )
  },
  async audit(redis) {
    const left = (await redis.keys('*:meta')).length
    return left <= WRITTEN ? [] : [`reading has left ${left} sessions in Redis, more than ${WRITTEN}`]
  },
}
