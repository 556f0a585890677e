import { afterEach, describe, expect, test } from 'vitest'
import { type Handler, listen } from '../../../tools/shared/listen'
import { type Connection, createConnection } from '../../index'
import { createChatServer, memoryLog } from '../../server'
import { seededRandom } from '../../testing/harness/random'

const SESSIONS = ['alpha', 'beta', 'gamma'] as const
const EVENTS = 5_000
const ROUNDS = 25

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const macrotask = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Tells when a condition holds, asked after every phase and message. */
function when(connection: Connection, condition: () => boolean) {
  return new Promise<void>((resolve) => {
    const ask = () => {
      if (!condition()) return
      for (const off of offs) off()
      resolve()
    }
    const offs = [connection.on('phase', ask), connection.on('message', () => queueMicrotask(ask))]
    ask()
  })
}

/**
 * 5,000 events in 3 sessions, while the client's sockets are destroyed at 50 seeded moments: 25
 * times anywhere, and each time once more in the middle of the resume that follows.
 */
async function hammer(seed: number, handler: Handler, publish: (sessionId: string, n: number) => unknown) {
  const random = seededRandom(seed)
  let onResume: (() => void) | null = null
  const server = await listen(async (request) => {
    const strike = request.url.endsWith('/reconnect') ? onResume : null
    if (strike) onResume = null
    // Before the server has seen the resume, or after it has acted on it.
    if (strike && random() < 0.5) strike()
    const response = await handler(request)
    strike?.()
    return response
  })
  cleanups.push(server.close)

  const connection = createConnection({
    url: server.url,
    random,
    backoff: { base: 4, cap: 8 },
    timeouts: { resume: 2_000, connect: 2_000, welcome: 2_000 },
  })
  cleanups.push(connection.dispose)
  const lifecycle: string[] = []
  const got: Record<string, number[]> = { alpha: [], beta: [], gamma: [] }
  const sent: Record<string, number> = { alpha: 0, beta: 0, gamma: 0 }
  connection.on('opened', () => lifecycle.push('opened'))
  connection.on('closed', () => lifecycle.push('closed'))
  connection.on('message', ({ sessionId, n }) => got[String(sessionId)]?.push(n as number))
  for (const sessionId of SESSIONS) connection.watch(sessionId)
  connection.connect()

  const moments = Array.from({ length: ROUNDS }, () => Math.floor(random() * EVENTS)).sort((a, b) => a - b)
  let kills = 0
  for (let n = 0; n < EVENTS; n++) {
    const sessionId = SESSIONS[Math.floor(random() * SESSIONS.length)] ?? 'alpha'
    sent[sessionId] = (sent[sessionId] ?? 0) + 1
    await publish(sessionId, sent[sessionId])
    if (random() < 0.05) await macrotask()
    while (moments[0] === n) {
      moments.shift()
      await when(connection, () => connection.isOpen)
      const struck = new Promise<void>((resolve) => {
        onResume = () => {
          kills++
          server.destroySockets()
          resolve()
        }
      })
      kills++
      server.destroySockets()
      await struck
    }
  }
  const complete = () => SESSIONS.every((sessionId) => (got[sessionId]?.at(-1) ?? 0) === sent[sessionId])
  await when(connection, complete)
  return { connection, server, lifecycle, got, sent, kills: () => kills }
}

function expectNothingLost({ lifecycle, got, sent, kills, server, connection }: Awaited<ReturnType<typeof hammer>>) {
  for (const sessionId of SESSIONS) {
    expect(got[sessionId]).toEqual(Array.from({ length: sent[sessionId] ?? 0 }, (_, index) => index + 1))
  }
  expect(Object.values(sent).reduce((sum, count) => sum + count, 0)).toBe(EVENTS)
  // A strike after the resume was acted on may strike twice in one resume.
  expect(kills()).toBeGreaterThanOrEqual(2 * ROUNDS)
  expect(lifecycle).toEqual(lifecycle.map((_, index) => (index % 2 === 0 ? 'opened' : 'closed')))
  expect(lifecycle.length).toBeGreaterThan(2 * ROUNDS)
  expect(server.mostStreams).toBe(1)
  expect(connection.cursors).toHaveLength(3)
}

describe('over real HTTP, with its sockets destroyed 50 times, half of them during a resume', () => {
  test.each([1, 2, 3])('C10 C35 C36: nothing is lost, doubled or out of order (seed %i)', async (seed) => {
    const chat = createChatServer({
      log: memoryLog(),
      authenticate: () => ({ id: 'me' }),
      authorize: () => true,
      onCommand: () => ({ ok: true }),
    })
    cleanups.push(() => chat.close())
    const run = await hammer(seed, chat.fetch, (sessionId, n) => chat.publish(sessionId, { type: 'token', n }))
    expectNothingLost(run)
  })

  test('against a plain server with none of the optional features, with the guarantees that remain', async () => {
    const plain = plainServer()
    const run = await hammer(4, plain.fetch, plain.publish)
    expectNothingLost(run)
  })
})

describe('against a plain server', () => {
  test('messages are posted and accepted, with whatever JSON it answers as the receipt', async () => {
    const plain = plainServer()
    const server = await listen(plain.fetch)
    cleanups.push(server.close)
    const connection = createConnection({ url: server.url })
    cleanups.push(connection.dispose)
    connection.watch('alpha')
    connection.connect()
    const verdicts = await Promise.all(
      ['a', 'b', 'c'].map((text) => connection.send({ type: 'send', sessionId: 'alpha', text }).settled),
    )
    expect(verdicts.map(({ status }) => status)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(plain.commands).toEqual(['a', 'b', 'c'])
  })
})

/** The least that the protocol asks of a server: a welcome, a replay on reconnect, messages. */
function plainServer() {
  const logs = new Map<string, string[]>()
  const commands: unknown[] = []
  const streams = new Map<string, { write(frame: string): void; readonly attached: Set<string> }>()
  const encoder = new TextEncoder()
  let nextId = 1

  async function fetch(request: Request): Promise<Response> {
    if (request.url.endsWith('/events')) {
      const id = `plain-${nextId++}`
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const write = (frame: string) => controller.enqueue(encoder.encode(frame))
          streams.set(id, { write, attached: new Set() })
          write(
            `event: welcome\ndata: ${JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: id })}\n\n`,
          )
        },
        cancel() {
          streams.delete(id)
        },
      })
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    }
    const stream = streams.get(request.headers.get('x-connection-id') ?? '')
    if (!stream) return new Response(null, { status: 404 })
    const message = await request.json()
    if (message.type !== 'reconnect') {
      commands.push(message.text)
      return Response.json({ took: message.text })
    }
    for (const { sessionId, lastSeq } of message.sessions) {
      for (const frame of (logs.get(sessionId) ?? []).slice(lastSeq)) stream.write(frame)
      stream.attached.add(sessionId)
    }
    return new Response(null, { status: 200 })
  }

  function publish(sessionId: string, n: number) {
    const log = logs.get(sessionId) ?? []
    logs.set(sessionId, log)
    const frame = `data: ${JSON.stringify({ type: 'token', sessionId, seq: log.length + 1, n })}\n\n`
    log.push(frame)
    for (const { write, attached } of streams.values()) if (attached.has(sessionId)) write(frame)
  }

  return { fetch, publish, commands }
}
