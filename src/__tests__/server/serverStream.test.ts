import { describe, expect, test } from 'vitest'
import { FEATURES } from '../../protocol'
import { memoryLog, type SessionLog } from '../../server'
import {
  createTestServer,
  getEvents,
  openStalledStream,
  openStream,
  range,
  settle,
  until,
  watchedLog,
} from '../support/server'

describe('the stream', () => {
  test('begins with a welcome that names the connection, the heartbeat and what the server can do', async () => {
    const { server } = createTestServer({ heartbeat: 7_000 })
    const { frames, connectionId } = await openStream(server)
    expect(connectionId).toMatch(/^[A-Za-z0-9_-]{22}$/)
    expect(frames).toEqual([
      {
        type: 'welcome',
        protocolVersion: 2,
        connectionId,
        heartbeat: 7_000,
        receiptAge: 900_000,
        features: [...FEATURES],
      },
    ])
  })

  test('C53: no proxy may buffer, store or transform it', async () => {
    const { server } = createTestServer()
    const { headers } = (await openStream(server)).response
    expect(headers.get('content-type')).toBe('text/event-stream')
    expect(headers.get('cache-control')).toBe('no-cache, no-transform')
    expect(headers.get('x-accel-buffering')).toBe('no')
  })

  test('pings when nothing was written for a heartbeat, and only then', async () => {
    const { server, clock } = createTestServer({ heartbeat: 15_000 })
    const stream = await openStream(server)
    await stream.watch('room')
    await clock.advance(14_999)
    await server.publish('room', { type: 'x' })
    await settle()
    await clock.advance(14_998)
    expect(stream.ofType('ping')).toHaveLength(0)
    await clock.advance(2)
    expect(stream.ofType('ping')).toHaveLength(1)
    await clock.advance(30_000)
    expect(stream.ofType('ping')).toHaveLength(3)
  })

  test('says goodbye and ends after streamAge ± 10 %, leaving no timer behind', async () => {
    for (const [random, age] of [
      [0, 900_000],
      [1, 1_100_000],
    ] as const) {
      const { server, clock } = createTestServer({ random: () => random, limits: { streamAge: 1_000_000 } })
      const stream = await openStream(server)
      await clock.advance(age - 1)
      expect(stream.ending).toBe('open')
      await clock.advance(1)
      expect(stream.frames.at(-1)).toEqual({ type: 'goodbye' })
      expect(stream.ending).toBe('ended')
      expect(clock.timers).toBe(0)
    }
  })

  test('a probe comes back on the stream with its nonce', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect((await stream.post('probe', { type: 'probe', nonce: 'n1' })).status).toBe(200)
    await settle()
    expect(stream.ofType('probe')).toEqual([{ type: 'probe', nonce: 'n1' }])
    expect((await stream.post('probe', { type: 'probe', nonce: 'x'.repeat(129) })).status).toBe(400)
  })

  test('close() says goodbye with a delay and a spread, ends all streams and their timers, and refuses what comes', async () => {
    const watched = watchedLog()
    const { server, clock } = createTestServer({ log: watched.log })
    const streams = await Promise.all([openStream(server), openStream(server, 'bob')])
    const stalled = await openStalledStream(server)
    for (const stream of streams) await stream.watch('room')
    await server.close()
    await settle()
    for (const stream of streams) {
      expect(stream.frames.at(-1)).toEqual({ type: 'goodbye', retryAfter: 1_000, spread: 5_000 })
      expect(stream.ending).toBe('ended')
    }
    expect(new TextDecoder().decode((await stalled.read()).value)).toContain('goodbye')
    expect((await stalled.read()).done).toBe(true)
    expect(clock.timers).toBe(0)
    expect(watched.subscriptions).toBe(0)
    const refused = await getEvents(server)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('5')
  })

  test('a principal over its number of streams is told 429 until one has ended; others are not affected', async () => {
    const { server } = createTestServer({ limits: { streamsPerPrincipal: 2 } })
    const first = await openStream(server)
    await openStream(server)
    const refused = await getEvents(server)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect((await getEvents(server, 'bob')).status).toBe(200)
    await first.cancel()
    expect((await getEvents(server)).status).toBe(200)
  })

  test("C45: the end of an old stream takes nothing of the same client's new stream along", async () => {
    const watched = watchedLog()
    const { server } = createTestServer({ log: watched.log })
    const old = await openStream(server)
    await old.watch('room')
    const current = await openStream(server)
    await current.watch('room')
    await old.cancel()
    await server.publish('room', { type: 'x' })
    await settle()
    expect(current.events).toEqual(['room:1'])
    expect((await current.post('probe', { type: 'probe', nonce: 'n' })).status).toBe(200)
    expect((await old.post('probe', { type: 'probe', nonce: 'n' })).status).toBe(404)
    expect(watched.subscriptions).toBe(1)
  })

  test('a POST that is still at work when its stream ends attaches nothing to it', async () => {
    const watched = watchedLog()
    let permit = (_: boolean) => {}
    const { server } = createTestServer({
      log: watched.log,
      authorize: () => new Promise<boolean>((resolve) => (permit = resolve)),
    })
    const stream = await openStream(server)
    const watching = stream.watch('room')
    await settle()
    await stream.cancel()
    permit(true)
    expect((await watching).status).toBe(404)
    expect(watched.subscriptions).toBe(0)
  })

  test('a stream that ends while the log is still subscribing leaves no subscription', async () => {
    const watched = watchedLog()
    let proceed = () => {}
    const proceeded = new Promise<void>((resolve) => {
      proceed = resolve
    })
    const log: SessionLog = {
      ...watched.log,
      subscribe: async (...args) => {
        await proceeded
        return watched.log.subscribe(...args)
      },
    }
    const { server } = createTestServer({ log })
    const stream = await openStream(server)
    const watching = stream.watch('room')
    await settle()
    await stream.cancel()
    proceed()
    await watching
    expect(watched.calls).toContain('subscribe room')
    expect(watched.subscriptions).toBe(0)
  })
})

describe('isolation', () => {
  test('C46: a stream carries events of the sessions it is attached to, and of no other', async () => {
    const { server } = createTestServer()
    const alice = await openStream(server)
    const bob = await openStream(server, 'bob')
    await alice.watch('alice1')
    await bob.watch('bob1')
    await server.publish('alice1', { type: 'a' })
    await server.publish('bob1', { type: 'b' })
    await server.publish('room', { type: 'c' })
    await settle()
    expect(alice.events).toEqual(['alice1:1'])
    expect(bob.events).toEqual(['bob1:1'])
  })

  test("C46: a cursor of somebody else's session is answered `forbidden` before the log is touched", async () => {
    const { log, calls } = watchedLog()
    const { server } = createTestServer({ log })
    await server.publish('bob1', { type: 'secret' })
    await server.publish('alice1', { type: 'mine' })
    const stream = await openStream(server)
    const sessions = [
      { sessionId: 'bob1', lastSeq: 0 },
      { sessionId: 'gone1', lastSeq: 3 },
      { sessionId: 'alice1', lastSeq: 0 },
    ]
    const answer = await (await stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions })).json()
    await settle()
    expect(answer.sessions).toEqual([
      { sessionId: 'bob1', status: 'forbidden', from: 0, to: 0 },
      { sessionId: 'gone1', status: 'gone', from: 3, to: 3 },
      { sessionId: 'alice1', status: 'resumed', epoch: expect.any(String), from: 0, to: 1 },
    ])
    expect(stream.events).toEqual(['alice1:1'])
    expect(calls.filter((call) => /bob1|gone1/.test(call))).toEqual([])
  })

  test('C46: watching a forbidden session is a 403, and a session that is gone is told as a verdict', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const forbidden = await stream.watch('bob1')
    expect([forbidden.status, await forbidden.json()]).toEqual([403, { error: 'forbidden' }])
    expect((await (await stream.watch('gone1')).json()).sessions).toMatchObject([{ status: 'gone' }])
  })

  test('C46: a resume that is no longer allowed ends what the stream carried of that session', async () => {
    let isMember = true
    const { server } = createTestServer({ authorize: () => isMember })
    const stream = await openStream(server)
    await stream.watch('room')
    isMember = false
    await stream.watch('room')
    await server.publish('room', { type: 'x' })
    await settle()
    expect(stream.events).toEqual([])
  })

  test('an unwatched session is silent; unwatching it again changes nothing', async () => {
    const watched = watchedLog()
    const { server } = createTestServer({ log: watched.log })
    const stream = await openStream(server)
    await stream.watch('room')
    for (const _ of [1, 2])
      expect((await stream.post('unwatch', { type: 'unwatch', sessionId: 'room' })).status).toBe(200)
    await server.publish('room', { type: 'x' })
    await settle()
    expect(stream.events).toEqual([])
    expect(watched.subscriptions).toBe(0)
  })

  test('C49: whatever the payload says, the envelope is the log’s', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await stream.watch('room')
    const forged = { type: 'x', sessionId: 'alice1', seq: 99, epoch: 'forged', prevSeq: 98, text: 'hi' }
    const { epoch } = await server.publish('room', forged)
    await settle()
    expect(stream.frames.at(-1)).toEqual({ type: 'x', text: 'hi', sessionId: 'room', seq: 1, epoch })
    expect(JSON.stringify(stream.frames.at(-1))).not.toContain('forged')
  })

  test('C49: a toJSON of the payload, or changing it afterwards, does not reach the wire either', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await stream.watch('room')
    const event = { type: 'x', list: [1], toJSON: () => ({ type: 'y', seq: 99, list: event.list }) }
    const publishing = server.publish('room', event)
    event.list.push(2)
    await publishing
    await settle()
    expect(stream.frames.at(-1)).toMatchObject({ type: 'y', seq: 1, list: [1] })
  })

  test.each(['welcome', 'ping', 'probe', 'reconnected', 'goodbye'])(
    'publish refuses the protocol’s own type %s',
    async (type) => {
      const { server } = createTestServer()
      await expect(server.publish('room', { type })).rejects.toThrow(TypeError)
    },
  )

  test.each([[[]], [null], ['text'], [{}], [{ type: 1 }], [{ type: 'x', big: 1n }]])(
    'publish refuses %o',
    async (event) => {
      const { server } = createTestServer()
      await expect(server.publish('room', event as never)).rejects.toThrow(TypeError)
      await expect(server.publish('no spaces', { type: 'x' })).rejects.toThrow(TypeError)
    },
  )
})

describe('resume', () => {
  const resume = (stream: Awaited<ReturnType<typeof openStream>>, sessions: unknown, resumeId = 'r1') =>
    stream.post('reconnect', { type: 'reconnect', resumeId, sessions })

  test('what is after the cursor is replayed, then comes the marker with the resume’s id and its verdicts', async () => {
    const { server } = createTestServer()
    for (const text of range(1, 200)) await server.publish('room', { type: 'x', text })
    const stream = await openStream(server)
    const answer = await (await resume(stream, [{ sessionId: 'room', lastSeq: 150 }])).json()
    expect(answer).toMatchObject({ ok: true, sessions: [{ sessionId: 'room', status: 'resumed', from: 150, to: 200 }] })
    await settle()
    expect(stream.events).toEqual(range(151, 200).map((seq) => `room:${seq}`))
    expect(stream.frames.at(-1)).toEqual({ type: 'reconnected', resumeId: 'r1', sessions: answer.sessions })
  })

  test('the marker waits for every session of its resume, and not for what is published meanwhile', async () => {
    const { server } = createTestServer()
    for (const seq of range(1, 300)) await server.publish(seq > 100 ? 'room' : 'alice', { type: 'x' })
    const stream = await openStream(server)
    const resuming = resume(stream, [
      { sessionId: 'room', lastSeq: 0 },
      { sessionId: 'alice', lastSeq: 0 },
      { sessionId: 'bob', lastSeq: 7 },
    ])
    for (const _ of range(1, 50)) await server.publish('room', { type: 'x' })
    await resuming
    await settle(20)
    const marker = stream.frames.findIndex(({ type }) => type === 'reconnected')
    const before = stream.frames.slice(0, marker).map(({ sessionId, seq }) => `${sessionId}:${seq}`)
    expect(before).toEqual(expect.arrayContaining(['room:200', 'alice:100']))
    expect(stream.ofType('reconnected')).toHaveLength(1)
    expect(new Set(stream.events).size).toBe(350)
  })

  test.each([
    ['of another epoch', 3, 'other', 'reset'],
    ['beyond the head', 6, undefined, 'reset'],
    ['before the oldest event that is left', 1, undefined, 'reset'],
    ['right before the oldest event that is left', 2, undefined, 'resumed'],
    ['at the head', 5, undefined, 'resumed'],
  ])('a cursor %s', async (_, lastSeq, epoch, status) => {
    const { server } = createTestServer({ log: memoryLog({ maxEvents: 3 }) })
    let current = ''
    for (const _ of range(1, 5)) current = (await server.publish('room', { type: 'x' })).epoch
    const stream = await openStream(server)
    const { sessions } = await (await resume(stream, [{ sessionId: 'room', lastSeq, ...(epoch && { epoch }) }])).json()
    const from = status === 'reset' ? 2 : lastSeq
    expect(sessions).toEqual([{ sessionId: 'room', status, epoch: current, from, to: 5 }])
    await server.publish('room', { type: 'x' })
    await settle()
    const first = status === 'reset' ? 6 : lastSeq + 1
    expect(stream.events).toEqual(range(first, 6).map((seq) => `room:${seq}`))
    expect(stream.ofType('reconnected')).toHaveLength(1)
  })

  test('C37: a session without events is resumed from 0 to 0, and its first event follows', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const { sessions } = await (await resume(stream, [{ sessionId: 'room', lastSeq: 0, epoch: 'whatever' }])).json()
    expect(sessions).toMatchObject([{ status: 'resumed', from: 0, to: 0 }])
    await server.publish('room', { type: 'x' })
    await settle()
    expect(stream.events).toEqual(['room:1'])
  })

  test('a session that is attached already starts over at the given cursor', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await stream.watch('room')
    for (const _ of range(1, 3)) await server.publish('room', { type: 'x' })
    await settle()
    await resume(stream, [{ sessionId: 'room', lastSeq: 1 }])
    await settle()
    expect(stream.events).toEqual(['room:1', 'room:2', 'room:3', 'room:2', 'room:3'])
  })

  test.each([
    ['no list', { a: 1 }],
    ['a session id that is no text', [{ sessionId: 7, lastSeq: 0 }]],
    ['a negative cursor', [{ sessionId: 'room', lastSeq: -1 }]],
    ['a broken cursor', [{ sessionId: 'room', lastSeq: 1.5 }]],
    ['a cursor that is no number', [{ sessionId: 'room', lastSeq: '1' }]],
    ['an epoch that is no text', [{ sessionId: 'room', lastSeq: 1, epoch: 1 }]],
    ['the same session twice', [1, 2].map((lastSeq) => ({ sessionId: 'room', lastSeq }))],
    ['101 sessions', range(1, 101).map((n) => ({ sessionId: `room${n}`, lastSeq: 0 }))],
  ])('%s is a bad request, and nothing is attached', async (_, sessions) => {
    const { log, calls } = watchedLog()
    const { server } = createTestServer({ log })
    const stream = await openStream(server)
    const response = await resume(stream, sessions)
    expect([response.status, await response.json()]).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
    expect(calls).toEqual([])
  })

  test('a stream is attached to a limited number of sessions', async () => {
    const { server } = createTestServer({ limits: { sessionsPerStream: 2 } })
    const stream = await openStream(server)
    for (const sessionId of ['room1', 'room2', 'room1']) expect((await stream.watch(sessionId)).status).toBe(200)
    expect((await stream.watch('room3')).status).toBe(403)
  })

  test('C37: one session too many, or one malformed id, is refused by name and harms no other', async () => {
    const { server } = createTestServer({ limits: { sessionsPerStream: 1 } })
    const stream = await openStream(server)
    const ids = ['a b', 'room1', 'room2', 'a'.repeat(129), '']
    const response = await resume(
      stream,
      ids.map((sessionId) => ({ sessionId, lastSeq: 0 })),
    )
    const { sessions } = await response.json()
    expect(response.status).toBe(200)
    expect(sessions.map(({ status }: { status: string }) => status)).toEqual([
      'forbidden',
      'resumed',
      'forbidden',
      'forbidden',
      'forbidden',
    ])
  })

  test('C47: events published at every step of a resume arrive once and in order', async () => {
    const inner = memoryLog()
    const publishMore = () => inner.append('room', { type: 'x' })
    let isRestless = true
    /**
     * Publishes before and after each thing that the server does with the log, which is slow
     * besides.
     */
    async function restless<T>(act: () => T | Promise<T>): Promise<T> {
      if (!isRestless) return act()
      publishMore()
      await settle(1)
      const result = await act()
      publishMore()
      await settle(1)
      return result
    }
    const log: SessionLog = {
      append: inner.append,
      read: (...args) => restless(() => inner.read(...args)),
      head: (...args) => restless(() => inner.head(...args)),
      subscribe: (...args) => restless(() => inner.subscribe(...args)),
    }
    for (const _ of range(1, 30)) publishMore()
    const { server } = createTestServer({ log })
    const stream = await openStream(server)
    await resume(stream, [{ sessionId: 'room', lastSeq: 10 }])
    await settle(30)
    isRestless = false
    // What is under way publishes once more.
    await settle(3)
    publishMore()
    const head = (await inner.head('room')).head
    await until(() => stream.events.at(-1) === `room:${head}`, 'the last event')
    expect(stream.events).toEqual(range(11, head).map((seq) => `room:${seq}`))
    expect(stream.ofType('reconnected')).toHaveLength(1)
  })

  test('C47: a single event, published at whichever step of a resume, arrives once and needs no other to follow', async () => {
    for (const step of range(0, 12)) {
      const inner = memoryLog()
      let steps = 0
      let isPublished = false
      const publishOnce = () => {
        if (!isPublished) inner.append('room', { type: 'x' })
        isPublished = true
      }
      const takeStep = () => {
        if (steps === step) publishOnce()
        steps += 1
      }
      /**
       * A log that is slow, and that is published to right before and right after it does what it
       * is asked for.
       */
      async function slowly<T>(act: () => T | Promise<T>, turns = 1): Promise<T> {
        await settle(turns)
        takeStep()
        const result = await act()
        takeStep()
        await settle(1)
        return result
      }
      for (const _ of range(1, 3)) inner.append('room', { type: 'x' })
      const { server } = createTestServer({
        log: {
          append: inner.append,
          read: (...args) => slowly(() => inner.read(...args)),
          head: (...args) => slowly(() => inner.head(...args)),
          // Long enough for the replay to be over before the subscription takes hold.
          subscribe: (...args) => slowly(() => inner.subscribe(...args), 20),
        },
      })
      const stream = await openStream(server)
      await resume(stream, [{ sessionId: 'room', lastSeq: 1 }])
      await settle(30)
      publishOnce()
      await settle(30)
      expect([step, ...stream.events]).toEqual([step, 'room:2', 'room:3', 'room:4'])
      await server.close()
    }
  })

  test('a log that was trimmed under a stream goes on with what is left; the jump in seq tells the client', async () => {
    const { server } = createTestServer({ log: memoryLog({ maxEvents: 3 }) })
    const stream = await openStalledStream(server)
    await stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions: [{ sessionId: 'room', lastSeq: 0 }] })
    for (const _ of range(1, 9)) await server.publish('room', { type: 'x' })
    const text = new TextDecoder().decode((await stream.read()).value)
    expect([...text.matchAll(/"seq":(\d+)/g)].map(([, seq]) => Number(seq))).toEqual([7, 8, 9])
    expect(text).toContain('"reconnected"')
  })

  test('a marker does not wait for events that are gone from the log', async () => {
    const inner = memoryLog()
    const { server } = createTestServer({ log: { ...inner, read: () => [] } })
    await server.publish('room', { type: 'x' })
    const stream = await openStream(server)
    await resume(stream, [{ sessionId: 'room', lastSeq: 0 }])
    await settle()
    expect(stream.ofType('reconnected')).toHaveLength(1)
  })

  test('a numbering that starts again ends the stream, so that the next resume is told `reset`', async () => {
    let inner = memoryLog()
    let notify = () => {}
    const log: SessionLog = {
      append: (...args) => inner.append(...args),
      read: (...args) => inner.read(...args),
      head: (...args) => inner.head(...args),
      subscribe: (_, listener) => {
        notify = listener
        return () => {}
      },
    }
    for (const isBehind of [true, false]) {
      inner = memoryLog()
      const { server } = createTestServer({ log })
      for (const _ of range(1, 3)) await server.publish('room', { type: 'x' })
      const stream = await openStream(server)
      await stream.watch('room', 3)
      inner = memoryLog()
      for (const _ of range(1, isBehind ? 1 : 5)) await server.publish('room', { type: 'x' })
      notify()
      await settle()
      expect(stream.events).toEqual([])
      expect(stream.frames.at(-1)).toEqual({ type: 'goodbye' })
    }
  })

  test('C52: a log that fails while it is read ends the stream, and its error stays inside', async () => {
    const { server, errors } = createTestServer({
      log: { ...memoryLog(), read: () => Promise.reject(new Error('redis://secret')) },
    })
    const stream = await openStream(server)
    await stream.watch('room')
    await settle()
    expect(stream.ending).toBe('ended')
    expect(JSON.stringify(stream.frames)).not.toContain('secret')
    expect(errors).toMatchObject([{ message: 'redis://secret' }])
  })
})

describe('fairness and memory', () => {
  test('C48: a client that does not read costs nothing but a cursor, and is evicted after limits.stall', async () => {
    const watched = watchedLog(memoryLog({ maxEvents: 100 }))
    const { server, clock } = createTestServer({ log: watched.log, limits: { stall: 4_000 } })
    const stalled = await openStalledStream(server)
    const healthy = await openStream(server, 'bob')
    await stalled.post('watch', { type: 'watch', sessionId: 'room1', lastSeq: 0 })
    await healthy.watch('room1')
    await settle()
    const reads = () => watched.calls.filter((call) => call.startsWith('read')).length
    await healthy.cancel()
    const readsBefore = reads()
    for (const _ of range(1, 10_000)) await server.publish('room1', { type: 'x', text: 'y'.repeat(1_000) })
    expect(reads()).toBe(readsBefore)
    await clock.advance(3_999)
    expect(watched.subscriptions).toBe(1)
    await clock.advance(1)
    expect(watched.subscriptions).toBe(0)
    expect(clock.timers).toBe(0)
    await expect(stalled.read()).rejects.toThrow('stopped reading')
    expect((await stalled.post('probe', { type: 'probe', nonce: 'n' })).status).toBe(404)
  })

  test('C48: one read takes a bounded piece of a long replay', async () => {
    const { server } = createTestServer()
    for (const _ of range(1, 100)) await server.publish('room', { type: 'x', text: 'y'.repeat(10_000) })
    const stream = await openStalledStream(server)
    await stream.post('watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    const sizes = []
    for (let bytes = 0; bytes < 1_000_000; bytes += sizes.at(-1) ?? 0)
      sizes.push((await stream.read()).value?.byteLength)
    expect(Math.max(...sizes.map(Number))).toBeLessThan(64 * 1024 + 11_000)
  })

  test('C48: a stalled client does not delay the others', async () => {
    const { server } = createTestServer()
    const stalled = await openStalledStream(server)
    const healthy = await openStream(server, 'bob')
    await stalled.post('watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    await healthy.watch('room')
    for (const _ of range(1, 100)) await server.publish('room', { type: 'x' })
    await settle()
    expect(healthy.events).toHaveLength(100)
  })

  test('a client that is only idle, or slow but reading, is not evicted', async () => {
    const { server, clock } = createTestServer({ heartbeat: 600_000 })
    const slow = await openStalledStream(server)
    await clock.advance(300_000)
    await slow.post('watch', { type: 'watch', sessionId: 'room', lastSeq: 0 })
    for (const _ of range(1, 500)) await server.publish('room', { type: 'x' })
    for (let read = 0; read < 500 / 64; read += 1) {
      await clock.advance(9_999)
      expect((await slow.read()).done).toBe(false)
    }
  })

  test('a body that nobody ever reads is given up', async () => {
    const { server, clock } = createTestServer({ limits: { streamsPerPrincipal: 1 } })
    await getEvents(server)
    await clock.advance(10_000)
    expect(clock.timers).toBe(0)
    expect((await getEvents(server)).status).toBe(200)
  })

  test('a busy session does not starve the others', async () => {
    const { server } = createTestServer()
    for (const _ of range(1, 1_000)) await server.publish('room1', { type: 'x' })
    await server.publish('room2', { type: 'x' })
    const stream = await openStalledStream(server)
    const sessions = ['room1', 'room2'].map((sessionId) => ({ sessionId, lastSeq: 0 }))
    await stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions })
    const text = new TextDecoder().decode((await stream.read()).value)
    expect(text.match(/room1/g)?.length).toBeLessThanOrEqual(64)
    expect(text).toContain('room2')
  })

  test('control frames that nobody reads are bounded', async () => {
    const { server } = createTestServer()
    const stalled = await openStalledStream(server)
    const probes = range(1, 70).map(() => stalled.post('probe', { type: 'probe', nonce: 'n' }))
    const statuses = (await Promise.all(probes)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(64)
    expect(statuses.filter((status) => status === 429)).toHaveLength(6)
  })

  test('an event is serialised once, not once per stream', async () => {
    let serialised = 0
    const inner = memoryLog()
    const counted = {
      get type() {
        serialised += 1
        return 'x'
      },
    }
    const { server } = createTestServer({ log: { ...inner, append: (sessionId) => inner.append(sessionId, counted) } })
    const streams = await Promise.all(range(1, 5).map(() => openStream(server)))
    for (const stream of streams) await stream.watch('room')
    await server.publish('room', { type: 'x' })
    await settle()
    for (const stream of streams) expect(stream.events).toEqual(['room:1'])
    expect(serialised).toBe(1)
  })

  test('a session that the log could not subscribe to is not attached: it is asked for again', async () => {
    const inner = memoryLog()
    let isDown = true
    const { server, errors } = createTestServer({
      log: {
        ...inner,
        subscribe: async (...given) => (isDown ? Promise.reject(new Error('no')) : inner.subscribe(...given)),
      },
    })
    const stream = await openStream(server)
    expect((await stream.watch('room')).status).toBe(500)
    expect(errors).toHaveLength(1)
    isDown = false
    // A command attaches what is not attached.
    await stream.post('send', { type: 'send', sessionId: 'room' })
    await server.publish('room', { type: 'x' })
    await settle()
    expect(stream.events).toEqual(['room:1'])
  })

  test('big events are not read again and again, to be written one by one', async () => {
    const inner = memoryLog()
    let handedOut = 0
    const log = {
      ...inner,
      async read(...given: Parameters<typeof inner.read>) {
        const entries = await inner.read(...given)
        handedOut += entries.length
        return entries
      },
    }
    const { server } = createTestServer({ log })
    for (const n of range(1, 32)) await server.publish('room', { type: 'x', n, text: 'x'.repeat(100_000) })
    for (const n of range(33, 100)) await server.publish('room', { type: 'x', n })
    const stream = await openStream(server)
    await stream.watch('room')
    await until(() => stream.events.length === 100, 'all of them')
    // 16 at first, then as many as are written, and more again when they are small.
    expect(handedOut).toBeLessThan(200)
    expect(stream.events).toEqual(range(1, 100).map((seq) => `room:${seq}`))
  })
})
