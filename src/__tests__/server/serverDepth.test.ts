import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createWebSocketGateway } from '../../server'
import { isTooDeep } from '../../server/request/json'
import { acked, ask, createSockets, ServerSocket } from '../support/gateway'
import { answer, BASE, createTestServer, openStream, range, settle, until } from '../support/server'

const arrays = (depth: number, inner = '') => '['.repeat(depth) + inner + ']'.repeat(depth)
const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
/** Where `JSON.stringify` still works, where it throws, and where everything does. */
const DEEP = [4_000, 10_000, 100_000].flatMap((depth) => [
  [`arrays ${depth} deep`, arrays(depth)],
  [`objects ${depth} deep`, objects(Math.min(depth, 30_000))],
])
const TOO_DEEP = { error: 'too-deep' }

function createServer() {
  const ran: unknown[] = []
  const chat = createTestServer({ onCommand: ({ message }) => ran.push(message.n) })
  return { ...chat, ran, ...createSockets({ fetch: chat.server.fetch, clock: chat.clock }) }
}

describe('C83: over HTTP', () => {
  test.each(DEEP)(
    '%s are a 400, with an Idempotency-Key and without: never a 500, which invites a repeat',
    async (_, deep) => {
      const { server, ran, errors } = createServer()
      const stream = await openStream(server)
      const body = `{"type":"send","sessionId":"room","x":${deep}}`
      for (const options of [{}, { key: 'k' }])
        expect(await answer(stream.post('send', body, options))).toEqual([400, TOO_DEEP])
      for (const endpoint of ['watch', 'reconnect', 'probe', 'suspend', 'batch']) {
        expect(await answer(stream.post(endpoint, body))).toEqual([400, TOO_DEEP])
      }
      expect(await answer(stream.post('batch', `{"messages":[{"id":"a","endpoint":"send","body":${body}}]}`))).toEqual([
        400,
        TOO_DEEP,
      ])
      expect(await answer(stream.post('send', deep))).toEqual([400, TOO_DEEP])
      expect([ran, errors]).toEqual([[], []])
    },
  )

  test('a message may be 128 deep, in a batch and over a WebSocket too, and no deeper', async () => {
    const { server, opens, ran } = createServer()
    const stream = await openStream(server)
    const socket = await opens()
    // One level is the message itself.
    for (const [depth, status] of [
      [127, 200],
      [128, 400],
    ] as const) {
      const body = JSON.parse(`{"type":"send","n":${depth},"x":${arrays(depth)}}`)
      const batch = { messages: [{ id: `b${depth}`, endpoint: 'send', body }] }
      const framed = { messages: [{ id: `f${depth}`, endpoint: 'send', body }] }
      expect((await stream.post('send', body)).status).toBe(status)
      expect((await stream.post('batch', batch)).status).toBe(status)
      expect(await ask(socket, 'send', body)).toMatchObject({ status })
      expect(await ask(socket, 'batch', framed)).toMatchObject({ status })
    }
    expect(ran).toEqual([127, 127, 127, 127])
  })
})

describe('C83: over a WebSocket', () => {
  test.each(DEEP)('%s in a body cost the message, and neither the socket nor the process', async (_, deep) => {
    const { opens, ran, errors } = createServer()
    const socket = await opens()
    const frame = (id: string, endpoint: string, body: string) =>
      `{"id":"${id}","endpoint":"${endpoint}","body":${body}}`
    socket.hears(frame('m1', 'send', `{"type":"send","x":${deep}}`))
    socket.hears(frame('m2', 'send', deep))
    socket.hears(frame('b1', 'batch', `{"messages":[{"id":"a","endpoint":"send","body":${deep}}]}`))
    socket.hears(frame('w1', 'watch', deep))
    socket.hears(frame('p1', 'probe', deep))
    await acked(socket, 5)
    for (const id of ['m1', 'm2', 'b1', 'w1', 'p1']) {
      expect(socket.ack(id)).toEqual({ type: 'ack', id, status: 400, ...TOO_DEEP })
    }
    expect([socket.closed, ran, errors]).toEqual([undefined, [], []])
  })

  test('one that is too deep holds nothing up: what follows it is run', async () => {
    const { opens, ran } = createServer()
    const socket = await opens()
    socket.hears(`{"id":"m1","endpoint":"send","body":{"type":"send","x":${arrays(10_000)}}}`)
    for (const n of range(2, 3)) socket.hears({ id: `m${n}`, endpoint: 'send', body: { type: 'send', n } })
    await acked(socket, 3)
    expect([socket.acks.map(({ status }) => status), ran]).toEqual([
      [400, 200, 200],
      [2, 3],
    ])
  })

  test.each(DEEP)(
    '%s in place of a frame, or in a hello, close the socket with 1007, or 1009 where it is not open and they are many; before the hello with 1002',
    async (_, deep) => {
      const { opens, connect } = createServer()
      const hello = `{"type":"hello","protocolVersion":2,"headers":{"authorization":${deep}}}`
      const frame = `{"id":"m1","endpoint":"send","body":${deep}}`
      const [silent, greeted, again] = [connect(), await opens(), await opens()]
      silent.hears(frame)
      greeted.hears(arrays(10_000, objects(2)))
      again.hears(hello)
      const first = connect()
      first.hears(hello)
      await settle()
      const isLong = deep.length > 8_000
      expect([greeted, again].map(({ closed }) => closed)).toEqual([[1007], [1007]])
      expect([silent, first].map(({ closed }) => closed)).toEqual(isLong ? [[1009], [1009]] : [[1002], [1007]])
    },
  )

  test('nothing that is thrown in a listener of the socket gets out: it costs the socket, and is told', async () => {
    const errors: unknown[] = []
    const { server, clock } = createTestServer()
    const gateway = createWebSocketGateway({ fetch: server.fetch, clock, onError: (error) => errors.push(error) })
    class Broken extends ServerSocket {
      isBroken = false
      deliver: (event: { type: string }) => void = () => {}
      override addEventListener(type: string, listener: (event: { type: string }) => void) {
        super.addEventListener(type, listener)
        if (type === 'message') this.deliver = listener
      }
      override send(data: string) {
        if (this.isBroken) throw new Error('send')
        super.send(data)
      }
    }
    const accept = () => {
      const socket = new Broken()
      gateway.accept(socket, new Request(`${BASE}/socket`))
      return socket
    }
    const greet = async () => {
      const socket = accept()
      socket.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: 'alice' } })
      await until(() => socket.said.length > 0, 'a welcome')
      return socket
    }
    const [unread, unanswered] = [accept(), await greet()]
    // Data that cannot be looked at.
    unread.deliver({
      type: 'message',
      get data() {
        throw new Error('data')
      },
    } as { type: string })
    unanswered.isBroken = true
    unanswered.hears({ id: 'a', endpoint: 'send', body: { type: 'send' } })
    await until(() => unanswered.closed !== undefined, 'the close')
    expect([unread.closed, unanswered.closed]).toEqual([[1011], [1011]])
    expect(errors).toMatchObject([{ message: 'data' }, { message: 'send' }])
  })

  test('a socket that cannot be closed ends nothing but itself, not even from a timer', async () => {
    const errors: unknown[] = []
    const { server, clock } = createTestServer()
    const gateway = createWebSocketGateway({ fetch: server.fetch, clock, onError: (error) => errors.push(error) })
    class Unclosable extends ServerSocket {
      override close(code?: number) {
        throw new Error(`close ${code}`)
      }
    }
    const sockets = range(1, 3).map(() => new Unclosable())
    for (const socket of sockets) gateway.accept(socket, new Request(`${BASE}/socket`))
    sockets[0]?.hears('{')
    sockets[1]?.hears({ type: 'hello', protocolVersion: 2 })
    await settle()
    await clock.advance(10_000)
    expect(errors).toMatchObject([{ message: 'close 1007' }, { message: 'close 4401' }, { message: 'close 4408' }])
  })
})

describe('C83: what the app hands in', () => {
  test.each([4_000, 10_000, 100_000])('an event that is nested %d deep is rejected, and says so', async (depth) => {
    const { server, errors } = createTestServer()
    const event = { type: 'x', value: JSON.parse(arrays(depth)) }
    await expect(server.publish('room', event)).rejects.toThrow(
      'publish: an event must not be nested more than 128 deep',
    )
    expect(errors).toMatchObject([{ name: 'TypeError' }])
    expect((await server.publish('room', { type: 'x', value: JSON.parse(arrays(127)) })).seq).toBe(1)
  })

  test.each([4_000, 100_000])(
    'a receipt that is nested %d deep is null, over both wires: the command was applied',
    async (depth) => {
      const { server, clock, errors } = createTestServer({ onCommand: () => JSON.parse(arrays(depth)) })
      const { post } = await openStream(server)
      expect(await answer(post('send', { type: 'send' }))).toEqual([200, null])
      const socket = await createSockets({ fetch: server.fetch, clock }).opens()
      expect(await ask(socket, 'send', { type: 'send' })).toMatchObject({ status: 200, receipt: null })
      expect(errors).toHaveLength(2)
    },
  )
})

test('the depth of a text is the depth of what it says, whatever its strings contain', () => {
  const depthOf = (value: unknown): number =>
    typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0
  const strings = fc.oneof(fc.string(), fc.constantFrom('[', '{"', '\\', '\\"', '"[[[', '\\\\"{'))
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 12, withCrossShrink: true },
      strings,
      fc.integer(),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(strings, tie('tree'), { maxKeys: 3 }),
    ),
  }))
  fc.assert(
    fc.property(tree, fc.nat(12), fc.boolean(), (value, max, isSpaced) => {
      const json = JSON.stringify(value, null, isSpaced ? 1 : 0)
      expect(isTooDeep(json, max)).toBe(depthOf(value) > max)
    }),
    { numRuns: 2_000 },
  )
})
