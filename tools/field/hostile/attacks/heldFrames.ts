import { WebSocket } from 'ws'
import type { Attack } from '../types'
import {
  aborted,
  flood,
  found,
  freshId,
  hello,
  keptLine,
  MIB,
  post,
  socketUrl,
  swelling,
  text,
  wideText,
} from '../wire'

/**
 * A refused batch leaves its first id behind: 256 of them for each socket, each as large as a
 * frame.
 */
export const megabyteIds: Attack = {
  row: 'C97',
  name: 'ids of 1 MiB in refused batches',
  over: ['websocket'],
  logs: ['memory'],
  async run(target, signal) {
    const line = keptLine(target)
    const body = `{"messages":[{"id":${swelling(MIB - 200)}}]}`
    const frames = await flood(signal, { count: 80, atOnce: 4, perSecond: 20 }, async () =>
      (await line())?.post('batch', body),
    )
    return found({ frames })
  },
}

/** Frames, or bodies, of clients that nobody has let in yet. */
export const strangersAtTheDoor: Attack = {
  row: 'C97',
  name: 'strangers while authenticate is slow',
  over: ['http', 'websocket'],
  logs: ['memory'],
  async run(target, signal) {
    const big = JSON.stringify({ type: 'send', text: wideText(MIB - 200) })
    if (target.over === 'http') {
      const small = JSON.stringify({ type: 'send', text: text(250_000) })
      const strangers = { count: 600, atOnce: 600, perSecond: 200 }
      const posts = await flood(signal, strangers, (n) => {
        void post(`${target.url}/send`, small, { Authorization: `stranger-${n}` })
      })
      await aborted(signal)
      return found({ posts })
    }
    const sockets: WebSocket[] = []
    let frames = 0
    await flood(signal, { count: 110, atOnce: 110, perSecond: 80 }, async (n) => {
      const socket = new WebSocket(socketUrl(target), { perMessageDeflate: false })
      sockets.push(socket)
      socket.on('error', () => {})
      await new Promise((resolve) => socket.once('open', resolve).once('close', resolve))
      if (socket.readyState === socket.OPEN) socket.send(hello(`stranger-${n}`))
      for (let sent = 0; sent < 5 && socket.readyState === socket.OPEN && !signal.aborted; sent += 1) {
        frames += 1
        await new Promise((resolve) =>
          socket.send(`{"id":"${freshId()}","endpoint":"send","body":${big}}`, () => resolve(null)),
        )
      }
    })
    await aborted(signal)
    for (const socket of sockets) socket.terminate()
    return found({ sockets: sockets.length, frames })
  },
}

/** What is only to be told that it was too much is held until its turn all the same. */
export const framesBehindSlowCommand: Attack = {
  row: 'C97',
  name: 'frames behind one slow command',
  over: ['websocket'],
  logs: ['memory'],
  async run(target, signal) {
    const line = keptLine(target)
    const body = JSON.stringify({ messages: [{ id: wideText(MIB - 200) }] })
    void (await line())?.post('slow', '{"type":"slow","sessionId":"mallory-1"}')
    const frames = await flood(signal, { count: 400, atOnce: 4, perSecond: 130 }, async () =>
      (await line())?.push('batch', body),
    )
    return found({ frames })
  },
}
