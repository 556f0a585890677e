import type { Attack, Target } from '../types'
import { dial, flood, found, type Line, swelling } from '../wire'

const SLOW = '{"type":"slow","sessionId":"mallory-1"}'
/** 250 kB of JSON, 5 MB in memory. */
const BODY = `{"type":"send","sessionId":"mallory-1","text":${swelling(250_000)}}`

/** A line whose first command takes 20 s. */
async function slowLine(target: Target): Promise<Line | undefined> {
  const line = await dial(target)
  void line?.post('slow', SLOW)
  return line
}

const tally = (statuses: readonly number[]) =>
  Object.fromEntries(
    [...new Set(statuses)].map((status) => [status || 'none', statuses.filter((s) => s === status).length]),
  )

/** Behind one slow command, of clients that wait. */
export const waitingCommands: Attack = {
  row: 'C98',
  name: 'commands that wait behind a slow one',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const lines = await Promise.all(Array.from({ length: 8 }, () => slowLine(target)))
    const statuses: number[] = []
    const posts = await flood(signal, { count: 200, atOnce: 200, perSecond: 60 }, async (n) => {
      const answer = await lines[n % lines.length]?.post('send', BODY)
      statuses.push(answer?.status ?? 0)
    })
    return found({ posts, answered: JSON.stringify(tally(statuses)) })
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
      const sent = Array.from({ length: 12 }, () => line.post('send', BODY))
      posts += sent.length
      await Promise.race([Promise.all(sent), new Promise((resolve) => setTimeout(resolve, 300))])
      line.cut()
    })
    return found({ clients, posts })
  },
}
