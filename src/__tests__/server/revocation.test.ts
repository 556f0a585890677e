import { afterEach, describe, expect, test, vi } from 'vitest'
import { type ChatServerOptions, memoryLog, type Principal } from '../../server'
import { ask, createSockets } from '../support/gateway'
import { answer, createTestServer, openStream, post, range, settle, until } from '../support/server'

const MINUTE = 60_000
const SEND = { type: 'send', sessionId: 'room', prompt: 'hi' }
const CURSOR = { sessionId: 'room', lastSeq: 0 }

afterEach(() => {
  vi.useRealTimers()
})

/** A server whose rights can be taken away. */
function start(options: Partial<ChatServerOptions<Principal>> = {}) {
  /** `who session action`, as it is answered from now on. */
  const denied = new Map<string, false | 'gone' | Error | Promise<boolean>>()
  const asked: string[] = []
  const authorize = ({ id }: Principal, sessionId: string, action: string) => {
    asked.push(`${id} ${sessionId} ${action}`)
    const answer = denied.get(`${id} ${sessionId} ${action}`) ?? denied.get(`${id} ${sessionId}`) ?? true
    if (answer instanceof Error) throw answer
    return answer
  }
  const suspended: unknown[] = []
  const started = createTestServer({
    authorize,
    onSuspend: ({ sessions }) => suspended.push(sessions.map(({ sessionId }) => sessionId)),
    ...options,
  })
  const publish = (sessionId = 'room') => started.server.publish(sessionId, { type: 'x' })
  return { ...started, denied, asked, suspended, publish }
}

async function attach(server: ReturnType<typeof start>['server'], as = 'alice', ...sessions: string[]) {
  const stream = await openStream(server, as)
  for (const sessionId of sessions) await stream.watch(sessionId)
  return stream
}

const resume = async (stream: Awaited<ReturnType<typeof attach>>, sessionId = 'room') => {
  const response = await stream.post('reconnect', { type: 'reconnect', sessions: [{ ...CURSOR, sessionId }] })
  return (await response.json()).sessions[0].status
}

describe('C104: revoke with a session', () => {
  test('ends, at once, each stream of that principal that is attached to it, and no other', async () => {
    const { server, denied, publish } = start()
    const tabs = [await attach(server, 'alice', 'room', 'own'), await attach(server, 'alice', 'room')]
    const others = [await attach(server, 'alice', 'own'), await attach(server, 'bob', 'room')]
    denied.set('alice room', false)
    const revoked = server.revoke('alice', 'room')
    await publish()
    await revoked
    await until(() => tabs.every(({ ending }) => ending === 'ended'), 'the end of both tabs')
    for (const tab of tabs) {
      expect(tab.events).toEqual([])
      expect(tab.frames.at(-1)).toEqual({ type: 'goodbye' })
    }
    await until(() => others[1]?.events.length === 1, 'what bob may read')
    expect(others.map(({ ending }) => ending)).toEqual(['open', 'open'])
  })

  test('the client hears forbidden, or gone, when it resumes, and of its other sessions that they go on', async () => {
    const { server, denied } = start()
    denied.set('alice room', false)
    denied.set('alice old', 'gone')
    const stream = await attach(server)
    expect([await resume(stream), await resume(stream, 'old'), await resume(stream, 'own')]).toEqual([
      'forbidden',
      'gone',
      'resumed',
    ])
  })

  test('reaches what is being attached while it is made: the answer of authorize is no longer true', async () => {
    for (const way of ['reconnect', 'watch', 'send'] as const) {
      const { server, clock, publish } = start({
        authorize: async () => {
          await settle()
          return true
        },
      })
      const stream = await openStream(server)
      const body = { reconnect: { type: way, sessions: [CURSOR] }, watch: { type: way, ...CURSOR }, send: SEND }[way]
      const asking = answer(stream.post(way, body))
      await settle(2)
      await server.revoke('alice', 'room')
      expect(await asking).toEqual([404, { error: 'unknown-stream' }])
      await publish()
      await clock.advance(100)
      expect([stream.ending, stream.events]).toEqual(['ended', []])
    }
  })

  test('of another principal, or another session, does not disturb what is being attached', async () => {
    const { server } = start({ authorize: () => settle().then(() => true) })
    const stream = await openStream(server)
    const asking = stream.post('watch', { type: 'watch', ...CURSOR })
    await settle(2)
    await server.revoke('bob', 'room')
    await server.revoke('alice', 'other')
    expect((await asking).status).toBe(200)
    expect(stream.ending).toBe('open')
  })

  test('so many that they are not remembered all are taken for meant', async () => {
    const { server } = start({ authorize: () => settle(20).then(() => true) })
    const stream = await openStream(server)
    const asking = stream.post('watch', { type: 'watch', ...CURSOR })
    await settle(2)
    for (const n of range(1, 1_001)) void server.revoke('bob', `s${n}`)
    expect((await asking).status).toBe(404)
  })

  test('an id that is none is told by name, and a rejection that nobody handles ends nothing', async () => {
    const { server, errors } = start()
    for (const id of ['', 7, undefined, 'x'.repeat(1_025)]) {
      await expect(server.revoke(id as string)).rejects.toThrow(/^revoke: the principal's id is /)
    }
    await expect(server.revoke('alice', 'no such:id')).rejects.toThrow(/^revoke: the session id must match/)
    void server.revoke('')
    await settle()
    expect(errors).toHaveLength(6)
  })
})

describe('C104: revoke without a session', () => {
  test('ends all streams of a principal: who comes back has to be known anew', async () => {
    let isKnown = true
    const { server } = start({ authenticate: () => (isKnown ? { id: 'alice' } : null) })
    const streams = [await attach(server, 'alice', 'room'), await attach(server)]
    isKnown = false
    await server.revoke('alice')
    await until(() => streams.every(({ ending }) => ending === 'ended'), 'the end')
    expect((await post(server, 'send', SEND, { connectionId: streams[0]?.connectionId ?? '' })).status).toBe(401)
  })

  test('a stream that is being opened meanwhile is not, and the client comes back', async () => {
    let mayAnswer = () => {}
    const { server } = start({
      authenticate: () => new Promise((resolve) => (mayAnswer = () => resolve({ id: 'alice' }))),
    })
    const opening = openStream(server)
    await settle()
    await server.revoke('alice')
    mayAnswer()
    await expect(opening).rejects.toThrow('503')
  })

  test('ends the socket of a WebSocket too', async () => {
    const { server } = start()
    const socket = await createSockets({ fetch: server.fetch }).opens()
    await server.revoke('alice')
    await until(() => socket.closed !== undefined, 'the close')
    expect(socket.said.at(-1)).toEqual({ type: 'goodbye' })
  })
})

describe('C104: a refused command', () => {
  test('ends the stream that is attached to its session, if that may not be read any more', async () => {
    const { server, clock, denied, publish } = start()
    const stream = await attach(server, 'alice', 'room', 'own')
    denied.set('alice room', 'gone')
    expect((await stream.post('send', SEND)).status).toBe(403)
    await publish('own')
    await publish()
    await clock.advance(100)
    expect([stream.ending, stream.events]).toEqual(['ended', ['own:1']])
  })

  test('over a WebSocket is answered, before its socket closes', async () => {
    const { server, clock, denied } = start({ authenticate: () => ({ id: 'alice' }) })
    const socket = await createSockets({ fetch: server.fetch }).opens()
    await ask(socket, 'watch', { type: 'watch', ...CURSOR })
    denied.set('alice room', false)
    expect(await ask(socket, 'send', SEND)).toMatchObject({ status: 403, error: 'forbidden' })
    await clock.advance(100)
    await until(() => socket.closed !== undefined, 'the close')
  })

  test('leaves the stream to whoever may still read', async () => {
    const { server, denied, publish } = start()
    const stream = await attach(server, 'alice', 'room')
    denied.set('alice room write', false)
    expect((await stream.post('send', SEND)).status).toBe(403)
    await publish()
    await until(() => stream.events.length === 1, 'the event')
  })

  test('about a session that is not attached ends nothing, and asks nothing more', async () => {
    const { server, denied, asked } = start()
    const stream = await attach(server, 'alice', 'own')
    denied.set('alice room', false)
    expect((await stream.post('send', SEND)).status).toBe(403)
    expect(asked).toEqual(['alice own read', 'alice room write'])
    expect(stream.ending).toBe('open')
  })

  test('a refused watch detaches, and its answer tells', async () => {
    const { server, denied, publish } = start()
    const stream = await attach(server, 'alice', 'room')
    denied.set('alice room', false)
    expect((await stream.watch('room')).status).toBe(403)
    await publish()
    await settle()
    expect([stream.events, stream.ending]).toEqual([[], 'open'])
  })
})

test('C104: a suspend asks anew: who may not read is not told of to onSuspend, and loses the stream', async () => {
  const { server, clock, denied, suspended, errors } = start()
  const stream = await attach(server, 'alice', 'room', 'own', 'down')
  denied.set('alice room', false)
  denied.set('alice down', new Error('no database'))
  const sessions = ['room', 'own', 'down'].map((sessionId) => ({ sessionId, lastSeq: 0 }))
  expect((await stream.post('suspend', { type: 'session_suspend', sessions })).status).toBe(200)
  // An outage takes nothing away.
  expect(suspended).toEqual([['own', 'down']])
  expect(errors).toEqual([new Error('no database')])
  await clock.advance(100)
  expect(stream.ending).toBe('ended')
})

test('C104: a suspend that comes after the end of its stream is held against authorize too', async () => {
  const { server, denied, suspended } = start()
  const stream = await attach(server, 'alice', 'room', 'own')
  await stream.cancel()
  denied.set('alice room', false)
  const sessions = ['room', 'own'].map((sessionId) => ({ sessionId, lastSeq: 0 }))
  expect((await stream.post('suspend', { type: 'session_suspend', sessions })).status).toBe(200)
  expect(suspended).toEqual([['own']])
})

describe('C104: authorize is asked anew at an interval', () => {
  test('of 5 min, about all that is attached; a no ends the stream', async () => {
    const { server, clock, denied, asked } = start()
    const [stream, bob] = [await attach(server, 'alice', 'room', 'own'), await attach(server, 'bob', 'room')]
    asked.length = 0
    await clock.advance(4 * MINUTE)
    expect(asked).toEqual([])
    await clock.advance(1.2 * MINUTE)
    expect(asked.sort()).toEqual(['alice own read', 'alice room read', 'bob room read'])
    denied.set('alice own', false)
    await clock.advance(5.2 * MINUTE)
    await until(() => stream.ending === 'ended', 'the end')
    expect(bob.ending).toBe('open')
    expect(await resume(await attach(server), 'own')).toBe('forbidden')
  })

  test('spread, so that streams that were opened together are not asked about together', async () => {
    // Of each stream its age, and its first look.
    const values = [0.5, 0, 0.5, 0.3, 0.5, 0.6, 0.5, 0.9]
    const { server, clock, asked } = start({ random: () => values.shift() ?? 0.5 })
    for (const n of range(1, 4)) await attach(server, `p${n}`, 'room')
    const counts: number[] = []
    for (let minute = 0; minute < 6; minute += 0.25) {
      asked.length = 0
      await clock.advance(MINUTE / 4)
      if (asked.length > 0) counts.push(asked.length)
    }
    expect(counts).toEqual([1, 1, 1, 1])
  })

  test('eight streams at a time, each session after the other', async () => {
    let open = 0
    let most = 0
    let isSlow = false
    const endings: (() => void)[] = []
    const { server, clock } = start({
      authorize: async () => {
        if (!isSlow) return true
        open += 1
        most = Math.max(most, open)
        await new Promise<void>((resolve) => endings.push(resolve))
        open -= 1
        return true
      },
    })
    const streams = await Promise.all(range(1, 12).map((n) => attach(server, `p${n}`, 'room', 'own')))
    isSlow = true
    await clock.advance(5.2 * MINUTE)
    expect([open, most]).toEqual([8, 8])
    for (let n = 0; n < 24; n += 1) {
      endings.shift()?.()
      await settle()
    }
    expect([open, most]).toEqual([0, 8])
    expect(streams.map(({ ending }) => ending)).toEqual(Array(12).fill('open'))
  })

  test('an authorize that throws keeps what is attached, and is told once in each interval; the third time in a row the stream ends', async () => {
    const { server, clock, denied, errors } = start()
    const streams = [await attach(server, 'alice', 'room'), await attach(server, 'alice', 'room')]
    denied.set('alice room', new Error('no database'))
    await clock.advance(11 * MINUTE)
    expect(streams.map(({ ending }) => ending)).toEqual(['open', 'open'])
    expect(errors).toEqual(Array(2).fill(new Error('no database')))
    denied.clear()
    await clock.advance(5.2 * MINUTE)
    denied.set('alice room', new Error('no database again'))
    await clock.advance(11 * MINUTE)
    expect(streams.map(({ ending }) => ending)).toEqual(['open', 'open'])
    expect(errors).toHaveLength(4)
    await clock.advance(5.2 * MINUTE)
    await until(() => streams.every(({ ending }) => ending === 'ended'), 'the end')
  })

  test('one that never answers holds up nobody for longer than 10 s, and counts as thrown', async () => {
    const { server, clock, denied, errors, asked } = start()
    for (const n of range(1, 9)) await attach(server, `p${n}`, 'room')
    for (const n of range(1, 8)) denied.set(`p${n} room`, new Promise(() => {}))
    asked.length = 0
    await clock.advance(5.2 * MINUTE + 10_000)
    expect(asked).toContain('p9 room read')
    expect(errors).toEqual([expect.objectContaining({ message: expect.stringMatching(/^authorize has not answered/) })])
  })

  test('a stream without a session asks nothing, and nothing is left of one that has ended', async () => {
    const { server, clock, asked } = start()
    const stream = await openStream(server)
    await clock.advance(6 * MINUTE)
    expect(asked).toEqual([])
    await stream.cancel()
    expect(clock.timers).toBe(0)
  })

  test('a session that was left while it was asked about costs the stream nothing', async () => {
    const { server, clock, denied } = start()
    const stream = await attach(server, 'alice', 'room')
    let refuse = (_: boolean) => {}
    denied.set('alice room', new Promise((resolve) => (refuse = resolve)))
    await clock.advance(5.2 * MINUTE)
    await stream.post('unwatch', { type: 'unwatch', sessionId: 'room' })
    refuse(false)
    await settle()
    expect(stream.ending).toBe('open')
  })

  test('the interval is an option', async () => {
    const { server, clock, asked } = start({ limits: { reauthorize: 2_000 } })
    const stream = await attach(server, 'alice', 'room')
    asked.length = 0
    await clock.advance(16_000)
    expect(asked.length).toBeGreaterThanOrEqual(7)
    expect(asked.length).toBeLessThanOrEqual(8)
    // A look is no reason to say something.
    expect(stream.ofType('ping')).toHaveLength(2)
    expect(() => start({ limits: { reauthorize: 0 } })).toThrow("'limits.reauthorize' must be a number > 0")
  })
})

test('C104: a log that is shared hears of each revocation, and one that cannot take it rejects', async () => {
  const revoke = vi.fn(async (_: string, sessionId: string | undefined) => {
    if (sessionId === 'lost') throw new Error('no Redis')
  })
  const unused = { ask: vi.fn(), outcome: vi.fn(), claim: vi.fn(), cancel: vi.fn() }
  const cluster = { node: 'n', ...unused, revoke, leave: async () => {} }
  const { server, errors } = start({ log: { ...memoryLog(), join: () => cluster } })
  const stream = await openStream(server)
  await server.revoke('alice')
  await expect(server.revoke('alice', 'lost')).rejects.toThrow('no Redis')
  expect(revoke.mock.calls).toEqual([
    ['alice', undefined],
    ['alice', 'lost'],
  ])
  expect(errors).toEqual([new Error('no Redis')])
  await until(() => stream.ending === 'ended', 'the end')
})

describe('C109: what authenticate returns', () => {
  test.each<[string, unknown]>([
    ['of type number', { id: 7 }],
    ['of type undefined', {}],
    ['of type undefined', true],
    ['null', { id: null }],
    ['of type object', { id: { toString: 'x' } }],
    ['an empty string', { id: '' }],
    ['a string of 1048576 characters', { id: 'x'.repeat(1_048_576) }],
  ])('an id that is %s is a 500 whose sentence says so, to onError too, once', async (kind, principal) => {
    const { server, errors } = start({ authenticate: () => principal as Principal })
    const message = `authenticate returned a principal whose id is ${kind}; it must be a string of 1 to 1024 characters`
    for (const _ of [1, 2]) {
      expect(await answer(post(server, 'send', SEND, { connectionId: 'x' }))).toEqual([
        500,
        { error: 'principal', message },
      ])
    }
    expect(errors).toEqual([new Error(message)])
  })

  test('an id of 1,024 characters is one, whatever they are', async () => {
    const id = '\u0000"\ud800__proto__'.padEnd(1_024, 'x')
    const { server } = start({ authenticate: () => ({ id }) })
    const stream = await attach(server, 'alice', 'room')
    expect((await stream.post('send', SEND, { key: 'k' })).status).toBe(200)
    await server.revoke(id, 'room')
    await until(() => stream.ending === 'ended', 'the end')
  })
})
