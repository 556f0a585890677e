import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { ChatServerOptions } from '../../../server'
import { redisLog } from '../../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import {
  answer,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  post,
  range,
  settle,
} from '../../support/server'

const CANCELLED = [409, { error: 'cancelled' }]

describeWithRedis('a stop, where several processes share Redis', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []

  beforeAll(async () => {
    redis = await startRedis()
  })
  beforeEach(() => redis.admin.flushall())
  afterEach(() => {
    for (const log of opened.splice(0)) log.close()
  })
  afterAll(() => redis.stop())

  /** A process, and commands in it that end when told. */
  function start(overrides: Partial<ChatServerOptions> = {}) {
    const clock = fakeClock()
    const log = redisLog({ url: redis.url, clock })
    opened.push(log)
    const commands = manualCommands()
    const process = createTestServer({ log, onCommand: commands.onCommand, ...overrides })
    const running = (count: number) => expect.poll(() => commands.running).toBe(count)
    return { ...process, log, commands, running, logClock: clock }
  }
  type Process = ReturnType<typeof start>

  async function connect(process: Process, as = 'alice') {
    const { connectionId } = await openStream(process.server, as)
    const channel = `holdline:node:${connectionId.split('.')[0]}`
    await expect.poll(() => redis.admin.publish(channel, '')).toBe(1)
    const postTo = (there: Process, type: string, key: string, fields: object = {}) =>
      answer(post(there.server, type, { type, sessionId: 'room', ...fields }, { as, connectionId, key }))
    return {
      options: { as, connectionId, key: 'stop' },
      send: (there: Process, key: string, fields = {}) => postTo(there, 'send', key, fields),
      stop: (there: Process, ...cancels: string[]) =>
        postTo(there, 'stop', `stop ${cancels}`.replaceAll(' ', '-'), { cancels }),
    }
  }

  const receipts = async () => {
    const keys = await redis.admin.keys('holdline:receipt:*')
    return Promise.all(keys.map((key) => redis.admin.get(key)))
  }

  test('keeps what it names from beginning in any of them, whatever the copy says', async () => {
    const [here, there] = [start(), start()]
    const stream = await connect(here)
    const stopped = stream.stop(there, 'a', 'b')
    await there.running(1)
    there.commands.endNext()
    expect((await stopped)[0]).toBe(200)
    expect(await stream.send(here, 'a')).toEqual(CANCELLED)
    expect(await stream.send(there, 'b', { other: true })).toEqual(CANCELLED)
    expect(here.commands.calls).toHaveLength(0)
    expect(there.commands.calls).toHaveLength(1)
    // They are of one principal.
    const bobs = (await connect(here, 'bob')).send(here, 'a')
    await here.running(1)
    here.commands.endNext()
    expect((await bobs)[0]).toBe(200)
  })

  test('does not touch what has begun, or is over, in another one, and takes back what waits there', async () => {
    const [here, there] = [start(), start()]
    const stream = await connect(here)
    const over = stream.send(there, 'over')
    await there.running(1)
    there.commands.endNext()
    await over
    const running = stream.send(there, 'running')
    await there.running(1)
    const waiting = stream.send(there, 'waiting', { n: 1 })
    // A copy of what runs there waits here, behind another command.
    const other = stream.send(here, 'other')
    await here.running(1)
    const copy = stream.send(here, 'running')
    await settle(50)
    const stopped = stream.stop(here, 'over', 'running', 'waiting')
    await expect.poll(async () => (await receipts()).filter((text) => text?.includes('cancelled'))).toHaveLength(1)
    here.commands.endNext()
    expect((await other)[0]).toBe(200)
    there.commands.endNext()
    expect(await running).toEqual([200, { n: 2 }])
    expect(await waiting).toEqual(CANCELLED)
    // The copy learns of the end when it looks the next time.
    const looks = async () => {
      await here.logClock.advance(200)
      return here.commands.running
    }
    await expect.poll(looks).toBe(1)
    expect(await copy).toEqual([200, { n: 2 }])
    here.commands.endNext()
    expect((await stopped)[0]).toBe(200)
    expect((await stream.send(here, 'over'))[0]).toBe(200)
    expect(there.commands.calls).toHaveLength(2)
  })

  test('keeps what had begun in its process, and fails then, from being run again in any of them', async () => {
    const slow = manualCommands()
    const here = start({
      onCommand: async (call) => {
        await slow.onCommand(call)
        if (call.type === 'send') throw new Error('the model is away')
      },
    })
    const there = start()
    const stream = await connect(here)
    const sent = stream.send(here, 'a')
    await expect.poll(() => slow.running).toBe(1)
    const stopped = stream.stop(here, 'a', 'never-came')
    await expect.poll(async () => (await receipts()).filter((text) => text?.includes('cancelled'))).toHaveLength(1)
    await settle(50)
    slow.endNext()
    expect(await sent).toEqual(CANCELLED)
    expect(await stream.send(there, 'a')).toEqual(CANCELLED)
    await expect.poll(() => slow.running).toBe(1)
    slow.endNext()
    expect((await stopped)[0]).toBe(200)
    expect(there.commands.calls).toEqual([])
  })

  test('has what waits in its own process answered at once', async () => {
    const here = start()
    const stream = await connect(here)
    const running = stream.send(here, 'running')
    await here.running(1)
    const other = await connect(here)
    const waiting = other.send(here, 'waiting')
    await settle(50)
    const stopped = other.stop(here, 'waiting')
    // From another stream: on the same one, without lanes, it would stand behind.
    expect(await waiting).toEqual(CANCELLED)
    here.commands.endNext()
    expect((await running)[0]).toBe(200)
    await here.running(1)
    here.commands.endNext()
    expect((await stopped)[0]).toBe(200)
  })

  test('C100: counts as receipts do: without room it is a 429 and not run', async () => {
    const here = start({ limits: { receipts: 32 } })
    const stream = await connect(here)
    expect(await stream.stop(here, 'a', 'b', 'c', 'd', 'e')).toEqual([429, { error: 'too-many-receipts' }])
    expect([here.commands.calls, here.errors]).toEqual([[], []])
  })

  test('C100: for which there is no room takes nothing back, also of what there would be room for', async () => {
    const here = start({ limits: { receipts: 32 } })
    const stream = await connect(here)
    expect((await stream.stop(here, 'a', 'b', 'c', 'd', 'e'))[0]).toBe(429)
    expect(await receipts()).toEqual([])
    const a = stream.send(here, 'a')
    await here.running(1)
    here.commands.endNext()
    expect((await a)[0]).toBe(200)
    // It knows of one, so it needs room for three, and for itself.
    const stopped = stream.stop(here, 'a', 'b', 'c')
    await here.running(1)
    here.commands.endNext()
    expect((await stopped)[0]).toBe(200)
    expect(await stream.send(here, 'b')).toEqual(CANCELLED)
    expect((await stream.send(here, 'a'))[0]).toBe(200)
  })

  test('that names a thousand is one call to Redis, whether there is room or not', async () => {
    for (const allReceipts of [100_000, 800]) {
      const here = start({ limits: { receipts: allReceipts } })
      const stream = await connect(here)
      const names = range(1, 1_000).map((n) => `n${n}`)
      await redis.admin.config('RESETSTAT')
      const answered = post(here.server, 'stop', { type: 'stop', sessionId: 'room', cancels: names }, stream.options)
      if (allReceipts > 800) {
        await here.running(1)
        here.commands.endNext()
      }
      expect((await answered).status).toBe(allReceipts > 800 ? 200 : 429)
      const stats = await redis.admin.info('commandstats')
      // Its own claim and its settling, and what its stream costs.
      expect(Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)).toBeLessThan(20)
      await redis.admin.flushall()
    }
  })

  test('C100: a claim that ran out long ago, with its process, is not the one that gives way to its own repeat', async () => {
    const [dies, here] = [start({ limits: { receipts: 8 } }), start({ limits: { receipts: 8 } })]
    const stream = await connect(dies)
    void stream.send(dies, 'k')
    await dies.running(1)
    const [claim = ''] = await redis.admin.keys('holdline:receipt:*')
    const [quota = ''] = await redis.admin.keys('holdline:quota:*')
    await redis.admin.del(claim)
    await redis.admin.zincrby(quota, -900_000, claim.slice('holdline:receipt:'.length))
    const repeated = stream.send(here, 'k')
    await here.running(1)
    expect(await redis.admin.keys('holdline:receipt:*')).toEqual([claim])
    here.commands.endNext()
    expect((await repeated)[0]).toBe(200)
  })

  test('what it took back is remembered as long as a receipt is', async () => {
    const here = start({ limits: { receiptAge: 86_400_000 } })
    const stream = await connect(here)
    const stopped = stream.stop(here, 'a')
    await here.running(1)
    here.commands.endNext()
    await stopped
    for (const key of await redis.admin.keys('holdline:receipt:*')) {
      expect(await redis.admin.pttl(key)).toBeGreaterThan(86_000_000)
    }
    const [quota = ''] = await redis.admin.keys('holdline:quota:*')
    expect(await redis.admin.zcard(quota)).toBe(2)
  })

  test('is not run while Redis cannot promise it, and is when it is repeated', async () => {
    const here = start()
    const stream = await connect(here)
    await redis.admin.config('SET', 'maxmemory', '1')
    const refused = await stream.stop(here, 'a')
    await redis.admin.config('SET', 'maxmemory', '0')
    expect([refused[0], here.commands.calls]).toEqual([503, []])
    const stopped = stream.stop(here, 'a')
    await here.running(1)
    here.commands.endNext()
    expect((await stopped)[0]).toBe(200)
    expect(await stream.send(here, 'a')).toEqual(CANCELLED)
  })
})

describeWithRedis('receiptAge', () => {
  test('counts from the end of a command: a receipt gives way 15 min after that, and a claim never', async () => {
    const redis = await startRedis()
    const clock = fakeClock()
    const log = redisLog({ url: redis.url, clock })
    const commands = manualCommands()
    const { server } = createTestServer({ log, onCommand: commands.onCommand, limits: { receipts: 8 } })
    try {
      const stream = await openStream(server)
      expect(stream.frames[0]?.receiptAge).toBe(900_000)
      const send = (key: string) => answer(stream.post('send', { type: 'send', sessionId: `room-${key}` }, { key }))
      const slow = send('slow')
      await expect.poll(() => commands.running).toBe(1)
      const [quota = ''] = await redis.admin.keys('holdline:quota:*')
      const makeOld = async () => {
        for (const hash of await redis.admin.zrange(quota, 0, '-1')) await redis.admin.zincrby(quota, -900_000, hash)
      }
      // It has been running for long, and its claim is renewed.
      await makeOld()
      const [, before] = await redis.admin.zrange(quota, 0, '-1', 'WITHSCORES')
      await clock.advance(2_000)
      await expect
        .poll(async () => Number((await redis.admin.zrange(quota, 0, '-1', 'WITHSCORES'))[1]))
        .toBeGreaterThan(Number(before) + 800_000)
      expect(await send('other')).toEqual([429, { error: 'too-many-receipts' }])
      // Nor is it old when it ends after a pause.
      await makeOld()
      commands.endNext()
      expect((await slow)[0]).toBe(200)
      expect(await send('other')).toEqual([429, { error: 'too-many-receipts' }])
      expect(await redis.admin.pttl(quota)).toBeGreaterThan(86_000_000)
      await makeOld()
      const other = send('other')
      await expect.poll(() => commands.running).toBe(1)
      commands.endNext()
      expect((await other)[0]).toBe(200)
      expect(range(1, commands.calls.length)).toEqual([1, 2])
    } finally {
      log.close()
      await redis.stop()
    }
  })
})
