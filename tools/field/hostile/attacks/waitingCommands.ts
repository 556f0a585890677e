import { setTimeout as sleep } from 'node:timers/promises'
import type { Attack, Target } from '../types'
import { aborted, dial, flood, found, type Line, swelling } from '../wire'

const SLOW = '{"type":"slow","sessionId":"mallory-1"}'
/** 250 kB of JSON, 5 MB in memory. */
const BODY = `{"type":"send","sessionId":"mallory-1","text":${swelling(250_000)}}`

/** A line whose first command takes 20 s. */
async function slowLine(target: Target): Promise<Line | undefined> {
  const line = await dial(target)
  void line?.post('slow', SLOW)
  return line
}

/** Behind one slow command, of clients that wait. */
export const waitingCommands: Attack = {
  row: 'C98',
  name: 'commands that wait behind a slow one',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const lines = await Promise.all(Array.from({ length: 8 }, () => slowLine(target)))
    const posts = await flood(signal, { count: 140, atOnce: 8, perSecond: 40 }, (n) =>
      lines[n % lines.length]?.push('send', BODY),
    )
    await aborted(signal)
    return found({ posts })
  },
}

/** The same, and each client goes away at once: nobody waits for any of it. */
export const waitingThenGone: Attack = {
  row: 'C98',
  name: 'commands whose client has gone',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    let posts = 0
    const clients = await flood(signal, { count: 16, atOnce: 2, perSecond: 5 }, async () => {
      const line = await slowLine(target)
      if (!line) return
      for (let n = 0; n < 12; n += 1) await line.push('send', BODY)
      posts += 12
      // Read, or what has left has not arrived.
      await sleep(200)
      line.cut()
    })
    return found({ clients, posts })
  },
}
