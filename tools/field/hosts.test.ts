import { createConnection, type Transport } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import WebSocket from 'ws'
import { type Running, runBlock } from './hostBlock'
import { describeWith, findTool } from './tools'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A client sends, and hears what comes of it. */
async function converse(url: string, sessionId: string, transport: Transport) {
  const connection = createConnection({ url, transport })
  cleanups.push(() => connection.dispose())
  const heard: unknown[] = []
  connection.on('message', (message) => heard.push([message.type, message.sessionId, message.n]))
  connection.watch(sessionId)
  connection.connect()
  const verdicts = [1, 2, 3].map((n) => connection.send({ type: 'send', sessionId, n }).settled)
  for (const verdict of await Promise.all(verdicts)) expect(verdict.status).toBe('accepted')
  await vi.waitUntil(() => heard.length === 3, { timeout: 60_000 })
  expect(heard).toEqual([1, 2, 3].map((n) => ['reply', sessionId, n]))
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

const HOSTS: readonly [name: string, heading: string, tool: string, args: readonly string[]][] = [
  ['Deno', '### Deno', 'deno', ['run', '--allow-net', '--no-remote', '--no-config']],
  ['Bun', '### Bun', 'bun', ['run']],
]

for (const [name, heading, tool, args] of HOSTS) {
  const path = findTool(tool)
  describeWith(`the block for ${name} in docs/hosts.md`, { [tool]: path }, () => {
    let host: Running
    beforeAll(async () => {
      host = await runBlock(heading, path ?? tool, args)
    })
    afterAll(async () => {
      await host?.end()
    })

    test('C84: serves a client over a WebSocket', () => converse(host.url, 's1', webSocketTransport({ WebSocket })))

    test('serves a client over an event stream and POSTs', () => converse(host.url, 's2', fetchStreamTransport))

    test('C83: no frame ends the process: before a hello, in one, after it', async () => {
      const before = await tell(host.url, `{"id":"a","endpoint":"send","body":${deep(10_000)}}`)
      const inside = await tell(
        host.url,
        `{"type":"hello","protocolVersion":2,"headers":{"authorization":${deep(10_000)}}}`,
      )
      const after = await tell(host.url, HELLO, `{"id":"a","endpoint":"send","body":${deep(100_000)}}`)
      await vi.waitUntil(() => before.code() && inside.code() && after.said.length > 1, { timeout: 60_000 })
      expect([before.code(), inside.code()]).toEqual([1009, 1009])
      expect(after.said).toContainEqual({ type: 'ack', id: 'a', status: 400, error: 'too-deep' })
      const next = await tell(host.url, HELLO)
      await vi.waitUntil(() => next.said.length, { timeout: 60_000 })
      expect(host.process.exitCode).toBe(null)
    })

    test('C88: a quiet stream outlives the host’s idle limit', async () => {
      const response = await fetch(`${host.url}/events`)
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      cleanups.push(() => reader?.cancel())
      let text = ''
      while (text.split('"ping"').length < 3) {
        const { done, value } = (await reader?.read()) ?? { done: true }
        expect(done, text).toBe(false)
        text += value
      }
    })

    test('C89: a body that stalls is a 408, and what is too large has its 413', async () => {
      const headers = { 'Content-Type': 'application/json' }
      const stalled = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{')) })
      const late = fetch(`${host.url}/send`, { method: 'POST', headers, body: stalled, duplex: 'half' } as RequestInit)
      for (let n = 0; n < 10; n += 1) {
        const large = await fetch(`${host.url}/send`, { method: 'POST', headers, body: 'x'.repeat(1_000_000) })
        expect([large.status, await large.json()]).toEqual([413, { error: 'too-large' }])
      }
      expect((await late).status).toBe(408)
    })
  })
}
