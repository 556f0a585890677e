import { once } from 'node:events'
import { createConnection, type Transport } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import WebSocket from 'ws'
import { type Block, type Running, runBlock } from './hostBlock'
import type { Place } from './place'
import { describeWith, findPackage, findTool } from './tools'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A client sends, and hears what comes of it. */
async function converse(url: string, sessionId: string, transport: Transport) {
  const connection = createConnection({ url, transport })
  cleanups.push(() => connection.dispose())
  const heard: unknown[] = []
  const closed: string[] = []
  connection.on('message', (message) => heard.push([message.type, message.sessionId, message.n]))
  connection.on('closed', ({ reason }) => closed.push(reason))
  connection.watch(sessionId)
  connection.connect()
  const verdicts = [1, 2, 3].map((n) => connection.send({ type: 'send', sessionId, n }).settled)
  for (const verdict of await Promise.all(verdicts)) expect(verdict.status).toBe('accepted')
  await vi.waitUntil(() => heard.length === 3, { timeout: 60_000 })
  expect(heard).toEqual([1, 2, 3].map((n) => ['reply', sessionId, n]))
  return closed
}

/** What comes back on a bare socket, and how it ends. */
async function tell(url: string, ...frames: string[]) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/socket`)
  cleanups.push(() => socket.terminate())
  const said: unknown[] = []
  let code: number | undefined
  socket.on('message', (data) => said.push(JSON.parse(String(data))))
  socket.on('close', (given) => {
    code = given
  })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  for (const frame of frames) socket.send(frame)
  return { said, code: () => code }
}

const HELLO = '{"type":"hello","protocolVersion":2,"headers":{"authorization":"eve"}}'
const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

interface Host extends Omit<Block, 'command'> {
  readonly name: string
  /** A command, or `node`. */
  readonly tool: string
  readonly packages?: readonly string[]
  /** The block serves sockets too. */
  readonly hasSockets?: boolean
  /** It cuts what is quiet, or might. */
  readonly hasIdle?: boolean
  /** A parser of the host reads the bodies. */
  readonly parses?: boolean
  /** It ends by itself at SIGTERM, after a goodbye. */
  readonly stops?: boolean
}

const DENO = { tool: 'deno', args: ['run', '--allow-net', '--no-remote', '--no-config'] }
const BUN = { tool: 'bun', args: ['run'] }
/** The block with a body parser before the chat. */
const parsedByKoa = (code: string) =>
  `import { bodyParser } from '@koa/bodyparser'\n${code.replace('new Koa()\n', 'new Koa()\napp.use(bodyParser())\n')}`
/** The block with the route in the scope of the app's own parsers, as the docs say. */
const parsedByFastify = (code: string) =>
  code
    .replace(/ {2}scope\.(removeAll|add)ContentTypeParser.*\n/g, '')
    .replace('reply.hijack()', 'reply.hijack(); Object.assign(request.raw, { body: request.body })')
const workerdConfig = (port: number) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .chat)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const chat :Workerd.Worker = (
  modules = [(name = "main.js", esModule = embed "main.js"), (name = "server.js", esModule = embed "server.js")],
  compatibilityDate = "2025-01-01",
  durableObjectNamespaces = [(className = "Chat", uniqueKey = "chat")],
  durableObjectStorage = (inMemory = void),
  bindings = [(name = "CHAT", durableObjectNamespace = "Chat")]
);
`

const HOSTS: readonly Host[] = [
  { name: 'Koa', heading: '### Koa', tool: 'node', packages: ['koa'], stops: true },
  {
    ...{ name: 'Koa behind @koa/bodyparser', heading: '### Koa', tool: 'node', packages: ['koa', '@koa/bodyparser'] },
    ...{ parses: true, edit: parsedByKoa },
  },
  { name: 'Fastify', heading: '### Fastify', tool: 'node', packages: ['fastify'], stops: true },
  {
    ...{ name: 'Fastify with its own parsers', heading: '### Fastify', tool: 'node', packages: ['fastify'] },
    ...{ parses: true, edit: parsedByFastify },
  },
  { name: 'Deno', heading: '### Deno', ...DENO, hasIdle: true, stops: true },
  { name: 'Bun', heading: '### Bun', ...BUN, hasIdle: true, stops: true },
  {
    ...{ name: 'workerd', heading: '### workerd', tool: 'workerd', args: ['serve'], hasIdle: true },
    config: { name: 'config.capnp', text: workerdConfig },
  },
  { name: 'Deno, with sockets', heading: '### Sockets on Deno', ...DENO, hasSockets: true },
  { name: 'Bun, with sockets', heading: '### Sockets on Bun', ...BUN, hasSockets: true },
]

for (const host of HOSTS) {
  const { name, tool, packages = [], hasSockets = false, hasIdle = false, parses = false, stops = false } = host
  const command = tool === 'node' ? process.execPath : findTool(tool)
  const tools = Object.fromEntries(packages.map((one) => [one, findPackage(one)]))
  const place: Place = {
    suite: `${name}, by the block in docs/hosts.md`,
    host: name,
    runtime: tool === 'workerd' ? tool : (tool[0]?.toUpperCase() ?? '') + tool.slice(1),
    transports: hasSockets ? ['fetch', 'WebSocket'] : ['fetch'],
    client: 'Node',
  }
  describeWith(place, { [tool]: command, ...tools }, () => {
    let running: Running
    beforeAll(async () => {
      running = await runBlock({ ...host, command: command ?? tool, hasPackages: packages.length > 0 })
    })
    afterAll(async () => {
      await running?.end()
    })

    test('serves a client over an event stream and POSTs', async () => {
      await converse(running.url, 's2', fetchStreamTransport)
    })

    if (hasSockets)
      test('C84: serves a client over a WebSocket', async () => {
        await converse(running.url, 's1', webSocketTransport({ WebSocket }))
      })

    if (hasSockets)
      test('C83: no frame ends the process: before a hello, in one, after it', async () => {
        const before = await tell(running.url, `{"id":"a","endpoint":"send","body":${deep(10_000)}}`)
        const inside = await tell(
          running.url,
          `{"type":"hello","protocolVersion":2,"headers":{"authorization":${deep(10_000)}}}`,
        )
        const after = await tell(running.url, HELLO, `{"id":"a","endpoint":"send","body":${deep(100_000)}}`)
        await vi.waitUntil(() => before.code() && inside.code() && after.said.length > 1, { timeout: 60_000 })
        expect([before.code(), inside.code()]).toEqual([1009, 1009])
        expect(after.said).toContainEqual({ type: 'ack', id: 'a', status: 400, error: 'too-deep' })
        const next = await tell(running.url, HELLO)
        await vi.waitUntil(() => next.said.length, { timeout: 60_000 })
        expect(running.process.exitCode).toBe(null)
      })

    if (hasIdle)
      test('C88: a quiet stream outlives the host’s idle limit', async () => {
        const response = await fetch(`${running.url}/events`)
        const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
        cleanups.push(() => reader?.cancel())
        let text = ''
        while (text.split('"ping"').length < 3) {
          const { done, value } = (await reader?.read()) ?? { done: true }
          expect(done, text).toBe(false)
          text += value
        }
      })

    if (!parses)
      test('C89: a body that stalls is a 408, and what is too large has its 413', async () => {
        const headers = { 'Content-Type': 'application/json' }
        const stalled = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{')) })
        const init = { method: 'POST', headers, body: stalled, duplex: 'half' } as RequestInit
        const late = fetch(`${running.url}/send`, init)
        for (let n = 0; n < 10; n += 1) {
          const large = await fetch(`${running.url}/send`, { method: 'POST', headers, body: 'x'.repeat(1_000_000) })
          expect([large.status, await large.json()]).toEqual([413, { error: 'too-large' }])
        }
        expect((await late).status).toBe(408)
      })

    if (stops)
      test('SIGTERM: a goodbye on each stream, and then the process ends by itself', async () => {
        const closed = await converse(running.url, 's3', fetchStreamTransport)
        const exited = once(running.process, 'exit')
        running.process.kill('SIGTERM')
        await vi.waitUntil(() => closed.includes('goodbye'), { timeout: 60_000 })
        expect(await exited).toEqual([0, null])
      })
  })
}
