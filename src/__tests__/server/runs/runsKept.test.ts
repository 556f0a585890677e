import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { memoryLog, type SessionLog } from '../../../server'
import { redisLog } from '../../../server/redis'
import { suspend } from '../../../server/runs'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { until } from '../../support/server'
import { command, eventsOf, manualProducer, says, stage, text, typesOf } from './stage'

interface Bounds {
  readonly maxEvents?: number
  readonly maxAge?: number
  readonly maxSessionBytes?: number
}

describe('on the memory log', () => runsAreKeptWhole((bounds) => memoryLog(bounds)))

describeWithRedis('on the Redis log', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(() => {
    for (const log of opened.splice(0)) log.close()
  })
  afterAll(() => redis.stop())
  const create = (bounds: Bounds) => {
    const log = redisLog({ url: redis.url, prefix: crypto.randomUUID(), ...bounds })
    opened.push(log)
    return log
  }

  runsAreKeptWhole(create)

  test('what is kept for a run outlives maxAge, and no longer than that once it has ended', async () => {
    const log = create({ maxAge: 60_000 })
    const { runs } = stage({}, log)
    await runs.start(command('aged'), says(text('a'), suspend('ok?')))
    await runs.idle()
    const [key = ''] = await redis.admin.keys('*:{aged}:log')
    expect(await redis.admin.pttl(key)).toBeGreaterThan(86_000_000)
    await log.append('aged', { type: 'x' })
    expect(await redis.admin.pttl(key)).toBeGreaterThan(86_000_000)
    await runs.stop('aged')
    expect(await redis.admin.pttl(key)).toBeLessThanOrEqual(60_000)
  })
})

function runsAreKeptWhole(createLog: (bounds: Bounds) => SessionLog) {
  test('the log keeps an active run from its begin on, beyond maxEvents, with what others publish; and trims once it has ended', async () => {
    const log = createLog({ maxEvents: 100 })
    const { runs, server } = stage({}, log)
    for (let n = 0; n < 250; n += 1) await server.publish('s1', { type: 'before' })
    const producer = manualProducer()
    await runs.start(command('s1'), producer.produce)
    for (let n = 0; n < 500; n += 1) producer.say(text(String(n)))
    await until(() => producer.left === 0, 'taken')
    for (let n = 0; n < 300; n += 1) await server.publish('s1', { type: 'beside' })
    const { run } = await runs.active('s1')
    const kept = await log.read('s1', run?.after ?? Number.NaN, 10_000)
    expect([kept.length, kept[0]?.event.type, kept[0]?.seq]).toEqual([801, 'run.started', 251])
    expect((await log.head('s1')).first).toBeLessThanOrEqual(251)
    producer.finish()
    await runs.idle()
    for (let n = 0; n < 100; n += 1) await server.publish('s1', { type: 'after' })
    expect((await log.head('s1')).first).toBeGreaterThan(800)
  })

  test('a run that outgrows what the log keeps of a session fails as too-large, and says so once', async () => {
    const log = createLog({ maxSessionBytes: 65_536 })
    const { runs, server } = stage({}, log)
    const { run } = await runs.start(command('s1'), async function* () {
      for (;;) yield text('x'.repeat(1_000))
    })
    await runs.idle()
    const events = await eventsOf(log, 's1')
    expect(events.filter(({ type }) => type === 'run.ended')).toEqual([
      { type: 'run.ended', run, reason: 'failed', error: 'too-large' },
    ])
    // It was whole until then.
    expect(events[0]).toEqual({ type: 'run.started', run })
    expect(events.length).toBeGreaterThan(45)
    await server.publish('s1', { type: 'x' })
  })

  test('others that flood the session of a suspended run do not fill the log: the run is no longer whole, and its answer fails it', async () => {
    const log = createLog({ maxSessionBytes: 65_536 })
    const { runs, server } = stage({}, log)
    const { run } = await runs.start(command('s1'), says(suspend('ok?')))
    await runs.idle()
    for (let n = 0; n < 200; n += 1) await server.publish('s1', text('x'.repeat(1_000)))
    const { first, head } = await log.head('s1')
    expect(head - first).toBeLessThan(80)
    await runs.resume(command('s1'), run, says(text('yes')))
    await runs.idle()
    expect((await eventsOf(log, 's1')).at(-1)).toMatchObject({ type: 'run.ended', error: 'too-large' })
  })

  test('back-pressure: a producer is asked for no more than the log has taken, and some', async () => {
    const inner = createLog({})
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const joinRuns: typeof inner.joinRuns = (process) => {
      const runs = inner.joinRuns?.(process)
      if (!runs) throw new Error('no runs')
      return { ...runs, append: (...given) => held.then(() => runs.append(...given)) }
    }
    const { runs } = stage({}, { ...inner, joinRuns })
    let asked = 0
    await runs.start(command('s1'), async function* () {
      for (; asked < 1_000; asked += 1) yield text('a')
    })
    await until(() => asked > 60, 'asked for some')
    for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate)
    expect(asked).toBeLessThan(70)
    release()
    await runs.idle()
    expect(await typesOf(inner, 's1')).toHaveLength(1_002)
  })
}

describe('a memory log that is full', () => {
  const log = () => memoryLog({ maxBytes: 100_000, maxSessionBytes: 60_000 })

  test('sessions with a run give way last: the others do, and the run goes on', async () => {
    const small = log()
    const { runs, server } = stage({}, small)
    const producer = manualProducer()
    await runs.start(command('s1'), producer.produce)
    for (let n = 0; n < 500; n += 1) await server.publish(`other${n % 50}`, text('x'.repeat(1_000)))
    producer.say(text('a'))
    producer.finish()
    await runs.idle()
    expect(await typesOf(small, 's1')).toEqual(['run.started', 'text', 'run.ended'])
  })

  test('where all have one, the one that was quiet for longest loses its events; it fails, and a suspended one is gone', async () => {
    const small = log()
    const { runs } = stage({}, small)
    const quiet = manualProducer()
    const { run } = await runs.start(command('quiet'), quiet.produce)
    await runs.start(command('asks'), says(suspend('ok?')), { id: 'asks' })
    await until(() => runs.active('asks') !== undefined, 'suspended')
    const loud = [1, 2, 3].map(() => manualProducer())
    for (const [index, producer] of loud.entries()) {
      await runs.start(command(`loud${index}`), producer.produce)
      for (let n = 0; n < 40; n += 1) producer.say(text('x'.repeat(1_000)))
      await until(() => producer.left === 0, 'taken')
    }
    expect((await small.head('quiet')).epoch).toBe('')
    quiet.say(text('a'))
    await until(() => quiet.signal?.aborted === true, 'aborted')
    await expect
      .poll(() => eventsOf(small, 'quiet'))
      .toEqual([{ type: 'run.ended', run, reason: 'failed', error: 'too-large' }])
    expect((await runs.active('asks')).run).toBe(null)
    await expect(runs.resume(command('asks'), 'asks', says())).rejects.toMatchObject({ code: 'ended' })
  })
})
