import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { Attack, Target } from '../types'
import { aborted, control, dial, flood, found, hello, MIB, post, socketUrl, text } from '../wire'

/** What Node lets all headers of a request be. */
const HEADERS = 16_384

/** Over HTTP the host bounds them; a hello is a frame. */
export const bigHellos: Attack = {
  row: 'C109',
  name: 'hellos with 1 MB of authorization',
  over: ['websocket'],
  logs: ['memory'],
  async run(target, signal) {
    const frame = hello(text(MIB - 200))
    const hellos = await flood(signal, { count: 100, atOnce: 10, perSecond: 25 }, (n) =>
      greet(target, frame, n % 2 > 0),
    )
    const longest = await control(target).longestCredential()
    return found(
      { hellos, longest },
      longest > HEADERS && `authenticate was handed a header of ${longest} characters, more than ${HEADERS}`,
    )
  },
}

/** Opens a socket, and says hello; also as one that was let in before. */
function greet(target: Target, frame: string, isKnown: boolean) {
  return new Promise<void>((resolve) => {
    const socket = new WebSocket(socketUrl(target), { perMessageDeflate: false })
    socket.on('error', () => {})
    socket.on('open', () => {
      if (isKnown) socket.send(hello('mallory'))
      socket.send(frame)
      socket.send('{"id":"x","endpoint":"send","body":{"type":"send"}}')
    })
    socket.on('close', () => resolve())
    setTimeout(() => socket.terminate(), 500)
  })
}

/** They complete the handshake, and then neither say hello nor answer a close. */
export const silentSockets: Attack = {
  row: 'C109',
  name: '1,500 sockets without a hello',
  over: ['websocket'],
  logs: ['memory'],
  seconds: 12.5,
  async run(target, signal) {
    const sockets = new Set<Socket>()
    const url = new URL(target.url)
    let opened = 0
    await flood(signal, { count: 1_500, atOnce: 50, perSecond: 1_500 }, async () => {
      const socket = connect(Number(url.port), url.hostname)
      sockets.add(socket)
      opened += 1
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
      // Read, or nobody would notice that the other end has closed it.
      socket.resume()
      socket.write(
        `GET ${url.pathname}/socket HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
      await new Promise((resolve) => socket.once('data', resolve).once('close', resolve))
    })
    await aborted(signal)
    const left = sockets.size
    for (const socket of sockets) socket.destroy()
    return found(
      { opened, left },
      opened < 1_000 && `only ${opened} sockets were opened: the attack has shown nothing`,
      left > 0 && `${left} of ${opened} sockets without a hello are still open after 11 s, expected 0`,
    )
  },
}

/**
 * An id that is the number of a database row: no attack, but a fault of the app that each request
 * repeats.
 */
export const numericPrincipal: Attack = {
  row: 'C109',
  name: 'a principal whose id is a number',
  over: ['http'],
  logs: ['memory'],
  seconds: 1,
  async run(target, signal) {
    const { status, json } = await post(`${target.url}/send`, '{"type":"send"}', { Authorization: 'number-7' })
    const lines = await flood(signal, { count: 20, atOnce: 2, perSecond: 40 }, async (n) => {
      const line = await dial(target, `number-${n}`)
      line?.cut()
    })
    await sleep(100)
    const { count, last } = await control(target).errors()
    return found(
      { status, lines, errors: count },
      // Not a refusal that ends retries: clients come back by themselves when the app is mended.
      (status !== 500 || Object(json).error !== 'principal' || JSON.stringify(json).includes('number-7')) &&
        `answered ${status} ${JSON.stringify(json)}: expected a 500 that names the setting, and no value`,
      count === 0 && 'onError heard nothing of it',
      count > 1 && `onError heard of it ${count} times, expected once at most: ${last[0]}`,
    )
  },
}
