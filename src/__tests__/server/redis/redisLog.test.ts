import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { HEAD } from '../../../protocol'
import { type LogEntry, type Metric, memoryLog, type SessionLog } from '../../../server'
import { type RedisLogOptions, redisLog } from '../../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { PLACES, placeOf, type RedisPlace } from '../../support/redisPlaces'
import { startRedisProxy } from '../../support/redisProxy'
import { createTestServer, fakeClock, openStream, range, settle } from '../../support/server'

let redis: RedisServer
let place: RedisPlace
let sessions = 0
const newSession = () => `room${++sessions}`
const opened: { close(): void }[] = []

/** A log, and what a server would hear of it. */
function open(options: RedisLogOptions = {}) {
  const clock = fakeClock()
  const isElsewhere = options.client ?? options.url
  const log = redisLog({ ...(isElsewhere ? {} : place.options()), clock, ...options })
  opened.push(log)
  return Object.assign(log, { clock })
}

function joined(options: RedisLogOptions = {}) {
  const log = open(options)
  const metrics: Metric[] = []
  const errors: unknown[] = []
  log.join({
    receiptAge: 60_000,
    receipts: 1_000,
    serve: async () => ({ status: 200, json: 'null' }),
    onRevoked: () => {},
    onMetric: (metric) => metrics.push(metric),
    onError: (error) => errors.push(error),
  })
  return Object.assign(log, { metrics, errors })
}

const seqs = (entries: readonly LogEntry[]) => entries.map(({ seq }) => seq)
const append = async (log: SessionLog, session: string, n = 0) => log.append(session, { type: 'x', n })
const appendAll = (log: SessionLog, session: string, from: number, to: number) =>
  Promise.all(range(from, to).map((n) => append(log, session, n)))
const keyOf = (session: string, part: string) => `${place.prefixOf(session)}:{${session}}:${part}`
const metaOf = (session: string) => keyOf(session, 'meta')
const logOf = (session: string) => keyOf(session, 'log')
/** What another process appends, without a word. */
async function appendSilently(session: string, seq: number) {
  await place.admin.xadd(logOf(session), `0-${seq}`, 'e', '{"type":"silent"}')
  await place.admin.hset(metaOf(session), 'head', seq)
}
function describeLog(what: string, tests: () => void) {
  describeWithRedis(what, () => {
    beforeAll(async () => {
      redis = await startRedis()
      place = placeOf(redis)
    })
    afterEach(() => {
      for (const log of opened.splice(0)) log.close()
    })
    afterAll(() => redis.stop())
    tests()
  })
}

function describeLogOnEach(what: string, tests: () => void) {
  describeWithRedis(what, () => {
    describe.each(PLACES)('on %s', (_, start) => {
      beforeAll(async () => {
        place = await start()
      })
      afterEach(() => {
        for (const log of opened.splice(0)) log.close()
      })
      afterAll(() => place.stop())
      tests()
    })
  })
}

describeLogOnEach('redisLog', () => {
  test('numbers events without a gap from 1, in the order of the calls, and reads them back', async () => {
    const log = open()
    const session = newSession()
    const entries = await appendAll(log, session, 1, 200)
    expect(entries.map(({ seq, event }) => [seq, event.n])).toEqual(range(1, 200).map((n) => [n, n]))
    expect(JSON.parse(JSON.stringify(await log.read(session, 150, 20)))).toEqual(entries.slice(150, 170))
    expect(await log.head(session)).toEqual({ epoch: entries[0]?.epoch, first: 1, head: 200 })
  })

  test('C90: reading creates nothing: a session has its epoch from its first event on, and keeps it', async () => {
    const [one, other] = [open(), open()]
    const session = newSession()
    expect(await one.head(session)).toEqual({ epoch: '', first: 1, head: 0 })
    const listener = vi.fn()
    await one.subscribe(session, listener)
    expect(await place.keys(keyOf(session, '*'))).toEqual([])
    const { epoch } = await append(other, session)
    expect(epoch).not.toBe('')
    await expect.poll(() => listener.mock.calls.length).toBe(1)
    // From memory: the first event that is told of begins the epoch.
    expect(one.read(session, 0, 10)).toMatchObject([{ seq: 1, epoch }])
    expect(await one.head(session)).toEqual({ epoch, first: 1, head: 1 })
  })

  test('processes share it: each hears of what another appended, until it stops to listen', async () => {
    const [one, other] = [open(), open()]
    const session = newSession()
    const listener = vi.fn()
    const stop = await one.subscribe(session, listener)
    await appendAll(other, session, 1, 2)
    await expect.poll(() => seqs(one.read(session, 0, 10) as LogEntry[])).toEqual([1, 2])
    const calls = listener.mock.calls.length
    expect(calls).toBeGreaterThan(0)
    stop()
    await append(other, session)
    expect(seqs(await one.read(session, 0, 10))).toEqual([1, 2, 3])
    expect(listener).toHaveBeenCalledTimes(calls)
    await expect.poll(place.channels).not.toContain(`${place.prefixOf(session)}:session:${session}`)
  })

  test('whoever keeps up is served from memory, with the same entry for all; whoever is behind, from Redis', async () => {
    const log = open()
    const session = newSession()
    await log.subscribe(session, () => {})
    await appendAll(log, session, 1, 100)
    await expect.poll(() => seqs(log.read(session, 99, 10) as LogEntry[])).toEqual([100])
    const latest = log.read(session, 50, 10)
    expect(latest).not.toBeInstanceOf(Promise)
    expect(log.read(session, 50, 10)).toEqual(latest)
    expect((log.read(session, 50, 10) as LogEntry[])[0]).toBe((latest as LogEntry[])[0])
    // 64 are kept.
    const older = log.read(session, 35, 10)
    expect(older).toBeInstanceOf(Promise)
    expect(seqs(await older)).toEqual(range(36, 45))
  })

  test('an event that is too big to be sent around is announced, and read from Redis', async () => {
    const [one, other] = [open(), open()]
    const session = newSession()
    const listener = vi.fn()
    await one.subscribe(session, listener)
    const text = 'ä'.repeat(5_000)
    await other.append(session, { type: 'big', text })
    await expect.poll(() => listener.mock.calls.length).toBe(1)
    const [entry] = await one.read(session, 0, 10)
    expect(entry?.event.text).toBe(text)
  })

  test('what Pub/Sub did not tell of is found with the next event', async () => {
    const log = joined()
    const session = newSession()
    const listener = vi.fn()
    await append(log, session)
    await log.subscribe(session, listener)
    await appendSilently(session, 2)
    await append(log, session)
    await expect.poll(() => listener.mock.calls.length).toBeGreaterThan(0)
    expect(seqs(await log.read(session, 1, 10))).toEqual([2, 3])
    expect(log.metrics).toEqual([])
  })

  test('what Pub/Sub did not tell of is found by the next look, and counted as a repair', async () => {
    const log = joined()
    const session = newSession()
    const listener = vi.fn()
    await append(log, session)
    await log.subscribe(session, listener)
    await appendSilently(session, 2)
    expect(seqs(await log.read(session, 1, 10))).toEqual([])
    await log.clock.advance(10_000)
    await expect.poll(() => listener.mock.calls.length).toBe(1)
    expect(seqs(await log.read(session, 1, 10))).toEqual([2])
    expect(log.metrics).toEqual([{ name: 'repairs', value: 1 }])
  })

  test('nothing is lost or doubled while the connections are cut, again and again', async () => {
    const [one, other] = [joined(), open()]
    const session = newSession()
    const heard: number[] = []
    let position = 0
    const readOn = async () => {
      for (const { seq } of await one.read(session, position, 1_000)) {
        if (seq > position) heard.push(seq)
        position = Math.max(position, seq)
      }
    }
    // A read that the end of the test cuts off is nobody's.
    await one.subscribe(session, () => void readOn().catch(() => {}))
    let n = 0
    const entries: LogEntry[] = []
    for (let cut = 0; cut < 20; cut += 1) {
      const appending = appendAll(other, session, n + 1, n + 25)
      n += 25
      await place.cut()
      entries.push(...(await appending))
    }
    expect(entries.map(({ seq, event }) => [seq, event.n])).toEqual(range(1, n).map((seq) => [seq, seq]))
    await expect.poll(() => heard.at(-1)).toBe(n)
    expect(heard).toEqual(range(1, n))
  })

  test('events of a session whose numbering was lost are no part of the next one', async () => {
    const log = open()
    const session = newSession()
    await appendAll(log, session, 1, 3)
    await place.admin.del(metaOf(session))
    expect(await append(log, session)).toMatchObject({ seq: 1 })
    expect(await log.read(session, 0, 10)).toHaveLength(1)
  })

  test('keeps about `maxEvents`: what is gone is skipped, and `first` tells', async () => {
    const log = open({ maxEvents: 100 })
    const session = newSession()
    await appendAll(log, session, 1, 500)
    const { first, head } = await log.head(session)
    expect(head).toBe(500)
    expect(first).toBeGreaterThan(200)
    expect(first).toBeLessThanOrEqual(401)
    expect((await log.read(session, 0, 1))[0]?.seq).toBe(first)
  })

  test('C105: keeps about `maxSessionBytes`: the oldest go first, however large they are', async () => {
    const log = open({ maxSessionBytes: 400_000 })
    const session = newSession()
    const sizes = [20, 300, 3_000, 90_000]
    const add = (count: number) =>
      Promise.all(range(1, count).map((n) => log.append(session, { type: 'x', text: 'x'.repeat(sizes[n % 4] ?? 0) })))
    const kept = async () => {
      const entries = await place.admin.xrange(logOf(session), '-', '+')
      return entries.reduce((bytes, [, [, json = '']]) => bytes + json.length, 0)
    }
    await add(12)
    expect((await log.head(session)).first).toBe(1)
    for (const _ of range(1, 20)) {
      await add(10)
      expect(await kept()).toBeLessThan(400_000)
      expect(await kept()).toBeGreaterThan(200_000)
    }
    const { first, head } = await log.head(session)
    expect(head).toBe(212)
    expect(seqs(await log.read(session, 0, 200))).toEqual(range(first, head))
  })

  test('C105: a burst that is larger than a session may be keeps its end', async () => {
    const log = open({ maxSessionBytes: 65_536 })
    const session = newSession()
    await append(log, session)
    await Promise.all(range(1, 40).map((n) => log.append(session, { type: 'x', n, text: 'x'.repeat(20_000) })))
    const { first, head } = await log.head(session)
    expect(head).toBe(41)
    expect(first).toBeGreaterThan(20)
    expect((await log.read(session, 40, 1))[0]?.event).toMatchObject({ n: 40 })
  })

  test('C105: an event that is larger than a session may be is refused by name', async () => {
    const log = open({ maxSessionBytes: 65_536 })
    const session = newSession()
    await expect(log.append(session, { type: 'x', text: 'ü'.repeat(32_768) })).rejects.toThrow(
      "redisLog: this event has 65558 bytes, and a session 65536 ('maxSessionBytes')",
    )
    expect(await log.head(session)).toMatchObject({ head: 0 })
  })

  test('the numbering outlives the events: what comes later goes on from there', async () => {
    const log = open({ maxAge: 10_000 })
    const session = newSession()
    const { epoch } = await append(log, session)
    expect(await place.admin.pttl(logOf(session))).toBeGreaterThan(0)
    expect(await place.admin.pttl(logOf(session))).toBeLessThanOrEqual(10_000)
    expect(await place.admin.pttl(metaOf(session))).toBeGreaterThan(86_000_000)
    // As if the time were over.
    await place.admin.del(logOf(session))
    expect(await log.head(session)).toEqual({ epoch, first: 2, head: 1 })
    expect(await append(log, session)).toMatchObject({ epoch, seq: 2 })
  })

  test('without an age nothing expires', async () => {
    const log = open({ maxAge: Infinity })
    const session = newSession()
    await append(log, session)
    expect(await place.admin.pttl(logOf(session))).toBe(-1)
    expect(await place.admin.pttl(metaOf(session))).toBe(-1)
  })

  test('a full Redis rejects an append, and the log goes on as if it had not been tried', async () => {
    const log = open()
    const session = newSession()
    await append(log, session)
    await place.config('maxmemory', '1')
    await expect(append(log, session)).rejects.toThrow('OOM')
    await place.config('maxmemory', '0')
    expect(await append(log, session)).toMatchObject({ seq: 2 })
  })

  test('a full Redis takes no event of a new session either', async () => {
    const log = open()
    const session = newSession()
    await append(log, newSession())
    await place.config('maxmemory', '1')
    await expect(append(log, session)).rejects.toThrow('OOM')
    await place.config('maxmemory', '0')
    expect(await log.head(session)).toMatchObject({ head: 0 })
  })

  test('a call that a slow connection delivers after a later one appends nothing', async () => {
    const log = open()
    const session = newSession()
    await append(log, session)
    const [writer = ''] = await place.keys(keyOf(session, 'writer:*'))
    await place.admin.set(writer, '1000000 1')
    await expect(append(log, session)).rejects.toThrow('STALE')
    expect(await log.head(session)).toMatchObject({ head: 1 })
  })

  test('the numbering outlives the events by far, however long these live', async () => {
    const week = 7 * 86_400_000
    const log = open({ maxAge: week })
    const session = newSession()
    await append(log, session)
    // Days later.
    await place.admin.pexpire(metaOf(session), week - 86_400_000)
    await append(log, session)
    expect(await place.admin.pttl(metaOf(session))).toBeGreaterThan(week + 80_000_000)
  })

  test('an entry that is none of ours keeps its place, and is told by name', async () => {
    const log = joined()
    const session = newSession()
    await append(log, session)
    await place.admin.xadd(logOf(session), '0-2', 'e', '{')
    await place.admin.xadd(logOf(session), '0-3', 'other', '7')
    await place.admin.hset(metaOf(session), 'head', 3)
    expect((await log.read(session, 0, 10)).map(({ seq, event }) => [seq, event.type])).toEqual([
      [1, 'x'],
      [2, 'unreadable'],
      [3, 'unreadable'],
    ])
    expect(log.errors.map(String)).toEqual([
      `Error: redisLog: ${logOf(session)} holds no event under 0-2`,
      `Error: redisLog: ${logOf(session)} holds no event under 0-3`,
    ])
  })

  test('a Redis that may evict is refused, with the reason', async () => {
    await place.config('maxmemory', '100mb')
    await place.config('maxmemory-policy', 'allkeys-lru')
    const log = open()
    await expect(append(log, newSession())).rejects.toThrow(
      "maxmemory-policy is 'allkeys-lru', and must be 'noeviction'",
    )
    await place.config('maxmemory-policy', 'noeviction')
    await expect(append(log, newSession())).resolves.toMatchObject({ seq: 1 })
    await place.config('maxmemory', '0')
  })

  test('two prefixes are two logs', async () => {
    const session = newSession()
    await append(open({ prefix: 'one' }), session)
    expect(await open({ prefix: 'other' }).head(session)).toMatchObject({ head: 0 })
  })
})

describeLog('redisLog on one primary', () => {
  test('an append whose answer was lost is repeated, and appended once', async () => {
    const proxy = await startRedisProxy(redis.port)
    opened.push(proxy)
    const log = open({ url: proxy.url })
    const session = newSession()
    await append(log, session)
    proxy.mode = 'swallow answers'
    const appending = appendAll(log, session, 2, 4)
    await expect.poll(() => redis.admin.hget(metaOf(session), 'head')).toBe('4')
    proxy.mode = 'pass'
    proxy.cut()
    expect(seqs(await appending)).toEqual([2, 3, 4])
    expect((await log.head(session)).head).toBe(4)
  })

  test('an outage is told once, however many tries it takes, and the next one again', async () => {
    const proxy = await startRedisProxy(redis.port)
    opened.push(proxy)
    const log = joined({ url: proxy.url })
    const session = newSession()
    for (const outages of [1, 2]) {
      await append(log, session)
      proxy.mode = 'refuse'
      const before = proxy.attempts
      proxy.cut()
      // Two connections, and more tries than that.
      await expect.poll(() => proxy.attempts).toBeGreaterThan(before + 5)
      proxy.mode = 'pass'
      await expect.poll(() => append(log, session).catch(() => undefined)).toBeDefined()
      // One for each connection at most.
      expect(log.errors.length).toBeGreaterThanOrEqual(outages)
      expect(log.errors.length).toBeLessThanOrEqual(2 * outages)
    }
  })

  test('C105: asking how far a session reaches does not read its events', async () => {
    const log = open()
    const session = newSession()
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await redis.admin.info('stats'))?.[1])
    await log.append(session, { type: 'x', text: 'x'.repeat(1_000_000) })
    const before = await sent()
    for (const _ of range(1, 10)) expect(await log.head(session)).toMatchObject({ first: 1, head: 1 })
    const listening = await log.subscribe(session, () => {})
    expect((await sent()) - before).toBeLessThan(500_000)
    listening()
  })

  test('C101: reading sessions that never were writes nothing, and asks Redis once who it is', async () => {
    const log = open()
    await append(log, newSession())
    const calls = async (name: string) =>
      Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await redis.admin.info('commandstats'))?.[1] ?? 0)
    const state = async () => [await redis.admin.dbsize(), await calls('hset'), await calls('pexpire')]
    const before = await state()
    const infos = await calls('info')
    for (const n of range(1, 200)) {
      await log.head(`never${n}`)
      await log.read(`never${n}`, 0, 10)
      const stop = await log.subscribe(`never${n}`, () => {})
      stop()
    }
    expect(await state()).toEqual(before)
    // The test's own.
    expect((await calls('info')) - infos).toBeLessThan(10)
  })

  test('an append that Redis broke off half way is not the end of the session', async () => {
    const session = newSession()
    // Without the right to publish, as it is for every new user of Redis 7.
    await redis.admin.call('ACL', 'SETUSER', 'mute', 'on', '>secret', '~*', '+@all', 'resetchannels')
    const log = open({ url: redis.url.replace('//', '//mute:secret@') })
    await expect(append(log, session, 1)).rejects.toThrow('channel')
    await redis.admin.call('ACL', 'SETUSER', 'mute', 'allchannels')
    await expect.poll(() => append(log, session, 2).catch(() => undefined)).toMatchObject({ seq: 2 })
    expect((await log.read(session, 0, 10)).map(({ event }) => event.n)).toEqual([1, 2])
    await redis.admin.call('ACL', 'DELUSER', 'mute')
  })

  test('a primary that becomes a replica is left, and what it refused is repeated', async () => {
    const log = open()
    const session = newSession()
    await append(log, session)
    await redis.admin.replicaof('127.0.0.1', 1)
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await redis.admin.info('stats'))?.[1])
    const before = await connections()
    const appending = append(log, session)
    await expect.poll(connections).toBeGreaterThan(before)
    await redis.admin.replicaof('NO', 'ONE')
    expect(await appending).toMatchObject({ seq: 2 })
  })

  test('what has timed out is not sent later, with the next connection', async () => {
    const proxy = await startRedisProxy(redis.port)
    opened.push(proxy)
    const log = open({ url: proxy.url })
    const session = newSession()
    await append(log, session)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true })
    try {
      proxy.mode = 'swallow questions'
      const failing = expect(append(log, session)).rejects.toThrow('timed out')
      await settle()
      vi.advanceTimersByTime(5_001)
      await failing
    } finally {
      vi.useRealTimers()
    }
    proxy.mode = 'pass'
    proxy.cut()
    await expect.poll(() => append(log, session).catch(() => undefined)).toMatchObject({ seq: 2 })
    expect(await log.head(session)).toMatchObject({ head: 2 })
  })

  test('a look is a sign of life on the subscriptions too', async () => {
    const log = joined()
    await log.subscribe(newSession(), () => {})
    await log.clock.advance(10_000)
    const clients = async () => String(await redis.admin.call('CLIENT', 'LIST', 'TYPE', 'PUBSUB'))
    await expect.poll(clients).toContain('cmd=ping')
  })

  test('closing it leaves no connection behind', async () => {
    const count = async () =>
      String(await redis.admin.call('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    // That of the test, when those of the tests before are gone.
    await expect.poll(count).toBe(1)
    const log = joined()
    const session = newSession()
    await log.subscribe(session, () => {})
    await append(log, session)
    expect(await count()).toBe(3)
    log.close()
    await expect.poll(count).toBe(1)
    expect(log.clock.timers).toBe(0)
  })

  test('a client may be given instead of a URL; it is duplicated, not used', async () => {
    const odd = { enableOfflineQueue: false, stringNumbers: true, maxRetriesPerRequest: 0 }
    const client = new Redis(redis.port, '127.0.0.1', { lazyConnect: true, ...odd })
    const log = open({ client })
    expect(await append(log, newSession())).toMatchObject({ seq: 1 })
    expect(client.status).toBe('wait')
  })

  test.each<[RedisLogOptions | object, string]>([
    [{}, "give either 'url' or 'client'"],
    [{ url: 'http://localhost' }, "'url' must be like 'redis://"],
    [{ url: 'redis://localhost', client: {} }, "give either 'url' or 'client'"],
    [{ client: {} }, "'client' must be a Redis or a Cluster of 'ioredis'"],
    [{ url: 'redis://localhost', prefix: 'a b' }, "'prefix'"],
    [{ url: 'redis://localhost', maxEvents: 0 }, "'maxEvents'"],
    [{ url: 'redis://localhost', maxAge: -1 }, "'maxAge'"],
    [{ url: 'redis://localhost', maxSessionBytes: 1_000 }, "'maxSessionBytes'"],
    [{ url: 'redis://localhost', replicas: 0.5 }, "'replicas'"],
    [{ url: 'redis://localhost', clock: {} }, "'clock' must have a function 'setTimeout'"],
    [{ url: 'redis://localhost', ulr: '' }, "unknown option 'ulr'"],
  ])('refuses %j', (options, message) => {
    expect(() => redisLog(options as RedisLogOptions)).toThrow(message)
  })
})

describeLog('a client that follows from now on', () => {
  test.each([0, 3])('is told the head of a session of %d events, and sent what comes after it', async (count) => {
    const { server } = createTestServer({ log: open() })
    const session = newSession()
    const stream = await openStream(server)
    for (let n = 0; n < count; n++) await server.publish(session, { type: 'x' })
    const { sessions } = await (await stream.watch(session, HEAD)).json()
    expect(sessions).toMatchObject([{ sessionId: session, status: 'reset', to: count }])
    await server.publish(session, { type: 'x' })
    await expect.poll(() => stream.events).toEqual([`${session}:${count + 1}`])
  })
})

describeLog('a Redis that loses its memory', () => {
  test('comes back in another epoch, and whoever was connected is told to resume', async () => {
    const log = open()
    const { server } = createTestServer({ log })
    const session = newSession()
    const stream = await openStream(server)
    await stream.watch(session)
    const { epoch } = await server.publish(session, { type: 'x' })
    await expect.poll(() => stream.events).toEqual([`${session}:1`])
    await redis.restartEmpty()
    await expect.poll(() => stream.ending).toBe('ended')
    expect(stream.ofType('goodbye')).toHaveLength(1)

    const next = await openStream(server)
    const sessions = [{ sessionId: session, lastSeq: 1, epoch }]
    const { sessions: verdicts } = await (await next.post('reconnect', { type: 'reconnect', sessions })).json()
    // It has no numbering yet.
    expect(verdicts).toEqual([{ sessionId: session, status: 'reset', from: 0, to: 0 }])
    expect(await server.publish(session, { type: 'x' })).toMatchObject({ epoch: expect.not.stringMatching(epoch) })
    await expect.poll(() => next.events).toEqual([`${session}:1`])
    // And it stays the same one, whenever somebody looks.
    const head = await log.head(session)
    await log.clock.advance(10_000)
    expect((await log.head(session)).epoch).toBe(head.epoch)
  })

  test('an epoch ends with the promotion of a replica: it may lack what clients have seen', async () => {
    const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] })
    try {
      const session = newSession()
      const { epoch } = await append(open(), session)
      await expect.poll(() => replica.admin.hget(metaOf(session), 'head')).toBe('1')
      await replica.admin.replicaof('NO', 'ONE')
      const promoted = open({ url: replica.url })
      const head = await promoted.head(session)
      expect(head).toEqual({ epoch: expect.not.stringMatching(epoch), first: 1, head: 1 })
      // Once, not with every process that comes along.
      expect(await open({ url: replica.url }).head(session)).toEqual(head)
      expect(await append(promoted, session)).toMatchObject({ epoch: head.epoch, seq: 2 })
      expect(seqs(await promoted.read(session, 0, 10))).toEqual([1, 2])
    } finally {
      await replica.stop()
    }
  })

  test('a promotion that no connection noticed is found by the next look, and nobody turns the epoch back', async () => {
    const [log, late] = [open(), open()]
    const session = newSession()
    const { epoch } = await append(log, session)
    const listener = vi.fn()
    await log.subscribe(session, listener)
    await append(late, newSession())
    // A server that was a replica for a moment has another replication id.
    await redis.admin.replicaof('127.0.0.1', 1)
    await redis.admin.replicaof('NO', 'ONE')
    await log.clock.advance(10_000)
    await expect.poll(() => listener.mock.calls.length).toBe(1)
    const head = await log.head(session)
    expect(head.epoch).not.toBe(epoch)
    // Still thinks that it talks to the old one.
    expect(await append(late, session)).toMatchObject({ epoch: head.epoch })
    expect((await log.head(session)).epoch).toBe(head.epoch)
  })

  test('after a reconnect nobody takes it for the old one', async () => {
    const log = open()
    const session = newSession()
    const { epoch } = await append(log, session)
    await redis.admin.replicaof('127.0.0.1', 1)
    await redis.admin.replicaof('NO', 'ONE')
    expect(await log.head(session)).toMatchObject({ epoch })
    await redis.cut()
    await expect.poll(async () => (await log.head(session)).epoch).not.toBe(epoch)
  })

  test('what was under way meanwhile is of the new epoch too, whichever server it was meant for', async () => {
    const log = open()
    const session = newSession()
    const { epoch } = await append(log, session)
    await redis.admin.call('CLIENT', 'PAUSE', 10_000, 'WRITE')
    const appending = append(log, session)
    const normal = async () => String(await redis.admin.call('CLIENT', 'LIST', 'TYPE', 'normal'))
    await expect.poll(normal).toMatch(/qbuf=0 .*cmd=evalsha/)
    await redis.admin.replicaof('127.0.0.1', 1)
    await redis.admin.replicaof('NO', 'ONE')
    await redis.cut()
    await redis.admin.call('CLIENT', 'UNPAUSE')
    const { epoch: next, seq } = await appending
    expect([seq, next === epoch]).toEqual([2, false])
    expect(await log.head(session)).toMatchObject({ epoch: next, head: 2 })
  })

  test('`replicas`: an event that is on too few is not acknowledged', async () => {
    const log = open({ replicas: 1 })
    const session = newSession()
    await expect(append(log, session)).rejects.toThrow('0 of 1 replicas')
    const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] })
    try {
      await expect.poll(() => append(log, session).catch(() => undefined)).toBeDefined()
    } finally {
      await replica.stop()
    }
  })
})

describeLog('an event that is appended once', () => {
  const logs: [string, () => SessionLog][] = [
    ['redisLog', () => open()],
    ['memoryLog', () => memoryLog()],
  ]
  test.each(logs)('is appended once under its id, in its session, by %s', async (_, create) => {
    const log = create()
    const [session, other] = [newSession(), newSession()]
    const once = { id: 'k', fingerprint: 'f' }
    expect(await log.append(session, { type: 'a' }, once)).toMatchObject({ seq: 1 })
    expect(await log.append(session, { type: 'b' })).toMatchObject({ seq: 2 })
    expect(await log.append(session, { type: 'a' }, once)).toMatchObject({ seq: 1 })
    expect(await log.append(session, { type: 'a' }, { ...once, id: 'l' })).toMatchObject({ seq: 3 })
    expect(await log.append(other, { type: 'a' }, once)).toMatchObject({ seq: 1 })
    expect((await log.read(session, 0, 10)).map(({ event }) => event.type)).toEqual(['a', 'b', 'a'])
  })

  test.each(logs)('for something else under the same id there is a 409, by %s', async (_, create) => {
    const log = create()
    const session = newSession()
    await log.append(session, { type: 'a' }, { id: 'k', fingerprint: 'f' })
    const again = async () => log.append(session, { type: 'b' }, { id: 'k', fingerprint: 'g' })
    await expect(again()).rejects.toMatchObject({ status: 409, code: 'id-reused' })
    expect(await log.head(session)).toMatchObject({ head: 1 })
  })

  test('memoryLog forgets the id with the event', async () => {
    const log = memoryLog({ maxEvents: 1 })
    await log.append('s', { type: 'a' }, { id: 'k', fingerprint: 'f' })
    await log.append('s', { type: 'b' })
    expect(await log.append('s', { type: 'a' }, { id: 'k', fingerprint: 'g' })).toMatchObject({ seq: 3 })
  })
})
