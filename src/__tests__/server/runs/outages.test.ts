import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { redisLog } from '../../../server/redis'
import { createRuns, type RunsOptions } from '../../../server/runs'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { createTestServer, fakeClock, until } from '../../support/server'
import { command, eventsOf, manualProducer, text, typesOf } from './stage'

/** ms. */
const LEASE = 1_000

describeWithRedis('runs and what happens to Redis', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const log of opened.splice(0)) log.close()
    await redis.admin.flushall()
  })
  afterAll(() => redis.stop())

  /** A process whose clock stands still until it is moved. */
  function start(options: Omit<RunsOptions, 'server'> = {}, limits = {}) {
    const inner = redisLog({ url: redis.url, clock: fakeClock() })
    opened.push(inner)
    /** Between a change in Redis and the answer about it. */
    const hooks = { async onChanged() {}, wakes: 0 }
    const joinRuns: typeof inner.joinRuns = (process) => {
      const onWake = (sessionId: string) => {
        process.onWake(sessionId)
        hooks.wakes += 1
      }
      const runs = inner.joinRuns({ ...process, onWake })
      return {
        ...runs,
        async change(...given) {
          const isDone = await runs.change(...given)
          await hooks.onChanged()
          return isDone
        },
      }
    }
    const log = { ...inner, joinRuns }
    const started = createTestServer({ log, limits })
    const runs = createRuns({ server: started.server, lease: LEASE, ...options })
    /** It renews its lease and looks whose has run out. */
    const round = () => started.clock.advance(LEASE / 3)
    return { ...started, log, runs, hooks, round }
  }

  const redisTime = async () => {
    const [seconds, micros] = await redis.admin.time()
    return Number(seconds) * 1_000 + Number(micros) / 1_000
  }
  const haveJoined = (count: number) => expect.poll(() => redis.admin.zcard('holdline:runs:processes')).toBe(count)
  const leaseOf = async (session: string) => {
    const [, process] =
      /"process":"(.*?)"/.exec((await redis.admin.hget(`holdline:{${session}}:runs`, 'record')) ?? '') ?? []
    return Number(await redis.admin.zscore('holdline:runs:processes', process ?? ''))
  }

  test('Redis away for longer than a lease: the process that is back first ends no run of the others', async () => {
    const [here, there] = [start(), start()]
    await haveJoined(2)
    const { produce, say, finish } = manualProducer()
    await here.runs.start(command('s1'), produce)
    const lease = await leaseOf('s1')
    // Nothing of either reaches Redis.
    await expect.poll(async () => (await redisTime()) > lease + 100).toBe(true)
    // Each of these is several answers of Redis.
    for (let turn = 0; turn < 10; turn += 1) {
      await there.round()
      await there.runs.active('s1')
    }
    await here.round()
    await expect.poll(async () => (await leaseOf('s1')) > lease).toBe(true)
    say(text('still here'))
    finish()
    await here.runs.idle()
    expect((await eventsOf(here.log, 's1')).slice(1)).toEqual([
      text('still here'),
      { type: 'run.ended', run: expect.any(String), reason: 'finished' },
    ])
  })

  test('a batch that arrives late, after its repeat and the next one, is appended once', async () => {
    const log = redisLog({ url: redis.url })
    opened.push(log)
    const runs = log.joinRuns({ name: 'p1', lease: LEASE, waits: 1_000, remembers: 1_000, onWake() {} })
    const { version } = await runs.read('s1', [])
    await runs.change('s1', {
      version,
      next: { version: 'v1', record: '{}' },
      token: 't1',
      events: ['{"type":"run.started"}'],
      keep: 0,
      ended: [],
      holds: ['p1'],
      frees: [],
      wakes: [],
      due: undefined,
    })
    for (const number of [1, 2, 1])
      expect(await runs.append('s1', { token: 't1', number, events: [`{"type":"n${number}"}`] })).toBe('appended')
    expect(await typesOf(log, 's1')).toEqual(['run.started', 'n1', 'n2'])
  })

  test('a stop that comes before the answer to the start aborts the producer, and waits for no later look', async () => {
    const [here, there] = [start(), start()]
    here.hooks.onChanged = async () => {
      here.hooks.onChanged = async () => {}
      await there.runs.stop('s1')
      await until(() => here.hooks.wakes > 0, 'the news of it')
    }
    const producer = manualProducer()
    await here.runs.start(command('s1'), producer.produce)
    await until(() => producer.signal?.aborted === true, 'the abort')
    await here.runs.idle()
  })

  test('a failover that has lost an end: the process that ended the run ends it again', async () => {
    const here = start()
    const producer = manualProducer()
    await here.runs.start(command('s1'), producer.produce)
    // What the replica has: the run goes on.
    const keys = await redis.admin.keys('*')
    const dump = await Promise.all(keys.map((key) => redis.admin.dumpBuffer(key)))
    producer.finish()
    await here.runs.idle()
    expect(await typesOf(here.log, 's1')).toEqual(['run.started', 'run.ended'])
    await redis.restartEmpty()
    for (const [index, key] of keys.entries()) await redis.admin.restore(key, 0, dump[index] ?? '')
    const hasEnded = async () => {
      await here.round()
      return (await typesOf(here.log, 's1')).includes('run.ended')
    }
    await expect.poll(hasEnded).toBe(true)
    expect((await here.runs.active('s1')).run).toBe(null)
  })

  test('a run that begins while its server closes is believed to live, like any other', async () => {
    const here = start()
    await haveJoined(1)
    await here.server.close()
    for (let turn = 0; turn < 10; turn += 1) {
      await here.round()
      await here.runs.active('s1')
    }
    const { produce, finish } = manualProducer()
    await here.runs.start(command('s1'), produce)
    const lease = await leaseOf('s1')
    const isRenewed = async () => {
      await here.round()
      return (await leaseOf('s1')) > lease + LEASE
    }
    await expect.poll(isRenewed).toBe(true)
    finish()
    await here.runs.idle()
    await here.round()
  })

  test('a run that is silent for long is remembered for as long as its process lives', async () => {
    const here = start({ suspendAge: 1_000 }, { receiptAge: 900_000 })
    const { produce } = manualProducer()
    await here.runs.start(command('s1'), produce)
    const [held = ''] = await redis.admin.keys('holdline:runs:of:*')
    const names = ['holdline:{s1}:runs', held]
    for (const name of names) await redis.admin.pexpire(name, 60_000)
    const isPutOff = async () => {
      await here.round()
      const left = await Promise.all(names.map((name) => redis.admin.pttl(name)))
      return left.every((ms) => ms > 800_000)
    }
    await expect.poll(isPutOff).toBe(true)
  })
})
