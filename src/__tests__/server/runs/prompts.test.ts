import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineProtocol } from '../../../protocol/define'
import { createChatServer, memoryLog, type SessionLog } from '../../../server'
import type { RunLog } from '../../../server/log/runLog'
import { createRuns, type ProducedEvent } from '../../../server/runs'
import { describeWithRedis } from '../../support/redis'
import { redisLogs } from '../../support/redisLogs'
import { command, eventsOf, manualProducer, says, stage, text, typesOf } from './stage'

const prompt = (said: string) => ({ type: 'prompt', text: said })
const options = (said: string) => ({ prompt: prompt(said) })
/** The texts of the prompts, and the types of what is not one. */
const story = async (log: SessionLog) =>
  (await eventsOf(log, 's1')).map(({ type, text: said }) => (type === 'prompt' ? said : type))

describe('on the memory log', () => {
  promptsAreTold(() => memoryLog())

  test('a prompt that the log cannot keep begins nothing, and ends nothing', async () => {
    const log = memoryLog({ maxSessionBytes: 20_000 })
    const { runs } = stage({ onBusy: 'interrupt' }, log)
    const first = manualProducer()
    const { run } = await runs.start(command('s1'), first.produce, options('one'))
    await expect(runs.start(command('s1'), says(), options('x'.repeat(30_000)))).rejects.toThrow('maxSessionBytes')
    expect((await runs.active('s1')).run?.id).toBe(run)
    first.finish()
    await runs.idle()
    expect(await story(log)).toEqual(['one', 'run.started', 'run.ended'])
  })
})

describeWithRedis('on the Redis log', () => {
  const createLog = redisLogs()
  promptsAreTold(createLog)

  test('of one command that reaches two processes at once the prompt is published once', async () => {
    const [here, there] = [stage({ onBusy: 'queue' }, createLog()), stage({ onBusy: 'queue' }, createLog())]
    const starts = [here, there, here, there].map(({ runs }) =>
      runs.start(command('s1', 'k1'), says(text('a')), options('one')),
    )
    expect((await Promise.all(starts)).filter(({ isRepeat }) => !isRepeat)).toHaveLength(1)
    await Promise.all([here.runs.idle(), there.runs.idle()])
    expect(await story(here.log)).toEqual(['one', 'run.started', 'text', 'run.ended'])
  })
})

function promptsAreTold(createLog: () => SessionLog) {
  test('the prompt of a run is directly before its run.started, and the cursor of the run is behind it', async () => {
    const { runs, log } = stage({}, createLog())
    const producer = manualProducer()
    expect(await runs.start(command('s1'), producer.produce, options('one'))).toMatchObject({ after: 1 })
    expect((await runs.active('s1')).run?.after).toBe(1)
    producer.finish()
    await runs.idle()
    expect(await story(log)).toEqual(['one', 'run.started', 'run.ended'])
  })

  test('a repeat publishes no prompt, while the run goes on and after it has ended', async () => {
    const { runs, log } = stage({ onBusy: 'queue' }, createLog())
    const producer = manualProducer()
    const start = () => runs.start(command('s1', 'k1'), producer.produce, options('one'))
    await start()
    expect(await start()).toMatchObject({ isRepeat: true })
    producer.finish()
    await runs.idle()
    expect(await start()).toMatchObject({ state: 'ended', isRepeat: true })
    expect(await story(log)).toEqual(['one', 'run.started', 'run.ended'])
  })

  test('a start that is rejected as busy publishes no prompt', async () => {
    const { runs, log } = stage({ onBusy: 'reject' }, createLog())
    const producer = manualProducer()
    await runs.start(command('s1'), producer.produce, options('one'))
    await expect(runs.start(command('s1'), says(), options('two'))).rejects.toMatchObject({ code: 'busy' })
    producer.finish()
    await runs.idle()
    expect(await story(log)).toEqual(['one', 'run.started', 'run.ended'])
  })

  test('the prompt of a run that is queued is told with run.queued; a full queue tells none', async () => {
    const { runs, log } = stage({ onBusy: 'queue' }, createLog())
    const producer = manualProducer()
    await runs.start(command('s1'), producer.produce, options('0'))
    for (let n = 1; n <= 8; n += 1) await runs.start(command('s1'), says(), options(`${n}`))
    await expect(runs.start(command('s1'), says(), options('9'))).rejects.toMatchObject({ code: 'busy' })
    const queued = Array.from({ length: 8 }, (_, index) => [`${index + 1}`, 'run.queued'])
    expect(await story(log)).toEqual(['0', 'run.started', ...queued.flat()])
    producer.finish()
    await runs.idle()
    expect((await story(log)).filter((what) => !String(what).startsWith('run.'))).toEqual([...'012345678'])
  })

  test('the prompt that interrupts is between the end of the other run and the begin of its own', async () => {
    const { runs, log } = stage({ onBusy: 'interrupt' }, createLog())
    await runs.start(command('s1'), manualProducer().produce, options('one'))
    await runs.start(command('s1'), says(text('a')), options('two'))
    await runs.idle()
    expect(await story(log)).toEqual(['one', 'run.started', 'run.ended', 'two', 'run.started', 'text', 'run.ended'])
  })

  test.each([
    ['was not written', 'before', ['one', 'run.started', 'text', 'run.ended']],
    ['was written, and its answer was lost', 'after', ['one', 'run.started', 'run.ended']],
  ] as const)(
    'a start that %s, and whose command comes again, has published the prompt once',
    async (_, when, expected) => {
      const log = createLog()
      const { runs } = stage({}, failingOnce(log, when))
      const start = () => runs.start(command('s1', 'k1'), says(text('a')), options('one'))
      await expect(start()).rejects.toThrow('cut off')
      if (when === 'after') await expect.poll(() => typesOf(log, 's1')).toContain('run.ended')
      expect((await start()).isRepeat).toBe(when === 'after' ? true : undefined)
      await runs.idle()
      expect(await story(log)).toEqual(expected)
    },
  )

  test.each([
    ['a text', 'oops', "start: 'prompt' must be an event"],
    ['without a type', { text: 'a' }, "with a string 'type'"],
    ['of the protocol', { type: 'ping' }, "is the protocol's"],
    ["of the library's own type", { type: 'run.started', run: 'x' }, "is the library's"],
    ['that does not fit the protocol', { type: 'prompt', text: 7 }, 'does not fit'],
  ])('what is no event begins nothing: %s', async (_, event, sentence) => {
    const log = createLog()
    const protocol = defineProtocol({ up: {}, down: { prompt: z.object({ text: z.string() }) } })
    const server = createChatServer({ protocol, log, authenticate: () => null, authorize: () => true, onCommand() {} })
    const runs = createRuns({ server })
    const start = runs.start(command('s1'), says(), { prompt: event as ProducedEvent })
    await expect(start).rejects.toThrow(sentence)
    expect(await eventsOf(log, 's1')).toEqual([])
    expect((await runs.active('s1')).run).toBeNull()
    await server.close()
  })

  test("the prompt is as it was at the start, and the envelope is the server's", async () => {
    const { runs, log } = stage({}, createLog())
    const event = { ...prompt('one'), sessionId: 'other', seq: 7 }
    const starting = runs.start(command('s1'), says(), { prompt: event })
    event.text = 'two'
    await starting
    await runs.idle()
    expect((await eventsOf(log, 's1'))[0]).toEqual(prompt('one'))
  })
}

/** The first step of a run fails, before or after it was made. */
function failingOnce(log: SessionLog, when: 'before' | 'after'): SessionLog {
  let isCut = false
  const change = async (runs: RunLog, ...given: Parameters<RunLog['change']>) => {
    if (isCut) return runs.change(...given)
    isCut = true
    if (when === 'after') await runs.change(...given)
    throw new Error('cut off')
  }
  const { joinRuns } = log
  if (!joinRuns) throw new Error('a log without runs')
  return {
    ...log,
    joinRuns(process) {
      const runs = joinRuns(process)
      return { ...runs, change: (...given) => change(runs, ...given) }
    },
  }
}
