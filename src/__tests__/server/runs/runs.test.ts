import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createChatServer, memoryLog, type SessionLog } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns, type RunsOptions, suspend } from '../../../server/runs'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { answer, createTestServer, openStream, settle, until } from '../../support/server'
import { command, eventsOf, forever, manualProducer, says, stage as stageOn, text, typesOf } from './stage'

describe('on the memory log', () => runsKeepTheirPromises(() => memoryLog()))

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

  runsKeepTheirPromises(() => {
    const log = redisLog({ url: redis.url, prefix: crypto.randomUUID() })
    opened.push(log)
    return log
  })
})

function runsKeepTheirPromises(createLog: () => SessionLog) {
  const stage = (options: Omit<RunsOptions, 'server'> = {}) => stageOn(options, createLog())

  describe('a run', () => {
    test('begins with run.started, has the events of its producer in their order, and ends with run.ended', async () => {
      const { runs, log } = stage()
      const receipt = await runs.start(command('s1', 'k1'), says(text('a'), text('b')))
      expect(receipt).toEqual({ run: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/), state: 'running', after: 0 })
      await runs.idle()
      expect(await eventsOf(log, 's1')).toEqual([
        { type: 'run.started', run: receipt.run },
        text('a'),
        text('b'),
        { type: 'run.ended', run: receipt.run, reason: 'finished' },
      ])
    })

    test('a ReadableStream is a producer too, and so is a promise of either', async () => {
      const { runs, log } = stage()
      const stream = new ReadableStream({
        start(controller) {
          controller.enqueue(text('a'))
          controller.close()
        },
      })
      await runs.start(command('s1'), () => stream)
      await runs.idle()
      await runs.start(command('s1'), async () => says(text('b'))())
      await runs.idle()
      expect(await typesOf(log, 's1')).toEqual([
        ...['run.started', 'text', 'run.ended'],
        ...['run.started', 'text', 'run.ended'],
      ])
    })

    test('its name follows from principal, key and ordinal of the start in the command; without a key it is random', async () => {
      const { runs } = stage({ onBusy: 'queue' })
      const name = async (call: ReturnType<typeof command>) => (await runs.start(call, says())).run
      const call = command('s1', 'k1')
      const [first, second] = [await name(call), await name(call)]
      const again = command('s1', 'k1')
      expect([await name(again), await name(again)]).toEqual([first, second])
      expect(second).not.toBe(first)
      const others = [
        command('s1', 'k2'),
        { ...command('s1', 'k1'), principal: { id: 'bob' } },
        command('s1'),
        command('s1'),
      ]
      const names = new Set([first, second])
      for (const other of others) names.add(await name(other))
      expect(names.size).toBe(6)
    })

    test('a start that is repeated is the same run, while it goes on and after it has ended: produce is called once', async () => {
      const { runs, log } = stage()
      const producer = manualProducer()
      const { run } = await runs.start(command('s1', 'k1'), producer.produce)
      const again = vi.fn(says(text('twice')))
      expect(await runs.start(command('s1', 'k1'), again)).toEqual({ run, state: 'running', after: 0, isRepeat: true })
      producer.finish()
      await runs.idle()
      expect(await runs.start(command('s1', 'k1'), again)).toEqual({ run, state: 'ended', isRepeat: true })
      await settle()
      expect(again).not.toHaveBeenCalled()
      expect(await typesOf(log, 's1')).toEqual(['run.started', 'run.ended'])
    })

    test('a producer that throws ends it as failed, what came before stays, and clients learn no internal text', async () => {
      const { runs, log, errors, metrics } = stage()
      await runs.start(command('s1'), async function* () {
        yield text('a')
        throw new Error('secret')
      })
      await runs.idle()
      expect((await eventsOf(log, 's1')).slice(1)).toEqual([
        text('a'),
        { type: 'run.ended', run: expect.any(String), reason: 'failed', error: 'producer' },
      ])
      expect(String(errors)).toMatch(/run .* fails: its producer threw \(secret\)/)
      expect(metrics).toContainEqual({ name: 'runs.failed', value: 1 })
    })

    test("the envelope is the server's: what a producer says under its names does not reach the log", async () => {
      const { runs, log } = stage({ coalesce: { join: (a, b) => ({ ...a, ...b, type: 'both', epoch: 'forged' }) } })
      // Streams of this process write what it has appended itself.
      await log.subscribe('s1', () => {})
      const forged = { ...text('a'), sessionId: 'other', seq: 7, epoch: 'e', prevSeq: 1 }
      await runs.start(command('s1'), says(forged, forged, forged))
      await runs.idle()
      const entries = await log.read('s1', 0, 10)
      expect(entries.map(({ json = '' }) => json).join()).not.toMatch(/seq|sessionId|epoch/i)
      expect(entries.map(({ event }) => event.text)).toEqual([undefined, 'a', 'a', undefined])
    })

    test.each([
      ['a text', 'oops', /must be a JSON object/],
      ['without a type', { text: 'a' }, /with a string 'type'/],
      ['of the protocol', { type: 'ping' }, /is the protocol's/],
      ["of the library's own type", { type: 'run.ended', run: 'x', reason: 'finished' }, /is the library's/],
    ])('what is no event ends it as failed: %s', async (_, event, sentence) => {
      const { runs, log, errors } = stage()
      await runs.start(command('s1'), says(text('a'), event as never, text('b')))
      await runs.idle()
      expect(await typesOf(log, 's1')).toEqual(['run.started', 'text', 'run.ended'])
      expect((await eventsOf(log, 's1')).at(-1)).toMatchObject({ reason: 'failed', error: 'bad-event' })
      expect(String(errors)).toMatch(sentence)
    })

    test('active tells the head, the epoch, and the cursor before the first event of the run', async () => {
      const { runs, server, log } = stage()
      expect(await runs.active('s1')).toEqual({ head: 0, epoch: '', run: null, queued: [] })
      const { epoch } = await server.publish('s1', { type: 'x' })
      const producer = manualProducer()
      await runs.start(command('s1'), producer.produce, { id: 'r1' })
      producer.say(text('a'))
      await expect.poll(() => typesOf(log, 's1')).toHaveLength(3)
      expect(await runs.active('s1')).toEqual({
        head: 3,
        epoch,
        run: { id: 'r1', state: 'running', after: 1 },
        queued: [],
      })
      producer.finish()
      await runs.idle()
      expect(await runs.active('s1')).toEqual({ head: 4, epoch, run: null, queued: [] })
    })

    test('a receipt has the cursor before the first event of a run that has begun, whatever else was published meanwhile', async () => {
      const inner = createLog()
      // Others publish between the look at the session and the step.
      const joinRuns: typeof inner.joinRuns = (process) => {
        const runs = inner.joinRuns?.(process)
        if (!runs) throw new Error('it keeps runs')
        const change: typeof runs.change = async (sessionId, ...given) => {
          await inner.append(sessionId, text('other'))
          return runs.change(sessionId, ...given)
        }
        return { ...runs, change }
      }
      const { runs, log } = stageOn({ onBusy: 'queue' }, { ...inner, joinRuns })
      await runs.start(command('s1', 'k1'), says(suspend('ok?')), { id: 'r1' })
      await runs.idle()
      const { seq } = (await log.read('s1', 0, 10)).find(({ event }) => event.type === 'run.started') ?? { seq: 0 }
      expect(seq).toBeGreaterThan(1)
      const after = seq - 1
      const again = await runs.start(command('s1', 'k1'), says(), { id: 'r1' })
      expect(again).toEqual({ run: 'r1', state: 'suspended', after, isRepeat: true })
      expect(await runs.start(command('s1'), says(), { id: 'r2' })).toEqual({ run: 'r2', state: 'queued' })
      const answered = await runs.resume(command('s1', 'k2'), 'r1', says())
      expect(answered).toEqual({ run: 'r1', state: 'running', after })
      await runs.idle()
      expect(await runs.start(command('s1'), says(), { id: 'r2' })).toEqual({
        run: 'r2',
        state: 'ended',
        isRepeat: true,
      })
      const third = await runs.start(command('s1'), manualProducer().produce, { id: 'r3' })
      expect(third).toEqual({ run: 'r3', state: 'running', after: (await runs.active('s1')).run?.after })
    })

    test('start in a command: the receipt names the run, and the client that sent it hears all of it', async () => {
      const producer = manualProducer()
      const { server } = createTestServer({ log: createLog(), onCommand: (call) => runs.start(call, producer.produce) })
      const runs = createRuns({ server })
      const stream = await openStream(server)
      const posted = stream.post('send', { type: 'send', sessionId: 'room1' }, { key: 'm1' })
      const [status, receipt] = await answer(posted)
      expect([status, receipt]).toEqual([200, { run: expect.any(String), state: 'running', after: 0 }])
      producer.say(text('a'))
      producer.finish()
      await until(() => stream.ofType('run.ended').length > 0, 'the end')
      expect(stream.frames.slice(1).map(({ type }) => type)).toEqual(['run.started', 'text', 'run.ended'])
      const again = await answer(stream.post('send', { type: 'send', sessionId: 'room1' }, { key: 'm1' }))
      expect(again).toEqual([200, receipt])
      expect(producer.runs).toEqual([receipt.run])
    })

    test('close() of the server leaves a run that is under way alone, and idle() tells when it has ended', async () => {
      const { runs, server, log } = stage()
      const producer = manualProducer()
      await runs.start(command('s1'), producer.produce)
      await server.close()
      const idle = vi.fn()
      void runs.idle().then(idle)
      producer.say(text('a'))
      await settle()
      expect(idle).not.toHaveBeenCalled()
      producer.finish()
      await until(() => idle.mock.calls.length > 0, 'idle')
      expect(await typesOf(log, 's1')).toEqual(['run.started', 'text', 'run.ended'])
      expect(producer.signal?.aborted).toBe(false)
    })
  })

  describe('onBusy', () => {
    test('reject: a second start is turned down with 409 busy, and the first goes on', async () => {
      const { runs, log } = stage()
      const producer = manualProducer()
      await runs.start(command('s1'), producer.produce)
      await expect(runs.start(command('s1'), says())).rejects.toMatchObject({ status: 409, code: 'busy' })
      producer.finish()
      await runs.idle()
      expect(await typesOf(log, 's1')).toEqual(['run.started', 'run.ended'])
    })

    test('of starts at once exactly one begins', async () => {
      const { runs, log } = stage()
      const starts = [1, 2, 3, 4].map((n) => runs.start(command('s1', `k${n}`), forever))
      const results = await Promise.allSettled(starts)
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      await runs.stop('s1')
      expect(await typesOf(log, 's1')).toEqual(['run.started', 'run.ended'])
    })

    test('queue: they run one after the other in the order of their starts, eight wait at most, and stop takes one out', async () => {
      const { runs, log } = stage({ onBusy: 'queue' })
      const first = manualProducer()
      await runs.start(command('s1'), first.produce, { id: 'r0' })
      const states = []
      for (const n of [1, 2, 3, 4, 5, 6, 7, 8])
        states.push((await runs.start(command('s1'), says(text(`of ${n}`)), { id: `r${n}` })).state)
      expect(states).toEqual(Array(8).fill('queued'))
      await expect(runs.start(command('s1'), says())).rejects.toMatchObject({ code: 'busy' })
      expect((await runs.active('s1')).queued).toEqual(['r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8'])
      expect(await runs.stop('s1', 'r3')).toBe('r3')
      first.finish()
      await runs.idle()
      const texts = (await eventsOf(log, 's1')).flatMap((event) => event.text ?? [])
      expect(texts).toEqual([1, 2, 4, 5, 6, 7, 8].map((n) => `of ${n}`))
      expect(await eventsOf(log, 's1')).toContainEqual({ type: 'run.ended', run: 'r3', reason: 'stopped' })
    })

    test('a start that is repeated while it waits in the queue is the same run', async () => {
      const { runs } = stage({ onBusy: 'queue' })
      const first = manualProducer()
      await runs.start(command('s1'), first.produce)
      await runs.start(command('s1', 'k1'), says())
      expect(await runs.start(command('s1', 'k1'), says())).toMatchObject({ state: 'queued', isRepeat: true })
      expect((await runs.active('s1')).queued).toHaveLength(1)
    })

    test('interrupt: the running one ends as stopped in the step in which the new one starts, though its producer ignores the signal', async () => {
      const { runs, log } = stage({ onBusy: 'interrupt' })
      const deaf = manualProducer()
      await runs.start(command('s1'), deaf.produce, { id: 'old' })
      deaf.say(text('old'))
      await expect.poll(() => typesOf(log, 's1')).toHaveLength(2)
      const next = manualProducer()
      await runs.start(command('s1'), next.produce, { id: 'new' })
      expect(deaf.signal?.reason).toMatchObject({ name: 'AbortError' })
      expect(deaf.returns).toBe(1)
      deaf.say(text('too late'))
      next.say(text('new'))
      next.finish()
      await runs.idle()
      deaf.finish()
      await settle()
      expect(await eventsOf(log, 's1')).toEqual([
        { type: 'run.started', run: 'old' },
        text('old'),
        { type: 'run.ended', run: 'old', reason: 'stopped' },
        { type: 'run.started', run: 'new' },
        text('new'),
        { type: 'run.ended', run: 'new', reason: 'finished' },
      ])
    })
  })

  describe('stop', () => {
    test('ends the active run as stopped, aborts its producer, and nothing more of it is published', async () => {
      const { runs, log } = stage()
      const deaf = manualProducer()
      const { run } = await runs.start(command('s1'), deaf.produce)
      expect(await runs.stop('s1')).toBe(run)
      expect(deaf.signal?.aborted).toBe(true)
      deaf.say(text('too late'))
      deaf.finish()
      await runs.idle()
      await settle()
      expect(await eventsOf(log, 's1')).toEqual([
        { type: 'run.started', run },
        { type: 'run.ended', run, reason: 'stopped' },
      ])
      expect(await runs.stop('s1')).toBeUndefined()
      expect(await runs.stop('s1', run)).toBeUndefined()
    })

    test('that races the natural end gives exactly one run.ended', async () => {
      for (let turn = 0; turn < 12; turn += 1) {
        const { runs, log } = stage()
        const producer = manualProducer()
        const { run } = await runs.start(command('s1'), producer.produce)
        producer.finish()
        for (let micro = 0; micro < turn; micro += 1) await Promise.resolve()
        const stopped = await runs.stop('s1', run)
        await runs.idle()
        const ends = (await eventsOf(log, 's1')).filter(({ type }) => type === 'run.ended')
        expect(ends).toEqual([{ type: 'run.ended', run, reason: stopped ? 'stopped' : 'finished' }])
      }
    })

    test('ends a producer that never waits for anything: it keeps the process from nothing else', async () => {
      const { runs, log } = stage()
      const { run } = await runs.start(command('s1'), async function* () {
        for (;;) yield text('a')
      })
      await new Promise(setImmediate)
      expect(await runs.stop('s1')).toBe(run)
      await runs.idle()
      expect((await eventsOf(log, 's1')).at(-1)).toEqual({ type: 'run.ended', run, reason: 'stopped' })
    })

    test('that names an ended run leaves the one that runs now alone', async () => {
      const { runs } = stage()
      await runs.start(command('s1'), says(), { id: 'r1' })
      await runs.idle()
      const producer = manualProducer()
      await runs.start(command('s1'), producer.produce, { id: 'r2' })
      expect(await runs.stop('s1', 'r1')).toBeUndefined()
      expect(producer.signal?.aborted).toBe(false)
    })

    test('while produce has not even resolved: the stream that comes too late is closed', async () => {
      const { runs } = stage()
      let open = (_: ReadableStream<{ type: string }>) => {}
      const cancel = vi.fn()
      await runs.start(command('s1'), () => new Promise((resolve) => (open = resolve)))
      await runs.stop('s1')
      await runs.idle()
      open(new ReadableStream({ cancel }))
      await until(() => cancel.mock.calls.length > 0, 'closed')
    })
  })

  describe('a suspended run', () => {
    const question = { approve: 'rm -rf' }

    test('waits for an answer with its session kept, and goes on under the same run', async () => {
      const { runs, log } = stage()
      const producer = manualProducer()
      const { run } = await runs.start(command('s1'), producer.produce)
      producer.say(text('may I?'), suspend(question), text('too late'))
      await runs.idle()
      expect(producer.returns).toBe(1)
      expect(await runs.active('s1')).toMatchObject({
        run: { id: run, state: 'suspended', after: 0, waitsFor: question },
      })
      await expect(runs.start(command('s1'), says())).rejects.toMatchObject({ code: 'busy' })
      expect(await runs.resume(command('s1', 'k2'), run, says(text('done')))).toEqual({
        run,
        state: 'running',
        after: 0,
      })
      await runs.idle()
      expect(await eventsOf(log, 's1')).toEqual([
        { type: 'run.started', run },
        text('may I?'),
        { type: 'run.suspended', run, waitsFor: question },
        { type: 'run.resumed', run },
        text('done'),
        { type: 'run.ended', run, reason: 'finished' },
      ])
    })

    test('of two answers at once one takes it, the other is told answered; a repeat of that one is no second answer', async () => {
      const { runs } = stage()
      const { run } = await runs.start(command('s1'), says(suspend(question)))
      await runs.idle()
      const answers = ['a1', 'a2'].map((key) => ({ key, producer: manualProducer() }))
      const results = await Promise.allSettled(
        answers.map(({ key, producer }) => runs.resume(command('s1', key), run, producer.produce)),
      )
      // Their keys are hashed beside each other, so either may come first.
      const winner = results.findIndex(({ status }) => status === 'fulfilled')
      const { key, producer } = answers[winner] ?? expect.unreachable('both were refused')
      const other = vi.fn(says())
      expect(results[winner]).toMatchObject({ value: { run, state: 'running' } })
      expect(results[1 - winner]).toMatchObject({ reason: { status: 409, code: 'answered' } })
      expect(answers[1 - winner]?.producer.runs).toEqual([])
      const repeat = () => runs.resume(command('s1', key), run, other)
      expect(await repeat()).toEqual({ run, state: 'running', after: 0, isRepeat: true })
      producer.say(suspend('again'))
      await runs.idle()
      // The repeat of an earlier answer does not answer the next question.
      expect(await repeat()).toEqual({ run, state: 'suspended', after: 0, isRepeat: true })
      await runs.stop('s1')
      expect(await repeat()).toEqual({ run, state: 'ended', isRepeat: true })
      await expect(runs.resume(command('s1', 'a3'), run, other)).rejects.toMatchObject({ code: 'ended' })
      expect(other).not.toHaveBeenCalled()
    })

    test('an answer that names another question is told answered; the order of fields makes no difference', async () => {
      const { runs } = stage()
      const { run } = await runs.start(command('s1'), says(suspend({ tool: 't2', call: 7 })))
      await runs.idle()
      await expect(runs.resume(command('s1'), run, says(), { waitsFor: { tool: 't1' } })).rejects.toMatchObject({
        code: 'answered',
      })
      await expect(
        runs.resume(command('s1'), run, says(), { waitsFor: { call: 7, tool: 't2' } }),
      ).resolves.toBeDefined()
    })

    test('raced by stop: either it ends, and the answer is told so, or the answer goes on and is stopped', async () => {
      for (let turn = 0; turn < 40; turn += 1) {
        const { runs, log } = stage()
        const { run } = await runs.start(command('s1'), says(suspend(question)))
        await runs.idle()
        const resuming = runs.resume(command('s1'), run, forever)
        for (let micro = 0; micro < turn; micro += 1) await Promise.resolve()
        const [answered, stopped] = await Promise.allSettled([resuming, runs.stop('s1')])
        expect(stopped).toEqual({ status: 'fulfilled', value: run })
        if (answered.status === 'rejected') expect(answered.reason).toMatchObject({ status: 409, code: 'ended' })
        await runs.idle()
        expect((await eventsOf(log, 's1')).filter(({ type }) => type === 'run.ended')).toEqual([
          { type: 'run.ended', run, reason: 'stopped' },
        ])
      }
    })

    test('that was stopped takes no answer, and one that was answered can be stopped', async () => {
      const { runs } = stage()
      const { run } = await runs.start(command('s1'), says(suspend(question)))
      await runs.idle()
      await runs.stop('s1')
      await expect(runs.resume(command('s1'), run, says())).rejects.toMatchObject({ status: 409, code: 'ended' })
      const next = await runs.start(command('s1'), says(suspend(question)))
      await runs.idle()
      await runs.resume(command('s1'), next.run, forever)
      expect(await runs.stop('s1')).toBe(next.run)
    })
  })
}

describe('on the memory log alone', () => {
  test('that nobody answers ends as interrupted after suspendAge', async () => {
    const clock = { at: 0 }
    const log = memoryLog({ clock: { now: () => clock.at } })
    const { runs, clock: timers, metrics } = stageOn({ suspendAge: 60_000 }, log)
    const { run } = await runs.start(command('s1'), says(suspend(null)))
    await runs.idle()
    clock.at = 59_999
    await timers.advance(2_000)
    expect((await runs.active('s1')).run).toMatchObject({ state: 'suspended' })
    clock.at = 60_000
    await timers.advance(2_000)
    expect((await eventsOf(log, 's1')).at(-1)).toEqual({
      type: 'run.ended',
      run,
      reason: 'interrupted',
      error: 'expired',
    })
    expect(metrics).toContainEqual({ name: 'runs.interrupted', value: 1 })
  })
})

describe('options', () => {
  const { server } = createTestServer()
  test.each<[object, RegExp]>([
    [{ server: {} }, /'server' must be made by createChatServer/],
    [{ server, lease: 10 }, /'lease' must be an integer ≥ 1000/],
    [{ server, onBusy: 'wait' }, /'onBusy' must be one of reject, queue, interrupt/],
    [{ server, suspendAge: 0 }, /'suspendAge'/],
    [{ server, coalesce: {} }, /'coalesce.join' must be a function/],
    [{ server, colaesce: 1 }, /createRuns: unknown option 'colaesce'/],
  ])('what is invalid is named: %#', (options, sentence) => {
    expect(() => createRuns(options as never)).toThrow(sentence)
  })

  test('a log that keeps no runs is told at once, and a server that was spread is one still', () => {
    const { append, read, head, subscribe } = memoryLog()
    const options = { authenticate: () => null, authorize: () => true, onCommand: () => null }
    const plain = createChatServer({ ...options, log: { append, read, head, subscribe } })
    expect(() => createRuns({ server: plain })).toThrow(
      "createRuns: the log of this server keeps no runs, it has no 'joinRuns'; memoryLog and redisLog have one",
    )
    createRuns({ server: { ...server } })
  })

  test('a command without a session, a name that is none, a producer that is none are refused', async () => {
    const { runs } = stageOn()
    const call = { principal: { id: 'alice' }, sessionId: undefined, idempotencyKey: 'k' }
    await expect(runs.start(call, says())).rejects.toMatchObject({ status: 400, code: 'no-session' })
    await expect(runs.start(command('s1'), says(), { id: 'a b' })).rejects.toThrow("start: 'id' must match")
    await expect(runs.start(command('s1'), {} as never)).rejects.toThrow("'produce' must be a function")
    // What comes from a client is rejected, and not repeated.
    await expect(runs.resume(command('s1'), 'a b', says())).rejects.toMatchObject({ status: 400, code: 'bad-run' })
    await expect(runs.resume(command('s1'), undefined as never, says())).rejects.toMatchObject({ code: 'bad-run' })
    await expect(runs.resume(command('s1'), 'unknown', says())).rejects.toMatchObject({ status: 409, code: 'ended' })
    await expect(runs.stop('s1', 'a b')).rejects.toMatchObject({ status: 400, code: 'bad-run' })
    await expect(runs.stop('a b')).rejects.toThrow('stop: the session id')
    await expect(runs.active('a b')).rejects.toThrow('active: the session id')
  })
})
