import { once } from 'node:events'
import { request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { createConnection } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createDemo } from '../createDemo'
import { attachSockets } from '../socket'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start() {
  const demo = await createDemo({ tokensPerSecond: 500, awayMs: 50 })
  const server = createAdaptorServer({ fetch: (asked, env) => demo.fetch(asked, env as HttpBindings) }) as Server
  const cutSockets = attachSockets(server, demo.fetch)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  cleanups.push(async () => {
    await demo.close()
    cutSockets()
    await new Promise((resolve) => server.close(resolve))
  })
  return { demo, port }
}

test('a page that chats over a WebSocket is answered, and what befalls its line befalls the socket', async () => {
  const { demo, port } = await start()
  const page = await demo.fetch(new Request(`http://127.0.0.1:${port}/`))
  const cookie = page.headers.get('Set-Cookie')?.split(';')[0] ?? ''
  /** What a browser does by itself. */
  class WithCookie extends WebSocket {
    constructor(url: string) {
      super(url, { headers: { cookie } })
    }
  }
  const connection = createConnection({
    url: `http://127.0.0.1:${port}/api/chat`,
    transport: webSocketTransport({ WebSocket: WithCookie }),
    backoff: { base: 5, cap: 5 },
  })
  cleanups.push(connection.dispose)
  const closings: string[] = []
  connection.on('closed', ({ reason }) => closings.push(reason))
  const answered = new Promise((resolve) => connection.on('message', resolve))
  connection.connect()
  const { status } = await connection.send({ type: 'send', sessionId: 'a-session', prompt: 'hello' }).settled
  expect([status, demo.prompts]).toEqual(['accepted', ['hello']])
  await answered

  const opened = new Promise<void>((resolve) => connection.on('opened', () => resolve()))
  const dropped = await demo.fetch(
    new Request(`http://127.0.0.1:${port}/demo/mishaps/drop`, {
      method: 'POST',
      headers: { cookie },
    }),
  )
  expect(await dropped.json()).toEqual({ streams: 1 })
  await opened
  expect(closings).toEqual(['failed'])
})

test('an upgrade that asks for something else is cut, and so is one with a host that is none', async () => {
  const { port } = await start()
  const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket' }
  for (const [path, headers] of [
    ['/api/chat/other', upgrade],
    ['/api/chat/socket', { ...upgrade, Host: 'a b' }],
  ] as const) {
    const asked = request({ port, host: '127.0.0.1', path, headers })
    asked.end()
    const [error] = await once(asked, 'error')
    expect(error).toMatchObject({ code: 'ECONNRESET' })
  }
})
