import { once } from 'node:events'
import fc from 'fast-check'
import { createConnection } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { type Serve, transportContract } from 'holdline/testing'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { CommandRejected, createChatServer, createWebSocketGateway, memoryLog } from '../../../server'
import { seededRandom } from '../../../testing/harness/random'
import { acked, ask, createSockets, freshId, listenForSockets, ServerSocket, type Upgrade } from '../../support/gateway'
import { staysFlat } from '../../support/memory'
import {
  BASE,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  post,
  range,
  settle,
  until,
  watchedLog,
} from '../../support/server'
import { startTcpProxy } from '../../support/tcpProxy'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A chat server behind a gateway, with the clock of both in the test's hands. */
function createServer(...[overrides]: Parameters<typeof createTestServer>) {
  const chat = createTestServer(overrides)
  return { ...chat, ...createSockets({ fetch: chat.server.fetch, clock: chat.clock }) }
}

const send = (n: unknown, sessionId = 'room') => ({ type: 'send', sessionId, n }) as const

describe('a hello', () => {
  test('opens the stream; the welcome is the first frame', async () => {
    const { opens } = createServer()
    const socket = await opens()
    expect(socket.said).toMatchObject([{ type: 'welcome', protocolVersion: 2, heartbeat: 8_000 }])
  })

  test('has to come in 5 s', async () => {
    const { connect, opens, clock } = createServer()
    const silent = connect()
    const greeted = await opens()
    await clock.advance(4_999)
    expect(silent.closed).toBeUndefined()
    await clock.advance(1)
    expect([silent.closed, greeted.closed]).toEqual([[4408], undefined])
  })

  test('has to come first, and to be of this version', async () => {
    const { connect } = createServer()
    const [early, foreign] = [connect(), connect()]
    early.hears({ id: 'a', endpoint: 'send', body: send(1) })
    foreign.hears({ type: 'hello', protocolVersion: 3 })
    await settle()
    expect([early, foreign].map(({ closed, said }) => [closed, said])).toEqual([
      [[1002], []],
      [[1002], []],
    ])
  })

  test.each<[string, Parameters<typeof createTestServer>[0], Upgrade, unknown[]]>([
    ['that names nobody', {}, { as: '' }, [4401, 'unauthorized']],
    ['from a foreign page', {}, { headers: { Origin: 'https://evil.test' } }, [4403, 'origin']],
    ['to a server that fails', { authenticate: () => Promise.reject(new Error('secret')) }, {}, [4500, 'internal']],
  ])('%s is closed with its own code', async (_, options, upgrade, closed) => {
    const { opens } = createServer(options)
    const socket = await opens(upgrade)
    expect([socket.closed, socket.said]).toEqual([closed, []])
  })

  test.each<[string, Response, unknown[]]>([
    ['204', new Response(null, { status: 204 }), [4204, '']],
    ['403 without a word', new Response('<h1>no</h1>', { status: 403 }), [4403, '']],
    ['a word that is too long for a close', Response.json({ error: 'x'.repeat(124) }, { status: 403 }), [4403, '']],
    ['a word that is no text', Response.json({ error: { a: 1 } }, { status: 403 }), [4403, '']],
    ['a success without a body', new Response(null), [1011]],
    ['429 without a delay', new Response(null, { status: 429 }), [4429, '']],
  ])('C113: whose stream is answered with %s is closed with 4000 and the status', async (_, response, closed) => {
    const { connect } = createSockets({ fetch: () => response })
    const socket = connect()
    socket.hears({ type: 'hello', protocolVersion: 2 })
    await settle()
    expect(socket.closed).toEqual(closed)
  })

  test('to a server that is full, or closed, is asked to come back', async () => {
    const { opens, server } = createServer({ limits: { streamsPerPrincipal: 1 } })
    await opens()
    expect((await opens()).closed).toEqual([4429, '5000'])
    await server.close()
    expect((await opens()).closed).toEqual([4503, '5000'])
  })

  test('sets the headers that it may, and never what the upgrade carries or a proxy says', async () => {
    const seen: Record<string, string>[] = []
    const authenticate = (request: Request) => {
      seen.push(Object.fromEntries(request.headers))
      return { id: 'alice' }
    }
    const { server, clock } = createTestServer({ authenticate })
    const hello = {
      type: 'hello',
      protocolVersion: 2,
      headers: {
        AUTHORIZATION: 'mine',
        'X-Tenant': 'acme',
        origin: 'https://evil.test',
        host: 'evil.test',
        cookie: 'id=bob',
        'x-forwarded-user': 'bob',
        'x-connection-id': 'stolen',
      },
    }
    const upgrade = { cookie: 'id=alice', host: 'chat.test', connection: 'upgrade', 'sec-websocket-key': 'k' }
    for (const [options, headers] of [
      [{}, upgrade],
      [{ headers: ['X-Tenant'] }, upgrade],
      [{}, { ...upgrade, authorization: 'of the proxy' }],
    ] as const) {
      const { connect } = createSockets({ fetch: server.fetch, clock, ...options })
      const socket = connect(headers)
      socket.hears(hello)
      await until(() => socket.said.length > 0, 'a welcome')
    }
    expect(seen).toEqual([
      { authorization: 'mine', cookie: 'id=alice', host: 'chat.test' },
      { 'x-tenant': 'acme', cookie: 'id=alice', host: 'chat.test' },
      { authorization: 'of the proxy', cookie: 'id=alice', host: 'chat.test' },
    ])
  })

  test('C84: the upgrade is read before accept returns: some hosts close it with the response', async () => {
    const { server, clock } = createTestServer()
    const gateway = createWebSocketGateway({ fetch: server.fetch, clock })
    const socket = new ServerSocket()
    let isClosed = false
    const upgrade = new Request(`${BASE}/socket`, { headers: { authorization: 'alice' } })
    const request = new Proxy(upgrade, {
      get(target, name) {
        if (isClosed) throw new TypeError('request closed')
        return Reflect.get(target, name, target)
      },
    })
    gateway.accept(socket, request)
    isClosed = true
    socket.hears({ type: 'hello', protocolVersion: 2 })
    await until(() => socket.said.length > 0, 'a welcome')
    expect(await ask(socket, 'send', send(1))).toMatchObject({ status: 200 })
    expect(() => gateway.accept(new ServerSocket(), request)).toThrow(
      'copy it before the upgrade, with new Request(request)',
    )
  })

  test('again speaks for the frames after it; another principal does not find the stream', async () => {
    const { opens } = createServer()
    const socket = await opens()
    expect(await ask(socket, 'send', send(1, 'alice-1'))).toMatchObject({ status: 200 })
    socket.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: 'bob' } })
    expect(await ask(socket, 'send', send(2, 'bob-1'))).toMatchObject({ status: 404, error: 'unknown-stream' })
    socket.hears({ type: 'hello', protocolVersion: 2 })
    expect(await ask(socket, 'probe', { type: 'probe', nonce: 'n' })).toMatchObject({ status: 401 })
    socket.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: 'a\nb' } })
    expect(socket.closed).toEqual([1007])
  })

  test.each([
    ['https://app.test', ['https://app.test'], true],
    ['http://chat.test', undefined, true],
    ['https://app.test', undefined, false],
  ])('from %s, where %s may: %s', async (origin, allowedOrigins, isTaken) => {
    const { opens } = createServer(allowedOrigins ? { allowedOrigins } : {})
    const socket = await opens({ headers: { Origin: origin } })
    expect(socket.closed).toEqual(isTaken ? undefined : [4403, 'origin'])
    if (isTaken) expect(await ask(socket, 'send', send(1))).toMatchObject({ status: 200 })
  })
})

describe('a frame', () => {
  test.each([
    ['binary', new ArrayBuffer(3), 1003],
    ['no JSON', '{', 1007],
    ['no object', '[]', 1007],
    ['without an id', '{"endpoint":"send","body":{}}', 1007],
    ['under an id that is none', '{"id":"a b","endpoint":"send","body":{}}', 1007],
    ['to nowhere', '{"id":"a"}', 1007],
    ['to another path', '{"id":"a","endpoint":"../admin","body":{}}', 1007],
    ['to another query', '{"id":"a","endpoint":"send?x=1","body":{}}', 1007],
    ['of more than a million characters', `{"id":"a","endpoint":"send","body":"${'x'.repeat(1_048_576)}"}`, 1009],
  ])('%s costs the socket, and the stream behind it', async (_, data, code) => {
    const watched = watchedLog()
    let asked = 0
    const authenticate = () => {
      asked += 1
      return { id: 'alice' }
    }
    const { opens } = createServer({ log: watched.log, authenticate })
    const socket = await opens()
    await ask(socket, 'watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    expect(watched.subscriptions).toBe(1)
    socket.dispatch('message', { data })
    await settle()
    expect([socket.closed, watched.subscriptions]).toEqual([[code], 0])
    socket.hears({ id: 'late', endpoint: 'send', body: send(1) })
    await settle()
    expect([socket.ack('late'), asked]).toEqual([undefined, 2])
  })

  test('that is too large for a message costs the message only', async () => {
    const { opens } = createServer()
    const socket = await opens()
    expect(await ask(socket, 'send', send('x'.repeat(300_000)))).toMatchObject({ status: 413, error: 'too-large' })
    expect(await ask(socket, 'send', send(1))).toMatchObject({ status: 200 })
  })

  test('that is repeated has the receipt of the first, over another socket and over HTTP too', async () => {
    let runs = 0
    const { opens, server } = createServer({ onCommand: () => ({ run: ++runs }) })
    const [one, other] = [await opens(), await opens()]
    const { connectionId } = await openStream(server)
    const receipt = { status: 200, receipt: { run: 1 } }
    expect(await ask(one, 'send', send(1), 'k')).toMatchObject(receipt)
    expect(await ask(one, 'send', send(1), 'k')).toMatchObject(receipt)
    expect(await ask(other, 'send', send(1), 'k')).toMatchObject(receipt)
    expect(await ask(one, 'send', send(2), 'k')).toMatchObject({ status: 409, error: 'id-reused' })
    const overHttp = await post(server, 'send', send(1), { connectionId, key: 'k' })
    expect([await overHttp.json(), runs]).toEqual([{ run: 1 }, 1])
  })

  test('is refused with the wait in ms', async () => {
    const { opens, clock } = createServer()
    const socket = await opens()
    // Nobody takes the frames that the probes ask for.
    socket.bufferedAmount = 1e6
    for (const n of range(1, 70)) socket.hears({ id: `p${n}`, endpoint: 'probe', body: { type: 'probe', nonce: 'n' } })
    await settle(20)
    socket.bufferedAmount = 0
    await clock.advance(20)
    expect(socket.ack('p70')).toEqual({ type: 'ack', id: 'p70', status: 429, error: 'too-many', retryAfter: 5_000 })
  })

  test('an internal error says no more than that, also that of a host before the server', async () => {
    const { opens, errors } = createServer({ onCommand: () => Promise.reject(new Error('secret')) })
    const inside = await ask(await opens(), 'send', send(1))
    expect([inside, errors.length]).toEqual([{ type: 'ack', id: inside?.id, status: 500, error: 'internal' }, 1])

    const { server, clock } = createTestServer()
    const fetch = (request: Request) =>
      request.method === 'POST' ? Promise.reject(new Error('secret')) : server.fetch(request)
    const outside = await ask(await createSockets({ fetch, clock }).opens(), 'send', send(1))
    expect(outside).toEqual({ type: 'ack', id: outside?.id, status: 500, error: 'internal' })
  })

  test('is answered as a POST is: the same words over both wires', async () => {
    const fields = fc.record(
      {
        type: fc.constantFrom('send', 'stop', 'watch', 'unwatch', 'reconnect', 'probe', 'session_suspend', 'x', 7),
        sessionId: fc.constantFrom('room', 'alice-1', 'bob-1', 'gone-1', 'a b', 5),
        lastSeq: fc.constantFrom(0, 1, -1),
        nonce: fc.constantFrom('n', 1),
        sessions: fc.constantFrom([], [{ sessionId: 'room', lastSeq: 0 }], 'x', [1]),
        messages: fc.constantFrom([], [{ id: 'b1', endpoint: 'send', body: send(1) }], 'x'),
        n: fc.nat(3),
      },
      { requiredKeys: [] },
    )
    const endpoints = [
      'send',
      'stop',
      'watch',
      'unwatch',
      'reconnect',
      'probe',
      'suspend',
      'batch',
      'events',
      'nothing',
    ]
    const frames = fc.array(
      fc.record({
        id: fc.constantFrom('k1', 'k2', 'k3', 'k4'),
        endpoint: fc.constantFrom(...endpoints),
        body: fc.oneof({ weight: 5, arbitrary: fields }, { weight: 1, arbitrary: fc.constantFrom(null, [], 'x', 5) }),
      }),
      { maxLength: 12 },
    )
    const onCommand = ({ message }: { message: { n?: unknown } }) => {
      if (message.n === 3) throw new CommandRejected(422, 'three')
      return { n: message.n }
    }
    await fc.assert(
      fc.asyncProperty(frames, async (asked) => {
        const [overSocket, overHttp] = [createServer({ onCommand }), createTestServer({ onCommand })]
        const socket = await overSocket.opens()
        const stream = await openStream(overHttp.server)
        for (const { id, endpoint, body } of asked) {
          const response = await stream.post(endpoint, JSON.stringify(body) ?? '', { key: id })
          const json = await response.json()
          const { status } = response
          const plain = (value: unknown) => JSON.stringify(value).replaceAll(/"epoch":"[^"]*"/g, '')
          const ack = await ask(socket, endpoint, body, id)
          expect(plain(ack)).toEqual(
            plain(status === 200 ? { type: 'ack', id, status, receipt: json } : { type: 'ack', id, status, ...json }),
          )
        }
        await settle()
        const kinds = (frames_: readonly { type?: unknown }[]) =>
          frames_.map(({ type }) => type).filter((type) => type !== 'ack')
        expect(kinds(socket.said)).toEqual(kinds(stream.frames))
        socket.vanishes()
        await stream.cancel()
      }),
      { numRuns: 60 },
    )
  }, 120_000)
})

describe('order', () => {
  test('commands run one after the other, in the order of their frames', async () => {
    const manual = manualCommands()
    const { opens } = createServer({ onCommand: manual.onCommand })
    const socket = await opens()
    for (const n of range(1, 3)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n, `room${n}`) })
    for (const n of range(1, 3)) {
      await until(() => manual.calls.length >= n, 'the next command')
      await settle()
      expect(manual.calls.map(({ message }) => message.n)).toEqual(range(1, n))
      manual.endNext()
    }
    await acked(socket, 3)
    expect(socket.acks.map(({ id }) => id)).toEqual(['m1', 'm2', 'm3'])
  })

  test('what says which sessions are carried keeps its order, and neither it nor a probe waits for a command', async () => {
    const manual = manualCommands()
    const slow: (() => void)[] = []
    const { opens, server } = createServer({
      onCommand: manual.onCommand,
      authorize: (_, sessionId) =>
        sessionId === 'slow' ? new Promise<boolean>((resolve) => slow.push(() => resolve(true))) : true,
    })
    const socket = await opens()
    socket.hears({ id: 'command', endpoint: 'send', body: send(1) })
    await until(() => manual.running === 1, 'a command')
    socket.hears({ id: 'w', endpoint: 'watch', body: { type: 'watch', sessionId: 'slow', lastSeq: 0 } })
    socket.hears({ id: 'u', endpoint: 'unwatch', body: { type: 'unwatch', sessionId: 'slow' } })
    socket.hears({ id: 'p', endpoint: 'probe', body: { type: 'probe', nonce: 'n' } })
    await settle()
    expect(socket.acks.map(({ id }) => id)).toEqual(['p'])
    for (const go of slow) go()
    await acked(socket, 3)
    expect(socket.acks.map(({ id }) => id)).toEqual(['p', 'w', 'u'])
    await server.publish('slow', { type: 'x' })
    await settle()
    expect(socket.events).toEqual([])
  })

  test('a command waits for the watch before it, so it is carried from where the watch says', async () => {
    const slow: (() => void)[] = []
    const asked: string[] = []
    const { opens, server } = createServer({
      authorize(_, __, action) {
        asked.push(action)
        // The question of the watch is the first one.
        return asked.length > 1 || new Promise<boolean>((resolve) => slow.push(() => resolve(true)))
      },
      onCommand: () => server.publish('room', { type: 'x' }),
    })
    await server.publish('room', { type: 'old' })
    const socket = await opens()
    socket.hears({ id: 'w', endpoint: 'watch', body: { type: 'watch', sessionId: 'room', lastSeq: 0 } })
    socket.hears({ id: 's', endpoint: 'send', body: send(1) })
    await settle(50)
    expect(asked).toEqual(['read'])
    for (const go of slow) go()
    await until(() => socket.events.length === 2, 'both events')
    expect([socket.acks.map(({ id }) => id), socket.events]).toEqual([
      ['w', 's'],
      ['room:1', 'room:2'],
    ])
  })

  /** The third command fails, as often as it is told. */
  function failing(times: number) {
    const ran: unknown[] = []
    return {
      ran,
      onCommand({ message: { n } }: { message: { n?: unknown } }) {
        if (n === 3 && times-- > 0) throw new Error('not now')
        ran.push(n)
      },
    }
  }

  const teller =
    (socket: ServerSocket) =>
    (...ns: number[]) => {
      for (const n of ns) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    }

  test('nothing overtakes a command that is to be repeated: what was sent before that was known is sent too early', async () => {
    const { ran, onCommand } = failing(1)
    const { opens } = createServer({ onCommand })
    const socket = await opens()
    const tell = teller(socket)
    tell(1, 2, 3, 4, 5)
    await acked(socket, 5)
    expect(socket.acks.map(({ status }) => status)).toEqual([200, 200, 500, 425, 425])
    tell(6)
    await acked(socket, 6)
    tell(3, 4, 5, 6)
    await acked(socket, 10)
    expect(socket.acks.slice(5).map(({ status }) => status)).toEqual([425, 200, 200, 200, 200])
    expect(ran).toEqual(range(1, 6))
  })

  test('the repeat may never come, because the message was given up: the next one goes on', async () => {
    const { ran, onCommand } = failing(1)
    const { opens } = createServer({ onCommand })
    const socket = await opens()
    const tell = teller(socket)
    tell(3, 4)
    await acked(socket, 2)
    tell(4)
    await acked(socket, 3)
    expect([socket.acks.at(-1)?.status, ran]).toEqual([200, [4]])
  })

  test('nor does anything overtake the rest of a batch', async () => {
    const { ran, onCommand } = failing(1)
    const { opens } = createServer({ onCommand })
    const socket = await opens()
    const batch = (...ns: number[]) => ({ messages: ns.map((n) => ({ id: `m${n}`, endpoint: 'send', body: send(n) })) })
    socket.hears({ id: 'b1', endpoint: 'batch', body: batch(1, 2, 3, 4) })
    socket.hears({ id: 'b2', endpoint: 'batch', body: batch(5, 6) })
    socket.hears({ id: 'm7', endpoint: 'send', body: send(7) })
    await acked(socket, 3)
    expect(socket.acks.map(({ status }) => status)).toEqual([200, 425, 425])
    socket.hears({ id: 'b3', endpoint: 'batch', body: batch(3, 4, 5, 6, 7) })
    await acked(socket, 4)
    expect([socket.acks.at(-1)?.status, ran]).toEqual([200, range(1, 7)])
  })

  test('nor a batch that was turned down as a whole; each of its messages may be the repeat, if it is the first', async () => {
    const ran: unknown[] = []
    const { server, clock } = createTestServer({ onCommand: ({ message }) => ran.push(message.n) })
    let isBusy = true
    const fetch = async (request: Request) =>
      isBusy && request.url.endsWith('batch') ? Response.json({}, { status: 503 }) : server.fetch(request)
    const socket = await createSockets({ fetch, clock }).opens()
    const messages = [1, 2].map((n) => ({ id: `m${n}`, endpoint: 'send', body: send(n) }))
    socket.hears({ id: 'b1', endpoint: 'batch', body: { messages } })
    teller(socket)(3)
    await acked(socket, 2)
    expect(socket.acks.map(({ status }) => status)).toEqual([503, 425])
    isBusy = false
    teller(socket)(1, 2, 3)
    await acked(socket, 5)
    expect(ran).toEqual([1, 2, 3])
  })

  test('who never repeats waits for 256 answers, and not for ever', async () => {
    const { ran, onCommand } = failing(1)
    const { opens } = createServer({ onCommand })
    const socket = await opens()
    teller(socket)(3)
    for (let n = 4; n <= 260; n += 1) {
      teller(socket)(n)
      await acked(socket, n - 2)
    }
    expect(ran).toEqual([259, 260])
  })

  test('a client with 64 in flight and a server that fails now and then: applied once each, in order', async () => {
    const random = seededRandom(5)
    const ran: unknown[] = []
    const chat = createChatServer({
      authenticate: () => ({ id: 'me' }),
      authorize: () => true,
      onCommand({ message: { n } }) {
        if (random() < 0.05) throw new Error('not now')
        ran.push(n)
      },
      onError() {},
    })
    const host = await listenForSockets(chat.fetch)
    const connection = createConnection({
      url: host.url,
      transport: webSocketTransport({ WebSocket }),
      backoff: { base: 2, cap: 4 },
      pageLifecycle: false,
    })
    cleanups.push(host.close, () => chat.close(), connection.dispose)
    connection.on('error', () => {})
    connection.connect()
    await until(() => connection.isOpen, 'open')
    // One by one, so that they go alone and not in batches.
    const settled = []
    for (const n of range(1, 300)) {
      settled.push(connection.send(send(n)).settled)
      if (n % 3) await settle(1)
    }
    const verdicts = await Promise.all(settled)
    expect(verdicts.filter(({ status }) => status !== 'accepted')).toEqual([])
    expect(ran).toEqual(range(1, 300))
  })
})

describe('limits', () => {
  test('80 frames are kept; one more is told so at once, and those after it that they are too early', async () => {
    const ran: unknown[] = []
    const manual = manualCommands()
    let isSlow = true
    const { opens } = createServer({
      onCommand(call) {
        ran.push(call.message.n)
        return isSlow ? manual.onCommand(call) : null
      },
    })
    const socket = await opens()
    for (const n of range(1, 85)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    expect(socket.acks[0]).toEqual({ type: 'ack', id: 'm81', status: 429, error: 'too-many', retryAfter: 1_000 })
    expect(socket.acks.slice(1)).toEqual(
      range(82, 85).map((n) => ({ type: 'ack', id: `m${n}`, status: 425, error: 'too-early' })),
    )
    await until(() => manual.running === 1, 'the first one')
    isSlow = false
    manual.endNext()
    await acked(socket, 85)
    expect(socket.acks.slice(5).map(({ status }) => status)).toEqual(range(1, 80).map(() => 200))
    for (const n of range(81, 85)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    await acked(socket, 90)
    expect(ran).toEqual(range(1, 85))
  })

  test('what waits before one that was turned away is not too early, and a repeat may begin with either', async () => {
    const ran: unknown[] = []
    const manual = manualCommands()
    let failures = 1
    const { opens } = createServer({
      async onCommand(call) {
        const { n } = call.message
        if (n === 1) await manual.onCommand(call)
        if (n === 5 && failures-- > 0) throw new Error('not now')
        ran.push(n)
      },
    })
    const socket = await opens()
    const tell = (from: number, to: number) => {
      for (const n of range(from, to)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    }
    tell(1, 82)
    await until(() => manual.running === 1, 'the first one')
    manual.endNext()
    await acked(socket, 82)
    expect(ran).toEqual(range(1, 4))
    tell(5, 40)
    await acked(socket, 82 + 36)
    tell(41, 82)
    await acked(socket, 82 + 36 + 42)
    expect(ran).toEqual(range(1, 82))
  })

  test('four MiB are, too: one byte for a character of Latin-1, two for each where there is another', async () => {
    const { opens } = createServer()
    for (const [big, kept] of [
      ['x'.repeat(200_000), 20],
      [`${'x'.repeat(199_999)}漢`, 10],
    ] as const) {
      const socket = await opens()
      for (const n of range(1, 22)) socket.hears({ id: `${kept}-${n}`, endpoint: 'send', body: send(big) })
      await acked(socket, 22)
      const statuses = [429, ...range(kept + 2, 22).map(() => 425), ...range(1, kept).map(() => 200)]
      expect(socket.acks.map(({ status }) => status)).toEqual(statuses)
      expect(await ask(socket, 'send', send(big), `${kept}-${kept + 1}`)).toMatchObject({ status: 200 })
    }
  })

  test('who has had 10,000 answers has not flooded', async () => {
    const { opens } = createServer({ onCommand: manualCommands().onCommand })
    const socket = await opens()
    for (let n = 0; n < 10_000; n += 80) {
      for (const _ of range(1, 80)) socket.hears({ id: freshId(), endpoint: 'probe', body: {} })
      await until(() => socket.said.length === 1 + n + 80, 'a welcome and the answers')
    }
    for (const n of range(1, 85)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    expect(socket.closed).toBeUndefined()
  })

  test('C97: who floods has each answer at once, and is closed where nothing is read', async () => {
    const { opens } = createServer({ onCommand: manualCommands().onCommand })
    const [deaf, eager] = [await opens(), await opens()]
    for (const n of range(1, 20_000)) eager.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    expect([eager.closed, eager.acks.length]).toEqual([undefined, 20_000 - 80])
    for (const n of range(1, 80)) deaf.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    deaf.bufferedAmount = 300_000
    expect(deaf.closed).toBeUndefined()
    deaf.hears({ id: 'more', endpoint: 'send', body: send(0) })
    expect(deaf.closed).toEqual([4429, '1000'])
  })

  test('a client that posts and does not read is answered when it reads', async () => {
    const { opens, clock } = createServer()
    const socket = await opens()
    socket.bufferedAmount = 262_145
    const { timers } = clock
    socket.hears({ id: 'm1', endpoint: 'send', body: send(1) })
    await until(() => clock.timers > timers, 'the wait')
    await clock.advance(1_000)
    expect(socket.acks).toEqual([])
    socket.bufferedAmount = 0
    await clock.advance(20)
    expect(socket.acks).toMatchObject([{ id: 'm1', status: 200 }])
  })

  test('nobody waits for a socket that is gone to drain', async () => {
    const { opens, clock } = createServer()
    const socket = await opens()
    socket.bufferedAmount = 262_145
    const { timers } = clock
    socket.hears({ id: 'm1', endpoint: 'send', body: send(1) })
    await until(() => clock.timers > timers, 'the wait')
    socket.vanishes()
    await clock.advance(20)
    expect([clock.timers, socket.acks]).toEqual([0, []])
  })

  test('C48: a socket that does not drain takes nothing from the log, and is evicted', async () => {
    const watched = watchedLog()
    const { opens, server, clock } = createServer({ log: watched.log, limits: { stall: 4_000 } })
    const [slow, quick] = [await opens(), await opens()]
    for (const socket of [slow, quick]) await ask(socket, 'watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    await settle()
    slow.bufferedAmount = 262_145
    for (const _ of range(1, 200)) await server.publish('room', { type: 'x' })
    await settle()
    // What was pulled before the socket was full, and nothing after it.
    expect(slow.events.length).toBeLessThan(100)
    const events = slow.events.length
    await until(() => quick.events.length === 200, 'all events of the quick one')
    await clock.advance(3_900)
    expect([slow.closed, slow.events.length]).toEqual([undefined, events])
    await clock.advance(200)
    expect([slow.closed, quick.closed, watched.subscriptions]).toEqual([[4503], undefined, 1])
  })

  test('one that drains in time gets everything', async () => {
    const { opens, server, clock } = createServer({ limits: { stall: 4_000 } })
    const socket = await opens()
    await ask(socket, 'watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    for (const _ of range(1, 10)) {
      socket.bufferedAmount = 262_145
      for (const _ of range(1, 20)) await server.publish('room', { type: 'x' })
      await clock.advance(3_000)
      socket.bufferedAmount = 0
      await clock.advance(20)
    }
    await until(() => socket.events.length === 200, 'all events')
    expect([socket.events.at(-1), socket.closed]).toEqual(['room:200', undefined])
  })
})

describe('the end', () => {
  test('a server that closes says goodbye, then closes', async () => {
    const { opens, server } = createServer()
    const socket = await opens()
    await server.close()
    await settle()
    expect([socket.said.at(-1), socket.closed]).toEqual([{ type: 'goodbye', retryAfter: 1_000, spread: 5_000 }, [4503]])
  })

  test('a socket that vanishes takes its stream along, also while that is being opened', async () => {
    const watched = watchedLog()
    let open = () => {}
    const { opens, connect, server } = createServer({
      log: watched.log,
      limits: { streamsPerPrincipal: 1 },
      authenticate: (request) =>
        request.headers.get('Authorization') === 'slow'
          ? new Promise((resolve) => (open = () => resolve({ id: 'alice' })))
          : { id: 'alice' },
    })
    const socket = await opens()
    await ask(socket, 'watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    socket.vanishes()
    await settle()
    expect(watched.subscriptions).toBe(0)

    const slow = connect()
    slow.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: 'slow' } })
    await settle()
    slow.vanishes()
    open()
    await settle()
    // There is room for one: the two before are gone.
    const { closed } = await opens()
    expect([closed, slow.said]).toEqual([undefined, []])
    await server.close()
  })

  test('an error is the end too, and no timer is left', async () => {
    const { connect, clock } = createServer()
    connect().dispatch('error')
    expect(clock.timers).toBe(0)
  })

  test('where a socket can be cut, a stream that fails cuts it: nobody would read a close', async () => {
    let fail = () => {}
    const fetch = async () =>
      new Response(
        new ReadableStream({
          start(controller) {
            // In pieces that end anywhere, within a character too.
            const text = 'event: welcome\ndata: {"type":"welcome","of":"Zoë"}\n\n: comment\n\n'
            for (const byte of new TextEncoder().encode(text)) controller.enqueue(new Uint8Array([byte]))
            fail = () => controller.error(new Error('gone'))
          },
        }),
      )
    let cuts = 0
    class Cut extends ServerSocket {
      terminate() {
        cuts += 1
      }
    }
    const socket = new Cut()
    createWebSocketGateway({ fetch }).accept(socket, new Request(`${BASE}/socket`))
    socket.hears({ type: 'hello', protocolVersion: 2 })
    await until(() => socket.said.length === 1, 'a welcome')
    fail()
    await settle()
    expect([cuts, socket.said]).toEqual([1, [{ type: 'welcome', of: 'Zoë' }]])
  })
})

test.each([
  ['nothing', undefined, /options/],
  ['an unknown option', { fetch: async () => new Response(), url: 'x' }, /'url'/],
  ['no fetch', {}, /'fetch'/],
  ['headers that are none', { fetch: async () => new Response(), headers: 'authorization' }, /'headers'/],
  ['half a clock', { fetch: async () => new Response(), clock: { setTimeout() {} } }, /'clock'/],
])('given %s, a gateway is not made', (_, options, message) => {
  expect(() => createWebSocketGateway(options as never)).toThrow(message)
})

test('whatever comes up: no frame has two answers, no code is unheard of, and the next client is served', async () => {
  const piece = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constant('{"type":"hello","protocolVersion":2,"headers":{"authorization":"alice"}}'),
    fc.record(
      {
        id: fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.anything()),
        endpoint: fc.oneof(
          fc.constantFrom('send', 'watch', 'unwatch', 'reconnect', 'probe', 'suspend', 'batch', 'events', '__proto__'),
          fc.anything(),
        ),
        body: fc.oneof(fc.constantFrom(send(1), { type: 'probe', nonce: 'x' }, { messages: [null] }), fc.anything()),
        type: fc.constantFrom('hello', 'ack', 'welcome', undefined),
        headers: fc.anything(),
      },
      { requiredKeys: [] },
    ),
  )
  const chat = createServer()
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(piece, { maxLength: 15 }), async (isGreeted, pieces) => {
      const socket = isGreeted ? await chat.opens() : chat.connect()
      let asked = 0
      for (const each of pieces) {
        let data: unknown = each
        try {
          if (typeof each !== 'string') data = JSON.stringify(each)
        } catch {}
        const isOpen = !socket.closed
        socket.dispatch('message', { data })
        if (isOpen && !socket.closed && Object(parse(data)).type !== 'hello') asked += 1
      }
      await until(() => socket.closed !== undefined || socket.acks.length >= asked, 'an answer to each')
      await settle(8)
      if (socket.closed) expect([1002, 1003, 1007, 4401]).toContain(socket.closed[0])
      else expect(socket.acks).toHaveLength(asked)
      expect(socket.closed === undefined || socket.closed.length === 1).toBe(true)
      for (const { status } of socket.acks) expect(status).toSatisfy((value: number) => value >= 200 && value < 500)
      socket.vanishes()
    }),
    { numRuns: 300 },
  )
  const after = await chat.opens()
  expect(await ask(after, 'send', send(1))).toMatchObject({ status: 200 })
  expect(chat.errors).toEqual([])
}, 120_000)

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data))
  } catch {
    return undefined
  }
}

describe('over real sockets', () => {
  const overSockets: Serve = async (fetch) => ({
    ...(await listenForSockets(fetch)),
    transport: webSocketTransport({ WebSocket }),
  })
  const roughly: Serve = async (fetch) => {
    const host = await overSockets(fetch)
    const url = new URL(host.url)
    const proxy = await startTcpProxy(Number(url.port), 7)
    url.port = String(proxy.port)
    return {
      ...host,
      url: url.href,
      cut: proxy.cut,
      async close() {
        await proxy.close()
        await host.close()
      },
    }
  }

  describe.each([
    ['', overSockets],
    [', on a rough line', roughly],
  ])('the contract of a transport%s', (_, serve) => {
    // A comment is nothing on a socket.
    test.each(transportContract.filter(({ needs = '' }) => !/^(comments|line-ends|silent-ends)$/.test(needs)))(
      '$name',
      ({ run }) => run(serve),
    )
  })

  test.each([1, 2, 3])(
    'what is sent and published while the sockets die 40 times arrives once, in order (seed %i)',
    async (seed) => {
      const random = seededRandom(seed)
      const applied: unknown[] = []
      const chat = createChatServer({
        log: memoryLog(),
        authenticate: () => ({ id: 'me' }),
        authorize: () => true,
        onCommand: ({ message }) => void applied.push(message.n),
      })
      const host = await listenForSockets(chat.fetch)
      const connection = createConnection({
        url: host.url,
        random,
        transport: webSocketTransport({ WebSocket }),
        backoff: { base: 4, cap: 8 },
        timeouts: { resume: 2_000, connect: 2_000, welcome: 2_000 },
      })
      cleanups.push(host.close, () => chat.close(), connection.dispose)
      connection.on('error', () => {})
      const got: unknown[] = []
      connection.on('message', ({ sessionId, n }) => sessionId === 'room' && got.push(n))
      connection.watch('room')
      connection.connect()
      const settled: Promise<{ readonly status: string }>[] = []
      for (const n of range(1, 2_000)) {
        await chat.publish('room', { type: 'token', n })
        if (n % 5 === 0) settled.push(connection.send({ type: 'send', sessionId: 'other', n }).settled)
        if (random() < 0.1) await settle(1)
        if (n % 50 === 0) {
          if (random() < 0.5) await until(() => connection.isOpen, 'open')
          host.cut()
        }
      }
      const verdicts = await Promise.all(settled)
      for (const n of range(1, 2_000)) await until(() => got.length >= n, `event ${n}`)
      expect(got).toEqual(range(1, 2_000))
      expect(verdicts.every(({ status }) => status === 'accepted')).toBe(true)
      expect(applied).toEqual(range(1, 400).map((n) => 5 * n))
      expect(host.sockets.size).toBe(1)
    },
  )

  test('a message over the limit of a frame costs a socket, but is not repeated; what stands behind it arrives', async () => {
    const applied: unknown[] = []
    const chat = createChatServer({
      authenticate: () => ({ id: 'me' }),
      authorize: () => true,
      onCommand: ({ message }) => void applied.push(message.n),
    })
    const host = await listenForSockets(chat.fetch)
    const connection = createConnection({
      url: host.url,
      transport: webSocketTransport({ WebSocket }),
      backoff: { base: 2, cap: 4 },
    })
    cleanups.push(host.close, () => chat.close(), connection.dispose)
    connection.on('error', () => {})
    connection.connect()
    await until(() => connection.isOpen, 'open')
    const verdicts = await Promise.all(
      [1, 'x'.repeat(300_000), 2, 'x'.repeat(2_000_000), 3].map((n) => connection.send(send(n)).settled),
    )
    expect(verdicts.map((verdict) => ['error' in verdict && verdict.error.status, verdict.status])).toEqual([
      [false, 'accepted'],
      [413, 'rejected'],
      [false, 'accepted'],
      [413, 'rejected'],
      [false, 'accepted'],
    ])
    expect(applied).toEqual([1, 2, 3])
  })

  test('a socket that is not read is evicted and cut, and the memory stays flat meanwhile', async () => {
    const clock = fakeClock()
    const watched = watchedLog(memoryLog({ maxEvents: 50 }))
    const chat = createChatServer({
      log: watched.log,
      authenticate: () => ({ id: 'alice' }),
      authorize: () => true,
      onCommand: () => null,
      clock,
      limits: { stall: 4_321 },
    })
    const host = await listenForSockets(chat.fetch)
    cleanups.push(host.close, () => chat.close())
    const client = new WebSocket(`${host.url.replace('http', 'ws')}/socket`)
    cleanups.push(() => client.terminate())
    client.on('error', () => {})
    await once(client, 'open')
    client.send('{"type":"hello","protocolVersion":2}')
    await once(client, 'message')
    client.send(
      JSON.stringify({ id: freshId(), endpoint: 'watch', body: { type: 'watch', sessionId: 'room', lastSeq: 0 } }),
    )
    await until(() => watched.subscriptions === 1, 'the subscription')
    client.pause()
    await staysFlat(chat, watched.calls)
    expect([watched.subscriptions, host.sockets.size]).toEqual([1, 1])
    await clock.advance(4_321)
    expect(watched.subscriptions).toBe(0)
    await until(() => host.sockets.size === 0, 'the end of the socket')
  })
})
