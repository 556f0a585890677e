import type { Attack, Target } from '../types'
import { dial, flood, found, keptLine, text } from '../wire'

const say = (target: Target, sessionId: string) =>
  JSON.stringify({ type: 'say', sessionId, text: text(250_000), over: target.over })
/** What one principal may have replayed, MB per second. */
const REPLAY_RATE = 32

/** The log, what is read from it, and the frames that are kept for the next reader: bounded by count alone. */
export const bigEvents: Attack = {
  row: 'C105',
  name: 'events of 250 kB',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const line = keptLine(target)
    let kept = 0
    await flood(signal, { count: 1_200, atOnce: 6, perSecond: 300 }, async (n) => {
      const answer = await (await line())?.post('say', say(target, `mallory-${n % 20}`))
      if (answer?.status === 200) kept += 1
    })
    const reader = await line()
    return found({ 'published MB': kept / 4, 'read MB': Math.round((reader?.received ?? 0) / 1e6) })
  },
  async audit(redis) {
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]) / 2 ** 20
    return used <= 256 ? [] : [`Redis holds ${Math.round(used)} MiB after it, more than 256`]
  },
}

/** 3 kB up, 25 MB down, again and again. */
export const replays: Attack = {
  row: 'C105',
  name: 'resumes that replay 25 MB',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const author = await dial(target)
    for (let n = 0; n < 100 && !signal.aborted; n += 1) await author?.post('say', say(target, `mallory-${n % 100}`))
    author?.cut()
    const sessions = Array.from({ length: 100 }, (_, n) => ({ sessionId: `mallory-${n}`, lastSeq: 0 }))
    const body = JSON.stringify({ type: 'reconnect', sessions })
    let received = 0
    const start = Date.now()
    const resumes = await flood(signal, { count: 200, atOnce: 4, perSecond: 20 }, async () => {
      const line = await dial(target)
      if (!line) return
      await new Promise<void>((resolve) => {
        line.onFrame = ({ type }) => type === 'reconnected' && resolve()
        signal.addEventListener('abort', () => resolve())
        void line.post('reconnect', body).then(({ status }) => status !== 200 && resolve())
      })
      received += line.received
      line.cut()
    })
    const rate = Math.round(received / 1e3 / Math.max(1, Date.now() - start))
    return found(
      { resumes, 'received MB': Math.round(received / 1e6), 'MB/s': rate },
      rate > REPLAY_RATE && `one principal was replayed ${rate} MB/s, more than ${REPLAY_RATE}`,
    )
  },
}
