import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createWebSocketGateway } from '../../../server'
import { REQUEST_WEIGHT } from '../../../server/limits/weights'
import { labelsOf, membersOf } from '../../../server/request/json'
import { MAX_AT_DOOR } from '../../../server/websocket/door'
import { acked, ask, createSockets, listenForSockets, ServerSocket } from '../../support/gateway'
import { bytesInUse, swelling, withBudgets } from '../../support/memory'
import { BASE, createTestServer, manualCommands, openStream, range, settle, until } from '../../support/server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** As those of `ws`: they can be ended at once. */
class Terminable extends ServerSocket {
  terminations = 0
  terminate() {
    this.terminations += 1
    this.vanishes()
  }
}

function createServer(overrides: Parameters<typeof createTestServer>[0] = {}) {
  const { server: chat, budgets } = withBudgets(() => createTestServer(overrides))
  const { server, clock } = chat
  const gateway = createWebSocketGateway({ fetch: server.fetch, clock })
  const accept = () => {
    const socket = new Terminable()
    gateway.accept(socket, new Request(`${BASE}/socket`))
    return socket
  }
  return { ...chat, ...createSockets({ fetch: server.fetch, clock }), accept, budgets }
}

/** What is remembered of a command. */
const RECEIPT = 1_000
const HELLO = { type: 'hello', protocolVersion: 2, headers: { authorization: 'alice' } }
const send = (n: unknown, sessionId = 'room') => ({ type: 'send', sessionId, n })

describe('C97: a socket that nobody has let in', () => {
  /** Whoever asks waits until the test answers. */
  function slowDoor() {
    const answers: ((principal: { id: string } | null) => void)[] = []
    return { answers, authenticate: () => new Promise<{ id: string } | null>((resolve) => answers.push(resolve)) }
  }

  test('has no frame taken: a small one is told that it is too early, a large one costs the socket', async () => {
    const { answers, authenticate } = slowDoor()
    const { accept, budgets } = createServer({ authenticate })
    const [early, large] = [accept(), accept()]
    for (const socket of [early, large]) socket.hears(HELLO)
    await until(() => answers.length === 2, 'both questions')
    const held = budgets.process.used
    early.hears({ id: 'a', endpoint: 'send', body: send(1) })
    large.hears({ id: 'a', endpoint: 'send', body: send('x'.repeat(10_000)) })
    await settle()
    expect(early.acks).toEqual([{ type: 'ack', id: 'a', status: 425, error: 'too-early' }])
    expect([large.closed, large.terminations]).toEqual([[4429, '1000'], 1])
    expect(budgets.process.used).toBe(held)
    answers[0]?.({ id: 'alice' })
    await until(() => early.said.at(-1)?.type === 'welcome', 'the welcome')
    early.hears({ id: 'a', endpoint: 'send', body: send(1) })
    await until(() => answers.length === 3, 'the question about the command')
    answers[2]?.({ id: 'alice' })
    await acked(early, 2)
    expect(early.ack('a')?.status).toBe(200)
  })

  test('and was refused is told why, and ended a second later, whatever it does', async () => {
    const { accept, clock } = createServer({ authenticate: () => null })
    const socket = accept()
    socket.hears(HELLO)
    await until(() => socket.closed !== undefined, 'the close')
    expect([socket.closed, socket.terminations]).toEqual([[4401, 'unauthorized'], 0])
    await clock.advance(1_000)
    expect([socket.terminations, clock.timers]).toEqual([1, 0])
  })

  test.each<[string, unknown]>([
    ['no object', '[]'],
    ['binary', new ArrayBuffer(3)],
    ['a frame', { id: 'a', endpoint: 'send', body: {} }],
    ['a hello of another version', { type: 'hello', protocolVersion: 3 }],
    ['C109: a hello of more than 8 KiB', { ...HELLO, headers: { authorization: 'x'.repeat(8_192) } }],
  ])('and says %s is ended at once', async (_, data) => {
    const { accept, clock } = createServer()
    const socket = accept()
    socket.hears(data)
    expect([socket.closed?.length, socket.terminations, clock.timers]).toEqual([1, 1, 0])
  })

  test('C109: is ended if it says nothing for 5 s, and not asked to close', async () => {
    const { accept, clock } = createServer()
    const socket = accept()
    await clock.advance(5_000)
    expect([socket.closed, socket.terminations, clock.timers]).toEqual([[4408], 1, 0])
  })

  test('C109: makes room for the next if there are too many: the oldest without a hello', async () => {
    const { answers, authenticate } = slowDoor()
    const { accept } = createServer({ authenticate })
    const most = Math.floor(MAX_AT_DOOR / (REQUEST_WEIGHT + 2 * `${BASE}/socket`.length))
    const [first, second, ...others] = range(1, most).map(accept)
    expect([first, second].map((socket) => socket?.closed)).toEqual([undefined, undefined])
    const late = accept()
    expect([first?.closed, first?.terminations, second?.closed]).toEqual([[4408], 1, undefined])
    // The hello takes some of the room as well.
    late.hears(HELLO)
    await until(() => answers.length === 1, 'its question')
    expect([second?.closed, others.filter(({ closed }) => closed).length, late.closed]).toEqual([[4408], 0, undefined])
  })

  test('C109: and waits for an answer is not ended for another, which is asked to come back', async () => {
    const { authenticate } = slowDoor()
    const { accept, clock } = createServer({ authenticate })
    const sockets = range(1, 3_000).map(() => {
      const socket = accept()
      socket.hears(HELLO)
      return socket
    })
    const refused = sockets.filter(({ closed }) => closed)
    expect(refused.length).toBeGreaterThan(1_000)
    expect(sockets.slice(0, 900).every(({ closed }) => !closed)).toBe(true)
    for (const { closed, terminations } of refused) expect([closed, terminations]).toEqual([[4429, '1000'], 1])
    for (const socket of sockets) socket.vanishes()
    const next = accept()
    next.hears(HELLO)
    expect(next.closed).toBeUndefined()
    next.vanishes()
    expect(clock.timers).toBe(0)
  })

  test('holds no more than was promised, whatever it sends', async () => {
    const { authenticate } = slowDoor()
    const { accept } = createServer({ authenticate })
    const frame = JSON.stringify({ id: 'a', endpoint: 'send', body: send(`${'x'.repeat(1_000_000)}漢`) })
    const before = bytesInUse()
    const sockets = range(1, 100).map(() => {
      const socket = accept()
      socket.hears(HELLO)
      for (const _ of range(1, 5)) socket.dispatch('message', { data: frame })
      return socket
    })
    await settle()
    expect(bytesInUse() - before).toBeLessThan(100 * 2 * REQUEST_WEIGHT)
    expect(sockets).toHaveLength(100)
  })
})

describe('C97: what a socket holds', () => {
  test('are the ids of its messages at most, of what was refused: a batch’s first id of 1 MiB is not kept', async () => {
    const { opens } = createServer()
    const socket = await opens()
    const before = bytesInUse()
    for (const n of range(1, 30)) {
      const id = `${n} ${'x'.repeat(1_000_000)}`
      expect(await ask(socket, 'batch', { messages: [{ id }] })).toMatchObject({ status: 413 })
      expect(await ask(socket, 'batch', { messages: [{ id: id.slice(0, 100_000) }] })).toMatchObject({ status: 400 })
    }
    // The last text that was looked at may still be there.
    expect(bytesInUse() - before).toBeLessThan(4_000_000)
  })

  test('is 4 MiB behind one slow command, and given back when the socket ends', async () => {
    const commands = manualCommands()
    const { opens, budgets } = createServer({ onCommand: commands.onCommand })
    const socket = await opens()
    socket.hears({ id: 'slow', endpoint: 'send', body: send(0) })
    await until(() => commands.running === 1, 'the slow one')
    const before = bytesInUse()
    for (const n of range(1, 300)) {
      const body = { messages: [{ id: `${n} ${'x'.repeat(900_000)}漢` }] }
      socket.hears({ id: `b${n}`, endpoint: 'batch', body })
    }
    expect(bytesInUse() - before).toBeLessThan(8_000_000)
    expect(budgets.heldBy('alice')).toBeLessThan(4_194_304 + 100_000)
    expect(new Set(socket.acks.map(({ status }) => status))).toEqual(new Set([429]))
    socket.vanishes()
    await settle()
    // The command that runs, and its request.
    expect(budgets.heldBy('alice')).toBeLessThan(2 * REQUEST_WEIGHT)
    commands.endNext()
    await until(() => budgets.heldBy('alice') < RECEIPT, 'the end')
    expect(commands.calls).toHaveLength(1)
  })

  test('is an eighth of limits.memory for all sockets of a principal', async () => {
    const commands = manualCommands()
    const { opens, budgets } = createServer({ onCommand: commands.onCommand })
    const sockets = []
    for (const _ of range(1, 12)) sockets.push(await opens())
    for (const [index, socket] of sockets.entries()) {
      socket.hears({ id: `slow${index}`, endpoint: 'send', body: send(0, `room${index}`) })
      for (const n of range(1, 25))
        socket.hears({ id: `${index}-${n}`, endpoint: 'send', body: send('x'.repeat(200_000)) })
    }
    await settle()
    expect(budgets.heldBy('alice')).toBeLessThanOrEqual(budgets.share)
    for (const socket of sockets) expect(socket.acks.map(({ status }) => status)).toContain(429)
    const other = await opens({ as: 'bob' })
    for (const socket of sockets) socket.vanishes()
    await until(() => {
      commands.endNext()
      return budgets.heldBy('alice') < 12 * RECEIPT
    }, 'the end')
    expect(other.closed).toBeUndefined()
  })

  test('is the text of a frame and not what that is parsed into', async () => {
    const commands = manualCommands()
    const { opens } = createServer({ onCommand: commands.onCommand })
    const socket = await opens()
    socket.hears({ id: 'slow', endpoint: 'send', body: send(0) })
    await until(() => commands.running === 1, 'the slow one')
    const before = bytesInUse()
    for (const n of range(1, 15)) {
      const data = `{"id":"m${n}","endpoint":"send","body":{"type":"send","sessionId":"room","x":${swelling(250_000)}}}`
      socket.dispatch('message', { data })
    }
    expect(bytesInUse() - before).toBeLessThan(15 * 300_000)
    for (const n of range(1, 16)) {
      await until(() => commands.calls.length === n, `command ${n}`)
      commands.endNext()
    }
    await acked(socket, 16)
    expect(socket.acks.every(({ status }) => status === 200)).toBe(true)
  })

  test('a client that reads no answers has one, and no command is begun before it has gone', async () => {
    const { opens, clock } = createServer({ onCommand: () => 'x'.repeat(200_000) })
    const socket = await opens()
    socket.bufferedAmount = 300_000
    const before = bytesInUse()
    for (const n of range(1, 60)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    await settle(50)
    // All of them would be 12 MB.
    expect(bytesInUse() - before).toBeLessThan(4_000_000)
    socket.bufferedAmount = 0
    await clock.advance(20)
    await acked(socket, 60)
  })

  test('an endpoint is a name, and no text of any length', async () => {
    const { opens } = createServer()
    const [short, long] = [await opens(), await opens()]
    expect(await ask(short, 'x'.repeat(64), {})).toMatchObject({ status: 400, error: 'unknown-endpoint' })
    long.hears({ id: 'a', endpoint: 'x'.repeat(65), body: {} })
    expect(long.closed).toEqual([1007])
  })

  test('C98: a command of a socket that is gone, which has not begun, is dropped after the grace', async () => {
    const commands = manualCommands()
    const { opens, server, clock, budgets } = createServer({ onCommand: commands.onCommand })
    const [socket, other] = [await opens({ as: 'bob' }), await openStream(server)]
    void other.post('send', send(0))
    await until(() => commands.running === 1, 'the slow one')
    for (const n of range(1, 20)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send(n) })
    const { timers } = clock
    socket.vanishes()
    await until(() => clock.timers !== timers, 'the grace')
    await clock.advance(30_000)
    await until(() => budgets.heldBy('bob') === 0, 'the end of what bob held')
    commands.endNext()
    await settle(20)
    expect(commands.calls).toHaveLength(1)
  })
})

test('C98: what a socket has asked for is aborted when it ends, wherever its stream is', async () => {
  const { server, clock } = createTestServer()
  const signals: AbortSignal[] = []
  const fetch = (request: Request) => {
    if (request.method !== 'POST') return server.fetch(request)
    signals.push(request.signal)
    return new Promise<Response>(() => {})
  }
  const socket = await createSockets({ fetch, clock }).opens()
  socket.hears({ id: 'a', endpoint: 'send', body: send(1) })
  socket.hears({ id: 'p', endpoint: 'probe', body: { type: 'probe', nonce: 'n' } })
  await until(() => signals.length === 2, 'both requests')
  socket.vanishes()
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
})

test('C97: the budget is found through whatever hands the stream on', async () => {
  const { server: chat, budgets } = withBudgets(() => createTestServer({ onCommand: () => new Promise(() => {}) }))
  const { server, clock } = chat
  const fetch = async (request: Request) => {
    const { body, status, headers } = await server.fetch(request)
    return new Response(body, { status, headers })
  }
  const socket = await createSockets({ fetch, clock }).opens()
  for (const n of range(1, 10)) socket.hears({ id: `m${n}`, endpoint: 'send', body: send('x'.repeat(200_000)) })
  expect(budgets.heldBy('alice')).toBeGreaterThan(2_000_000)
  expect(socket.acks).toEqual([])
})

test('C109: over a real socket: a client that is refused is told why, although it is ended', async () => {
  const { server } = createTestServer()
  const host = await listenForSockets(server.fetch)
  cleanups.push(host.close, () => server.close())
  const client = new WebSocket(`${host.url.replace('http', 'ws')}/socket`)
  cleanups.push(() => client.terminate())
  let code: number | undefined
  client.on('close', (given) => {
    code = given
  })
  client.on('open', () => client.send('{"type":"hello","protocolVersion":2}'))
  await new Promise((resolve) => client.once('close', resolve))
  expect(code).toBe(4401)
})

describe('an envelope is read without being parsed', () => {
  test('its members are those that JSON.parse finds', () => {
    const object = fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue())
    fc.assert(
      fc.property(object, fc.constantFrom(0, 2), (value, indent) => {
        const members = membersOf(JSON.stringify(value, null, indent))
        for (const [name, text] of members ?? [])
          expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value[JSON.parse(`"${name}"`)])))
        const plain = Object.keys(value).filter((name) => name && JSON.stringify(name) === `"${name}"`)
        expect([...(members?.keys() ?? [])]).toEqual(expect.arrayContaining(plain))
      }),
      { numRuns: 1_000 },
    )
  })

  test.each(['', '[]', '1', '"a"', '{', '{"a"', '{"a":', '{"a":1', '{"a":1}}', '{"a":1}x', '{a:1}', 'null'])(
    '%j is no object',
    (json) => expect(membersOf(json)).toBeUndefined(),
  )

  test('whatever comes, it ends, and throws nothing', () => {
    const junk = fc.string({
      unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', ' ', 'a', '1'),
      maxLength: 40,
    })
    fc.assert(
      fc.property(junk, (json) => {
        membersOf(json)
        for (const _ of labelsOf(json));
      }),
      { numRuns: 20_000 },
    )
  })

  test.each<[string, readonly (readonly [id?: string, lane?: string])[]]>([
    ['{"messages":[{"id":"a"}]}', [['"a"']]],
    [
      '{ "x" : {"messages":1}, "messages" : [ { "body" : {"id":"no","lane":[]} , "id" : "a" , "lane":"l\\"" }, {"lane":1,"id":"b"} ] }',
      [
        ['"a"', '"l\\""'],
        ['"b"', '1'],
      ],
    ],
    ['{"messages":[{"id":7},{},{"id":"c"', [['7'], [], ['"c"']]],
    ['{"messages":[{"id":"a"},7,{"id":"b"}]}', [['"a"']]],
    ['{"messages":[]}', []],
    ['{"messages":[7]}', []],
    ['{"messages":{"id":"a"}}', []],
    ['7', []],
  ])('the ids and lanes of %s', (json, labels) =>
    expect([...labelsOf(json)]).toEqual(labels.map(([id, lane]) => ({ id, lane }))),
  )

  test('the ids and lanes of a batch are those that JSON.parse finds', () => {
    const element = fc.record({ id: fc.jsonValue(), lane: fc.jsonValue(), body: fc.jsonValue() }, { requiredKeys: [] })
    fc.assert(
      fc.property(fc.array(element), fc.constantFrom(0, 2), (messages, indent) => {
        const told = [...labelsOf(JSON.stringify({ messages }, null, indent))].map(({ id, lane }) => ({
          id: id && JSON.parse(id),
          lane: lane && JSON.parse(lane),
        }))
        const plain = JSON.parse(JSON.stringify(messages))
        expect(told).toEqual(plain.map(({ id, lane }: { id?: unknown; lane?: unknown }) => ({ id, lane })))
      }),
      { numRuns: 1_000 },
    )
  })
})
