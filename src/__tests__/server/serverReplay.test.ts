import { describe, expect, test, vi } from 'vitest'
import { memoryLog, type SessionLog } from '../../server'
import { Pacer } from '../../server/limits/pacer'
import { createTestServer, openStream, range, settle, until, watchedLog } from '../support/server'

const KB = 1_000
const text = (bytes: number) => 'x'.repeat(bytes)

describe('C105: what one principal is replayed', () => {
  /** 20 kB/s, and as much at once. */
  const limits = { replayRate: 20 * KB }
  const resume = (stream: Awaited<ReturnType<typeof openStream>>, sessionIds: readonly string[]) =>
    stream.post('reconnect', {
      type: 'reconnect',
      resumeId: 'r',
      sessions: sessionIds.map((sessionId) => ({ sessionId, lastSeq: 0 })),
    })
  async function fill(server: ReturnType<typeof createTestServer>['server'], room: string, events: number) {
    for (const n of range(1, events)) await server.publish(room, { type: 'x', n, text: text(KB) })
  }

  test('is so many bytes per second, however often it asks; then the replay is complete, and so is its marker', async () => {
    const { server, clock } = createTestServer({ limits })
    await fill(server, 'room', 100)
    const stream = await openStream(server)
    expect((await resume(stream, ['room'])).status).toBe(200)
    await settle(20)
    const first = stream.events.length
    expect(first).toBeGreaterThanOrEqual(10)
    expect(first).toBeLessThan(40)
    expect(stream.ofType('reconnected')).toEqual([])
    await clock.advance(1_000)
    expect(stream.events.length - first).toBeGreaterThan(10)
    expect(stream.events.length - first).toBeLessThan(45)
    await clock.advance(10_000)
    expect(stream.events).toEqual(range(1, 100).map((seq) => `room:${seq}`))
    expect(stream.frames.at(-1)).toMatchObject({ type: 'reconnected', resumeId: 'r' })
  })

  test('is counted over all its streams, and not given back when one ends', async () => {
    const { server, clock } = createTestServer({ limits })
    await fill(server, 'room', 50)
    let events = 0
    for (const _ of range(1, 10)) {
      const stream = await openStream(server)
      void resume(stream, ['room'])
      await settle(20)
      events += stream.events.length
      await stream.cancel()
    }
    expect(events).toBeLessThan(40)
    const bobs = await openStream(server, 'bob')
    await resume(bobs, ['room'])
    await settle(20)
    expect(bobs.events.length).toBeGreaterThan(8)
    await clock.advance(60_000)
    const stream = await openStream(server)
    await resume(stream, ['room'])
    await settle(20)
    expect(stream.events.length).toBeGreaterThan(8)
  })

  test('C101: counts each session that is looked up as 8 KiB, on streams and over them', async () => {
    const { log, calls } = watchedLog()
    const { server, clock } = createTestServer({ log, limits: { replayRate: 40 * 8_192 } })
    const stream = await openStream(server)
    const ids = (from: number) => range(from, from + 39).map((n) => `room${n}`)
    const answers: number[] = []
    for (const from of [1, 41, 81, 121]) void resume(stream, ids(from)).then(({ status }) => answers.push(status))
    await settle(20)
    const heads = () => calls.filter((call) => call.startsWith('head')).length
    // As long as there is anything left, a whole resume is let in.
    expect(heads()).toBe(80)
    await clock.advance(1_001)
    expect(heads()).toBe(120)
    await clock.advance(1_001)
    expect(heads()).toBe(160)
    await settle(20)
    expect(answers).toEqual([200, 200, 200, 200])
  })

  test('holds up no live event of another session, and no answer to a probe', async () => {
    const { server, clock } = createTestServer({ limits })
    await fill(server, 'room1', 100)
    const stream = await openStream(server)
    await stream.watch('room2')
    await resume(stream, ['room1'])
    await settle(20)
    const before = stream.events.filter((event) => event.startsWith('room1')).length
    await server.publish('room2', { type: 'live' })
    await stream.post('probe', { type: 'probe', nonce: 'n' })
    await settle()
    expect(stream.events).toContain('room2:1')
    expect(stream.ofType('probe')).toHaveLength(1)
    expect(stream.events.filter((event) => event.startsWith('room1'))).toHaveLength(before)
    // Its own live events follow on the replay.
    await server.publish('room1', { type: 'live' })
    await clock.advance(20_000)
    expect(stream.events.filter((event) => event.startsWith('room1'))).toEqual(
      range(1, 101).map((seq) => `room1:${seq}`),
    )
  })

  test('does not count what is live, and who waits for it is not one who does not read', async () => {
    const { server, clock } = createTestServer({ limits, heartbeat: 600_000 })
    const stream = await openStream(server)
    await stream.watch('room')
    await settle()
    await fill(server, 'room', 100)
    await settle(20)
    expect(stream.events).toHaveLength(100)
    await fill(server, 'room2', 400)
    await resume(stream, ['room2'])
    await clock.advance(30_000)
    expect(stream.ending).toBe('open')
    await expect
      .poll(
        async () => {
          await clock.advance(1_000)
          return stream.events.length
        },
        { interval: 1, timeout: 20_000 },
      )
      .toBe(500)
  })

  test('leaves no timer behind when its stream ends, nor when the session is left', async () => {
    const { server, clock } = createTestServer({ limits })
    await fill(server, 'room', 100)
    const [one, other] = [await openStream(server), await openStream(server)]
    await resume(one, ['room'])
    await settle(20)
    void resume(other, ['room'])
    await settle(20)
    await one.post('unwatch', { type: 'unwatch', sessionId: 'room' })
    const events = one.events.length
    await clock.advance(1_000)
    expect(one.events).toHaveLength(events)
    expect(one.ofType('reconnected')).toHaveLength(1)
    await one.cancel()
    await other.cancel()
    expect(clock.timers).toBe(0)
  })

  test('is written in slices: others have their turn of the event loop between them', async () => {
    const { server } = createTestServer()
    for (const n of range(1, 40)) await server.publish('room', { type: 'x', n, text: text(100 * KB) })
    const stream = await openStream(server)
    let turns = 0
    const count = () => {
      turns += 1
      if (stream.events.length < 40) setImmediate(count)
    }
    await resume(stream, ['room'])
    count()
    await until(() => stream.events.length === 40, 'the whole replay')
    // 4 MB are 15 slices of 256 Ki characters.
    expect(turns).toBeGreaterThan(10)
  })

  test('keeps nothing of a principal that has not been replayed anything for two seconds', () => {
    const clock = { time: 0, now: () => clock.time, setTimeout: () => {} }
    const pacer = new Pacer({ rate: 2_000, saved: 1_000, clock })
    const deleted = vi.spyOn(Map.prototype, 'delete')
    for (const n of range(1, 100)) pacer.spend(`p${n}`, 1_500)
    expect(pacer.delay('p1')).toBe(0)
    pacer.spend('p1', 1_000)
    expect(pacer.delay('p1')).toBe(250)
    clock.time = 10_000
    deleted.mockClear()
    pacer.spend('p1', 1)
    expect(deleted.mock.calls.length).toBeGreaterThanOrEqual(99)
    deleted.mockRestore()
    // A clock that is set back gives nothing, and takes nothing.
    pacer.spend('p1', 2_499)
    clock.time = 0
    expect(pacer.delay('p1')).toBe(250)
  })
})

describe('C105: publish', () => {
  test('refuses an event that is larger than limits.eventBytes, by name; one that is as large is taken', async () => {
    const { server, errors } = createTestServer({ limits: { eventBytes: 100 } })
    const bytes = (event: object) => new TextEncoder().encode(JSON.stringify(event)).byteLength
    const event = { type: 'x', text: 'ü'.repeat(39) }
    expect(bytes(event)).toBe(100)
    expect(await server.publish('room', event)).toMatchObject({ seq: 1 })
    const more = { ...event, text: `${event.text}.` }
    await expect(server.publish('room', more)).rejects.toThrow(
      new TypeError("publish: an event must not be larger than 'limits.eventBytes', 100; this one has 101"),
    )
    expect(errors).toHaveLength(1)
  })

  test('takes 1 MiB by default', async () => {
    const { server } = createTestServer()
    const around = JSON.stringify({ type: 'x', text: '' }).length
    await server.publish('room', { type: 'x', text: text(1_048_576 - around) })
    await expect(server.publish('room', { type: 'x', text: text(1_048_577 - around) })).rejects.toThrow('eventBytes')
  })
})

test('C106: a log that hands out the same events again ends the stream, and does not turn in a circle', async () => {
  const inner = memoryLog()
  const log: SessionLog = { ...inner, read: (sessionId, _, limit) => inner.read(sessionId, 0, limit) }
  const { server, errors } = createTestServer({ log })
  for (const _ of range(1, 3)) await server.publish('room', { type: 'x' })
  const stream = await openStream(server)
  await stream.watch('room', 1)
  await settle()
  expect(stream.ending).toBe('ended')
  expect(errors.map(String)).toEqual(['Error: the log has 1 after 1'])
})
