import { once } from 'node:events'
import http2 from 'node:http2'
import express from 'express'
import { createConnection } from 'holdline'
import { afterEach, expect, test, vi } from 'vitest'
import { type ChatServerOptions, createChatServer, type Principal } from '../../../server'
import { toNodeListener } from '../../../server/node'
import { until } from '../../support/server'
import { cleanups, listenOn, serve, speak } from './listening'

// The server half behind the listener, and the real client.

afterEach(() => void vi.restoreAllMocks())

function createChat(options: Partial<ChatServerOptions<Principal>> = {}) {
  const chat = createChatServer({
    authenticate: () => ({ id: 'ann' }),
    authorize: () => true,
    async onCommand({ sessionId = '', message, publish }) {
      await publish(sessionId, { type: 'echo', n: message.n })
      return { took: message.n }
    },
    ...options,
  })
  cleanups.push(() => chat.close())
  return chat
}

function connect(url: string) {
  const connection = createConnection({ url, backoff: { base: 20, cap: 200 } })
  cleanups.push(() => connection.dispose())
  const heard: unknown[] = []
  const closed: string[] = []
  connection.on('message', ({ n }) => heard.push(n))
  connection.on('closed', ({ reason }) => closed.push(reason))
  connection.watch('s1')
  connection.connect()
  const say = (n: number) => connection.send({ type: 'send', sessionId: 's1', n }).settled
  return { connection, heard, closed, say }
}

const HOSTS: readonly [name: string, mount: (listener: ReturnType<typeof toNodeListener>) => express.Express][] = [
  ['node:http', (listener) => listener as unknown as express.Express],
  ['Express', (listener) => express().use('/api/chat', listener)],
  ['Express behind express.json()', (listener) => express().use(express.json(), listener)],
  ['Express behind express.text()', (listener) => express().use(express.text({ type: '*/*' }), listener)],
]

test.each(HOSTS)('%s serves a client: it sends, hears, loses its line, and goes on', async (_, mount) => {
  const { server, origin } = await serve(mount(toNodeListener(createChat())))
  const { connection, heard, say } = connect(`${origin}/api/chat`)
  expect(await say(1)).toMatchObject({ status: 'accepted', receipt: { took: 1 } })
  await until(() => heard.length === 1, 'the first event')
  server.closeAllConnections()
  expect(await say(2)).toMatchObject({ status: 'accepted', receipt: { took: 2 } })
  await connection.whenOpen()
  expect(await say(3)).toMatchObject({ status: 'accepted' })
  await until(() => heard.length === 3, 'all events')
  expect(heard).toEqual([1, 2, 3])
})

test('a parser that has thrown the body away is told of by the server half', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  const app = express().use(express.json(), (request, _, next) => {
    request.body = undefined
    next()
  })
  const { origin } = await serve(app.use(toNodeListener(createChat())))
  const answer = await fetch(`${origin}/send`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"type":"send"}',
  })
  expect([answer.status, (await answer.json()).error]).toEqual([500, 'body-consumed'])
  expect(warn).toHaveBeenCalledTimes(1)
})

test('a client that vanishes takes its stream along', async () => {
  const { port, origin } = await serve(toNodeListener(createChat()))
  const { socket, heard, hears } = speak(port, 'GET /events HTTP/1.1\r\nHost: h\r\n\r\n')
  await hears('"features"')
  const [, connectionId = ''] = /"connectionId":"([^"]+)"/.exec(heard()) ?? []
  const probe = () =>
    fetch(`${origin}/probe`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Connection-ID': connectionId },
      body: '{"type":"probe","nonce":"n"}',
    })
  expect((await probe()).status).toBe(200)
  socket.destroy()
  await expect.poll(async () => (await probe()).status).toBe(404)
})

test('C48: a client that stops reading is evicted, and its connection is cut', async () => {
  const chat = createChat({ limits: { stall: 300 }, onCommand: () => null })
  const { port, origin } = await serve(toNodeListener(chat))
  const { socket, heard, hears, closes } = speak(port, 'GET /events HTTP/1.1\r\nHost: h\r\n\r\n')
  await hears('"features"')
  const [, connectionId = ''] = /"connectionId":"([^"]+)"/.exec(heard()) ?? []
  socket.pause()
  const watch = await fetch(`${origin}/watch`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Connection-ID': connectionId },
    body: '{"type":"watch","sessionId":"s1","lastSeq":0}',
  })
  expect(watch.status).toBe(200)
  for (let n = 0; n < 200; n += 1) await chat.publish('s1', { type: 'x', text: 'x'.repeat(100_000) })
  await expect
    .poll(
      async () =>
        (
          await fetch(`${origin}/probe`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json', 'X-Connection-ID': connectionId },
            body: '{"type":"probe","nonce":"n"}',
          })
        ).status,
      { timeout: 20_000 },
    )
    .toBe(404)
  socket.resume()
  await closes()
})

test('a graceful stop: goodbye on every stream, 503 from then on, and the server closes', async () => {
  const chat = createChat()
  const { server, origin } = await serve(toNodeListener(chat))
  const { say, closed } = connect(`${origin}/api/chat`)
  await say(1)
  await chat.close({ retryAfter: 10_000 })
  await until(() => closed.includes('goodbye'), 'the goodbye')
  const late = await fetch(`${origin}/events`)
  expect([late.status, late.headers.get('retry-after')]).toEqual([503, '5'])
  await late.text()
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
})

test('HTTP/2: a stream and POSTs on one connection, and a goodbye at the end', async () => {
  const chat = createChat({ allowedHosts: ['chat.example'] })
  const server = http2.createServer(toNodeListener(chat))
  const port = await listenOn(server)
  const client = http2.connect(`http://127.0.0.1:${port}`)
  cleanups.push(() => {
    client.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  const host = { ':authority': 'chat.example' }
  const stream = client.request({ ...host, ':path': '/api/chat/events' })
  let text = ''
  stream.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  await until(() => text.includes('"features"'), 'a welcome')
  const [, connectionId = ''] = /"connectionId":"([^"]+)"/.exec(text) ?? []
  async function post(endpoint: string, body: object) {
    const headers = { 'content-type': 'application/json', 'x-connection-id': connectionId, 'idempotency-key': 'k' }
    const asked = client.request({ ...host, ':method': 'POST', ':path': `/api/chat/${endpoint}`, ...headers })
    asked.end(JSON.stringify(body))
    let answer = ''
    for await (const part of asked.setEncoding('utf8')) answer += part
    return JSON.parse(answer)
  }
  await post('watch', { type: 'watch', sessionId: 's1', lastSeq: 0 })
  expect(await post('send', { type: 'send', sessionId: 's1', n: 1 })).toEqual({ took: 1 })
  await until(() => text.includes('"n":1'), 'the event')
  await chat.close()
  await until(() => text.includes('"goodbye"'), 'the goodbye')
  const refused = client.request({ ':authority': 'evil.example', ':path': '/api/chat/events' })
  const [headers] = await once(refused, 'response')
  expect(headers[':status']).toBe(503)
  refused.close()
})
