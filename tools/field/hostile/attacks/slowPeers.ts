import { connect, type Socket } from 'node:net'
import type { Attack, Target } from '../types'
import { aborted, control, dial, flood, found, freshId, keptLine, type Line, text } from '../wire'

/** Bodies that are announced, and come to a halt just before their end. */
export const stalledBodies: Attack = {
  row: 'C89',
  name: 'POST bodies that never end',
  over: ['http'],
  logs: ['memory'],
  async run(target, signal) {
    const line = await dial(target)
    const sockets: Socket[] = []
    const stalled = await flood(signal, { count: 1_500, atOnce: 50, perSecond: 500 }, (n) => {
      // Some of them strangers, and some behind a stream of their own.
      sockets.push(stall(target, n % 3 ? 'mallory' : `nobody-${n}`, line?.connectionId ?? ''))
    })
    await aborted(signal)
    for (const socket of sockets) socket.destroy()
    return found({ stalled })
  },
}

function stall({ url }: Target, as: string, connectionId: string): Socket {
  const { port, hostname, pathname, host } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(
    `POST ${pathname}/send HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${as}\r\nX-Connection-ID: ${connectionId}\r\n` +
      `Content-Type: application/json\r\nIdempotency-Key: ${freshId()}\r\nContent-Length: 262144\r\n\r\n` +
      `{"type":"send","text":"${text(250_000)}`,
  )
  return socket
}

/** As many as one principal may have; each reads its welcome and nothing more. */
export const slowReaders: Attack = {
  row: 'C48',
  name: 'streams that nobody reads',
  over: ['http', 'websocket'],
  logs: ['memory', 'redis'],
  async run(target, signal) {
    const lines: Line[] = []
    for (let n = 0; n < 19 && !signal.aborted; n += 1) {
      const line = await dial(target)
      if (!line) continue
      await line.post('watch', JSON.stringify({ type: 'watch', sessionId: 'mallory-1', lastSeq: 0 }))
      line.pause()
      lines.push(line)
    }
    const author = keptLine(target)
    const body = JSON.stringify({ type: 'say', sessionId: 'mallory-1', text: text(100_000) })
    const events = await flood(signal, { count: 400, atOnce: 4, perSecond: 100 }, async () =>
      (await author())?.post('say', body),
    )
    for (const line of lines) line.cut()
    return found({ streams: lines.length, events })
  },
}

/** A stream, a resume of a few sessions, and away again: as fast as it goes. */
export const reconnectFlood: Attack = {
  row: 'C57',
  name: 'a flood of reconnects',
  over: ['http', 'websocket'],
  logs: ['memory'],
  async run(target, signal) {
    const sessions = Array.from({ length: 20 }, (_, n) => ({ sessionId: `room-${n}`, lastSeq: 0 }))
    const body = JSON.stringify({ type: 'reconnect', sessions })
    let refused = 0
    const before = await control(target).connections()
    const dials = await flood(signal, { count: 600, atOnce: 16, perSecond: 150 }, async (n) => {
      const line = await dial(target, n % 2 ? 'mallory' : `nobody-${n}`)
      if (!line) refused += 1
      else if (n % 4 === 1) await line.post('reconnect', body)
      line?.cut()
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    const left = (await control(target).connections()) - before
    return found(
      { dials, refused, left },
      left > 50 && `${left} connections are still open after their clients have gone, expected a few`,
    )
  },
}
