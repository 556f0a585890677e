import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { redisLog } from '../../../server/redis'
import { createRuns, type RunsOptions, suspend } from '../../../server/runs'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { startRedisProxy } from '../../support/redisProxy'
import { createTestServer, fakeClock, until } from '../../support/server'
import { command, eventsOf, manualProducer, says, text, typesOf } from './stage'

/**
 * ms. The shortest that there is: a process whose clock stands still is dead after that, as far as
 * the others know.
 */
const LEASE = 1_000

describeWithRedis('runs of several processes', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []
  let sessions = 0
  const newSession = () => `s${++sessions}`

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const log of opened.splice(0)) log.close()
    await redis.admin.flushall()
  })
  afterAll(() => redis.stop())

  /** A process: its server, its log, its runs, and a clock that stands still until it is moved. */
  function start(options: Omit<RunsOptions, 'server'> = {}, url = redis.url) {
    const inner = redisLog({ url, clock: fakeClock() })
    opened.push(inner)
    /**
     * `onChange` is called before a step of a run is asked for. A deaf process hears of nothing
     * that others do.
     */
    const hooks = { onChange() {}, isDeaf: false }
    const joinRuns: typeof inner.joinRuns = (process) => {
      const runs = inner.joinRuns({ ...process, onWake: (id) => hooks.isDeaf || process.onWake(id) })
      return {
        ...runs,
        change(...given) {
          hooks.onChange()
          return runs.change(...given)
        },
      }
    }
    const log = { ...inner, joinRuns }
    const metrics: { readonly name: string; readonly value: number }[] = []
    const started = createTestServer({ log, onMetric: (metric) => metrics.push(metric) })
    const runs = createRuns({ server: started.server, lease: LEASE, ...options })
    return {
      ...started,
      log,
      runs,
      metrics,
      hooks,
    }
  }
  type Process = ReturnType<typeof start>

  /**
   * Time passes for that process, until something has happened. Real time passes too: a lease runs
   * by the clock of Redis.
   */
  async function live(process: Process, isMet: () => unknown, what: string) {
    let met = false
    const asking = async () => {
      while (!met) {
        met = Boolean(await isMet())
        await process.clock.advance(LEASE / 3)
      }
    }
    void asking()
    await until(() => met, what)
  }
  const endsOf = async ({ log }: Process, session: string) =>
    (await eventsOf(log, session)).filter(({ type }) => type === 'run.ended')
  const hasEnded = (process: Process, session: string) => async () => (await endsOf(process, session)).length > 0

  test('stop reaches the process that runs it, from any other', async () => {
    const [here, there] = [start(), start()]
    const session = newSession()
    const deaf = manualProducer()
    const { run } = await here.runs.start(command(session), deaf.produce)
    expect(await there.runs.stop(session)).toBe(run)
    await until(() => deaf.signal?.aborted === true, 'the signal is aborted')
    deaf.say(text('too late'))
    await here.runs.idle()
    expect(await eventsOf(there.log, session)).toEqual([
      { type: 'run.started', run },
      { type: 'run.ended', run, reason: 'stopped' },
    ])
  })

  test('interrupt from another process: what the deaf producer says then is in no other run', async () => {
    const [here, there] = [start(), start({ onBusy: 'interrupt' })]
    here.hooks.isDeaf = true
    const session = newSession()
    const deaf = manualProducer()
    await here.runs.start(command(session), deaf.produce, { id: 'old' })
    const next = manualProducer()
    await there.runs.start(command(session), next.produce, { id: 'new' })
    deaf.say(text('too late'))
    await until(() => deaf.signal?.aborted === true, 'the signal is aborted')
    next.say(text('new'))
    next.finish()
    await there.runs.idle()
    expect(await eventsOf(there.log, session)).toEqual([
      { type: 'run.started', run: 'old' },
      { type: 'run.ended', run: 'old', reason: 'stopped' },
      { type: 'run.started', run: 'new' },
      text('new'),
      { type: 'run.ended', run: 'new', reason: 'finished' },
    ])
  })

  test('stop reaches a process that Pub/Sub does not reach, at its next look', async () => {
    const [here, there] = [start(), start()]
    const session = newSession()
    const quiet = manualProducer()
    await here.runs.start(command(session), quiet.produce)
    await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await there.runs.stop(session)
    await live(here, () => quiet.signal?.aborted, 'the signal is aborted')
  })

  test('two starts at once from two processes: one begins, under reject the other is told busy', async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      const [here, there] = [start(), start()]
      const session = newSession()
      const producers = [manualProducer(), manualProducer()] as const
      const results = await Promise.allSettled([
        here.runs.start(command(session, 'k1'), producers[0].produce),
        there.runs.start(command(session, 'k2'), producers[1].produce),
      ])
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      expect(producers[0].runs.length + producers[1].runs.length).toBe(1)
      for (const log of opened.splice(0)) log.close()
    }
  })

  test('the same command in two processes at once is one run, and produce is called in one of them', async () => {
    const [here, there] = [start(), start()]
    const session = newSession()
    const producers = [manualProducer(), manualProducer()] as const
    const receipts = await Promise.all([
      here.runs.start(command(session, 'k1'), producers[0].produce),
      there.runs.start(command(session, 'k1'), producers[1].produce),
    ])
    expect(receipts[0]?.run).toBe(receipts[1]?.run)
    expect(receipts.filter(({ isRepeat }) => isRepeat)).toHaveLength(1)
    expect(producers[0].runs.length + producers[1].runs.length).toBe(1)
  })

  test('a process that dies: its run ends as interrupted by another one, and the repeated command is the same run', async () => {
    const [dead, alive] = [start(), start()]
    const session = newSession()
    const producer = manualProducer()
    const { run } = await dead.runs.start(command(session, 'k1'), producer.produce)
    producer.say(text('half of'))
    await until(() => producer.left === 0, 'taken')
    await expect.poll(() => typesOf(alive.log, session)).toEqual(['run.started', 'text'])
    dead.log.close()
    // Before it is noticed.
    const again = vi.fn(says())
    expect(await alive.runs.start(command(session, 'k1'), again)).toEqual({
      run,
      state: 'running',
      after: 0,
      isRepeat: true,
    })
    await live(alive, hasEnded(alive, session), 'the end')
    expect(await eventsOf(alive.log, session)).toEqual([
      { type: 'run.started', run },
      text('half of'),
      { type: 'run.ended', run, reason: 'interrupted' },
    ])
    expect(await alive.runs.start(command(session, 'k1'), again)).toEqual({ run, state: 'ended', isRepeat: true })
    expect(again).not.toHaveBeenCalled()
    expect(alive.metrics).toContainEqual({ name: 'runs.interrupted', value: 1 })
    // What was in the list of the dead process is out of it.
    await live(alive, async () => (await redis.admin.keys('holdline:runs:of:*')).length === 0, 'the list is empty')
  })

  test('a process that dies with many runs: all of them end in one round', async () => {
    const [dead, alive] = [start(), start()]
    const all = Array.from({ length: 450 }, newSession)
    await Promise.all(all.map((session) => dead.runs.start(command(session), manualProducer().produce)))
    dead.log.close()
    const interrupted = () => alive.metrics.filter(({ name }) => name === 'runs.interrupted').length
    await live(alive, () => interrupted() === 450, 'the last end')
    expect(await alive.runs.active(all.at(-1) ?? '')).toMatchObject({ run: null })
  })

  test('a process that renews its lease is believed to live, however quiet its run is', async () => {
    const [quiet, other] = [start(), start()]
    const session = newSession()
    await quiet.runs.start(command(session), manualProducer().produce)
    const end = performance.now() + 3 * LEASE
    await live(quiet, () => performance.now() > end, 'three leases')
    await other.clock.advance(LEASE)
    expect(await endsOf(other, session)).toEqual([])
  })

  test('a lease that is lost in a stall and regained gives nothing back: the producer publishes nothing more', async () => {
    const [stalled, alive] = [start(), start()]
    stalled.hooks.isDeaf = true
    const session = newSession()
    const producer = manualProducer()
    const { run } = await stalled.runs.start(command(session), producer.produce)
    await live(alive, hasEnded(alive, session), 'the end')
    const next = manualProducer()
    await alive.runs.start(command(session), next.produce, { id: 'next' })
    // It goes on, and learns it from the log.
    producer.say(text('of the past'))
    await until(() => producer.signal?.aborted === true, 'the signal is aborted')
    await stalled.runs.idle()
    next.say(text('of today'))
    next.finish()
    await alive.runs.idle()
    expect(await eventsOf(alive.log, session)).toEqual([
      { type: 'run.started', run },
      { type: 'run.ended', run, reason: 'interrupted' },
      { type: 'run.started', run: 'next' },
      text('of today'),
      { type: 'run.ended', run: 'next', reason: 'finished' },
    ])
  })

  test('a producer that comes to its end after its run was taken from it ends no other', async () => {
    const [stalled, alive] = [start(), start()]
    stalled.hooks.isDeaf = true
    const session = newSession()
    const producer = manualProducer()
    await stalled.runs.start(command(session), producer.produce, { id: 'old' })
    await live(alive, hasEnded(alive, session), 'the end')
    await alive.runs.start(command(session), manualProducer().produce, { id: 'new' })
    producer.finish()
    await stalled.runs.idle()
    expect(await typesOf(alive.log, session)).toEqual(['run.started', 'run.ended', 'run.started'])
    expect((await alive.runs.active(session)).run).toMatchObject({ id: 'new', state: 'running' })
  })

  test('a stall that no one noticed costs nothing: the run goes on', async () => {
    const stalled = start()
    const session = newSession()
    const producer = manualProducer()
    await stalled.runs.start(command(session), producer.produce)
    const end = performance.now() + 1.5 * LEASE
    await until(() => performance.now() > end, 'a stall longer than the lease')
    producer.say(text('late'))
    producer.finish()
    await stalled.runs.idle()
    expect(await typesOf(stalled.log, session)).toEqual(['run.started', 'text', 'run.ended'])
  })

  test('queue: a run that waits in another process starts there in the step in which the one before it ends', async () => {
    const [here, there] = [start({ onBusy: 'queue' }), start({ onBusy: 'queue' })]
    const session = newSession()
    const first = manualProducer()
    await here.runs.start(command(session), first.produce, { id: 'r1' })
    const receipt = await there.runs.start(command(session), says(text('second')), { id: 'r2' })
    expect(receipt).toEqual({ run: 'r2', state: 'queued' })
    first.finish()
    await there.runs.idle()
    expect(await eventsOf(here.log, session)).toEqual([
      { type: 'run.started', run: 'r1' },
      { type: 'run.queued', run: 'r2' },
      { type: 'run.ended', run: 'r1', reason: 'finished' },
      { type: 'run.started', run: 'r2' },
      text('second'),
      { type: 'run.ended', run: 'r2', reason: 'finished' },
    ])
  })

  test('queue: what waits in a process that dies ends as interrupted, and those behind it move up', async () => {
    const [dead, alive] = [start({ onBusy: 'queue' }), start({ onBusy: 'queue' })]
    const session = newSession()
    const first = manualProducer()
    await alive.runs.start(command(session), first.produce, { id: 'r1' })
    const lost = vi.fn(says())
    await dead.runs.start(command(session), lost, { id: 'r2' })
    await alive.runs.start(command(session), says(text('third')), { id: 'r3' })
    dead.log.close()
    await live(alive, hasEnded(alive, session), 'the end')
    first.finish()
    await alive.runs.idle()
    expect((await eventsOf(alive.log, session)).slice(3)).toEqual([
      { type: 'run.ended', run: 'r2', reason: 'interrupted' },
      { type: 'run.ended', run: 'r1', reason: 'finished' },
      { type: 'run.started', run: 'r3' },
      text('third'),
      { type: 'run.ended', run: 'r3', reason: 'finished' },
    ])
    expect(lost).not.toHaveBeenCalled()
  })

  test('a suspended run outlives its process, and another one goes on with it; of two answers in two processes one counts', async () => {
    const [first, second, third] = [start(), start(), start()]
    const session = newSession()
    const { run } = await first.runs.start(command(session), says(text('a'), suspend('ok?')))
    await first.runs.idle()
    first.log.close()
    const end = performance.now() + 1.5 * LEASE
    await live(second, () => performance.now() > end, 'longer than a lease')
    // The run goes on until both have been answered.
    const producer = manualProducer()
    const results = await Promise.allSettled([
      second.runs.resume(command(session, 'a1'), run, producer.produce),
      third.runs.resume(command(session, 'a2'), run, producer.produce),
    ])
    producer.say(text('yes'))
    producer.finish()
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'answered' } })
    await Promise.all([second.runs.idle(), third.runs.idle()])
    expect(await typesOf(second.log, session)).toEqual([
      ...['run.started', 'text', 'run.suspended', 'run.resumed', 'text', 'run.ended'],
    ])
  })

  test('a suspended run that no one answers ends, whichever process is left', async () => {
    const [first, second] = [start({ suspendAge: 500 }), start({ suspendAge: 500 })]
    const session = newSession()
    const { run } = await first.runs.start(command(session), says(suspend('ok?')))
    await first.runs.idle()
    first.log.close()
    await live(second, hasEnded(second, session), 'the end')
    expect(await endsOf(second, session)).toEqual([{ type: 'run.ended', run, reason: 'interrupted', error: 'expired' }])
    await live(second, async () => (await redis.admin.zcard('holdline:runs:due')) === 0, 'nothing is due')
  })

  test('Redis is away in the middle of a run: the producer waits, and nothing is lost or doubled', async () => {
    const proxy = await startRedisProxy(redis.port)
    const here = start({}, proxy.url)
    const session = newSession()
    const producer = manualProducer()
    await here.runs.start(command(session), producer.produce)
    proxy.mode = 'swallow answers'
    producer.say(text('0'))
    await expect.poll(() => redis.admin.xlen(`holdline:{${session}}:log`)).toBe(2)
    proxy.mode = 'refuse'
    proxy.cut()
    for (let n = 1; n < 300; n += 1) producer.say(text(String(n)))
    await until(() => producer.left > 0 && producer.left < 299, 'it is pulled as long as there is room')
    const left = producer.left
    expect(left).toBeGreaterThan(150)
    proxy.mode = 'pass'
    producer.finish()
    await live(here, hasEnded(here, session), 'the end')
    const texts = (await eventsOf(here.log, session)).flatMap((event) => event.text ?? [])
    expect(texts).toEqual(Array.from({ length: 300 }, (_, n) => String(n)))
    proxy.close()
  })

  test('a start whose answer is lost: it is one run, and its producer is called once', async () => {
    const proxy = await startRedisProxy(redis.port)
    const here = start({}, proxy.url)
    const session = newSession()
    const producer = manualProducer()
    here.hooks.onChange = () => {
      proxy.mode = 'swallow answers'
    }
    const starting = here.runs.start(command(session, 'k1'), producer.produce)
    await expect.poll(() => redis.admin.exists(`holdline:{${session}}:runs`)).toBe(1)
    here.hooks.onChange = () => {}
    proxy.mode = 'pass'
    proxy.cut()
    expect(await starting).toMatchObject({ state: 'running' })
    producer.finish()
    await here.runs.idle()
    expect(await typesOf(here.log, session)).toEqual(['run.started', 'run.ended'])
    expect(producer.runs).toHaveLength(1)
    proxy.close()
  })

  test('a start whose answer is lost, and that another one stands behind by then, is still its own', async () => {
    const proxy = await startRedisProxy(redis.port)
    const [here, there] = [start({ onBusy: 'queue' }, proxy.url), start({ onBusy: 'queue' })]
    const session = newSession()
    const producer = manualProducer()
    here.hooks.onChange = () => {
      proxy.mode = 'swallow answers'
    }
    const starting = here.runs.start(command(session, 'k1'), producer.produce)
    await expect.poll(() => redis.admin.exists(`holdline:{${session}}:runs`)).toBe(1)
    await there.runs.start(command(session), says(text('behind')))
    here.hooks.onChange = () => {}
    proxy.mode = 'pass'
    proxy.cut()
    expect(await starting).toEqual({ run: expect.any(String), state: 'running', after: 0 })
    producer.finish()
    await Promise.all([here.runs.idle(), there.runs.idle()])
    expect(producer.runs).toHaveLength(1)
    expect((await typesOf(here.log, session)).at(-2)).toBe('text')
    proxy.close()
  })

  test('a stop whose answer is lost tells which run it has ended', async () => {
    const proxy = await startRedisProxy(redis.port)
    const [here, there] = [start({}, proxy.url), start()]
    const session = newSession()
    const { run } = await there.runs.start(command(session), manualProducer().produce)
    here.hooks.onChange = () => {
      proxy.mode = 'swallow answers'
    }
    const stopping = here.runs.stop(session)
    await live(there, hasEnded(there, session), 'the end')
    here.hooks.onChange = () => {}
    proxy.mode = 'pass'
    proxy.cut()
    expect(await stopping).toBe(run)
    proxy.close()
  })

  test('a start that fails though it was written leaves no run that nobody produces', async () => {
    const proxy = await startRedisProxy(redis.port)
    const here = start({}, proxy.url)
    const session = newSession()
    const producer = manualProducer()
    here.hooks.onChange = () => {
      proxy.mode = 'swallow answers'
    }
    const starting = here.runs.start(command(session, 'k1'), producer.produce)
    starting.catch(() => {})
    await expect.poll(() => redis.admin.exists(`holdline:{${session}}:runs`)).toBe(1)
    // ioredis gives up after 5 s.
    await expect(starting).rejects.toMatchObject({ status: 503 })
    here.hooks.onChange = () => {}
    proxy.mode = 'pass'
    proxy.cut()
    await live(here, async () => (await typesOf(here.log, session)).includes('run.ended'), 'the end')
    expect((await endsOf(here, session))[0]).toMatchObject({ reason: 'interrupted' })
    expect(producer.runs).toEqual([])
    expect(await here.runs.start(command(session, 'k1'), producer.produce)).toMatchObject({ isRepeat: true })
    proxy.close()
  })

  test('Redis starts over with nothing: the run is lost, its producer is aborted, and publishes nothing more', async () => {
    const own = await startRedis()
    const here = start({}, own.url)
    const session = newSession()
    const producer = manualProducer()
    await here.runs.start(command(session), producer.produce)
    await own.restartEmpty()
    producer.say(text('of another life'))
    await live(here, () => producer.signal?.aborted, 'the signal is aborted')
    await here.runs.idle()
    expect(await typesOf(here.log, session)).toEqual([])
    expect(await here.runs.active(session)).toMatchObject({ run: null })
    here.log.close()
    await own.stop()
  })

  test('whoever may only publish makes a process look, one look at a time, and can do nothing else', async () => {
    const here = start()
    const session = newSession()
    const producer = manualProducer()
    await here.runs.start(command(session), producer.produce)
    const [channel = ''] = (await redis.admin.pubsub('CHANNELS', 'holdline:runs:*')) as string[]
    const calls = async () => {
      const [, count = '0'] = /cmdstat_evalsha:calls=(\d+)/.exec(await redis.admin.info('commandstats')) ?? []
      return Number(count)
    }
    const before = await calls()
    await Promise.all(Array.from({ length: 1_000 }, () => redis.admin.publish(channel, session)))
    await redis.admin.publish(channel, 'no session')
    await here.runs.active(session)
    expect((await calls()) - before).toBeLessThan(500)
    expect(producer.signal?.aborted).toBe(false)
  })

  test('a record that somebody has tampered with is told by name, and other sessions go on', async () => {
    const here = start()
    const [broken, healthy] = [newSession(), newSession()]
    await redis.admin.hset(`holdline:{${broken}}:runs`, 'version', '1', 'record', '{"queue":7}')
    await expect(here.runs.start(command(broken), says())).rejects.toThrow(
      `runs: the record of session ${broken} cannot be read`,
    )
    await here.runs.start(command(healthy), says())
    await here.runs.idle()
  })
})
