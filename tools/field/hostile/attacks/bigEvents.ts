import type { Attack } from '../types'
import { dial, flood, found, keptLine, swelling, text } from '../wire'

const BYTES = 250_000
const say = (sessionId: string) => JSON.stringify({ type: 'say', sessionId, text: text(BYTES) })
/** As large on the wire, twenty times as large as what it is parsed into. */
const saySwelling = (sessionId: string) => `{"type":"say","sessionId":"${sessionId}","text":${swelling(BYTES)}}`
/** What Redis may hold for it, MiB: one principal has an eighth of a budget of 256, and some. */
const MAX_IN_REDIS = 48
/** What one principal may have replayed, MB per second. */
const REPLAY_RATE = 32

/**
 * The log, what is read from it, and the frames that are kept for the next reader: bounded by count
 * alone.
 */
export const bigEvents: Attack = {
  row: 'C105',
  name: 'events of 250 kB',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const line = keptLine(target)
    // Redis keeps the text.
    const swells = target.log === 'memory'
    let kept = 0
    await flood(signal, { count: 1_200, atOnce: 6, perSecond: 300 }, async (n) => {
      const answer = await (await line())?.post('say', (swells && n % 2 ? saySwelling : say)(`mallory-${n % 4}`))
      if (answer?.status === 200) kept += 1
    })
    const reader = await line()
    return found({ 'published MB': kept / 4, 'read MB': Math.round((reader?.received ?? 0) / 1e6) })
  },
  async audit(redis) {
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]) / 2 ** 20
    return used <= MAX_IN_REDIS ? [] : [`Redis holds ${Math.round(used)} MiB after it, more than ${MAX_IN_REDIS}`]
  },
}

/** 3 kB up, 25 MB down, again and again. */
export const replays: Attack = {
  row: 'C105',
  name: 'resumes that replay 25 MB',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  seconds: 7,
  async run(target, signal) {
    const author = keptLine(target)
    await flood(signal, { count: 100, atOnce: 10, perSecond: 200 }, async (n) =>
      (await author())?.post('say', say(`mallory-${n}`)),
    )
    ;(await author())?.cut()
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
      received === 0 && 'nothing was replayed: the attack has shown nothing',
      rate > REPLAY_RATE && `one principal was replayed ${rate} MB/s, more than ${REPLAY_RATE}`,
    )
  },
}
