import { createConnection, type Delivery } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Handler, listen } from '../../../tools/shared/listen'
import { hasRedis, startRedis } from '../../../tools/shared/redisServer'
import { type CommandCall, createChatServer, type SessionLog } from '../../server'
import { redisLog } from '../../server/redis'
import { listenForSockets } from '../support/gateway'
import { range } from '../support/server'

const SOON = { timeout: 20_000, interval: 5 }

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

type Fields = Readonly<Record<string, unknown>>
interface Element {
  readonly id?: string
  readonly endpoint: string
  readonly body: Fields
}

/**
 * Status, the JSON of its body, and its Retry-After in seconds: what becomes of a message of the
 * poisoned session.
 */
type Poison = readonly [status: number, json: Fields, retryAfter?: number]

const isPoisoned = (message: Fields) => message.sessionId === 's1' && message.type !== 'stop'

/**
 * As a server or a gateway would that refuses the messages of one session, alone and in a batch,
 * and hands on the rest.
 */
function poisoning(inner: Handler, poison: () => Poison | undefined): Handler {
  return async (request) => {
    const told = request.method === 'POST' ? poison() : undefined
    if (!told) return inner(request)
    const [status, json, retryAfter] = told
    const text = await request.text()
    const forward = (body: string) =>
      inner(new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal }))
    const message: Fields = JSON.parse(text)
    if (isPoisoned(message)) {
      const headers = { 'Content-Type': 'application/json', ...(retryAfter && { 'Retry-After': String(retryAfter) }) }
      return new Response(JSON.stringify(json), { status, headers })
    }
    if (!request.url.endsWith('/batch')) return forward(text)
    const messages = message.messages as readonly Element[]
    const rest = messages.filter(({ body }) => !isPoisoned(body))
    const answer = rest.length ? await forward(JSON.stringify({ messages: rest })) : Response.json({ results: [] })
    if (!answer.ok) return answer
    const { results } = (await answer.json()) as { results: readonly { id: string }[] }
    // Only the first one: what follows it in its lane is not run.
    const [first] = messages.filter(({ body }) => isPoisoned(body))
    const wait = retryAfter && { retryAfter: retryAfter * 1_000 }
    return Response.json({ results: first ? [...results, { id: first.id, status, ...json, ...wait }] : results })
  }
}

/** Announces less than the server can do. */
const without = (features: readonly string[], inner: Handler): Handler =>
  features.length === 0
    ? inner
    : async (request) => {
        const { body, status, headers } = await inner(request)
        if (request.method !== 'GET' || !body) return new Response(body, { status, headers })
        const [decoder, encoder] = [new TextDecoder(), new TextEncoder()]
        const hide = (text: string) => features.reduce((left, name) => left.replace(`"${name}",`, ''), text)
        const hiding = new TransformStream<Uint8Array, Uint8Array>({
          transform: (chunk, controller) =>
            controller.enqueue(encoder.encode(hide(decoder.decode(chunk, { stream: true })))),
        })
        return new Response(body.pipeThrough(hiding), { status, headers })
      }

interface Setup {
  readonly transport: 'HTTP' | 'WebSocket'
  readonly hidden: readonly string[]
  readonly failure: string
}

async function start({ transport, hidden, failure }: Setup) {
  let isBad = true
  const ran: string[] = []
  const hanging: (() => void)[] = []
  const batches: Fields[] = []
  const chat = createChatServer({
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    async onCommand({ message, sessionId }: CommandCall) {
      if (isBad && isPoisoned(message) && failure === 'an exception') throw new Error('not now')
      if (isBad && isPoisoned(message) && failure === 'a timeout')
        await new Promise<void>((resolve) => hanging.push(resolve))
      ran.push(`${sessionId} ${message.n}`)
    },
    onError() {},
  })
  const poisons: Record<string, Poison> = {
    '425': [425, { error: 'too-early' }],
    '429 with Retry-After': [429, { error: 'too-many' }, 1],
    'a 500 of a proxy': [500, { error: 'proxy' }],
    'a 404 of its endpoint': [404, { error: 'no-route' }],
  }
  const inner = poisoning(without(hidden, chat.fetch), () => (isBad ? poisons[failure] : undefined))
  const counted: Handler = (request) => {
    if (request.url.endsWith('/batch')) batches.push({})
    return inner(request)
  }
  const host = await (transport === 'HTTP' ? listen(counted) : listenForSockets(async (request) => counted(request)))
  const connection = createConnection({
    url: host.url,
    backoff: { base: 20, cap: 100 },
    outbox: { maxFailures: 10_000 },
    pageLifecycle: false,
    ...(transport === 'WebSocket' && { transport: webSocketTransport({ WebSocket }) }),
    fetch: (input, init) =>
      isBad && failure === 'a network error' && String(init?.body).includes('"s1"')
        ? Promise.reject(new TypeError('fetch failed'))
        : fetch(input, init),
  })
  cleanups.push(
    () => host.close(),
    () => chat.close(),
    connection.dispose,
    () => {
      for (const go of hanging) go()
    },
  )
  connection.on('error', () => {})
  connection.on('closed', () => {})
  let count = 0
  const send = (sessionId: string) => {
    const type = failure.startsWith('a 404') && sessionId === 's1' ? 'set_mode' : 'send'
    count += 1
    return connection.send({ type, sessionId, n: count })
  }
  return {
    connection,
    send,
    ran,
    batches,
    heal() {
      isBad = false
      for (const go of hanging) go()
    },
  }
}

const accepted = (deliveries: readonly Delivery[]) => deliveries.filter(({ status }) => status === 'accepted').length
const areRising = (ran: readonly string[]) => {
  const numbers = ran.map((text) => Number(text.split(' ')[1]))
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
}

describe('C61 I13: on an open line no message holds up another session', () => {
  const failures = [
    'an exception',
    'a 500 of a proxy',
    '425',
    '429 with Retry-After',
    'a timeout',
    'a network error',
    'a 404 of its endpoint',
  ]
  const lines: readonly (readonly [what: string, Omit<Setup, 'failure'>])[] = [
    ['HTTP, in batches', { transport: 'HTTP', hidden: [] }],
    ['HTTP, one by one', { transport: 'HTTP', hidden: ['batch'] }],
    ['HTTP, one by one, to a server that knows no lanes', { transport: 'HTTP', hidden: ['batch', 'lanes'] }],
    ['WebSocket, in batches', { transport: 'WebSocket', hidden: [] }],
    ['WebSocket, one by one', { transport: 'WebSocket', hidden: ['batch'] }],
  ]
  const rows = lines.flatMap(([what, setup]) => failures.map((failure) => [what, failure, setup] as const))
  // A frame has no network of its own: without it the socket is gone, and with it the line.
  const possible = rows.filter(([what, failure]) => !(what.startsWith('WebSocket') && failure === 'a network error'))

  test.each(possible)(
    '%s: %s',
    async (_, failure, setup) => {
      const { connection, send, ran, batches, heal } = await start({ ...setup, failure })
      const bad = [send('s1'), send('s1')]
      const others: Delivery[] = []
      // The first ones are there when the line opens, so that a batch carries all three; the others
      // come when the failure is known.
      for (const burst of range(1, 4)) {
        others.push(...['s2', 's3', 's2', 's3'].map(send))
        if (burst === 1) connection.connect()
        await expect.poll(() => accepted(others), SOON).toBe(4 * burst)
        expect(accepted(bad)).toBe(0)
      }
      for (const id of ['s2', 's3']) areRising(ran.filter((text) => text.startsWith(id)))
      expect(ran.filter((text) => text.startsWith('s1'))).toEqual([])
      expect(batches.length > 0).toBe(!setup.hidden.includes('batch'))
      heal()
      if (!failure.startsWith('a 404')) {
        await expect.poll(() => accepted(bad), SOON).toBe(2)
        areRising(ran.filter((text) => text.startsWith('s1')))
      }
      await expect.poll(() => connection.isOpen, SOON).toBe(true)
      expect((await send('s2').settled).status).toBe('accepted')
    },
    60_000,
  )
})

describe('a stop of a prompt whose POST is somewhere on its way', () => {
  const logs: readonly (readonly [string, () => Promise<SessionLog | undefined>])[] = [
    ['memory', async () => undefined],
    [
      'Redis',
      async () => {
        const redis = await startRedis()
        const log = redisLog({ url: redis.url })
        cleanups.push(() => redis.stop(), log.close)
        return log
      },
    ],
  ]

  test.each(logs.filter(([name]) => name === 'memory' || hasRedis))(
    'a late copy does not run: %s',
    async (_, open) => {
      const log = await open()
      const ran: unknown[] = []
      const chat = createChatServer({
        authenticate: () => ({ id: 'me' }),
        authorize: () => true,
        onCommand: ({ type }) => ran.push(type),
        ...(log && { log }),
      })
      const host = await listen(chat.fetch)
      const late: (() => Promise<Response>)[] = []
      const connection = createConnection({
        url: host.url,
        backoff: { base: 20, cap: 100 },
        timeouts: { send: 200 },
        pageLifecycle: false,
        fetch(input, init) {
          if (!String(init?.body).includes('"prompt"')) return fetch(input, init)
          // What the client gives up is on its way all the same.
          const { signal, ...rest } = init ?? {}
          late.push(() => fetch(input, rest))
          return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new TypeError('lost'))))
        },
      })
      cleanups.push(host.close, () => chat.close(), connection.dispose)
      connection.on('error', () => {})
      connection.connect()
      await expect.poll(() => connection.isOpen, SOON).toBe(true)
      const prompt = connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
      await expect.poll(() => late.length, SOON).toBeGreaterThan(0)
      const stop = connection.send({ type: 'stop', sessionId: 's1' })
      expect((await stop.settled).status).toBe('accepted')
      const copy = await late[0]?.()
      expect([copy?.status, await copy?.json()]).toEqual([409, { error: 'cancelled' }])
      expect(prompt.status).not.toBe('accepted')
      expect(ran).toEqual(['stop'])
    },
    60_000,
  )
})
