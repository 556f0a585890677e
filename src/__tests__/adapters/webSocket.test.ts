import { afterEach, describe, expect, test, vi } from 'vitest'
import type { HeadersHook } from '../../adapters/credentials'
import { webSocketTransport } from '../../adapters/websocket'
import type { Feature } from '../../protocol'
import { createClock, settle } from '../support/fakes'
import { createSocketWorld, FakeSocket, fakeSockets } from '../support/socket'

afterEach(() => {
  vi.doUnmock('ws')
  vi.unstubAllGlobals()
})

const ACKED: readonly Feature[] = ['receipts', 'idempotency']
const RESUMABLE: readonly Feature[] = [...ACKED, 'replay-marker', 'contiguous-seq']
const range = (length: number) => Array.from({ length }, (_, index) => `m${index + 1}`)

describe('a socket', () => {
  test.each([
    ['http://test/api/chat', undefined, 'ws://test/api/chat/socket'],
    ['https://test/api/chat/', undefined, 'wss://test/api/chat/socket'],
    ['https://test/http', 'ws/v2', 'wss://test/http/ws/v2'],
  ])('stands under %s, at the path %s', async (url, path, at) => {
    const { sockets, Made } = fakeSockets()
    const transport = webSocketTransport({ WebSocket: Made, ...(path && { path }) })
    createSocketWorld({ url, transport }).connection.connect()
    await settle()
    expect(sockets.map((socket) => socket.url)).toEqual([at])
  })

  test('is greeted before anything else, and the line is open with its welcome', async () => {
    const world = createSocketWorld({ headers: { authorization: 'token', 'x-tenant': 'acme' } })
    world.connection.connect()
    await settle()
    expect([world.connection.phase, world.socket.sent]).toEqual(['connecting', []])
    world.socket.opens()
    expect(world.connection.phase).toBe('awaitingWelcome')
    expect(world.socket.frames).toEqual([
      { type: 'hello', protocolVersion: 2, headers: { authorization: 'token', 'x-tenant': 'acme' } },
    ])
    world.socket.welcomes([])
    expect([world.connection.phase, world.connection.connectionId]).toEqual(['open', 'c1'])
  })

  test('that is never welcomed is given up, and so is one that never opens', async () => {
    const world = createSocketWorld({ timeouts: { connect: 100, welcome: 200 } })
    world.connection.connect()
    await world.clock.advance(100)
    expect([world.connection.phase, world.socket.isClosed]).toEqual(['backoff', true])
    await world.retries()
    world.socket.opens()
    await world.clock.advance(200)
    expect([world.sockets.length, world.connection.phase, world.socket.isClosed]).toEqual([2, 'backoff', true])
  })

  test('may be welcomed twice: what the first welcome began ends, and the second resume is the one that counts', async () => {
    const world = createSocketWorld({ cursors: [{ sessionId: 's', lastSeq: 3 }] })
    await world.opens(RESUMABLE)
    world.socket.welcomes(RESUMABLE, 'c9')
    await settle()
    const [first, second] = world.socket.to('reconnect')
    world.socket.acks(first?.id)
    world.socket.says({ type: 'reconnected', resumeId: 'r1', sessions: [] })
    await settle()
    expect(world.connection.phase).toBe('reconnecting')
    world.socket.says({ type: 'reconnected', resumeId: 'r2', sessions: [] })
    world.socket.acks(second?.id)
    await settle()
    expect([world.connection.phase, world.connection.connectionId]).toEqual(['open', 'c9'])
  })

  test('says frames of the app and frames of the line: what names a session is the app’s, whatever its type', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await settle()
    const events = ['ack', 'welcome', 'token'].map((type, index) => ({
      type,
      id: 'a',
      status: 500,
      sessionId: 's',
      seq: index + 1,
    }))
    for (const event of events) world.socket.says(event)
    world.socket.says({ type: 'notice' })
    expect(world.received).toEqual([...events, { type: 'notice' }])
    expect([delivery?.status, world.connection.phase]).toEqual(['sending', 'open'])
  })

  test.each([
    ['binary', new ArrayBuffer(4)],
    ['no JSON', '{'],
    ['no object', '[1]'],
    ['empty', ''],
  ])('that says something %s is not the worse for it', async (_, data) => {
    const world = createSocketWorld()
    await world.opens()
    world.socket.dispatch('message', { data })
    expect([world.errors, world.received]).toEqual([['bad-message'], []])
    world.socket.says({ type: 'token' })
    expect(world.received).toHaveLength(1)
  })

  test('is silent once it is closed, whatever still comes from it', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.connection.disconnect()
    const told = [...world.log]
    const { socket } = world
    expect(socket.isClosed).toBe(true)
    socket.opens()
    socket.welcomes([])
    socket.says({ type: 'token' })
    socket.acks('a')
    socket.dispatch('error')
    socket.shuts(4401)
    await settle()
    expect([world.log, world.received, world.errors, socket.sent.length]).toEqual([told, [], [], 1])
    expect([world.sockets.length, world.clock.pending]).toEqual([1, 0])
  })

  test('that is left before it has opened is greeted by nobody', async () => {
    const world = createSocketWorld()
    world.connection.connect()
    await settle()
    world.connection.disconnect()
    world.socket.opens()
    expect([world.socket.sent, world.socket.isClosed]).toEqual([[], true])
  })

  test('is not even made, if the line was left while the headers were waited for', async () => {
    let give = (_: Record<string, string>) => {}
    const world = createSocketWorld({ headers: () => new Promise((resolve) => (give = resolve)) })
    world.connection.connect()
    await settle()
    world.connection.disconnect()
    give({})
    await settle()
    expect(world.sockets).toHaveLength(0)
  })

  test('that fails and closes has failed once', async () => {
    const world = createSocketWorld()
    await world.opens()
    world.socket.dispatch('error', {})
    world.socket.shuts(1006)
    expect([world.connection.phase, world.connection.attempt, world.log]).toEqual([
      'backoff',
      1,
      ['opened', 'closed failed'],
    ])
  })

  test('that cannot be made fails like one that is cut, and says why', async () => {
    const world = createSocketWorld({
      transport: webSocketTransport({
        WebSocket: class extends FakeSocket {
          constructor(url: string) {
            super(url)
            throw new Error('mixed content')
          }
        },
      }),
    })
    world.connection.connect()
    await settle()
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError).toMatchObject({ code: 'stream-failed', message: 'Error: mixed content' })
  })

  test('is the native one, else that of the ws package; without either the error says so', async () => {
    const native = fakeSockets()
    vi.stubGlobal('WebSocket', native.Made)
    createSocketWorld({ transport: webSocketTransport() }).connection.connect()
    await settle()
    expect(native.sockets).toHaveLength(1)

    vi.stubGlobal('WebSocket', undefined)
    const packaged = fakeSockets()
    vi.doMock('ws', () => ({ WebSocket: packaged.Made }))
    createSocketWorld({ transport: webSocketTransport() }).connection.connect()
    await vi.waitUntil(() => packaged.sockets.length === 1)

    vi.resetModules()
    vi.doMock('ws', () => {
      throw new Error('not installed')
    })
    const { connection } = createSocketWorld({ transport: webSocketTransport() })
    connection.connect()
    await vi.waitUntil(() => connection.phase === 'backoff')
    expect(connection.lastError).toMatchObject({
      code: 'invalid-option',
      message: 'WebSocket: none here, nor the ws package',
    })
  })
})

describe('a close', () => {
  test.each([
    // code, reason, what is waited at least
    [1000, '', 0],
    [1001, '', 0],
    [1006, '', 0],
    [1011, '60000', 0],
    [4408, '', 0],
    [1012, '', 1_000],
    [1013, '', 1_000],
    [1013, '7000', 7_000],
    [1012, '7000', 7_000],
    [1013, 'later', 1_000],
    [1013, '-5', 1_000],
    [1013, '1e9', 1_000],
    [1013, '999999999', 300_000],
    // C113: ours, which get through WebKit.
    [4429, '', 1_000],
    [4503, '7000', 7_000],
    [4503, 'later', 1_000],
    [4429, '999999999', 300_000],
    [4500, '60000', 0],
    [4408, '60000', 0],
    [4000, '60000', 0],
    [4200, '', 0],
    [4999, '', 0],
  ])('%i "%s" is transient, and asks for %i ms', async (code, reason, wait) => {
    for (const isWelcome of [true, false]) {
      const world = createSocketWorld({ backoff: { base: 0 } })
      if (isWelcome) await world.opens()
      else world.connection.connect()
      await settle()
      world.socket.shuts(code, reason)
      await settle()
      expect([world.connection.phase, world.connection.lastError?.code]).toEqual(['backoff', 'stream-failed'])
      expect(world.connection.lastError?.retryAfter).toBe(wait || undefined)
      // Half of what is asked for is the spread, and the chance is 0.5.
      expect((world.connection.retryAt ?? 0) - world.clock.now()).toBe(wait === 300_000 ? 375_000 : wait * 1.25)
    }
  })

  test('ends what is in flight: a repeat under the same id, on the next socket and after its resume', async () => {
    const world = createSocketWorld({ cursors: [{ sessionId: 's', lastSeq: 1 }] })
    await world.opens(RESUMABLE)
    world.socket.acks(world.socket.ids('reconnect')[0])
    world.socket.says({ type: 'reconnected', resumeId: 'r1', sessions: [] })
    await settle()
    const deliveries = world.send('a', 'b')
    await settle()
    expect(world.socket.ids('send')).toEqual(['a', 'b'])
    world.socket.acks('a')
    world.socket.shuts()
    await settle()
    expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'queued'])
    expect(world.errors).toEqual(['network'])
    await world.retries()
    await world.opens(RESUMABLE)
    expect(world.socket.ids('send')).toEqual([])
    world.socket.acks(world.socket.ids('reconnect')[0])
    world.socket.says({ type: 'reconnected', resumeId: 'r1', sessions: [] })
    await world.clock.advance(1_000)
    expect(world.socket.ids('send')).toEqual(['b'])
    world.socket.acks('b')
    expect(await deliveries[1]?.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test('with 1009: the biggest frame was too big, so it is not repeated; the others are', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [a, big, c] = world.send('a', 'b'.repeat(200), 'c')
    await settle()
    world.socket.shuts(1009)
    expect(await big?.settled).toMatchObject({ status: 'rejected', error: { status: 413 } })
    await world.retries()
    await world.opens(ACKED)
    await world.clock.advance(1_000)
    expect(world.socket.ids('send')).toEqual(['a', 'c'])
    expect([a?.status, c?.status]).toEqual(['sending', 'sending'])
  })
})

describe('lanes', () => {
  test('a frame names its lane, where the server announced that, and the hello is not said again', async () => {
    for (const features of [ACKED, [...ACKED, 'lanes'] as const]) {
      const world = createSocketWorld()
      await world.opens(features)
      for (const sessionId of ['s ü', 's2']) world.connection.send({ type: 'send', sessionId })
      await settle()
      const lanes = features.length > 2 ? ['session:s ü', 'session:s2'] : [undefined, undefined]
      expect(world.socket.frames.map(({ type, lane }) => type ?? lane)).toEqual(['hello', ...lanes])
    }
  })

  test('I13: a batch that follows something of its lane carries no other lane: that would wait for it, too', async () => {
    const world = createSocketWorld({ outbox: { maxInFlight: 2 } })
    await world.opens([...ACKED, 'batch', 'lanes'])
    for (const [id, sessionId] of [
      ['m1', 's1'],
      ['y', 's3'],
      ['m2', 's1'],
      ['m3', 's1'],
      ['x', 's2'],
    ])
      world.connection.send({ type: 'send', sessionId }, { id })
    await settle()
    expect(world.socket.ids('send')).toEqual(['m1', 'y'])
    world.socket.acks('y')
    await settle()
    expect(world.socket.ids('send')).toEqual(['m1', 'y', 'x'])
    const [batch] = world.socket.frames.filter(({ endpoint }) => endpoint === 'batch')
    expect(batch?.body).toMatchObject({ messages: [{ id: 'm2' }, { id: 'm3' }] })
  })

  test('I4: after a failure a lane goes on once all that was under way has its answer, and one at a time at first', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.send('a', 'b', 'c')
    await settle()
    expect(world.socket.ids('send')).toEqual(['a', 'b', 'c'])
    world.socket.acks('a', { status: 500, error: 'internal' })
    await settle()
    world.send('d')
    await world.clock.advance(1_000)
    expect(world.socket.ids('send')).toEqual(['a', 'b', 'c'])
    for (const id of ['b', 'c']) world.socket.acks(id, { status: 425, error: 'too-early' })
    await world.clock.advance(10_000)
    expect(world.socket.ids('send')).toEqual(['a', 'b', 'c', 'a'])
    world.socket.acks('a')
    await settle()
    expect(world.socket.ids('send')).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'd'])
  })
})

describe('C72: a close before the welcome', () => {
  async function refused(code: number, reason = '', times = 1) {
    const world = createSocketWorld({ headers: () => ({}) })
    world.connection.connect()
    for (let time = 0; time < times; time++) {
      if (world.connection.phase === 'backoff') await world.retries()
      await settle()
      world.socket.opens()
      world.socket.shuts(code, reason)
      await settle()
    }
    return world
  }

  test.each([
    [4204, '', 'ended', 204],
    [4403, 'origin', 'forbidden', 403],
  ])('with %i "%s" stops the line at once: %s', async (code, reason, error, status) => {
    const world = await refused(code, reason)
    expect([world.connection.phase, world.log, world.sockets.length]).toEqual(['idle', [`stopped ${error}`], 1])
    expect(world.connection.lastError?.status).toBe(status)
  })

  test.each([1008, 4403])('with %i and no word may pass: the third in a row stops the line', async (code) => {
    expect((await refused(code, '', 2)).connection.phase).toBe('backoff')
    expect((await refused(code, '', 3)).log).toEqual(['stopped forbidden'])
  })

  test('with 1008 and a word is another party’s, and may pass as well', async () => {
    expect((await refused(1008, 'policy')).connection.phase).toBe('backoff')
  })

  test.each([4400, 4404, 4500, 4599])('with %i is an ordinary failure with a status', async (code) => {
    const { connection } = await refused(code, 'why')
    expect([connection.phase, connection.lastError]).toMatchObject([
      'backoff',
      { code: 'stream-failed', status: code - 4_000 },
    ])
  })

  test('is no refusal after it: the line comes back', async () => {
    for (const code of [4204, 4403]) {
      const world = createSocketWorld()
      await world.opens()
      world.socket.shuts(code, 'origin')
      expect([world.connection.phase, world.connection.lastError?.code]).toEqual(['backoff', 'stream-failed'])
    }
  })
})

describe('C76: a socket that is over and has told no close', () => {
  const noticed: readonly (readonly [string, (world: ReturnType<typeof createSocketWorld>) => unknown])[] = [
    ['a message', (world) => world.send('a')],
    ['a wake', (world) => world.connection.wake()],
  ]

  test.each(noticed)('is noticed with %s, and replaced', async (_, act) => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.socket.readyState = 3
    act(world)
    await settle()
    expect(world.connection.phase).not.toBe('open')
    expect(world.log).toEqual(['opened', 'closed failed'])
    if (world.connection.phase === 'backoff') await world.retries()
    await world.opens(ACKED)
    await world.clock.advance(1_000)
    expect(world.connection.pending.length).toBe(world.socket.ids('send').length)
  })

  test.each(noticed)('is noticed a second after %s, if it is closing and never gets there', async (_, act) => {
    const world = createSocketWorld({ outbox: { maxInFlight: 1 } })
    await world.opens(ACKED)
    world.socket.readyState = 2
    act(world)
    await world.clock.advance(999)
    expect(world.connection.phase).toBe('open')
    await world.clock.advance(1)
    expect([world.connection.phase, world.log.at(-1)]).toEqual(['backoff', 'closed failed'])
  })

  test('may still say why it closes', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.socket.readyState = 2
    world.connection.wake()
    world.socket.shuts(4503, '7000')
    await settle()
    expect(world.connection.lastError?.retryAfter).toBe(7_000)
  })

  test('I8: is not waited for after a disconnect', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.socket.readyState = 2
    world.connection.wake()
    world.connection.disconnect()
    await settle()
    expect(world.clock.pending).toBe(0)
  })

  test('a wake with an open socket changes nothing', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.connection.wake()
    await settle()
    expect([world.connection.phase, world.sockets.length]).toEqual(['open', 1])
  })
})

describe('authorisation', () => {
  const asked = (world: ReturnType<typeof createSocketWorld>) =>
    world.sockets.map(({ hellos }) => hellos.map(({ headers }) => headers))
  /** Each answer of the hook is another one. */
  function hook() {
    const reasons: string[] = []
    const headers: HeadersHook = ({ reason }) => {
      reasons.push(reason)
      return { authorization: `${reason} ${reasons.length}` }
    }
    return { reasons, headers }
  }

  test('a close with 4401 before the welcome asks the hook once more, and opens another socket', async () => {
    const { headers, reasons } = hook()
    const world = createSocketWorld({ headers })
    world.connection.connect()
    await settle()
    world.socket.opens()
    world.socket.shuts(4401)
    await settle()
    expect([world.sockets.length, world.connection.phase]).toEqual([2, 'awaitingWelcome'])
    world.socket.opens()
    world.socket.welcomes([])
    expect(asked(world)).toEqual([[{ authorization: 'stream 1' }], [{ authorization: 'unauthorized 2' }]])
    expect([world.connection.phase, world.log, reasons]).toEqual(['open', ['opened'], ['stream', 'unauthorized']])
  })

  test('a second one stops the line; a connect begins anew', async () => {
    const { headers, reasons } = hook()
    const world = createSocketWorld({ headers })
    for (const _ of [1, 2]) {
      world.connection.connect()
      for (const _ of [1, 2]) {
        await settle()
        world.socket.opens()
        world.socket.shuts(4401)
      }
      await settle()
      expect(world.connection.phase).toBe('idle')
    }
    expect(world.log).toEqual(['stopped unauthorized', 'stopped unauthorized'])
    expect(reasons).toEqual(['stream', 'unauthorized', 'stream', 'unauthorized'])
    expect(world.clock.pending).toBe(0)
  })

  test('without a hook the first one does', async () => {
    const world = createSocketWorld({ headers: { authorization: 'x' } })
    world.connection.connect()
    await settle()
    world.socket.opens()
    world.socket.shuts(4401)
    await settle()
    expect([world.log, world.sockets.length]).toEqual([['stopped unauthorized'], 1])
  })

  test('a welcome renews the allowance', async () => {
    const { headers, reasons } = hook()
    const world = createSocketWorld({ headers })
    world.connection.connect()
    for (const _ of [1, 2]) {
      await settle()
      world.socket.opens()
      world.socket.shuts(4401)
      await settle()
      world.socket.opens()
      world.socket.welcomes([])
      world.socket.shuts(1001)
      await settle()
      await world.retries()
    }
    expect(reasons).toEqual(['stream', 'unauthorized', 'stream', 'unauthorized', 'stream'])
    expect(world.log).not.toContain('stopped unauthorized')
  })

  test('a close with 4401 after the welcome is no refusal: the next socket is greeted with fresh headers', async () => {
    const { headers, reasons } = hook()
    const world = createSocketWorld({ headers })
    await world.opens()
    world.socket.shuts(4401)
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError).toMatchObject({ code: 'unauthorized', retryable: true })
    await world.retries()
    await world.opens()
    expect([world.connection.phase, reasons]).toEqual(['open', ['stream', 'stream']])
  })

  test('headers are told once, and again before the first frame that they have changed for', async () => {
    let token = 'a'
    const world = createSocketWorld({ headers: () => ({ authorization: token }) })
    await world.opens(ACKED)
    world.send('1', '2')
    await settle()
    token = 'b'
    world.send('3', '4')
    await settle()
    const told = world.socket.frames.map(({ id, headers }) => id ?? Object(headers).authorization)
    expect(told).toEqual(['a', '1', '2', 'b', '3', '4'])
  })

  test('an ack 401 asks the hook, tells the new headers on the same socket, and repeats the frame', async () => {
    let token = 'old'
    const world = createSocketWorld({
      headers: ({ reason }) => {
        if (reason === 'unauthorized') token = 'new'
        return { authorization: token }
      },
    })
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await settle()
    world.socket.acks('a', { status: 401, error: 'unauthorized' })
    await settle()
    expect(world.socket.frames.slice(-2)).toMatchObject([{ headers: { authorization: 'new' } }, { id: 'a' }])
    world.socket.acks('a')
    expect(await delivery?.settled).toMatchObject({ status: 'accepted' })
    expect([world.sockets.length, world.log]).toEqual([1, ['opened']])
  })

  test('a second 401 in a row stops the line, and the message stays', async () => {
    const { headers } = hook()
    const world = createSocketWorld({ headers })
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await settle()
    world.socket.acks('a', { status: 401 })
    await settle()
    world.socket.acks('a', { status: 401 })
    await settle()
    expect(world.log.at(-1)).toBe('stopped unauthorized')
    expect([delivery?.status, world.socket.isClosed]).toEqual(['queued', true])
  })
})

describe('a resume', () => {
  const resuming = async () => {
    const world = createSocketWorld({ cursors: [{ sessionId: 's', lastSeq: 3 }] })
    await world.opens(RESUMABLE)
    const [frame] = world.socket.to('reconnect')
    expect(frame).toMatchObject({
      body: { type: 'reconnect', resumeId: 'r1', sessions: [{ sessionId: 's', lastSeq: 3 }] },
    })
    const sessions = [{ sessionId: 's', status: 'resumed', from: 3, to: 4 }]
    return {
      ...world,
      ack: () => world.socket.acks(frame?.id, { status: 200, receipt: { ok: true, sessions } }),
      mark: (resumeId: unknown = 'r1') => world.socket.says({ type: 'reconnected', resumeId, sessions }),
      replay: () => world.socket.says({ type: 'token', sessionId: 's', seq: 4 }),
    }
  }

  test('is over with its ack and its marker', async () => {
    const { connection, ack, mark, replay } = await resuming()
    ack()
    await settle()
    expect(connection.phase).toBe('reconnecting')
    replay()
    mark()
    await settle()
    expect(connection.phase).toBe('open')
  })

  test('is over with its marker and its ack', async () => {
    const { connection, ack, mark, replay, log, errors } = await resuming()
    replay()
    mark()
    ack()
    await settle()
    expect([connection.phase, log, errors]).toEqual(['open', ['opened'], []])
  })

  test('is over with its marker alone, and what its ack says later changes nothing', async () => {
    const { connection, ack, mark, replay, log } = await resuming()
    replay()
    mark()
    await settle()
    expect(connection.phase).toBe('open')
    ack()
    await settle()
    expect([connection.phase, log]).toEqual(['open', ['opened']])
  })

  test.each(['r2', null, 7])('is not answered by a marker for %s', async (resumeId) => {
    const { connection, mark, replay } = await resuming()
    replay()
    mark(resumeId)
    await settle()
    expect(connection.phase).toBe('reconnecting')
  })

  test('that fails says so as it would over HTTP', async () => {
    const { connection, socket, retries } = await resuming()
    socket.acks(socket.ids('reconnect')[0], { status: 503, error: 'busy', retryAfter: 2_000 })
    await settle()
    expect([connection.phase, connection.lastError?.retryAfter]).toEqual(['backoff', 2_000])
    await retries()
    expect(connection.phase).toBe('connecting')
  })

  test('that is forbidden stops the line', async () => {
    const { socket, log } = await resuming()
    socket.acks(socket.ids('reconnect')[0], { status: 403 })
    await settle()
    expect(log).toContain('stopped forbidden')
  })
})

describe('a message', () => {
  test('is a frame under its own id, and its ack carries the receipt', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [a, b] = world.send('a', 'b')
    await settle()
    expect(world.socket.to('send')).toEqual([
      { id: 'a', endpoint: 'send', body: { type: 'send', text: 'a' } },
      { id: 'b', endpoint: 'send', body: { type: 'send', text: 'b' } },
    ])
    world.socket.acks('b', { status: 204 })
    world.socket.acks('a', { status: 200, receipt: { n: 1 } })
    expect(await a?.settled).toMatchObject({ status: 'accepted', receipt: { n: 1 }, attempts: 1 })
    expect(await b?.settled).toMatchObject({ status: 'accepted', receipt: null })
  })

  test('any id that is allowed comes back as it was', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const id = '"\\{}</script>`\'~'
    const delivery = world.connection.send({ type: 'send' }, { id })
    await settle()
    expect(world.socket.ids('send')).toEqual([id])
    world.socket.acks(id)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', id })
  })

  test('with receipts 64 are in flight, in their order; each ack lets one more go', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const ids = range(100)
    world.send(...ids)
    await settle()
    expect(world.socket.ids('send')).toEqual(ids.slice(0, 64))
    world.socket.acks('m7')
    await settle()
    expect(world.socket.ids('send')).toEqual(ids.slice(0, 65))
  })

  test('any number of lanes in flight keeps its order, and the stack its size; of each lane there are 64', async () => {
    const world = createSocketWorld({ outbox: { maxInFlight: Infinity, maxMessages: 5_000 } })
    await world.opens(ACKED)
    const ids = range(4_000)
    for (const id of ids) world.connection.send({ type: 'send', sessionId: id }, { id })
    await settle()
    expect(world.socket.ids('send')).toEqual(ids)
    world.send(...range(100).map((id) => `lane${id}`))
    await settle()
    expect(world.socket.ids('send').slice(4_000)).toEqual(range(64).map((id) => `lane${id}`))
  })

  test('without receipts it is accepted when the socket has taken it; what is said of it later is not heard', async () => {
    const world = createSocketWorld()
    await world.opens()
    const deliveries = world.send('a', 'b', 'c')
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expect(verdicts.map(({ status }) => status)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(world.socket.ids('send')).toEqual(['a', 'b', 'c'])
    world.socket.acks('b', { status: 400 })
    await settle()
    expect(deliveries[1]?.status).toBe('accepted')
  })

  test('is not accepted by a socket that is closing', async () => {
    for (const features of [[], ACKED]) {
      const world = createSocketWorld()
      await world.opens(features)
      world.socket.readyState = 2
      const [delivery] = world.send('a')
      await settle()
      expect([delivery?.status, world.errors, world.socket.ids('send')]).toEqual(['queued', ['network'], []])
    }
  })

  test.each([
    [400, { error: 'bad-request' }, 'http'],
    [403, {}, 'forbidden'],
    [409, { error: 'id-reused' }, 'id-reused'],
  ])('that is answered %i is rejected, and the next one goes on', async (status, more, code) => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [a, b] = world.send('a', 'b')
    await settle()
    world.socket.acks('a', { status, ...more })
    world.socket.acks('b')
    expect(await a?.settled).toMatchObject({ status: 'rejected', error: { code, status } })
    expect(await b?.settled).toMatchObject({ status: 'accepted' })
  })

  test('that is to come later is repeated on the same socket, not before', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await settle()
    world.socket.acks('a', { status: 429, retryAfter: 3_000 })
    await world.clock.advance(2_999)
    expect(world.socket.ids('send')).toEqual(['a'])
    await world.clock.advance(1_000 + 1_500)
    expect(world.socket.ids('send')).toEqual(['a', 'a'])
    world.socket.acks('a')
    expect(await delivery?.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test('on a stream that the server does not know takes a fresh one', async () => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    world.send('a')
    await settle()
    world.socket.acks('a', { status: 404, error: 'unknown-stream' })
    await settle()
    expect([world.log.at(-1), world.connection.phase]).toEqual(['closed disowned', 'connecting'])
  })

  test('that is not answered in time is repeated, and the late answer to the first is as good', async () => {
    const world = createSocketWorld({ timeouts: { send: 1_000 } })
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await world.clock.advance(3_000)
    expect(world.socket.ids('send').length).toBeGreaterThan(1)
    world.socket.acks('a', { status: 200, receipt: 'first' })
    world.socket.acks('a', { status: 200, receipt: 'second' })
    expect(await delivery?.settled).toMatchObject({ status: 'accepted', receipt: 'first' })
  })

  test.each([
    ['an unknown id', { id: 'x', status: 200 }],
    ['no id', { status: 200 }],
    ['no status', { id: 'a' }],
    ['a status that is none', { id: 'a', status: 99 }],
    ['a status of another kind', { id: 'a', status: '200' }],
  ])('an ack with %s settles nothing', async (_, ack) => {
    const world = createSocketWorld()
    await world.opens(ACKED)
    const [delivery] = world.send('a')
    await settle()
    world.socket.says({ type: 'ack', ...ack })
    await settle()
    expect([delivery?.status, world.errors, world.received]).toEqual(['sending', [], []])
  })

  test('an ack is a sign of life', async () => {
    const world = createSocketWorld()
    world.connection.connect()
    await settle()
    world.socket.opens()
    world.socket.welcomes(ACKED, 'c1', { heartbeat: 1_000 })
    for (const _ of range(10)) {
      await world.clock.advance(900)
      world.socket.acks('x')
    }
    expect(world.connection.phase).toBe('open')
    await world.clock.advance(2_500)
    expect(world.log.at(-1)).toBe('closed silent')
  })

  test('a batch waits for its answer, whatever else is promised', async () => {
    const world = createSocketWorld()
    await world.opens(['batch'])
    const deliveries = world.send('a', 'b', 'c')
    await settle()
    const [batch] = world.socket.to('batch')
    const ids = (Object(batch?.body).messages as { id: string }[]).map(({ id }) => id)
    expect(ids).toEqual(['b', 'c'])
    expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'sending', 'sending'])
    world.socket.acks(batch?.id, {
      status: 200,
      receipt: { results: ids.map((id) => ({ id, status: 200, receipt: id })) },
    })
    expect(await deliveries[2]?.settled).toMatchObject({ status: 'accepted', receipt: 'c' })
  })
})

describe('a carrier', () => {
  /** Without the machine, which would not listen to what comes too late. */
  async function carry() {
    const { sockets, Made } = fakeSockets()
    const told: string[] = []
    const carrier = webSocketTransport({ WebSocket: Made })({
      url: 'http://test',
      fetch,
      credentials: 'omit',
      clock: createClock(),
      context: () => ({ attempt: 0, connectionId: 'c1' }),
      createEventSource: () => {
        throw new Error('not over this one')
      },
      headers: () => ({ authorization: 'token' }),
    })
    const open = async () => {
      const close = carrier.open({
        open: () => told.push('open'),
        welcome: () => told.push('welcome'),
        message: (data) => told.push(`message ${data}`),
        sign: () => told.push('sign'),
        error: ({ code }) => told.push(`error ${code}`),
      })
      await settle()
      return { socket: sockets.at(-1) as FakeSocket, close }
    }
    return { carrier, sockets, told, open }
  }
  const everything = async (socket: FakeSocket) => {
    socket.opens()
    socket.welcomes(ACKED)
    socket.says({ type: 'token' })
    socket.acks('a')
    socket.dispatch('error')
    socket.shuts()
    await settle()
  }

  test('tells what happens, and an end once: nothing comes after it', async () => {
    const { told, open } = await carry()
    const { socket } = await open()
    await everything(socket)
    await everything(socket)
    expect(told).toEqual(['open', 'welcome', 'message {"type":"token"}', 'sign', 'error stream-failed'])
    expect(socket.isClosed).toBe(true)
  })

  test.each([0, 1, 2])('tells nothing once it was closed (after step %i)', async (steps) => {
    const { told, open } = await carry()
    const { socket, close } = await open()
    if (steps > 0) socket.opens()
    if (steps > 1) socket.welcomes(ACKED)
    const before = [...told]
    close()
    await everything(socket)
    expect([told, socket.isClosed]).toEqual([before, true])
  })

  test('tells nothing either, if it was closed while the second socket was refused', async () => {
    const { told, open, sockets } = await carry()
    const { socket, close } = await open()
    socket.opens()
    socket.shuts(4401)
    await settle()
    sockets[1]?.opens()
    sockets[1]?.shuts(4401)
    close()
    await settle()
    expect(told).toEqual(['open'])
  })

  test('says that it is open once per stream, however many sockets that takes', async () => {
    const { told, open, sockets } = await carry()
    for (const _ of [1, 2]) {
      const { socket, close } = await open()
      socket.opens()
      socket.shuts(4401)
      await settle()
      sockets.at(-1)?.opens()
      sockets.at(-1)?.welcomes([])
      close()
    }
    expect(told).toEqual(['open', 'welcome', 'open', 'welcome'])
  })

  test('the end of an old socket is not that of the one after it', async () => {
    const { carrier, open } = await carry()
    const old = await open()
    old.socket.opens()
    old.close()
    const { socket } = await open()
    socket.opens()
    old.socket.shuts()
    carrier.beacon('suspend', '{}')
    expect(socket.to('suspend')).toHaveLength(1)
  })

  test('lets 64 posts be under way where they are answered, and keeps the order', async () => {
    const { carrier } = await carry()
    expect([carrier.maxInFlight?.([]), carrier.maxInFlight?.(['batch']), carrier.maxInFlight?.(ACKED)]).toEqual([
      1, 1, 64,
    ])
  })

  test('what is said on the way out goes on the socket, if there is one that is open', async () => {
    const { carrier, open } = await carry()
    expect(carrier.beacon('suspend', '{"a":1}')).toBe(false)
    const { socket, close } = await open()
    expect(carrier.beacon('suspend', '{"a":1}')).toBe(false)
    socket.opens()
    carrier.beacon('suspend', '{"a":1}')
    expect(socket.frames.slice(1)).toMatchObject([{ endpoint: 'suspend', body: { a: 1 } }])
    socket.readyState = 2
    expect(carrier.beacon('suspend', '{"a":1}')).toBe(false)
    close()
    expect(carrier.beacon('suspend', '{"a":1}')).toBe(false)
  })

  test('a post on a socket that ends has no answer; one without a socket has not begun', async () => {
    const { carrier, open } = await carry()
    const post = () =>
      carrier.post('probe', '{}', new AbortController()).catch(({ code, cause }) => [code, cause.message])
    expect(await post()).toEqual(['network', 'no socket is open'])
    const { socket } = await open()
    socket.opens()
    const posting = post()
    await settle()
    expect(socket.to('probe')).toHaveLength(1)
    socket.shuts()
    expect(await posting).toEqual(['network', 'the socket was closed'])
  })
})

test('a probe is answered on the stream, and the page’s farewell goes up', async () => {
  const world = createSocketWorld({ cursors: [{ sessionId: 's', lastSeq: 3 }] })
  await world.opens([...RESUMABLE, 'probe'])
  world.socket.says({ type: 'reconnected', resumeId: 'r1', sessions: [] })
  await settle()
  world.connection.wake()
  await settle()
  const [probe] = world.socket.to('probe')
  world.socket.acks(probe?.id)
  world.socket.says({ type: 'probe', nonce: Object(probe?.body).nonce })
  await world.clock.advance(2_000)
  expect(world.connection.phase).toBe('open')
  world.connection.suspend()
  await settle()
  expect(world.socket.to('suspend')).toMatchObject([{ body: { sessions: [{ sessionId: 's', lastSeq: 3 }] } }])
})
