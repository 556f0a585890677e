import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { type LogEntry, memoryLog, type SessionLog } from '../../server'
import { createTestServer, openStream, range, settle } from '../support/server'

const at = (time: number) => {
  const clock = { time, now: () => clock.time }
  return clock
}
const KB = 1_000
/** Bytes that are in use. */
function heap() {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
const event = (bytes: number, more: object = {}) => ({ type: 'x', text: 'x'.repeat(bytes), ...more })
const seqs = async (log: SessionLog, session: string) =>
  ((await log.read(session, 0, 10_000)) as LogEntry[]).map(({ seq }) => seq)
const headOf = async (log: SessionLog, session: string) => (await log.head(session)).head

describe('C101: reading creates nothing', () => {
  test('a session that was only asked about has no numbering, whatever was asked', async () => {
    const log = memoryLog()
    const unknown = { epoch: '', first: 1, head: 0 }
    expect(await log.head('a')).toEqual(unknown)
    expect(await log.read('a', 0, 10)).toEqual([])
    const stop = await log.subscribe('a', () => {})
    stop()
    expect(await log.head('a')).toEqual(unknown)
  })

  test('its numbering begins with its first event, and who follows it from before hears of that one', async () => {
    const log = memoryLog()
    const listener = vi.fn()
    await log.subscribe('a', listener)
    const { epoch, seq } = await log.append('a', { type: 'x' })
    expect([epoch === '', seq, listener.mock.calls.length]).toEqual([false, 1, 1])
    expect(await log.head('a')).toEqual({ epoch, first: 1, head: 1 })
  })

  test('100,000 sessions that were read and followed for a while leave nothing', async () => {
    const log = memoryLog()
    const before = heap()
    for (const n of range(1, 100_000)) {
      await log.head(`session-${n}`)
      const stop = await log.subscribe(`session-${n}`, () => {})
      stop()
    }
    // Kept, they are 60 MB and more.
    expect(heap() - before).toBeLessThan(5_000_000)
    expect(await log.head('session-1')).toMatchObject({ head: 0 })
  })

  test('a stream that watches it is told `resumed`, gets its first event, and resumes from there', async () => {
    const { server } = createTestServer({ log: memoryLog() })
    const stream = await openStream(server)
    const sessions = [
      { sessionId: 'room', lastSeq: 0 },
      { sessionId: 'room2', lastSeq: 7, epoch: 'old' },
    ]
    const answer = await (await stream.post('reconnect', { type: 'reconnect', sessions })).json()
    expect(answer.sessions).toMatchObject([
      { status: 'resumed', from: 0, to: 0 },
      { status: 'reset', from: 0, to: 0 },
    ])
    for (const room of ['room', 'room2']) await server.publish(room, { type: 'x' })
    await settle()
    expect(stream.events.sort()).toEqual(['room2:1', 'room:1'])
    expect(stream.ending).toBe('open')
  })
})

describe('C105: the log is bounded in bytes', () => {
  test('one session keeps its newest events up to maxSessionBytes, and tells which are left', async () => {
    const log = memoryLog({ maxBytes: 80 * KB, maxSessionBytes: 10 * KB })
    for (const _ of range(1, 100)) await log.append('a', event(900))
    const { first, head } = await log.head('a')
    expect(head).toBe(100)
    expect(head - first).toBeGreaterThanOrEqual(5)
    expect(head - first).toBeLessThan(10)
    expect(await seqs(log, 'a')).toEqual(range(first, 100))
  })

  test('a text that is not Latin-1 counts twice', async () => {
    const kept = async (text: string) => {
      const log = memoryLog({ maxBytes: 80 * KB, maxSessionBytes: 10 * KB })
      for (const _ of range(1, 100)) await log.append('a', { type: 'x', text: text.repeat(900) })
      return (await seqs(log, 'a')).length
    }
    expect(await kept('€')).toBeLessThan(0.7 * (await kept('ü')))
  })

  test('an event that is larger than a session may be is refused by name, and leaves nothing', async () => {
    const log = memoryLog({ maxBytes: 80 * KB })
    expect(() => log.append('a', event(10 * KB))).toThrow(
      /^memoryLog: this event takes 10\d\d\d bytes, and a session has 10000 \('maxSessionBytes'\)$/,
    )
    expect(await log.head('a')).toEqual({ epoch: '', first: 1, head: 0 })
  })

  test('over the whole bound sessions that nobody follows lose their oldest events first, the longest unused first', async () => {
    const log = memoryLog({ maxBytes: 30 * KB, maxSessionBytes: 20 * KB })
    const stop = await log.subscribe('followed', () => {})
    for (const session of ['followed', 'old', 'older', 'old'])
      for (const _ of range(1, 4)) await log.append(session, event(800))
    for (const _ of range(1, 17)) await log.append('new', event(800))
    // `older` gave way first, then the oldest of `old`.
    expect(await log.head('older')).toEqual({ epoch: '', first: 1, head: 0 })
    const { first, head } = await log.head('old')
    expect([head, first > 1 && first < 8]).toEqual([8, true])
    expect(await seqs(log, 'followed')).toEqual([1, 2, 3, 4])
    expect((await seqs(log, 'new')).length).toBe(17)
    stop()
  })

  test('a flood over many sessions does not eat one that somebody follows: the biggest give way', async () => {
    const log = memoryLog({ maxBytes: 100 * KB, maxSessionBytes: 20 * KB })
    await log.subscribe('quiet', () => {})
    for (const _ of range(1, 3)) await log.append('quiet', event(200))
    for (const n of range(1, 20)) await log.subscribe(`flood-${n}`, () => {})
    for (const n of range(1, 2_000)) await log.append(`flood-${n % 40}`, event(2 * KB))
    expect(await seqs(log, 'quiet')).toEqual([1, 2, 3])
    const kept = await Promise.all(range(0, 39).map(async (n) => (await seqs(log, `flood-${n}`)).length))
    const bytes = kept.reduce((sum, count) => sum + 2 * KB * count, 0)
    expect(bytes).toBeGreaterThan(50 * KB)
    expect(bytes).toBeLessThan(100 * KB)
  })

  test('what is appended is kept until the next one comes, however little room there is', async () => {
    const log = memoryLog({ maxBytes: 8 * KB, maxSessionBytes: 8 * KB })
    for (const n of range(1, 20)) {
      await log.subscribe(`s${n}`, () => {})
      const { seq } = await log.append(`s${n}`, event(5 * KB))
      expect(await seqs(log, `s${n}`)).toEqual([seq])
    }
  })

  test('sessions without events are bounded too', async () => {
    const clock = at(0)
    const log = memoryLog({ maxBytes: 64 * KB, maxAge: 1_000, clock })
    for (const n of range(1, 10_000)) await log.append(`s${n}`, { type: 'x' })
    const kept = await Promise.all(range(1, 10_000).map((n) => headOf(log, `s${n}`)))
    const count = kept.filter((head) => head > 0).length
    expect(count).toBeGreaterThan(40)
    expect(count).toBeLessThan(64)
    expect(kept.at(-1)).toBe(1)
  })

  test('who lacks what gave way is told `reset`, as after any other trimming; who follows gets all of it', async () => {
    const { server } = createTestServer({ log: memoryLog({ maxBytes: 80 * KB, maxSessionBytes: 10 * KB }) })
    const live = await openStream(server)
    await live.watch('room')
    for (const _ of range(1, 30)) {
      await server.publish('room', event(900))
      await settle(1)
    }
    await settle()
    expect(live.events).toEqual(range(1, 30).map((seq) => `room:${seq}`))
    const stream = await openStream(server, 'bob')
    const sessions = [{ sessionId: 'room', lastSeq: 5 }]
    const answer = await (await stream.post('reconnect', { type: 'reconnect', sessions })).json()
    expect(answer.sessions).toMatchObject([{ status: 'reset', to: 30 }])
  })

  test('events are kept as text: one that swells when it is parsed does not swell the log', async () => {
    const log = memoryLog()
    const swelling = JSON.parse(`{"type":"x","list":[${'[],'.repeat(80_000)}[]]}`)
    const before = heap()
    for (const _ of range(1, 10)) await log.append('a', swelling)
    for (const entry of (await log.read('a', 0, 10)) as LogEntry[]) expect(entry.json?.length).toBeGreaterThan(240_000)
    // Two or three MB, and as many parsed ones would be ten times that.
    expect(heap() - before).toBeLessThan(8_000_000)
    expect(await headOf(log, 'a')).toBe(10)
  })

  test('what is read is the event without what the envelope says', async () => {
    const log = memoryLog()
    await log.append('a', { type: 'x', seq: 99, epoch: 'forged', sessionId: 'b', prevSeq: 7, n: 1 })
    const [entry] = (await log.read('a', 0, 1)) as LogEntry[]
    expect(entry).toMatchObject({ sessionId: 'a', seq: 1, event: { type: 'x', n: 1 }, json: '{"type":"x","n":1}' })
    expect(JSON.parse(JSON.stringify(entry))).toEqual({
      sessionId: 'a',
      seq: 1,
      epoch: entry?.epoch,
      event: { type: 'x', n: 1 },
    })
  })

  test('old events of a session that somebody follows go with the next use of the log, its numbering stays', async () => {
    const clock = at(0)
    const log = memoryLog({ maxAge: 1_000, maxBytes: 80 * KB, clock })
    await log.subscribe('a', () => {})
    const { epoch } = await log.append('a', event(KB))
    clock.time = 5_000
    for (const _ of range(1, 3)) await log.append('b', { type: 'x' })
    expect(await log.head('a')).toEqual({ epoch, first: 2, head: 1 })
    expect(await log.append('a', { type: 'x' })).toMatchObject({ epoch, seq: 2 })
  })

  test('a session that nobody follows any more is kept for maxAge from then on, and not for ever', async () => {
    const clock = at(0)
    const log = memoryLog({ maxAge: 1_000, clock })
    const stop = await log.subscribe('a', () => {})
    const { epoch } = await log.append('a', { type: 'x' })
    clock.time = 5_000
    stop()
    clock.time = 5_999
    expect(await log.head('a')).toMatchObject({ epoch, head: 1 })
    clock.time = 6_000
    expect(await log.head('a')).toMatchObject({ epoch: '', head: 0 })
  })

  test('a session that somebody has just left is not the longest unused', async () => {
    const log = memoryLog({ maxBytes: 20 * KB, maxSessionBytes: 20 * KB })
    const stop = await log.subscribe('a', () => {})
    for (const session of ['a', 'b', 'c']) await log.append(session, event(4 * KB))
    stop()
    await log.append('d', event(6 * KB))
    expect(await Promise.all(['a', 'b', 'c'].map((session) => seqs(log, session)))).toEqual([[1], [], [1]])
  })

  test.each<[string, object]>([
    ['maxBytes', { maxBytes: 0 }],
    ['maxBytes', { maxBytes: Infinity }],
    ['maxSessionBytes', { maxBytes: 1_000, maxSessionBytes: 2_000 }],
  ])('a wrong %s is a TypeError that names it', (name, options) => {
    expect(() => memoryLog(options)).toThrow(new RegExp(`'${name}'`))
  })
})
