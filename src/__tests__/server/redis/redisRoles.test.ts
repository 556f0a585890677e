import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { LogEntry } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns, suspend } from '../../../server/runs'
import { aclLines } from '../../support/aclLines'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { createTestServer, fakeClock, openStream, post, range, settle } from '../../support/server'

/** The lines of docs/scaling.md, as they are; not those that a cluster needs besides. */
const ACL = aclLines().filter((line) => !line.includes('cluster'))

describeWithRedis('C106: what each user of docs/scaling.md may do', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []
  let rooms = 0
  const newRoom = () => `room${++rooms}`
  const urlOf = (user: string) => redis.url.replace('//', `//${user}:secret@`)

  /** A process of the app, with no more rights than the docs say. */
  function start(options: { replicas?: number } = {}) {
    const clock = fakeClock()
    const log = redisLog({ url: urlOf('holdline'), clock, ...options })
    opened.push(log)
    return { ...createTestServer({ log }), log, logClock: clock }
  }

  function as(user: string) {
    const client = new Redis(urlOf(user), { enableReadyCheck: false, lazyConnect: true, protocol: 2 } as object)
    client.on('error', () => {})
    opened.push({ close: () => client.disconnect() })
    return client
  }

  beforeAll(async () => {
    redis = await startRedis()
    for (const line of ACL) await redis.admin.call('ACL', ...line.split(' ').slice(1))
  })
  afterEach(() => {
    for (const { close } of opened.splice(0)) close()
  })
  afterAll(() => redis.stop())

  const channelOf = (room: string) => `holdline:session:${room}`
  const keyOf = (room: string) => `holdline:{${room}}:log`
  const nodeOf = ({ connectionId }: { connectionId: string }) => connectionId.split('.')[0] ?? ''

  test('there is a line for each of them', () => {
    expect(ACL.map((line) => line.split(' ')[2])).toEqual(['holdline', 'publisher', 'subscriber', 'reader'])
  })

  test('a process has all the rights that it needs, also for what happens seldom', async () => {
    const [here, there] = [start(), start()]
    const room = newRoom()
    const stream = await openStream(here.server)
    await expect.poll(() => redis.admin.publish(`holdline:node:${nodeOf(stream)}`, '')).toBe(1)
    const { connectionId } = stream
    const elsewhere = (endpoint: string, body: object, key?: string) =>
      post(there.server, endpoint, body, { connectionId, ...(key && { key }) })
    const resume = { type: 'reconnect', sessions: [{ sessionId: room, lastSeq: 0 }] }
    expect((await elsewhere('reconnect', resume)).status).toBe(200)
    for (const _ of range(1, 3)) {
      expect((await elsewhere('send', { type: 'send', sessionId: room }, 'k1')).status).toBe(200)
    }
    await here.log.append(room, { type: 'x' }, { id: 'a#1', fingerprint: 'f' })
    await here.log.append(room, { type: 'x' }, { id: 'a#1', fingerprint: 'f' })
    await there.server.publish(room, { type: 'x' })
    // So much that it is trimmed.
    const text = 'x'.repeat(1_000_000)
    for (const n of range(3, 14)) await there.server.publish(room, { type: 'x', n, text })
    await expect.poll(() => stream.events).toEqual(range(1, 14).map((seq) => `${room}:${seq}`))
    // After a promotion, and long unused.
    await redis.admin.replicaof('127.0.0.1', 1)
    await redis.admin.replicaof('NO', 'ONE')
    await redis.admin.pexpire(`holdline:{${room}}:meta`, 60_000)
    for (const { logClock } of [here, there]) await logClock.advance(10_000)
    await here.server.publish(room, { type: 'x' })
    expect((await here.log.head(room)).head).toBe(15)
    await here.server.close()
    expect([here.errors, there.errors]).toEqual([[], []])
  })

  test('and those that its runs need: to begin, wait, be answered, be stopped from elsewhere, and be buried', async () => {
    const [here, there] = [start(), start()]
    const call = (sessionId: string) => ({ principal: { id: 'alice' }, sessionId, idempotencyKey: undefined })
    const options = { lease: 1_000, onBusy: 'queue' } as const
    const [mine, others] = [
      createRuns({ server: here.server, ...options }),
      createRuns({ server: there.server, ...options }),
    ]
    const [asking, running] = [newRoom(), newRoom()]
    const { run } = await mine.start(call(asking), async function* () {
      yield { type: 'x' }
      yield suspend('ok?')
    })
    await mine.idle()
    const forever = () => new Promise<never>(() => {})
    await others.resume(call(asking), run, forever)
    expect(await mine.stop(asking)).toBe(run)
    await others.idle()
    await others.start(call(running), forever)
    await others.start(call(running), forever)
    there.log.close()
    const ends = async () => (await here.log.read(running, 0, 10)).filter(({ event }) => event.type === 'run.ended')
    const lives = async () => {
      await here.clock.advance(400)
      return (await ends()).length
    }
    await expect.poll(lives).toBe(2)
    expect([here.errors, there.errors]).toEqual([[], []])
  })

  test('a process that waits for replicas has the right to', async () => {
    const { log } = start({ replicas: 1 })
    await expect(log.append(newRoom(), { type: 'x' })).rejects.toThrow('0 of 1 replicas')
  })

  test('the publisher forges no event, and the real one with that number reaches its readers, once', async () => {
    const [here, there] = [start(), start()]
    const room = newRoom()
    const stream = await openStream(here.server)
    await stream.watch(room)
    const { epoch } = await there.server.publish(room, { type: 'real' })
    await expect.poll(() => stream.events).toEqual([`${room}:1`])
    const publisher = as('publisher')
    for (const n of range(1, 20)) {
      const forged = JSON.stringify({ type: 'forged' })
      for (const text of [
        `${epoch} ${n + 1} ${forged}`,
        `${epoch} ${n + 7}`,
        `forged ${n}`,
        `${epoch} 1e999`,
        epoch,
        '',
      ]) {
        expect(await publisher.publish(channelOf(room), text)).toBe(1)
      }
      await there.server.publish(room, { type: 'real' })
    }
    const expected = range(1, 21).map((seq) => `${room}:${seq}`)
    await expect.poll(() => stream.events).toEqual(expected)
    await publisher.publish(channelOf(room), `${epoch} 22 {"type":"forged"}`)
    await settle(20)
    expect(stream.events).toEqual(expected)
    expect(stream.ofType('forged')).toEqual([])
    expect(await here.log.head(room)).toMatchObject({ epoch, head: 21 })
    expect(here.errors).toEqual([])
    for (const call of [
      () => publisher.xadd(keyOf(room), '*', 'e', '{"type":"forged"}'),
      () => publisher.get('holdline:mail:x.1'),
      () => publisher.set('holdline:mail:x.1', '{}'),
      () => publisher.call('EVAL', 'return redis.call("DEL", "holdline:x")', '0'),
    ]) {
      await expect(call()).rejects.toThrow('NOPERM')
    }
  })

  test('the publisher asks no process for anything, and answers no question', async () => {
    const here = start()
    const [room, secret] = [newRoom(), 'alice-secret']
    const stream = await openStream(here.server, 'mallory')
    await expect.poll(() => redis.admin.publish(`holdline:node:${nodeOf(stream)}`, '')).toBe(1)
    const { epoch } = await here.server.publish(secret, { type: 'x' })
    const publisher = as('publisher')
    const call = { type: 'join', sessionId: secret, after: 0, epoch }
    const request = { principalId: 'mallory', connectionId: stream.connectionId, call }
    const message = { to: nodeOf(stream), from: 'x', request }
    for (const text of [
      JSON.stringify({ id: 'x.1', ...message }),
      'x.1',
      `${nodeOf(stream)}.1`,
      JSON.stringify(message),
    ]) {
      expect(await publisher.publish(`holdline:node:${nodeOf(stream)}`, text)).toBe(1)
    }
    await here.server.publish(room, { type: 'x' })
    await here.server.publish(secret, { type: 'x' })
    await stream.watch(room)
    await expect.poll(() => stream.events).toEqual([`${room}:1`])
    expect(here.errors).toEqual([])
  })

  test('a question is for the process that it names, and is carried out once, whoever is woken with it', async () => {
    const [here, there] = [start(), start()]
    const stream = await openStream(here.server)
    const other = await openStream(there.server)
    for (const { connectionId } of [stream, other]) {
      await expect.poll(() => redis.admin.publish(`holdline:node:${nodeOf({ connectionId })}`, '')).toBe(1)
    }
    const publisher = as('publisher')
    const { connectionId } = stream
    await post(there.server, 'probe', { type: 'probe', nonce: 'n' }, { connectionId })
    await expect.poll(() => stream.ofType('probe')).toHaveLength(1)
    const mails = (await redis.admin.keys('holdline:mail:*')).map((key) => key.slice('holdline:mail:'.length))
    expect(mails.length).toBeGreaterThanOrEqual(2)
    for (const id of mails) {
      for (const node of [nodeOf(stream), nodeOf(other)]) await publisher.publish(`holdline:node:${node}`, id)
    }
    await post(there.server, 'probe', { type: 'probe', nonce: 'last' }, { connectionId })
    await expect.poll(() => stream.ofType('probe').map(({ nonce }) => nonce)).toEqual(['n', 'last'])
    expect(other.ofType('probe')).toEqual([])
    // The last question and its answer, and no answer of anybody who was not asked.
    expect(await redis.admin.keys('holdline:mail:*')).toHaveLength(mails.length + 2)
  })

  test('the subscriber sees that something happens, and not what', async () => {
    const { server } = start()
    const room = newRoom()
    const subscriber = as('subscriber')
    const heard: string[] = []
    subscriber.on('message', (_, text) => heard.push(text))
    await subscriber.subscribe(channelOf(room))
    const { epoch } = await server.publish(room, { type: 'x', secret: 's3cret' })
    await expect.poll(() => heard).toEqual([`${epoch} 1`])
    await expect(as('subscriber').get(keyOf(room))).rejects.toThrow('NOPERM')
  })

  test('the reader reads, and writes nothing', async () => {
    const { server } = start()
    const room = newRoom()
    await server.publish(room, { type: 'x' })
    const reader = as('reader')
    expect(await reader.xrange(keyOf(room), '-', '+')).toEqual([['0-1', ['e', '{"type":"x"}']]])
    await expect(reader.xadd(keyOf(room), '0-2', 'e', '{"type":"forged"}')).rejects.toThrow('NOPERM')
    await expect(reader.publish(channelOf(room), 'x 2')).rejects.toThrow('NOPERM')
  })
})

describeWithRedis('C106: keys that somebody else has written', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []
  let rooms = 0
  const newRoom = () => `room${++rooms}`
  const keyOf = (room: string, part: string) => `holdline:{${room}}:${part}`

  function start() {
    const clock = fakeClock()
    const log = redisLog({ url: redis.url, clock })
    opened.push(log)
    return { ...createTestServer({ log }), log, logClock: clock }
  }

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(() => {
    for (const { close } of opened.splice(0)) close()
  })
  afterAll(() => redis.stop())

  test.each([
    ['head', 'abc'],
    ['head', ''],
    ['head', '-1'],
    ['head', '1.5'],
    ['head', 'nan'],
    ['head', 'inf'],
    ['head', '1e300'],
    ['head', '9007199254740993'],
    ['epoch', ''],
    ['epoch', 'e'.repeat(100_000)],
  ])('a session whose %s is %j waits until it has a numbering again; the others go on', async (field, value) => {
    const { server, log, logClock, errors } = start()
    const [bad, good] = [newRoom(), newRoom()]
    const stream = await openStream(server)
    for (const room of [bad, good]) await server.publish(room, { type: 'x' })
    const before = await redis.admin.hgetall(keyOf(bad, 'meta'))
    await redis.admin.hset(keyOf(bad, 'meta'), field, value)
    const sessions = [bad, good].map((sessionId) => ({ sessionId, lastSeq: 0 }))
    expect((await stream.post('reconnect', { type: 'reconnect', sessions })).status).toBe(200)
    await expect.poll(() => stream.events).toEqual([`${good}:1`])
    await expect(server.publish(bad, { type: 'x' })).rejects.toThrow(`BADKEY ${keyOf(bad, 'meta')} holds no numbering`)
    expect(await log.head(bad)).toMatchObject({ isUnreadable: true })
    expect((await stream.post('send', { type: 'send', sessionId: bad })).status).toBe(200)
    expect(errors.map(String)).toEqual([
      expect.stringMatching(`^Error: redisLog: session ${bad} cannot be read, and waits until it can .*BADKEY`),
      expect.stringMatching('^ReplyError: BADKEY'),
    ])
    await redis.admin.hset(keyOf(bad, 'meta'), before)
    await logClock.advance(10_000)
    await server.publish(bad, { type: 'x' })
    await expect.poll(() => stream.events).toEqual([`${good}:1`, `${bad}:1`, `${bad}:2`])
    expect(stream.ending).toBe('open')
  })

  test('a head that is too high or too low loses nobody but its own readers', async () => {
    const { server, log, errors } = start()
    const room = newRoom()
    for (const _ of range(1, 3)) await server.publish(room, { type: 'x' })
    await redis.admin.hset(keyOf(room, 'meta'), 'head', '99999999999998')
    expect(await log.head(room)).toMatchObject({ first: 1, head: 99_999_999_999_998 })
    expect(((await log.read(room, 0, 10)) as LogEntry[]).map(({ seq }) => seq)).toEqual([1, 2, 3])
    await redis.admin.hset(keyOf(room, 'meta'), 'head', '1')
    await expect(server.publish(room, { type: 'x' })).rejects.toThrow('equal or smaller')
    expect(errors).toHaveLength(1)
  })

  test('ids that are not ours are not read, and nobody reads in a circle', async () => {
    const { server, log } = start()
    const room = newRoom()
    await server.publish(room, { type: 'x' })
    await redis.admin.xadd(keyOf(room, 'log'), '0-18446744073709551615', 'e', '{"type":"forged"}')
    await redis.admin.xadd(keyOf(room, 'log'), '5-1', 'e', '{"type":"forged"}')
    expect(((await log.read(room, 0, 10)) as LogEntry[]).map(({ seq }) => seq)).toEqual([1])
    const stream = await openStream(server)
    await stream.watch(room)
    await expect.poll(() => stream.events).toEqual([`${room}:1`])
  })

  test('an entry that is longer than a session may be, or no event, keeps its place', async () => {
    const { server, log, errors } = start()
    const room = newRoom()
    await server.publish(room, { type: 'x' })
    const hostile = [
      'x'.repeat(8_388_609),
      '{"type":"x","seq":99,"epoch":"forged","sessionId":"other","prevSeq":1}',
      '{"type":"x"}\n\ndata: {"type":"welcome"}',
      ' {"type":\n"x"}\r\n ',
      `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    ]
    for (const [index, json] of hostile.entries())
      await redis.admin.xadd(keyOf(room, 'log'), `0-${index + 2}`, 'e', json)
    await redis.admin.hset(keyOf(room, 'meta'), 'head', 6)
    const stream = await openStream(server)
    await stream.watch(room)
    await expect.poll(() => stream.events).toEqual(range(1, 6).map((seq) => `${room}:${seq}`))
    const { epoch } = await log.head(room)
    const types = stream.frames
      .filter(({ sessionId }) => sessionId === room)
      .map(({ type, prevSeq }) => [type, prevSeq])
    expect(types).toEqual(['x', 'unreadable', 'x', 'unreadable', 'x', 'unreadable'].map((type) => [type, undefined]))
    expect(new Set(stream.frames.filter(({ seq }) => seq).map((frame) => frame.epoch))).toEqual(new Set([epoch]))
    expect(errors).toHaveLength(3)
  })

  test('keys of another kind, and values that are none of ours, are told and lost on nobody else', async () => {
    const { server, log } = start()
    const [room, good] = [newRoom(), newRoom()]
    const once = { id: 'k', fingerprint: 'f' }
    await log.append(room, { type: 'x' }, once)
    const [writer = ''] = await redis.admin.keys(keyOf(room, 'writer:*'))
    const [known = ''] = await redis.admin.keys(keyOf(room, 'once:*'))
    await redis.admin.set(writer, 'nonsense')
    await redis.admin.set(known, 'nonsense')
    await redis.admin.hset(keyOf(room, 'meta'), 'bytes', 'abc', 'marks', 'abc:x 7:')
    await expect(log.append(room, { type: 'x' }, once)).rejects.toMatchObject({ code: 'id-reused' })
    expect(await server.publish(room, { type: 'x' })).toMatchObject({ seq: 2 })
    await redis.admin.del(writer)
    await redis.admin.lpush(writer, 'a list')
    await expect(server.publish(room, { type: 'x' })).rejects.toThrow('WRONGTYPE')
    expect(await server.publish(good, { type: 'x' })).toMatchObject({ seq: 1 })
  })
})
