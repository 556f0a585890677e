import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import * as hono from '@hono/node-server'
import express from 'express'
import { createConnection, type Transport } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import * as holdline from 'holdline/server'
import ts from 'typescript'
import { afterEach, expect, test, vi } from 'vitest'
import * as ws from 'ws'

const MODULES: Readonly<Record<string, unknown>> = {
  '@hono/node-server': hono,
  express: { default: express, __esModule: true },
  'holdline/server': holdline,
  ws,
}
const document = readFileSync(new URL('../../../docs/hosts.md', import.meta.url), 'utf8')

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** The blocks under a heading of docs/hosts.md, on free ports. */
function blocksUnder(heading: string): readonly string[] {
  const [, section = ''] = document.split(`\n${heading}\n`)
  const [own = ''] = section.split(/\n##/)
  return [...own.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = '']) => code.replaceAll('3000', '0'))
}

interface App {
  readonly chat: holdline.ChatServer
  readonly server: Server
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
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
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
  connection.on('message', (message) => heard.push([message.type, message.sessionId, message.n]))
  connection.watch(sessionId)
  connection.connect()
  const verdicts = [1, 2, 3].map((n) => connection.send({ type: 'send', sessionId, n }).settled)
  for (const verdict of await Promise.all(verdicts)) expect(verdict.status).toBe('accepted')
  await vi.waitUntil(() => heard.length === 3, { timeout: 20_000 })
  expect(heard).toEqual([1, 2, 3].map((n) => ['reply', sessionId, n]))
}

test('the block for Node serves a client, and its shutdown answers 503 before it closes', async () => {
  const [code = ''] = blocksUnder('## Node')
  const { origin, signals, server } = await run(code)
  await converse(`${origin}/api/chat`, 's1')
  const closed = once(server, 'close')
  await signals.get('SIGTERM')?.()
  server.closeAllConnections()
  await closed
})

test('the block for Node serves sockets too', async () => {
  const [code = ''] = blocksUnder('### Node: the `ws` package')
  const { origin } = await run(code)
  await converse(`${origin}/api/chat`, 's1', webSocketTransport({ WebSocket: ws.WebSocket }))
  await converse(`${origin}/api/chat`, 's2')
})

test.each([0, 1])(
  'C87: block %i for Express serves a client, under a mount path, with parsed bodies before or behind',
  async (index) => {
    const { origin } = await run(blocksUnder('### Express, and whatever parses bodies')[index] ?? '')
    await converse(`${origin}/api/chat`, 's1')
  },
)

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
  ['a Node request', new IncomingMessage(new Socket()), 'IncomingMessage'],
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

test('C87: behind express.json() each POST is answered at once, with a sentence that says what to do', async () => {
  const [code = ''] = blocksUnder('### Express, and whatever parses bodies')
  const lines = code.split('\n')
  const parser = lines.indexOf('app.use(express.json())')
  const mount = lines.findIndex((line) => line.startsWith("app.use('/api/chat'"))
  ;[lines[parser], lines[mount]] = [lines[mount] ?? '', lines[parser] ?? '']
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  const { origin } = await run(lines.join('\n'))
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
