import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { completeLines } from '../../adapters/streamResponse'
import { createWorld, type FakePost, settle, type World } from '../support/fakes'
import { watchProcess } from '../support/process'
import { createSocketWorld } from '../support/socket'
import { createStorage, load } from '../support/storage'

const lost = watchProcess()
const closing: (() => unknown)[] = []
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close()
})
const until = (check: () => unknown) => vi.waitFor(check, 15_000)

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
const LONG = 'x'.repeat(1_025)

describe('C99: an event whose envelope is not of its types is reported and dropped', () => {
  const BAD: readonly [culprit: string, type: string, event: string][] = [
    ['type', 'object', '{"type":{"toString":1}}'],
    ['type', 'number', '{"type":7,"sessionId":"s1","seq":1}'],
    ['sessionId', 'object', '{"sessionId":{"toString":1},"seq":1}'],
    ['sessionId', 'object', '{"sessionId":{"toString":null,"valueOf":null},"seq":1}'],
    ['sessionId', 'object', '{"sessionId":{"__proto__":null},"seq":1}'],
    ['sessionId', 'object', '{"sessionId":{"toString":1}}'],
    ['sessionId', 'object', `{"sessionId":${nested(50_000)},"seq":1}`],
    ['sessionId', 'object', '{"sessionId":null,"seq":1}'],
    ['sessionId', 'string', '{"sessionId":"","seq":1}'],
    ['sessionId', 'string', `{"sessionId":"${LONG}","seq":1}`],
    ['seq', 'object', '{"sessionId":"s1","seq":{"toString":1}}'],
    ['seq', 'object', '{"sessionId":"s1","seq":null}'],
    ['seq', 'object', '{"seq":[1]}'],
    ['seq', 'string', '{"sessionId":"s1","seq":"1"}'],
    ['seq', 'number', '{"sessionId":"s1","seq":0}'],
    ['seq', 'number', '{"sessionId":"s1","seq":1e400}'],
    ['prevSeq', 'object', '{"sessionId":"s1","seq":1,"prevSeq":{"toString":1}}'],
    ['prevSeq', 'object', '{"sessionId":"s1","seq":1,"prevSeq":null}'],
    ['epoch', 'object', '{"sessionId":"s1","seq":1,"epoch":{"toString":1}}'],
    ['epoch', 'number', '{"sessionId":"s1","seq":1,"epoch":7}'],
    ['epoch', 'string', `{"sessionId":"s1","seq":1,"epoch":"${LONG}"}`],
  ]
  const GOOD = { type: 'said', sessionId: 'good', seq: 1 }

  async function overFetch() {
    const { stream, open } = fetchWorld()
    const connection = open()
    await until(() => expect(connection.isOpen).toBe(true))
    return { connection, says: (data: string) => stream.writes(`data: ${data}\n\n`) }
  }
  async function overAnEventSource() {
    const world = createWorld()
    await world.opens()
    return { connection: world.connection, says: (data: string) => world.stream.sends(data) }
  }
  async function overAWebSocket() {
    const world = createSocketWorld()
    await world.opens()
    return { connection: world.connection, says: (data: string) => world.socket.says(data) }
  }

  test.each([overFetch, overAnEventSource, overAWebSocket])(
    '%o: by its field and type, and the line goes on',
    async (over) => {
      const { connection, says } = await over()
      const errors: Error[] = []
      const received: unknown[] = []
      const closed = vi.fn()
      connection.on('error', ({ error }) => errors.push(error))
      connection.on('message', (message) => received.push(message))
      connection.on('closed', closed)
      for (const [, , event] of BAD) says(event)
      says(JSON.stringify(GOOD))
      await until(() => expect(received).toEqual([GOOD]))
      expect(errors.map((error) => (error as Error & { code: string }).code)).toEqual(BAD.map(() => 'bad-message'))
      expect(errors.map(({ message }) => message)).toEqual(
        BAD.map(([field, type]) => `malformed ${field} (${type}): the event is dropped`),
      )
      // Nothing of the server's is in it that could throw.
      expect(inspect(errors, { depth: 9 })).not.toContain('toString')
      expect(connection.cursors).toEqual([{ sessionId: 'good', lastSeq: 1 }])
      expect([closed.mock.calls, lost.mock.calls]).toEqual([[], []])
      connection.dispose()
    },
  )

  test('null is how other languages say that there is no epoch, and no session where there is no seq', async () => {
    const world = createWorld()
    await world.opens()
    const events = [
      { type: 'said', sessionId: 's1', seq: 1, epoch: null },
      { type: 'notice', sessionId: null },
      { type: 'notice', sessionId: 's1' },
      { note: 'without a type' },
    ]
    for (const event of events) world.stream.sends(event)
    expect([world.received, world.errors]).toEqual([events, []])
  })

  test.each([
    ['a connectionId that is too long to be a header', { connectionId: LONG }],
    ['a connectionId that is an object', { connectionId: { toString: 1 } }],
    ['another version', { protocolVersion: { valueOf: 2 } }],
  ])('a welcome with %s is none', async (_, more) => {
    const world = createWorld()
    world.connection.connect()
    await settle()
    world.stream.opens()
    world.stream.dispatch('welcome', {
      data: JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1', ...more }),
    })
    expect([world.connection.phase, world.connection.lastError?.code]).toEqual(['backoff', 'bad-welcome'])
  })

  test('an epoch in a verdict that is too long to be kept is none', async () => {
    const cursors = [{ sessionId: 's1', lastSeq: 5 }]
    const sessions = [{ sessionId: 's1', status: 'reset', from: 0, to: 3, epoch: 'x'.repeat(1_025) }]
    const world = createWorld({ cursors }, (post) => post.answers(200, { ok: true, sessions }))
    await world.opens()
    expect(world.connection.cursors).toEqual([{ sessionId: 's1', lastSeq: 3 }])
  })
})

describe('C107: a server that is never done costs no more than one that is down', () => {
  const MINUTE = 60_000

  /** Whatever this does to each stream, every 100 ms of virtual time, for a minute. */
  async function torments(
    world: World,
    torment: (turn: number) => unknown,
    features: readonly 'contiguous-seq'[] = [],
  ) {
    world.connection.connect()
    for (let turn = 0; turn < MINUTE / 100; turn++) {
      await settle()
      const [live] = world.live
      if (live && world.connection.phase === 'connecting') await world.opens({ features })
      // As fast as it can.
      for (let again = 0; again < 10; again++) if (world.live.length) await torment(turn * 10 + again)
      await world.clock.advance(100)
    }
    await settle()
  }
  const resumes = (world: World) => world.postsTo('reconnect').length
  const count = (world: World, word: string) => world.log.filter((line) => line.includes(word)).length

  test('a hole behind every resume', async () => {
    const world = createWorld()
    let seq = 1
    await torments(world, () => {
      world.stream.sends(world.event('s1', seq++))
      world.stream.sends(world.event('s1', seq++ + 1))
      return settle()
    }, ['contiguous-seq'])
    expect(resumes(world)).toBeGreaterThan(5)
    // What one that fails at once costs as well: 0.25 s, 0.5 s, 1 s … and then 15 s each.
    expect(world.streams.length).toBeLessThan(12)
    expect(resumes(world)).toBeLessThan(5 + 2 * world.streams.length)
    expect(world.connection.lastError?.code).toBe('flapping')
  })

  test('a hole that opens while the one before is filled, again and again: one session or many', async () => {
    for (const sessions of [1, 50]) {
      const cursors = Array.from({ length: sessions }, (_, n) => ({ sessionId: `s${n}`, lastSeq: 1 }))
      let seq = 1
      let turn = 0
      const world: World = createWorld({ cursors }, (post: FakePost) => {
        if (post.endpoint !== 'reconnect') return post.answers(200)
        // Of another session than this resume was for.
        const sessionId = `s${++turn % sessions}`
        seq += 3
        world.stream.sends(world.event(sessionId, seq, { prevSeq: seq - 1 }))
        return post.answers(200, { ok: true, sessions: [] })
      })
      await torments(world, settle, ['contiguous-seq'])
      expect([sessions, resumes(world) < 5 + 3 * world.streams.length, world.streams.length < 12]).toEqual([
        sessions,
        true,
        true,
      ])
    }
  })

  test('verdicts that move a cursor back behind what has come already', async () => {
    let to = 1_000_000
    const world: World = createWorld({ cursors: [{ sessionId: 's1', lastSeq: to }] }, (post: FakePost) => {
      if (post.endpoint !== 'reconnect') return post.answers(200)
      world.stream.sends(world.event('s1', to - 1))
      to -= 2
      return post.answers(200, { ok: true, sessions: [{ sessionId: 's1', status: 'reset', from: to, to }] })
    })
    await torments(world, settle)
    expect(resumes(world)).toBeLessThan(5 + 3 * world.streams.length)
    expect(world.streams.length).toBeLessThan(12)
  })

  test('epochs that flip', async () => {
    const world = createWorld()
    await torments(world, (turn) => world.stream.sends(world.event('s1', turn + 1, { epoch: `e${turn}` })))
    expect(count(world, 'reset')).toBeLessThan(5 + 2 * world.streams.length)
    expect(world.streams.length).toBeLessThan(12)
    expect(world.connection.lastError).toMatchObject({ code: 'flapping', retryable: true })
  })

  test('welcomes without end, with sessions and without', async () => {
    for (const cursors of [[], [{ sessionId: 's1', lastSeq: 1 }]]) {
      const world = createWorld({ cursors })
      await torments(world, (turn) => {
        world.stream.welcomes({ connectionId: `c${turn}` })
        return settle()
      })
      expect(world.streams.length).toBeLessThan(12)
      expect(count(world, 'opened') + resumes(world)).toBeLessThan(10 + 4 * world.streams.length)
    }
  })

  test('an honest one is not paced: a hole, a reset and a second welcome, each after some seconds of quiet', async () => {
    const world = createWorld()
    await world.opens({ features: ['contiguous-seq'] })
    let seq = 0
    for (let turn = 0; turn < 20; turn++) {
      world.stream.sends(world.event('s1', ++seq, { epoch: `e${turn}` }))
      seq += 2
      world.stream.sends(world.event('s1', seq, { epoch: `e${turn}` }))
      await settle()
      world.stream.sends(world.event('s1', seq - 1, { epoch: `e${turn}` }))
      world.stream.sends(world.event('s1', seq, { epoch: `e${turn}` }))
      world.stream.welcomes({ connectionId: `c1.${turn}`, features: ['contiguous-seq'] })
      await settle()
      expect([turn, world.connection.phase]).toEqual([turn, 'open'])
      await world.clock.advance(6_000)
    }
    expect([world.streams.length, world.connection.cursor('s1')?.lastSeq]).toEqual([1, seq])
  })

  test('nor is an app that watches one session after the other', async () => {
    const world = createWorld()
    await world.opens()
    for (let n = 0; n < 100; n++) {
      world.connection.watch(`s${n}`)
      await settle()
    }
    expect([world.streams.length, resumes(world), world.connection.phase]).toEqual([1, 100, 'open'])
  })
})

describe('C107: sessions that a server opens are bounded', () => {
  const opensSessions = (world: World, from: number, to: number) => {
    for (let n = from; n < to; n++) world.stream.sends(world.event(`s${n}`, 1))
  }

  test('by 1,000; events of more are dropped, which is reported once, and by name', async () => {
    const world = createWorld()
    const errors: string[] = []
    world.connection.on('error', ({ error }) => errors.push(error.message))
    await world.opens()
    opensSessions(world, 0, 3_000)
    expect([world.connection.cursors.length, world.received.length]).toEqual([1_000, 1_000])
    expect(world.errors).toEqual(['too-many-sessions'])
    expect(errors[0]).toMatch(/^events of new sessions like s1000 are dropped: .* inbound\.maxSessions$/)
    world.stream.sends(world.event('s0', 2))
    expect(world.received.at(-1)).toMatchObject({ sessionId: 's0', seq: 2 })
    expect(world.connection.phase).toBe('open')
  })

  test('those of the app do not count: watched, before or after, or given as cursors', async () => {
    const world = createWorld({ inbound: { maxSessions: 2 }, cursors: [{ sessionId: 'given', lastSeq: 1 }] })
    world.connection.watch('watched')
    await world.opens()
    world.stream.sends(world.event('given', 2))
    world.stream.sends(world.event('watched', 1))
    opensSessions(world, 0, 3)
    expect(world.errors).toEqual(['too-many-sessions'])
    world.connection.watch('s0')
    world.connection.watch('s2')
    opensSessions(world, 2, 5)
    expect(world.connection.cursors.map(({ sessionId }) => sessionId)).toEqual([
      'given',
      'watched',
      's0',
      's1',
      's2',
      's3',
    ])
    // There was room for one between them.
    expect(world.errors).toEqual(['too-many-sessions', 'too-many-sessions'])
  })

  test('one that is unwatched makes room', async () => {
    const world = createWorld({ inbound: { maxSessions: 1 } })
    await world.opens()
    opensSessions(world, 0, 1)
    world.connection.unwatch('s0')
    opensSessions(world, 0, 2)
    expect(world.connection.cursors).toEqual([{ sessionId: 's1', lastSeq: 1 }])
  })

  test('over all visits: what is restored counts, until the app watches it', async () => {
    const storage = createStorage()
    for (let visit = 0; visit < 3; visit++) {
      const world = load(storage, { inbound: { maxSessions: 5 } })
      await world.opens()
      opensSessions(world, 10 * visit, 10 * visit + 10)
      await settle()
      expect(world.connection.cursors).toHaveLength(5)
      world.connection.dispose()
    }
    const world = load(storage, { inbound: { maxSessions: 5 } })
    await world.opens()
    world.connection.watch('s0')
    opensSessions(world, 50, 60)
    expect(world.connection.cursors.map(({ sessionId }) => sessionId)).toEqual(['s0', 's1', 's2', 's3', 's4', 's50'])
  })

  test('those that it closes again are forgotten in the end: it cannot fill the memory with them', async () => {
    const world: World = createWorld({ inbound: { maxSessions: 3 } }, (post: FakePost) => {
      const sessions = ((post.body.sessions ?? []) as { sessionId: string }[]).map(({ sessionId }) => ({
        sessionId,
        status: 'gone',
      }))
      return post.answers(200, { ok: true, sessions })
    })
    await world.opens()
    for (let round = 0; round < 3; round++) {
      opensSessions(world, 3 * round, 3 * round + 3)
      world.connection.reconnect()
      await settle()
      await world.opens()
      expect(world.connection.cursors).toEqual([])
    }
    world.received.length = 0
    opensSessions(world, 0, 9)
    // The last three are remembered.
    expect(world.received.map(({ sessionId }) => sessionId)).toEqual(['s0', 's1', 's2'])
  })
})

describe('C110: an event has a maximum size', () => {
  const MAX = 1_000

  test('wherever the chunks end, one that fits passes and one that does not is noticed before it is all there', () => {
    const ends = fc.constantFrom('\n', '\r', '\r\n')
    const event = fc.tuple(fc.integer({ min: 0, max: 1_500 }), fc.boolean(), ends)
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (events, cuts) => {
          const texts = events.map(([size, isSplit, end]) => {
            const half = 'x'.repeat(size / 2)
            return `data: ${half}${isSplit ? `${end}data: ` : ''}${half}${end}${end}`
          })
          const bytes = new TextEncoder().encode(texts.join(''))
          const complete = completeLines(MAX)
          const feed = () => {
            for (let at = 0, n = 0; at < bytes.length; n++) {
              const cut = cuts[n % cuts.length] ?? 1
              complete(bytes.subarray(at, at + cut))
              at += cut
            }
          }
          const longest = Math.max(0, ...texts.map(({ length }) => length))
          const widest = Math.max(...cuts)
          if (longest <= MAX) feed()
          else if (longest > MAX + widest + 2)
            expect(feed).toThrow('an event has more than 1000 bytes (inbound.maxBytes)')
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test('an empty line at the end of a chunk, in the next one, or half in each', () => {
    const encoder = new TextEncoder()
    for (const end of ['\n', '\r', '\r\n']) {
      const text = `data: ${'x'.repeat(600)}${end}${end}`
      for (let cut = 600; cut <= text.length; cut++) {
        const complete = completeLines(MAX)
        for (let round = 0; round < 10; round++) {
          complete(encoder.encode(text.slice(0, cut)))
          complete(encoder.encode(text.slice(cut)))
        }
      }
    }
    // The end of one line in two chunks is no empty line.
    const complete = completeLines(MAX)
    expect(() => {
      for (let round = 0; round < 10; round++)
        for (const part of [`data: ${'x'.repeat(200)}\r`, '\n']) complete(encoder.encode(part))
    }).toThrow('inbound.maxBytes')
  })

  test.each([
    ['fetchStreamTransport', { transport: fetchStreamTransport }],
    ['the eventsource package', { headers: {} }],
  ] as const)('%s: the stream fails, says why, is cut, and comes back with backoff', async (_, options) => {
    let cuts = 0
    const site = await startSite((path, response) => {
      if (path !== '/events') return respond(response, {})
      welcomes(response)
      response.on('close', () => cuts++)
      const timer = setInterval(() => response.write('x'.repeat(10_000)), 1)
      response.on('close', () => clearInterval(timer))
      response.write('data: ')
    })
    const connection = connectTo(site.url, { inbound: { maxBytes: 100_000 }, ...options })
    const closed = vi.fn()
    connection.on('closed', closed)
    await until(() => expect(cuts).toBeGreaterThan(1))
    expect(closed.mock.calls[0]?.[0]).toMatchObject({
      reason: 'failed',
      error: { code: 'stream-failed', message: 'an event has more than 100000 bytes (inbound.maxBytes)' },
    })
  })

  test('the `ws` package: a frame that is longer ends the socket', async () => {
    const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    closing.push(() => sockets.close())
    await once(sockets, 'listening')
    let count = 0
    sockets.on('connection', (socket) => {
      count++
      socket.on('error', () => {})
      socket.on('message', () => {
        socket.send(JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1' }))
        socket.send(JSON.stringify({ type: 'said', text: 'x'.repeat(100_001) }))
      })
    })
    const url = `http://127.0.0.1:${(sockets.address() as AddressInfo).port}/chat`
    const connection = connectTo(url, { transport: webSocketTransport({ WebSocket }), inbound: { maxBytes: 100_000 } })
    const closed = vi.fn()
    connection.on('closed', closed)
    await until(() => expect(count).toBeGreaterThan(1))
    expect(closed.mock.calls[0]?.[0].error).toMatchObject({
      code: 'stream-failed',
      message: expect.stringContaining('Max payload size exceeded'),
    })
  })

  test('the class of the platform is made without options that it does not know', async () => {
    const made: unknown[][] = []
    class Native {
      readonly readyState = 0
      constructor(...given: unknown[]) {
        made.push(given)
      }
      addEventListener() {}
      close() {}
      send() {}
    }
    vi.stubGlobal('WebSocket', Native)
    const connection = connectTo('http://test/chat', { transport: webSocketTransport() })
    await until(() => expect(made).toEqual([['ws://test/chat/socket']]))
    connection.dispose()
    vi.unstubAllGlobals()
  })
})

describe('C110: an answer has a maximum size', () => {
  async function answers(respondToSend: (response: ServerResponse) => void) {
    const site = await startSite((path, response) => {
      if (path === '/events') welcomes(response, ['receipts', 'idempotency'])
      else if (path === '/send') respondToSend(response)
      else respond(response, {})
    })
    const connection = connectTo(site.url, { transport: fetchStreamTransport, inbound: { maxBytes: 100_000 } })
    const errors: { code: string; message: string }[] = []
    connection.on('error', ({ error }) => errors.push(error))
    return { connection, errors }
  }
  /** It never ends by itself. */
  const endless = (status: number, onClose: () => void) => (response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.write('{"error":"')
    const timer = setInterval(() => response.write('x'.repeat(10_000)), 1)
    response.on('close', () => {
      clearInterval(timer)
      onClose()
    })
  }

  test('one that is longer is cancelled, and is none: the message is repeated', async () => {
    let isLong = true
    let cuts = 0
    const { connection, errors } = await answers((response) =>
      isLong ? endless(200, () => cuts++)(response) : respond(response, { ok: true }),
    )
    const { settled } = connection.send({ type: 'send', text: 'hi' })
    await until(() => expect(cuts).toBeGreaterThan(0))
    isLong = false
    expect(await settled).toMatchObject({ status: 'accepted', receipt: { ok: true } })
    expect(errors[0]).toMatchObject({
      code: 'bad-response',
      message: 'POST send: the answer has more than 100000 bytes (inbound.maxBytes)',
    })
  })

  test('of an error the status stands', async () => {
    let cuts = 0
    const { connection } = await answers(endless(400, () => cuts++))
    expect(await connection.send({ type: 'send', text: 'hi' }).settled).toMatchObject({
      status: 'rejected',
      error: { code: 'http', status: 400 },
    })
    await until(() => expect(cuts).toBe(1))
  })

  test('the reason of a stream that is refused is not read for ever', async () => {
    const site = await startSite((_, response) => endless(403, () => {})(response))
    const connection = connectTo(site.url, { transport: fetchStreamTransport })
    await until(() => expect(connection.lastError).toMatchObject({ code: 'forbidden', status: 403 }))
  })
})

describe('C103: a stream that is redirected', () => {
  const SECRETS = { authorization: 'Bearer secret', 'x-api-key': 'secret' }
  const TRANSPORTS = [
    ['fetchStreamTransport', { transport: fetchStreamTransport }],
    ['the eventsource package', {}],
  ] as const
  const secretsOf = (headers: IncomingHttpHeaders) =>
    Object.values(headers).filter((value) => /secret/.test(`${value}`))

  test.each(
    TRANSPORTS.flatMap(([name, options]) =>
      [301, 302, 303, 307, 308].map((status) => [name, status, options] as const),
    ),
  )('%s, %d: another origin is asked for nothing', async (_, status, options) => {
    const other = await startSite((_, response) => welcomes(response))
    const site = await startSite((path, response) => {
      response.writeHead(status, { location: `${other.url}${path}` }).end()
    })
    const connection = connectTo(site.url, { headers: SECRETS, ...options })
    await until(() => expect(site.seen.length).toBeGreaterThan(2))
    expect(other.seen).toEqual([])
    expect(connection.connectionId).toBe(null)
    expect(connection.lastError).toMatchObject({
      code: 'redirected',
      message: `GET events: redirected to ${other.url}/events; log in, or correct \`url\``,
    })
  })

  test.each(TRANSPORTS)('%s: within the origin it is followed, with its headers', async (_, options) => {
    const site = await startSite((path, response) => {
      if (path === '/events') response.writeHead(302, { location: '/chat/v2/stream' }).end()
      else welcomes(response)
    })
    const connection = connectTo(site.url, { headers: SECRETS, ...options })
    await until(() => expect(connection.isOpen).toBe(true))
    expect(site.seen.map(({ path }) => path)).toEqual(['/events', '/v2/stream'])
    for (const { headers } of site.seen) expect(secretsOf(headers)).toHaveLength(2)
  })

  // As in a page: the status and the target of a redirect that is not followed are hidden.
  const hiding: typeof fetch = async (input, init) => {
    const response = await fetch(input, init)
    if (init?.redirect !== 'manual' || response.status < 300 || response.status > 399) return response
    return Object.defineProperties(new Response(null), { type: { value: 'opaqueredirect' }, status: { value: 0 } })
  }

  test.each(TRANSPORTS)(
    '%s: where that is hidden, the target is asked for once, without anything secret',
    async (_, options) => {
      const other = await startSite((_, response) => welcomes(response))
      let target = other.url
      const site: Site = await startSite((path, response) => {
        if (path === '/events') response.writeHead(307, { location: `${target}/stream` }).end()
        else welcomes(response)
      })
      const connection = connectTo(site.url, { headers: SECRETS, fetch: hiding, ...options })
      await until(() => expect(other.seen.length).toBeGreaterThan(1))
      expect(other.seen.flatMap(({ headers }) => secretsOf(headers))).toEqual([])
      expect(connection.connectionId).toBe(null)
      target = site.url
      await until(() => expect(connection.isOpen).toBe(true))
      expect(
        site.seen.filter(({ path }) => path === '/stream').map(({ headers }) => secretsOf(headers).length),
      ).toEqual([0, 2])
    },
  )
})

test('a server that answers every POST with a redirect, 401, 425 or 429 is asked again with backoff', async () => {
  for (const status of [301, 307, 425, 429, 500]) {
    const world: World = createWorld({}, (post) => post.answers(status, {}, { location: 'http://evil.test/' }))
    await world.opens({ features: ['receipts', 'idempotency'] })
    world.connection.send({ type: 'send' })
    await world.clock.advance(60_000)
    expect([status, world.posts.length > 3, world.posts.length < 14]).toEqual([status, true, true])
    world.connection.dispose()
  }
  const world: World = createWorld({ headers: () => ({ authorization: 'x' }) }, (post) => post.answers(401))
  await world.opens()
  world.connection.send({ type: 'send' })
  await world.clock.advance(60_000)
  expect([world.posts.length, world.connection.phase]).toEqual([2, 'idle'])
})

// Means

interface Site {
  readonly url: string
  readonly seen: { readonly path: string; readonly headers: IncomingHttpHeaders }[]
}

/** A real HTTP server of an origin of its own. */
async function startSite(route: (path: string, response: ServerResponse) => void): Promise<Site> {
  const seen: { path: string; headers: IncomingHttpHeaders }[] = []
  const server = createServer((request, response) => {
    const path = String(request.url).replace(/^\/chat/, '')
    seen.push({ path, headers: request.headers })
    response.on('error', () => {})
    request.resume().on('end', () => route(path, response))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/chat`, seen }
}

function welcomes(response: ServerResponse, features: readonly string[] = []) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const welcome = { type: 'welcome', protocolVersion: 2, connectionId: 'c1', features }
  response.write(`event: welcome\ndata: ${JSON.stringify(welcome)}\n\n`)
}

const respond = (response: ServerResponse, answer: object) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))

function connectTo(url: string, options: Partial<ConnectionOptions>): Connection {
  const connection = createConnection({ url, backoff: { base: 20, cap: 20 }, pageLifecycle: false, ...options })
  closing.push(connection.dispose)
  connection.connect()
  return connection
}

/** A connection over `fetch` alone, whose stream is in the hands of the test. */
function fetchWorld() {
  const encoder = new TextEncoder()
  let sink: ReadableStreamDefaultController<Uint8Array> | undefined
  const writes = (text: string) => sink?.enqueue(encoder.encode(text))
  const fetch = async (input: unknown) => {
    if (!String(input).endsWith('/events')) return Response.json({ ok: true })
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        sink = controller
        const welcome = '{"type":"welcome","protocolVersion":2,"connectionId":"c1"}'
        writes(`event: welcome\ndata: ${welcome}\n\n`)
      },
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
  const open = () =>
    connectTo('http://test/chat', { transport: fetchStreamTransport, fetch: fetch as typeof globalThis.fetch })
  return { stream: { writes }, open }
}
