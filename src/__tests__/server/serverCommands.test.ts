import { describe, expect, test, vi } from 'vitest'
import { type CommandCall, CommandRejected } from '../../server'
import { createEndedStreams } from '../../server/stream/endedStreams'
import {
  answer,
  counter,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  type PostOptions,
  post,
  range,
  settle,
  until,
  watchedLog,
} from '../support/server'

const SEND = { type: 'send', sessionId: 'room', prompt: 'hi' }
const fail = () => {
  throw new Error('secret')
}

describe('a command', () => {
  test('that comes without a key has a random one, another one each time, so none is taken for a repeat', async () => {
    const keys: string[] = []
    const { server } = createTestServer({ onCommand: ({ idempotencyKey }) => void keys.push(idempotencyKey) })
    const stream = await openStream(server)
    for (let times = 0; times < 2; times += 1) await stream.post('send', SEND, {})
    expect([keys.length, new Set(keys).size]).toEqual([2, 2])
    for (const key of keys) expect(key).toMatch(/^[\w-]{36}$/)
  })

  test('reaches onCommand with everything that is known of it, and its receipt is the answer', async () => {
    const calls: CommandCall[] = []
    const { server } = createTestServer({ onCommand: (call) => ({ message: calls.push(call) }) })
    const stream = await openStream(server)
    expect(await answer(stream.post('send', SEND, { key: 'k1' }))).toEqual([200, { message: 1 }])
    expect(calls).toEqual([
      {
        principal: { id: 'alice' },
        type: 'send',
        sessionId: 'room',
        message: SEND,
        connectionId: stream.connectionId,
        idempotencyKey: 'k1',
        publish: expect.any(Function),
      },
    ])
  })

  test('without a receipt is answered null', async () => {
    const { server } = createTestServer({ onCommand: () => undefined })
    const stream = await openStream(server)
    expect(await answer(stream.post('stop', { type: 'stop' }))).toEqual([200, null])
  })

  test('may be of a type of the app’s own', async () => {
    const { server } = createTestServer({ endpoints: { rename_session: 'rename', fork: 'constructor' } })
    const stream = await openStream(server)
    expect(await answer(stream.post('rename', { type: 'rename_session' }))).toEqual([200, { took: 'rename_session' }])
    expect(await answer(stream.post('constructor', { type: 'fork' }))).toEqual([200, { took: 'fork' }])
  })

  test.each([
    ['send', { type: 'stop' }],
    ['send', { type: 'constructor' }],
    ['send', {}],
    ['permission', { type: 'permission' }],
    ['reconnect', { type: 'send' }],
    ['send', { type: 'send', sessionId: 'a b' }],
    ['send', { type: 'send', sessionId: 7 }],
  ])('posted to %s as %j is a bad request', async (endpoint, message) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect(await answer(stream.post(endpoint, message))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
  })

  test.each(['bob1', 'gone1'])(
    'C46: for the session %s, which it may not write, is a 403 and not run',
    async (sessionId) => {
      const { log, calls } = watchedLog()
      const count = counter()
      const { server } = createTestServer({ log, onCommand: count })
      const stream = await openStream(server)
      expect(await answer(stream.post('send', { type: 'send', sessionId }))).toEqual([403, { error: 'forbidden' }])
      expect([count(), calls]).toEqual([1, []])
    },
  )

  test('attaches its session first, so that its sender hears what comes of it, but nothing older', async () => {
    const { server } = createTestServer({
      onCommand: async ({ sessionId = '' }) => void (await server.publish(sessionId, { type: 'reply' })),
    })
    await server.publish('room', { type: 'older' })
    const stream = await openStream(server)
    await stream.post('send', SEND)
    await settle()
    expect(stream.events).toEqual(['room:2'])
  })

  test('does not move a session that is attached already', async () => {
    const { server } = createTestServer()
    for (const _ of range(1, 3)) await server.publish('room', { type: 'x' })
    const stream = await openStream(server)
    const sessions = [{ sessionId: 'room', lastSeq: 1 }]
    await Promise.all([
      stream.post('send', SEND),
      stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions }),
    ])
    await stream.post('send', SEND)
    await settle()
    expect(stream.events).toEqual(['room:2', 'room:3'])
  })

  test('that may write but not read is run, and its session is not attached', async () => {
    const { server } = createTestServer({ authorize: (_, __, action) => action === 'write' })
    const stream = await openStream(server)
    expect((await stream.post('send', SEND)).status).toBe(200)
    await server.publish('room', { type: 'x' })
    await settle()
    expect(stream.events).toEqual([])
  })

  test('for one session too many for its stream is run, and its session is not attached', async () => {
    const { server } = createTestServer({ limits: { sessionsPerStream: 1 } })
    const stream = await openStream(server)
    for (const sessionId of ['room1', 'room2']) {
      expect(await answer(stream.post('send', { ...SEND, sessionId }))).toEqual([200, { took: 'send' }])
      await server.publish(sessionId, { type: 'x' })
    }
    await settle()
    expect(stream.events).toEqual(['room1:1'])
  })

  test('C52: that fails answers 500 without a word of why, and a repeat runs it again', async () => {
    let runs = 0
    const { server, errors } = createTestServer({
      onCommand: () => {
        runs += 1
        if (runs === 1) throw new Error('password=hunter2 at /srv/app.js:1')
        return 'ok'
      },
    })
    const stream = await openStream(server)
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([500, { error: 'internal' }])
    expect(errors).toMatchObject([{ message: expect.stringContaining('hunter2') }])
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, 'ok'])
  })

  test('C52: nothing that any hook throws gets out, and a failing onError harms nobody', async () => {
    const onError = () => Promise.reject(fail())
    const healthy = createTestServer()
    const { connectionId } = await openStream(healthy.server)
    const { server: broken } = createTestServer({ authenticate: fail, onError })
    expect(await answer(post(broken, 'send', SEND, { connectionId }))).toEqual([500, { error: 'internal' }])
    for (const broken of [{ authorize: fail }, { onCommand: fail }, { log: { ...watchedLog().log, head: fail } }]) {
      const { server } = createTestServer({ ...broken, onError })
      const stream = await openStream(server)
      expect(await answer(stream.post('send', SEND))).toEqual([500, { error: 'internal' }])
    }
  })

  test('can be rejected on purpose, and the repeat is rejected the same without asking again', async () => {
    let runs = 0
    const { server, errors } = createTestServer({
      onCommand: () => {
        runs += 1
        throw new CommandRejected(422, 'prompt-too-long')
      },
    })
    const stream = await openStream(server)
    for (const _ of range(1, 2)) {
      expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([422, { error: 'prompt-too-long' }])
    }
    expect([runs, errors]).toEqual([1, []])
  })

  test.each([200, 302, 401, 404, 408, 410, 425, 429, 500, 422.5])('cannot be rejected with %d', (status) => {
    expect(() => new CommandRejected(status, 'no')).toThrow(TypeError)
  })

  test('cannot be rejected with a code that is a sentence', () => {
    expect(() => new CommandRejected(422, 'Error at line 1')).toThrow(TypeError)
  })
})

describe('idempotency', () => {
  test('C25: a repeat gets the same receipt and is not run again, on a new stream too', async () => {
    const count = counter()
    const { server } = createTestServer({ onCommand: () => ({ run: count() }) })
    const first = await openStream(server)
    expect(await answer(first.post('send', SEND, { key: 'k' }))).toEqual([200, { run: 1 }])
    await first.cancel()
    const second = await openStream(server)
    expect(await answer(second.post('send', SEND, { key: 'k' }))).toEqual([200, { run: 1 }])
    expect(await answer(second.post('send', SEND, { key: 'k2' }))).toEqual([200, { run: 2 }])
    expect(await answer(second.post('send', SEND))).toEqual([200, { run: 3 }])
  })

  test.each<[string, number, () => 'gone' | boolean]>([
    ['gone', 403, () => 'gone'],
    ['forbidden', 403, () => false],
    ['beyond authorize', 500, () => fail()],
  ])(
    'C25: a repeat gets its receipt although its session is %s by now; nothing else does',
    async (_, status, after) => {
      const count = counter()
      let isClosed = false
      const { server } = createTestServer({
        authorize: () => !isClosed || after(),
        onCommand: async () => {
          isClosed = true
          await settle()
          return { run: count() }
        },
      })
      const [stream, own, other] = [await openStream(server), await openStream(server), await openStream(server, 'bob')]
      const close = (poster: typeof stream, key: string, fields = {}) =>
        answer(poster.post('close', { type: 'session_close', sessionId: 'room', ...fields }, { key }))
      const first = close(stream, 'k')
      await until(() => isClosed, 'the execution')
      const whileRunning = close(stream, 'k')
      expect(await Promise.all([first, whileRunning, close(own, 'k')])).toEqual(Array(3).fill([200, { run: 1 }]))
      const messages = [{ id: 'k', endpoint: 'close', body: { type: 'session_close', sessionId: 'room' } }]
      const results = [{ id: 'k', status: 200, receipt: { run: 1 } }]
      // The stream that was attached to it has ended.
      const again = await openStream(server)
      expect(await answer(again.post('batch', { messages }))).toEqual([200, { results }])
      expect(await close(again, 'k')).toEqual([200, { run: 1 }])
      expect(await close(again, 'k', { why: 'bored' })).toEqual([409, { error: 'id-reused' }])
      for (const refused of [close(other, 'k'), close(again, 'k2'), answer(again.post('send', SEND))]) {
        expect((await refused)[0]).toBe(status)
      }
      expect(count()).toBe(2)
    },
  )

  test('C25: a repeat that was checked while the first one took the permission away gets its receipt', async () => {
    const checks: ((permission: boolean) => void)[] = []
    const { server } = createTestServer({
      authorize: (_, __, action) => action === 'read' || new Promise((resolve) => checks.push(resolve)),
    })
    const streams = [await openStream(server), await openStream(server)]
    const answers = streams.map((stream) => answer(stream.post('send', SEND, { key: 'k' })))
    await until(() => checks.length === 2, 'both checks')
    checks[0]?.(true)
    expect(await answers[0]).toEqual([200, { took: 'send' }])
    checks[1]?.(false)
    expect(await answers[1]).toEqual([200, { took: 'send' }])
  })

  test('a repeat attaches its session too: on a new stream its sender would hear nothing of what comes of it', async () => {
    const { server } = createTestServer()
    await (await openStream(server)).post('send', SEND, { key: 'k' })
    const stream = await openStream(server)
    await stream.post('send', SEND, { key: 'k' })
    await server.publish('room', { type: 'reply' })
    await settle()
    expect(stream.events).toEqual(['room:1'])
  })

  test('C25: a repeat that comes while the first is running shares its execution', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const both = [stream.post('send', SEND, { key: 'k' }), stream.post('send', SEND, { key: 'k' })]
    await until(() => commands.running === 1, 'the execution')
    await settle(20)
    commands.endNext()
    for (const response of both) expect(await answer(response)).toEqual([200, { n: 1 }])
    expect(commands.calls).toHaveLength(1)
  })

  test('C50: the same key with another payload, or for another endpoint, is a 409', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const running = stream.post('send', SEND, { key: 'k' })
    await until(() => commands.running === 1, 'the execution')
    for (const isStillRunning of [true, false]) {
      const other = { ...SEND, prompt: 'something else' }
      expect(await answer(stream.post('send', other, { key: 'k' }))).toEqual([409, { error: 'id-reused' }])
      const elsewhere = stream.post('stop', { ...SEND, type: 'stop' }, { key: 'k' })
      expect(await answer(elsewhere)).toEqual([409, { error: 'id-reused' }])
      if (isStillRunning) commands.endNext()
      expect(await answer(running)).toEqual([200, { n: 1 }])
    }
    expect(commands.calls).toHaveLength(1)
  })

  test('C50: keys of two principals are two keys, however they are put together', async () => {
    const count = counter()
    const { server } = createTestServer({ authorize: () => true, onCommand: count })
    const [a, b] = [await openStream(server, 'a'), await openStream(server, 'a,b')]
    expect(await answer(a.post('send', SEND, { key: 'b,k' }))).toEqual([200, 1])
    expect(await answer(b.post('send', SEND, { key: 'k' }))).toEqual([200, 2])
    expect(await answer(b.post('send', { ...SEND, prompt: 'x' }, { key: 'b,k' }))).toEqual([200, 3])
  })

  test('the same JSON in another notation is the same payload', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await stream.post('send', SEND, { key: 'k' })
    expect((await stream.post('send', JSON.stringify(SEND, null, 2), { key: 'k' })).status).toBe(200)
  })

  test('a receipt that is no JSON is reported and remembered as null, because the command was applied', async () => {
    const count = counter()
    const { server, errors } = createTestServer({ onCommand: () => ({ big: BigInt(count()) }) })
    const stream = await openStream(server)
    for (const _ of range(1, 2)) expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, null])
    expect([count(), errors.length]).toEqual([2, 1])
  })

  test('receipts are forgotten after receiptAge, without a timer', async () => {
    const count = counter()
    const { server, clock } = createTestServer({ onCommand: count, limits: { receiptAge: 60_000 } })
    const stream = await openStream(server)
    const timers = clock.timers
    await stream.post('send', SEND, { key: 'k' })
    expect(clock.timers).toBe(timers)
    await clock.advance(59_999)
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, 1])
    await clock.advance(1)
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, 2])
  })

  test.each(['k'.repeat(256), 'a b', 'é', ''])('C97: a key that is none is a bad request: %j', async (key) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect(await answer(stream.post('send', SEND, { key }))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
  })
})

describe('order', () => {
  test('two commands of one session never run at once, and a failing one does not stop the next', async () => {
    const log: string[] = []
    const { server } = createTestServer({
      onCommand: async ({ message }) => {
        log.push(`begin ${message.n}`)
        await settle(2)
        log.push(`end ${message.n}`)
        if (message.n === 1) throw new Error('no')
      },
    })
    const streams = [await openStream(server), await openStream(server, 'bob')]
    const posts = range(0, 3).map((n) => streams[n % 2]?.post('send', { ...SEND, n }))
    const statuses = (await Promise.all(posts)).map((response) => response?.status)
    expect(statuses).toEqual([200, 500, 200, 200])
    for (const [index, line] of log.entries()) if (index % 2) expect(line).toBe(log[index - 1]?.replace('begin', 'end'))
  })

  test('commands of different sessions do not wait for each other', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    for (const sessionId of ['room1', 'room2']) void stream.post('send', { ...SEND, sessionId })
    await until(() => commands.running === 2, 'both executions')
  })

  test('commands of one stream start in the order of their arrival, however long their checks take', async () => {
    const order: unknown[] = []
    let delay = 12
    const { server } = createTestServer({
      authorize: async (_, __, action) => {
        delay -= 2
        if (action === 'write') await settle(Math.max(delay, 0))
        return true
      },
      onCommand: ({ message }) => void order.push(message.n),
    })
    const stream = await openStream(server)
    const sessionIds = ['room1', 'room2', undefined, 'room1', 'bad id', 'room2']
    await Promise.all(sessionIds.map((sessionId, n) => stream.post('send', { ...SEND, sessionId, n })))
    expect(order).toEqual([0, 1, 2, 3, 5])
  })

  test('C51: a slow request of somebody else does not hold up the stream that it names', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const never = new ReadableStream({})
    const headers = { 'Content-Type': 'application/json', Authorization: 'bob', 'X-Connection-ID': stream.connectionId }
    const init = { method: 'POST', headers, body: never, duplex: 'half' }
    void server.fetch(new Request('http://chat.test/api/send', init as RequestInit))
    await settle()
    expect((await stream.post('send', SEND)).status).toBe(200)
  })

  test('close() waits for the commands that are running, and starts no other', async () => {
    const commands = manualCommands()
    let permit = () => {}
    const permission = new Promise<boolean>((resolve) => {
      permit = () => resolve(true)
    })
    const { server } = createTestServer({
      onCommand: commands.onCommand,
      authorize: (_, sessionId, action) => (sessionId === 'slow' && action === 'write' ? permission : true),
    })
    const stream = await openStream(server)
    const running = stream.post('send', SEND)
    const late = [stream.post('send', { ...SEND, sessionId: 'slow' }), stream.post('stop', { type: 'stop' })]
    await settle()
    let isClosed = false
    const closing = server.close().then(() => {
      isClosed = true
    })
    permit()
    await settle()
    expect(isClosed).toBe(false)
    commands.endNext()
    await closing
    expect((await running).status).toBe(200)
    expect((await Promise.all(late)).map(({ status }) => status)).toEqual([503, 503])
    expect(commands.calls).toHaveLength(1)
  })
})

describe('C114: a farewell after the end of its stream', () => {
  const SESSIONS = [
    { sessionId: 'room', lastSeq: 7 },
    { sessionId: 'alice-other', lastSeq: 1 },
  ]
  async function ended(options: Parameters<typeof createTestServer>[0] = {}) {
    const onSuspend = vi.fn()
    const { server, clock } = createTestServer({ onSuspend, ...options })
    const stream = await openStream(server)
    await stream.watch('room')
    await stream.cancel()
    await settle()
    const farewell = (more: PostOptions = {}) => {
      const body = { type: 'session_suspend', connectionId: stream.connectionId, sessions: SESSIONS }
      return post(server, 'suspend', body, more)
    }
    return { server, clock, stream, onSuspend, farewell }
  }

  test('reaches the app, with the sessions that were attached, by its header or by its body', async () => {
    const { stream, onSuspend, farewell } = await ended()
    for (const more of [{}, { connectionId: stream.connectionId }]) {
      expect((await farewell(more)).status).toBe(200)
      expect(onSuspend).toHaveBeenLastCalledWith({
        principal: { id: 'alice' },
        connectionId: stream.connectionId,
        sessions: [{ sessionId: 'room', lastSeq: 7 }],
      })
    }
  })

  test('is taken for ten seconds, and from nobody else', async () => {
    const { clock, onSuspend, farewell } = await ended()
    expect((await farewell({ as: 'bob' })).status).toBe(404)
    await clock.advance(10_000)
    expect((await farewell()).status).toBe(200)
    await clock.advance(1)
    expect([(await farewell()).status, onSuspend.mock.calls.length]).toEqual([404, 1])
  })

  test.each([
    ['send', { type: 'send', sessionId: 'room' }],
    ['watch', { type: 'watch', sessionId: 'room', lastSeq: 0 }],
    ['reconnect', { type: 'reconnect', resumeId: 'r1', sessions: SESSIONS }],
    ['probe', { type: 'probe', nonce: 'n' }],
  ])('is all that an ended stream takes: %s is answered 404', async (endpoint, body) => {
    const onCommand = vi.fn()
    const { stream } = await ended({ onCommand })
    expect((await stream.post(endpoint, body)).status).toBe(404)
    expect(onCommand).not.toHaveBeenCalled()
  })

  test('is bounded: by count, by sessions and by a clock that was set back', () => {
    let now = 0
    const streams = createEndedStreams({ now: () => now })
    const knows = (id: string, who = 'me') => streams.attachedOf(id, who, ['s0']) !== undefined
    const sessions = (count: number) => Array.from({ length: count }, (_, n) => `s${n}`)
    for (let n = 0; n < 1_000; n++) streams.add(`c${n}`, 'me', ['s0'])
    expect([knows('c0'), knows('c374'), knows('c375'), knows('c999')]).toEqual([false, false, true, true])
    streams.add('big', 'me', sessions(1_249))
    expect([knows('c999'), knows('big')]).toEqual([false, true])
    for (let n = 0; n < 8; n++) streams.add(`b${n}`, `p${n}`, sessions(1_249))
    expect([knows('big'), knows('b0', 'p0'), knows('b7', 'p7')]).toEqual([false, true, true])
    streams.add('bigger', 'me', sessions(1_250))
    expect([knows('bigger'), knows('b0', 'p0')]).toEqual([false, true])
    now = 20_000
    streams.add('later', 'me', [])
    now = 0
    expect(knows('later')).toBe(false)
  })
})

describe('suspend', () => {
  test('is told to the app, with the cursors of sessions that the stream carries', async () => {
    const calls: unknown[] = []
    const { server } = createTestServer({ onSuspend: (call) => calls.push(call) })
    const stream = await openStream(server)
    await stream.watch('room')
    const sessions = [
      { sessionId: 'room', lastSeq: 3 },
      { sessionId: 'bob1', lastSeq: 4 },
    ]
    expect(await answer(stream.post('suspend', { type: 'session_suspend', sessions }))).toEqual([200, { ok: true }])
    expect(calls).toEqual([
      { principal: { id: 'alice' }, connectionId: stream.connectionId, sessions: [{ sessionId: 'room', lastSeq: 3 }] },
    ])
  })

  test.each([
    ['older than the last resume', { resumeId: 'r1' }, 0],
    ['from before any resume', { resumeId: null }, 0],
    ['of the last resume', { resumeId: 'r2' }, 1],
    ['of a client that names none', {}, 1],
  ])('C71: one that is %s: told %o, %i times', async (_, resume, times) => {
    const onSuspend = vi.fn()
    const { server } = createTestServer({ onSuspend })
    const stream = await openStream(server)
    const sessions = [{ sessionId: 'room', lastSeq: 0 }]
    for (const resumeId of ['r1', 'r2']) await stream.post('reconnect', { type: 'reconnect', resumeId, sessions })
    expect((await stream.post('suspend', { type: 'session_suspend', ...resume, sessions })).status).toBe(200)
    expect(onSuspend).toHaveBeenCalledTimes(times)
  })

  test('C71: one that names no resume is told where there was none, a watch is none', async () => {
    const onSuspend = vi.fn()
    const { server } = createTestServer({ onSuspend })
    const stream = await openStream(server)
    await stream.watch('room')
    const sessions = [{ sessionId: 'room', lastSeq: 0 }]
    await stream.post('suspend', { type: 'session_suspend', resumeId: null, sessions })
    expect(onSuspend).toHaveBeenCalledTimes(1)
  })

  test.each([7, {}, 'r'.repeat(129)])('whose resumeId is %o is answered 400', async (resumeId) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect((await stream.post('suspend', { type: 'session_suspend', resumeId, sessions: [] })).status).toBe(400)
  })

  test('C71: the sessions stay attached, as `suspend-keeps` promises', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await stream.watch('room')
    const sessions = [{ sessionId: 'room', lastSeq: 0 }]
    await stream.post('suspend', { type: 'session_suspend', resumeId: null, sessions })
    await server.publish('room', { type: 'token' })
    await settle()
    expect(stream.events).toEqual(['room:1'])
  })

  test('may name its connection in the body, because a beacon has no headers; nothing else may', async () => {
    const { server } = createTestServer()
    const { connectionId } = await openStream(server)
    const inBody = { connectionId, sessions: [], nonce: 'n' }
    expect((await post(server, 'suspend', { type: 'session_suspend', ...inBody })).status).toBe(200)
    expect((await post(server, 'probe', { type: 'probe', ...inBody })).status).toBe(404)
    expect((await post(server, 'suspend', { type: 'session_suspend', ...inBody }, { as: 'bob' })).status).toBe(404)
  })
})

test('the fake clock is the only clock: a server without work holds no timer', async () => {
  const clock = fakeClock()
  createTestServer({ clock })
  expect(clock.timers).toBe(0)
})
