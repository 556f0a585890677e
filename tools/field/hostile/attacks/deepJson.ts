import { WebSocket } from 'ws'
import type { Attack, Target } from '../types'
import { control, flood, found, freshId, hello, keptLine, nested, socketUrl } from '../wire'

const DEPTHS = [1_000, 5_000, 10_000, 50_000, 100_000]

/** `JSON.parse` takes any depth; `JSON.stringify` and what walks the value do not. */
export const deepJson: Attack = {
  row: 'C83',
  name: 'deep JSON',
  over: ['http', 'websocket'],
  logs: ['memory'],
  seconds: 3,
  async run(target, signal) {
    const line = keptLine(target)
    const statuses = new Map<string, number>()
    const bodies = (deep: string): readonly (readonly [endpoint: string, json: string])[] => [
      ['send', `{"type":"send","sessionId":"mallory-1","text":${deep}}`],
      ['say', `{"type":"say","sessionId":"mallory-1","text":${deep}}`],
      ['reconnect', `{"type":"reconnect","resumeId":"r","sessions":[{"sessionId":"mallory-1","lastSeq":${deep}}]}`],
      ['batch', `{"messages":[{"id":"${freshId()}","endpoint":"send","body":{"type":"send","text":${deep}}}]}`],
      ['batch', `{"messages":[{"id":${deep}}]}`],
      ['watch', `{"type":"watch","sessionId":${deep}}`],
      ['probe', `{"type":"probe","nonce":${deep}}`],
      ['suspend', `{"type":"session_suspend","sessions":${deep}}`],
      ['send', deep],
    ]
    const shots = DEPTHS.flatMap((depth) => bodies(nested(depth)).map((body) => [...body, depth] as const))
    if (target.over === 'websocket') await strangers(target, signal)
    const posts = await flood(signal, { count: shots.length, atOnce: 4, perSecond: 30 }, async (n) => {
      const [endpoint, json, depth] = shots[n] ?? ['send', '{}', 0]
      const answer = await (await line())?.post(endpoint, json, freshId())
      const which = `${endpoint} ${json.replace(/\[\[+\]+\]/, '…')} at depth ${depth}`
      statuses.set(which, answer?.status ?? 0)
    })
    const failed = [...statuses].filter(([, status]) => status >= 500)
    const { count, last } = await control(target).errors()
    return found(
      { posts, errors: count },
      failed.length > 0 &&
        `answered ${failed[0]?.[1]}, repeated for ever: ${failed.map(([which]) => which).join('; ')}`,
      count > 0 && `onError heard ${count} times of what a client had sent: ${last.at(-1)}`,
    )
  },
}

/** Before, and as, the hello. */
async function strangers(target: Target, signal: AbortSignal) {
  const frames = DEPTHS.flatMap((depth) => [
    nested(depth),
    `{"type":"hello","protocolVersion":2,"headers":${nested(depth)}}`,
    hello('mallory').replace('}}', `},"more":${nested(depth)}}`),
  ])
  await flood(signal, { count: frames.length, atOnce: 2, perSecond: 100 }, (n) => {
    const socket = new WebSocket(socketUrl(target))
    return new Promise<void>((resolve) => {
      socket.on('error', () => resolve())
      socket.on('close', () => resolve())
      socket.on('open', () => {
        socket.send(frames[n] ?? '')
        // Without waiting for anything: nobody has been asked who this is.
        socket.send(`{"id":"x","endpoint":"send","body":${nested(10_000)}}`)
        setTimeout(() => socket.terminate(), 50)
      })
    })
  })
}
