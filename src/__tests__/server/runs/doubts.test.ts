import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns, type RunsOptions, suspend } from '../../../server/runs'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { createTestServer, fakeClock, until } from '../../support/server'
import { command, eventsOf, manualProducer, says, stage, text, typesOf } from './stage'

/** ms. */
const LEASE = 1_000

describe('on the memory log', () => {
  lateCalls(() => memoryLog())

  test('runs that wait behind a suspended one whose events are gone begin, and clients are told its end', async () => {
    const small = memoryLog({ maxBytes: 100_000, maxSessionBytes: 60_000 })
    const { runs, clock, metrics } = stage({ onBusy: 'queue', lease: LEASE }, small)
    await runs.start(command('asks'), says(suspend('ok?')), { id: 'asks' })
    await expect.poll(async () => (await runs.active('asks')).run?.state).toBe('suspended')
    await runs.start(command('asks'), says(text('next')), { id: 'next' })
    for (const session of ['loud0', 'loud1', 'loud2']) {
      const loud = manualProducer()
      await runs.start(command(session), loud.produce)
      for (let n = 0; n < 40; n += 1) loud.say(text('x'.repeat(1_000)))
      await until(() => loud.left === 0, 'taken')
    }
    expect((await small.head('asks')).epoch).toBe('')
    await clock.advance(LEASE / 3)
    await expect
      .poll(() => eventsOf(small, 'asks'))
      .toEqual([
        { type: 'run.ended', run: 'asks', reason: 'failed', error: 'too-large' },
        { type: 'run.started', run: 'next' },
        text('next'),
        { type: 'run.ended', run: 'next', reason: 'finished' },
      ])
    await expect(runs.resume(command('asks'), 'asks', says())).rejects.toMatchObject({ code: 'ended' })
    expect(metrics.filter(({ name }) => name === 'runs.failed')).toHaveLength(1)
  })
})

describeWithRedis('on the Redis log', () => {
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

  const createLog = () => {
    const log = redisLog({ url: redis.url, clock: fakeClock() })
    opened.push(log)
    return log
  }
  const start = (options: Omit<RunsOptions, 'server'> = {}) => {
    const log = createLog()
    const errors: unknown[] = []
    const { server, clock } = createTestServer({ log, onError: (error) => errors.push(error) })
    return { log, clock, errors, runs: createRuns({ server, lease: LEASE, ...options }) }
  }
  const tamper = (session: string) => redis.admin.hset(`holdline:{${session}}:runs`, 'record', '{"queue":7}')
  /** Time passes for that process. A lease runs by the clock of Redis. */
  async function live({ clock, log }: ReturnType<typeof start>, session: string) {
    const hasEnded = async () => {
      await clock.advance(LEASE / 3)
      return (await typesOf(log, session)).includes('run.ended')
    }
    await expect.poll(hasEnded, { timeout: 25_000, interval: 50 }).toBe(true)
  }

  lateCalls(createLog)

  test('sessions of a dead process that cannot be read, however many, hold up no other', async () => {
    const [dead, alive] = [start(), start()]
    for (let n = 100; n < 350; n += 1) {
      await dead.runs.start(command(`a${n}`), manualProducer().produce)
      await tamper(`a${n}`)
    }
    await dead.runs.start(command('z'), manualProducer().produce)
    dead.log.close()
    await live(alive, 'z')
    expect(alive.errors).toMatchObject([{ message: expect.stringContaining('the record of session a') }])
  })

  test('sessions that are due and cannot be read, however many, hold up no other', async () => {
    const alive = start({ suspendAge: 1 })
    for (let n = 100; n < 350; n += 1) {
      await alive.runs.start(command(`a${n}`), says(suspend('ok?')))
      await alive.runs.idle()
      await tamper(`a${n}`)
    }
    await alive.runs.start(command('z'), says(suspend('ok?')))
    await live(alive, 'z')
    expect((await alive.runs.active('z')).run).toBeNull()
  })

  test('dead processes whose sessions cannot be read, however many, hold up no other', async () => {
    for (let n = 10; n < 30; n += 1) {
      const dead = start()
      await dead.runs.start(command(`a${n}`), manualProducer().produce)
      await tamper(`a${n}`)
      dead.log.close()
    }
    const [last, alive] = [start(), start()]
    await last.runs.start(command('z'), manualProducer().produce)
    last.log.close()
    await live(alive, 'z')
  })

  test('a process that is back is not taken for dead because one of its sessions could not be read', async () => {
    const log = createLog()
    const process = { name: 'p1', lease: 60_000, waits: 1_000, remembers: 1_000, onWake() {} }
    const runs = log.joinRuns(process)
    await runs.renew()
    const lease = await redis.admin.zscore('holdline:runs:processes', 'p1')
    await runs.postpone({ sessionId: 's1', process: 'p1' })
    await runs.postpone({ sessionId: 's1', process: undefined })
    expect(await redis.admin.zscore('holdline:runs:processes', 'p1')).toBe(lease)
    expect(await redis.admin.zcard('holdline:runs:due')).toBe(0)
  })
})

function lateCalls(createLog: () => SessionLog) {
  test('a start that has failed and reaches the log much later begins nothing, and the next one does', async () => {
    const inner = createLog()
    let changes = 0
    let late: () => unknown = () => {}
    const joinRuns: typeof inner.joinRuns = (process) => {
      const runs = inner.joinRuns?.(process)
      if (!runs) throw new Error('it keeps runs')
      return {
        ...runs,
        change(...given) {
          changes += 1
          if (changes > 1) return runs.change(...given)
          // It is on its way, through a connection that is believed to be dead.
          late = () => runs.change(...given)
          throw new Error('no answer')
        },
      }
    }
    const { runs, log, clock } = stage({ lease: LEASE }, { ...inner, joinRuns })
    const producer = manualProducer()
    await expect(runs.start(command('s1', 'k1'), producer.produce)).rejects.toThrow('no answer')
    await until(() => changes > 1, 'it sees to it')
    await runs.active('s1')
    expect(await late()).toBeUndefined()
    await clock.advance(LEASE)
    expect(await typesOf(log, 's1')).toEqual([])
    await runs.start(command('s1', 'k1'), producer.produce)
    producer.finish()
    await runs.idle()
    expect(await typesOf(log, 's1')).toEqual(['run.started', 'run.ended'])
    expect(producer.runs).toHaveLength(1)
  })
}
