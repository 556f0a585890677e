import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { type AddressInfo, Socket } from 'node:net'
import * as honoServer from '@hono/node-server'
import express from 'express'
import { createConnection, type Transport } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import * as holdline from 'holdline/server'
import * as holdlineNode from 'holdline/server/node'
import * as hono from 'hono'
import ts from 'typescript'
import { afterEach, expect, test, vi } from 'vitest'
import * as ws from 'ws'

const MODULES: Readonly<Record<string, unknown>> = {
  'node:http': http,
  'node:http2': http2,
  '@hono/node-server': honoServer,
  hono,
  express: { default: express, __esModule: true },
  'holdline/server': holdline,
  'holdline/server/node': holdlineNode,
  ws,
}
const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const document = read('docs/hosts.md')

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** The block under a heading of docs/hosts.md, on a free port. */
function blockUnder(heading: string): string {
  const [, section = ''] = document.split(`\n${heading}\n`)
  const [own = ''] = section.split(/\n##/)
  const [, code] = /```ts\n([\s\S]*?)```/.exec(own) ?? []
  if (code === undefined) throw new Error(`docs/hosts.md has no block under ${heading}`)
  return code.replaceAll('3000', '0')
}

interface App {
  readonly chat: holdline.ChatServer
  readonly server: http.Server
}

/** Runs a block. What the docs take for granted is here. */
async function run(code: string) {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
  })
  const signals = new Map<string, () => unknown>()
  const globals: Record<string, unknown> = {
    exports: {},
    require: (name: string) => MODULES[name],
    process: { once: (name: string, listener: () => unknown) => signals.set(name, listener) },
    userOf: () => ({ id: 'me' }),
    mayUse: () => true,
    agent: {
      start: (sessionId: string, message: object) => apps[0]?.chat.publish(sessionId, { ...message, type: 'reply' }),
    },
  }
  const apps: App[] = []
  apps[0] = new Function(...Object.keys(globals), `${outputText}; return { chat, server }`)(
    ...Object.values(globals),
  ) as App
  const { chat, server } = apps[0]
  if (!server.listening) await once(server, 'listening')
  cleanups.push(async () => {
    await chat.close()
    server.closeAllConnections?.()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  })
  return { chat, server, signals, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const createServer = () =>
  holdline.createChatServer({ authenticate: () => ({ id: 'me' }), authorize: () => true, onCommand: () => null })

/** A client sends, and hears what comes of it. */
async function converse(url: string, sessionId: string, transport?: Transport) {
  const connection = createConnection({ url, ...(transport && { transport }) })
  cleanups.push(() => connection.dispose())
  const heard: unknown[] = []
  const closed: string[] = []
  connection.on('message', (message) => heard.push([message.type, message.sessionId, message.n]))
  connection.on('closed', ({ reason }) => closed.push(reason))
  connection.watch(sessionId)
  connection.connect()
  const verdicts = [1, 2, 3].map((n) => connection.send({ type: 'send', sessionId, n }).settled)
  for (const verdict of await Promise.all(verdicts)) expect(verdict.status).toBe('accepted')
  await vi.waitUntil(() => heard.length === 3, { timeout: 20_000 })
  expect(heard).toEqual([1, 2, 3].map((n) => ['reply', sessionId, n]))
  return { closed }
}

test.each(['## Node', '### Express', '### Hono'])(
  'the block under “%s” serves a client, and at SIGTERM says goodbye and ends',
  async (heading) => {
    const { origin, signals, server } = await run(blockUnder(heading))
    const { closed } = await converse(`${origin}/api/chat`, 's1')
    const ended = once(server, 'close')
    await signals.get('SIGTERM')?.()
    await vi.waitUntil(() => closed.includes('goodbye'), { timeout: 20_000 })
    await ended
  },
)

test('the block under “### HTTP/2” serves streams and POSTs, and at SIGTERM says goodbye and ends', async () => {
  const { origin, signals, server } = await run(blockUnder('### HTTP/2'))
  const client = http2.connect(origin)
  cleanups.push(() => client.destroy())
  const stream = client.request({ ':path': '/api/chat/events' }).setEncoding('utf8')
  let text = ''
  stream.on('data', (part) => {
    text += part
  })
  await vi.waitUntil(() => text.includes('"features"'), { timeout: 20_000 })
  const [, connectionId = ''] = /"connectionId":"([^"]+)"/.exec(text) ?? []
  const headers = { 'content-type': 'application/json', 'x-connection-id': connectionId }
  const post = client.request({ ':path': '/api/chat/send', ':method': 'POST', ...headers })
  post.resume().end('{"type":"send","sessionId":"s1","n":1}')
  const [{ ':status': status }] = await once(post, 'response')
  expect(status).toBe(200)
  await vi.waitUntil(() => text.includes('"reply"'), { timeout: 20_000 })
  const ended = once(server, 'close')
  await signals.get('SIGTERM')?.()
  await vi.waitUntil(() => text.includes('"goodbye"'), { timeout: 20_000 })
  await ended
})

test('the block for Next is the route of the recipe, which is run on Next', () => {
  const own = blockUnder('### Next').replace('../examples/recipes/next/server', './server')
  expect(own).toBe(read('examples/recipes/next/route.ts'))
})

test('the block for Node serves sockets too', async () => {
  const { origin } = await run(blockUnder('### Sockets on Node: the `ws` package'))
  await converse(`${origin}/api/chat`, 's1', webSocketTransport({ WebSocket: ws.WebSocket }))
  await converse(`${origin}/api/chat`, 's2')
})

const lines = blockUnder('### Express').split('\n')
const parser = lines.indexOf('app.use(express.json())')
const mount = lines.findIndex((line) => line.startsWith("app.use('/api/chat'"))

/** The block for Express with its parser in front, and the chat mounted in another way. */
const behindParser = (mounted = lines[mount] ?? '') =>
  lines.map((line, index) => (index === mount ? (lines[parser] ?? '') : index === parser ? mounted : line)).join('\n')

test('C87: behind express.json() the chat is served as well', async () => {
  const { origin } = await run(behindParser())
  await converse(`${origin}/api/chat`, 's1')
})

test('C87: behind express.json(), through an adapter that knows nothing of it, each POST is answered with a sentence that says what to do', async () => {
  const mounted = "app.use('/api/chat', require('@hono/node-server').getRequestListener(chat.fetch))"
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  const { origin } = await run(behindParser(mounted))
  for (const _ of [1, 2]) {
    const response = await fetch(`${origin}/api/chat/send`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Connection-ID': 'c' },
      body: '{"type":"send"}',
    })
    expect([response.status, await response.json()]).toEqual([
      500,
      { error: 'body-consumed', message: expect.stringContaining('mount the chat before express.json()') },
    ])
  }
  expect(warn).toHaveBeenCalledTimes(1)
})

test('chat.fetch given to Express as it is, is answered with a sentence that names the adapter', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {})
  const chat = createServer()
  const app = express()
  app.use('/api/chat', chat.fetch as never)
  const server = app.listen(0)
  cleanups.push(() => new Promise((resolve) => server.close(resolve)))
  await once(server, 'listening')
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/api/chat/events`)
  expect(response.status).toBe(500)
  expect(await response.text()).toContain(
    'TypeError: fetch takes a web-standard Request, and was given IncomingMessage: ' +
      'mount toNodeListener(chat) of holdline/server/node, or pass the Request of your framework (docs/hosts.md)',
  )
})

test.each<[what: string, given: unknown, name: string]>([
  ['a Node request', new http.IncomingMessage(new Socket()), 'IncomingMessage'],
  ['a context of Hono', { req: { raw: new Request('http://h/') } }, 'Object'],
  ['an object without a prototype', Object.create(null), 'an object'],
  ['nothing', undefined, 'undefined'],
])('%s is told from a Request, by HTTP and by sockets', async (_, given, name) => {
  const chat = createServer()
  const gateway = holdline.createWebSocketGateway({ fetch: chat.fetch })
  const sentence = `takes a web-standard Request, and was given ${name}: `
  await expect(chat.fetch(given as Request)).rejects.toThrow(new RegExp(`^fetch ${sentence}`))
  expect(() => gateway.accept({} as never, given as Request)).toThrow(new RegExp(`^accept ${sentence}`))
})
