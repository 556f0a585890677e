import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, type Socket } from 'node:net'
import { serve } from '@hono/node-server'
import { afterEach, expect, test } from 'vitest'
import { type ChatServerOptions, createChatServer, memoryLog, type Principal } from '../../server'
import { staysFlat } from '../support/memory'
import { range, until, watchedLog } from '../support/server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function listen(overrides: Partial<ChatServerOptions<Principal>> = {}) {
  const watched = watchedLog(memoryLog({ maxEvents: 50 }))
  const chat = createChatServer({
    log: watched.log,
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    onCommand: ({ message }) => ({ prompt: message.prompt }),
    ...overrides,
  })
  const http = serve({ fetch: chat.fetch, port: 0, hostname: '127.0.0.1' })
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  cleanups.push(async () => {
    await chat.close()
    await new Promise((resolve) => http.close(resolve))
  })
  const post = (endpoint: string, connectionId: string, message: object) =>
    fetch(`http://127.0.0.1:${port}/api/${endpoint}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Connection-ID': connectionId, 'Idempotency-Key': 'k' },
      body: JSON.stringify(message),
    })

  /** A client on a bare socket, so that it can stop reading and vanish. */
  async function openSocket() {
    const socket: Socket = connect(port, '127.0.0.1')
    cleanups.push(() => socket.destroy())
    socket.on('error', () => {})
    let text = ''
    socket.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    socket.write('GET /api/events HTTP/1.1\r\nHost: chat.test\r\n\r\n')
    await until(() => text.includes('"features"'), 'a welcome')
    const connectionId = /"connectionId":"([^"]+)"/.exec(text)?.[1] ?? ''
    return { socket, connectionId, text: () => text }
  }
  return { chat, watched, post, openSocket }
}

test('C53: the headers that keep proxies from buffering arrive, and each event leaves at once', async () => {
  const { chat, post, openSocket } = await listen()
  const { text, connectionId } = await openSocket()
  expect(text()).toMatch(/^HTTP\/1\.1 200/)
  expect(text()).toMatch(/^content-type: text\/event-stream\r$/im)
  expect(text()).toMatch(/^cache-control: no-cache, no-transform\r$/im)
  expect(text()).toMatch(/^x-accel-buffering: no\r$/im)
  expect(text()).toMatch(/^event: welcome\ndata: \{.*\}\n\n/m)
  expect((await post('watch', connectionId, { type: 'watch', sessionId: 'room', lastSeq: 0 })).status).toBe(200)
  for (const seq of range(1, 3)) {
    await chat.publish('room', { type: 'x' })
    await until(() => text().includes(`"seq":${seq}`), `event ${seq}`)
  }
  const sent = await post('send', connectionId, { type: 'send', sessionId: 'room', prompt: 'hi' })
  expect(await sent.json()).toEqual({ prompt: 'hi' })
})

test('a queue of 200 messages drains in four batches, each answered with its receipts, in order', async () => {
  const order: unknown[] = []
  const { post, openSocket } = await listen({ onCommand: ({ message }) => order.push(message.n) })
  const { connectionId } = await openSocket()
  for (const first of [1, 51, 101, 151]) {
    const ns = range(first, first + 49)
    const messages = ns.map((n) => ({ id: `m${n}`, endpoint: 'send', body: { type: 'send', sessionId: 'room', n } }))
    // Twice: the answer to the first may have been lost.
    for (const _ of range(1, 2)) {
      const { results } = await (await post('batch', connectionId, { messages })).json()
      expect(results).toEqual(ns.map((n) => ({ id: `m${n}`, status: 200, receipt: n })))
    }
  }
  expect(order).toEqual(range(1, 200))
})

test('a socket that vanishes takes its stream and its subscriptions with it', async () => {
  const { watched, post, openSocket } = await listen()
  const { socket, connectionId } = await openSocket()
  await post('watch', connectionId, { type: 'watch', sessionId: 'room', lastSeq: 0 })
  expect(watched.subscriptions).toBe(1)
  socket.destroy()
  await until(() => watched.subscriptions === 0, 'the end of the subscription')
  expect((await post('probe', connectionId, { type: 'probe', nonce: 'n' })).status).toBe(404)
})

test('C48: a real socket that is not read is evicted and closed, and the memory stays flat meanwhile', async () => {
  const errorLog = console.error
  console.error = () => {} // The host reports the end of the socket.
  cleanups.push(() => {
    console.error = errorLog
  })
  let evict = () => {}
  const clock = {
    now: () => 0,
    setTimeout(callback: () => void, ms: number) {
      if (ms !== 4_321) return undefined
      evict = callback
      return callback
    },
    clearTimeout: (timer: unknown) => {
      if (timer === evict) evict = () => {}
    },
  }
  const { chat, watched, post, openSocket } = await listen({ clock, limits: { stall: 4_321 } })
  const { socket, connectionId } = await openSocket()
  await post('watch', connectionId, { type: 'watch', sessionId: 'room', lastSeq: 0 })
  socket.pause()
  await staysFlat(chat, watched.calls)
  expect(watched.subscriptions).toBe(1)
  const closed = once(socket.resume(), 'close')
  socket.pause()
  evict()
  expect(watched.subscriptions).toBe(0)
  socket.resume()
  await closed
})
