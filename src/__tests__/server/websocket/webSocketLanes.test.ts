import { describe, expect, test } from 'vitest'
import { type CommandCall, memoryLog } from '../../../server'
import { FrameOrder } from '../../../server/websocket/frameOrder'
import { acked, createSockets, type ServerSocket } from '../../support/gateway'
import { createTestServer, manualCommands, range, settle, until } from '../../support/server'

/**
 * Commands whose ids begin with `slow` end when told; those that begin with `fail` fail as often as
 * told.
 */
function createServer(failures = 1, overrides: Parameters<typeof createTestServer>[0] = {}) {
  const ran: string[] = []
  const slow = new Map<string, () => void>()
  const left = new Map<string, number>()
  const onCommand = async ({ idempotencyKey: id = '' }: CommandCall) => {
    if (id.startsWith('slow')) await new Promise<void>((resolve) => slow.set(id, resolve))
    const more = left.get(id) ?? failures
    left.set(id, more - 1)
    if (id.startsWith('fail') && more > 0) throw new Error('not now')
    ran.push(id)
  }
  const chat = createTestServer({ onCommand, ...overrides })
  return {
    ...chat,
    ...createSockets({ fetch: chat.server.fetch, clock: chat.clock }),
    ran,
    end: async (id: string) => {
      await until(() => slow.has(id), id)
      slow.get(id)?.()
    },
  }
}

const frame = (id: string, lane: unknown, endpoint = 'send', fields = {}) => ({
  id,
  endpoint,
  lane,
  body: { type: endpoint, sessionId: `room-${String(lane).replace(/\W/g, '').slice(0, 50)}`, ...fields },
})
const tell = (socket: ServerSocket, lane: string | undefined, ...ids: string[]) => {
  for (const id of ids) socket.hears(frame(id, lane))
}
const tellBatch = (socket: ServerSocket, id: string, messages: readonly (readonly [id: string, lane: unknown])[]) =>
  socket.hears({ id, endpoint: 'batch', body: { messages: messages.map(([id, lane]) => frame(id, lane)) } })
const answered = (socket: ServerSocket, id: string) => until(() => socket.ack(id) !== undefined, `an answer to ${id}`)
const statuses = (socket: ServerSocket, ...ids: string[]) => ids.map((id) => socket.ack(id)?.status)

describe('C61: frames of a lane', () => {
  test('hold up no other lane while one of them is slow, and run one after the other', async () => {
    const { opens, ran, end } = createServer()
    const socket = await opens()
    tell(socket, 'a', 'slow', 'a2')
    tell(socket, 'b', 'b1', 'b2')
    tell(socket, undefined, 'c1')
    await acked(socket, 3)
    await settle(20)
    expect(ran.filter((id) => id !== 'c1')).toEqual(['b1', 'b2'])
    expect(socket.ack('a2')).toBeUndefined()
    expect(ran.toSorted()).toEqual(['b1', 'b2', 'c1'])
    await end('slow')
    await acked(socket, 5)
    expect(ran.slice(3)).toEqual(['slow', 'a2'])
  })

  test('are too early after one that is to be repeated, and those of other lanes are not', async () => {
    const { opens, ran } = createServer()
    const socket = await opens()
    tell(socket, 'a', 'fail', 'a2')
    tell(socket, 'b', 'b1')
    tell(socket, 'a', 'a3')
    await acked(socket, 4)
    tell(socket, 'b', 'b2')
    tell(socket, undefined, 'c1')
    await acked(socket, 6)
    expect(statuses(socket, 'fail', 'a2', 'a3', 'b1', 'b2', 'c1')).toEqual([500, 425, 425, 200, 200, 200])
    tell(socket, 'a', 'fail', 'a2', 'a3')
    await acked(socket, 9)
    expect(ran.filter((id) => id !== 'c1' && !id.startsWith('b'))).toEqual(['fail', 'a2', 'a3'])
  })

  test('that were turned away, because there were too many, hold up their own lane only', async () => {
    const manual = manualCommands()
    const { opens } = createServer(0, { onCommand: manual.onCommand })
    const socket = await opens()
    tell(socket, 'a', ...range(1, 81).map((n) => `a${n}`))
    tell(socket, 'b', 'b1')
    tell(socket, 'a', 'a82')
    expect(statuses(socket, 'a81', 'b1', 'a82')).toEqual([429, 429, 425])
    await until(() => manual.running === 1, 'the first one')
    manual.endNext()
    await answered(socket, 'a1')
    tell(socket, 'a', 'a83')
    expect(statuses(socket, 'a83')).toEqual([425])
    tell(socket, 'b', 'b1')
    await until(() => manual.running === 2, 'the other lane')
  })

  test('are a bad request if their lane is none, and the socket lives', async () => {
    const { opens, ran } = createServer()
    const socket = await opens()
    const wrong = ['x'.repeat(257), 'a\nb', 7, null, '\ud800']
    for (const [index, lane] of wrong.entries()) socket.hears(JSON.stringify(frame(`w${index}`, lane)))
    socket.hears(frame('ok', '漢'.repeat(256)))
    await acked(socket, 6)
    expect(socket.acks.map(({ status, error }) => [status, error])).toEqual([
      ...wrong.map(() => [400, 'bad-request']),
      [200, undefined],
    ])
    expect([socket.closed, ran]).toEqual([undefined, ['ok']])
  })

  test('reach the server as a POST with X-Lane; a hello sets none', async () => {
    const lanes: (string | null)[] = []
    const { server, clock } = createTestServer()
    const fetch = (request: Request) => {
      lanes.push(request.headers.get('x-lane'))
      return server.fetch(request)
    }
    const { connect } = createSockets({ fetch, clock, headers: ['x-lane', 'authorization'] })
    const socket = connect()
    socket.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: 'alice' } })
    await until(() => socket.said.length > 0, 'a welcome')
    tell(socket, 's ü', 'a')
    tell(socket, '', 'b')
    tell(socket, undefined, 'c')
    tellBatch(socket, 'd', [['e', 'f']])
    await acked(socket, 4)
    expect(lanes.toSorted()).toEqual([null, null, null, '', 's%20%C3%BC'].toSorted())
  })
})

describe('a batch over a socket', () => {
  test('waits for what stands before it in its lanes, and nothing of them gets past it', async () => {
    const { opens, ran, end } = createServer()
    const socket = await opens()
    tell(socket, 'a', 'slow')
    tellBatch(socket, 'batch', [
      ['a2', 'a'],
      ['b1', 'b'],
    ])
    tell(socket, 'b', 'b2')
    tell(socket, 'c', 'c1')
    await answered(socket, 'c1')
    expect(ran).toEqual(['c1'])
    await end('slow')
    await acked(socket, 4)
    expect(ran.indexOf('b1')).toBeLessThan(ran.indexOf('b2'))
    expect(ran.toSorted()).toEqual(['a2', 'b1', 'b2', 'c1', 'slow'])
  })

  test('ends the lane of what is to be repeated: frames of that lane are too early, the others are not', async () => {
    const { opens, ran } = createServer()
    const socket = await opens()
    tellBatch(socket, 'batch', [
      ['fail', 'a'],
      ['b1', 'b'],
      ['a2', 'a'],
    ])
    tell(socket, 'a', 'a3')
    tell(socket, 'b', 'b2')
    await acked(socket, 3)
    expect(socket.ack('batch')).toMatchObject({ status: 200, receipt: { results: [{ id: 'fail' }, { id: 'b1' }] } })
    expect(statuses(socket, 'a3', 'b2')).toEqual([425, 200])
    tell(socket, 'a', 'fail', 'a2', 'a3')
    await acked(socket, 6)
    expect(ran).toEqual(['b1', 'b2', 'fail', 'a2', 'a3'])
  })

  test('that is answered before its slow lane is keeps the order of that: what comes without the repeat is too early', async () => {
    const { opens, ran, end, clock } = createServer()
    const socket = await opens()
    tellBatch(socket, 'batch', [
      ['slow', 'a'],
      ['a2', 'a'],
      ['b1', 'b'],
    ])
    await until(() => ran.includes('b1'), 'the quick lane')
    await settle(20)
    await clock.advance(1_000)
    await answered(socket, 'batch')
    expect(socket.ack('batch')?.receipt).toEqual({ results: [{ id: 'b1', status: 200, receipt: null }] })
    tell(socket, 'a', 'a3')
    await answered(socket, 'a3')
    tell(socket, 'b', 'b2')
    await answered(socket, 'b2')
    expect(statuses(socket, 'a3', 'b2')).toEqual([425, 200])
    tell(socket, 'a', 'slow', 'a2', 'a3')
    await settle(20)
    expect(ran).toEqual(['b1', 'b2'])
    await end('slow')
    await acked(socket, 6)
    expect(ran).toEqual(['b1', 'b2', 'slow', 'a2', 'a3'])
  })

  test('that was turned down as a whole is repeated lane by lane', async () => {
    const { server, clock, ran } = createServer()
    let isBusy = true
    const fetch = async (request: Request) =>
      isBusy && request.url.endsWith('batch') ? Response.json({}, { status: 503 }) : server.fetch(request)
    const socket = await createSockets({ fetch, clock }).opens()
    tellBatch(socket, 'batch', [
      ['a1', 'a'],
      ['b1', 'b'],
    ])
    await answered(socket, 'batch')
    isBusy = false
    tell(socket, 'a', 'a2')
    tell(socket, 'b', 'b1', 'b2')
    await acked(socket, 4)
    expect(statuses(socket, 'batch', 'a2', 'b1', 'b2')).toEqual([503, 425, 200, 200])
    tell(socket, 'a', 'a1', 'a2')
    await acked(socket, 6)
    expect(ran).toEqual(['b1', 'b2', 'a1', 'a2'])
  })
})

describe('stop over a socket', () => {
  test('overtakes what waits in the lane of its session, and takes it back', async () => {
    const { opens, ran, end } = createServer(0)
    const socket = await opens()
    const lane = 'session:room'
    const body = { sessionId: 'room' }
    for (const id of ['slow', 'second', 'third']) socket.hears(frame(id, lane, 'send', body))
    socket.hears(frame('halt', `stop:${lane}`, 'stop', { ...body, cancels: ['slow', 'second', 'third'] }))
    await settle(50)
    await end('slow')
    await acked(socket, 4)
    expect(statuses(socket, 'slow', 'second', 'third', 'halt')).toEqual([200, 409, 409, 200])
    expect([socket.ack('third')?.error, ran]).toEqual(['cancelled', ['slow', 'halt']])
  })
})

describe('C97: what is remembered of lanes', () => {
  const perform = async () => ({ status: 500 })
  const single = (lane: string | undefined, id: string) => ({ endpoint: 'send', lanes: new Map([[lane, [id]]]) })

  test('is nothing when nothing of them waits or is to be repeated', async () => {
    let used = 0
    const account = {
      take(bytes: number) {
        used += bytes
        return true
      },
      give(bytes: number) {
        used -= bytes
      },
    }
    const order = new FrameOrder({ account, onFull: expect.unreachable })
    for (const n of range(1, 50)) await order.add(single(`l${n % 10}`, `m${n}`), async () => ({ status: 200 }))
    expect([order.size, used]).toEqual([0, 0])
    for (const n of range(1, 10)) await order.add(single(`l${n}`, `m${n}`), perform)
    expect(order.size).toBe(10)
    expect(used).toBeGreaterThan(10_000)
    order.turnAway(single('l1', 'other'))
    for (const n of range(1, 10)) {
      expect(order.isTooEarly(single(`l${n}`, `m${n}`))).toBe(false)
      await order.add(single(`l${n}`, `m${n}`), async () => ({ status: 200 }))
    }
    expect([order.size, used]).toEqual([0, 0])
  })

  test('is on the account of the socket: without room for it only a fresh socket can keep the order', async () => {
    let full = 0
    const onFull = () => {
      full += 1
    }
    const order = new FrameOrder({ account: { take: () => false, give() {} }, onFull })
    await order.add(single(undefined, 'a'), perform)
    order.turnAway(single(undefined, 'b'))
    expect(full).toBe(0)
    order.turnAway(single('l', 'c'))
    await order.add(single('l', 'd'), perform)
    expect(full).toBe(2)
  })

  test('closes a socket that is refused in ten thousand lanes and repeats nothing, and leaves nothing behind', async () => {
    const { opens } = createServer(9e9, { log: memoryLog(), onError() {} })
    const socket = await opens()
    for (let sent = 0; sent < 10_000 && !socket.closed; sent += 50) {
      const due = socket.acks.length + 50
      for (const n of range(sent, sent + 49)) socket.hears(frame(`fail${n}`, `${n}${'x'.repeat(200)}`))
      await until(() => socket.acks.length >= due || socket.closed !== undefined, 'the answers, or a close')
    }
    expect(socket.closed).toEqual([4429, '1000'])
    expect(socket.acks.length).toBeGreaterThan(1_000)
  })
})
