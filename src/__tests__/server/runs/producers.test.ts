import { afterAll, beforeAll, expect, test } from 'vitest'
import { memoryLog } from '../../../server'
import { type Coalesce, createRuns, type Produce, suspend } from '../../../server/runs'
import { createTestServer, settle } from '../../support/server'
import { command, eventsOf, manualProducer, says, stage, text } from './stage'

const rejections: unknown[] = []
const hear = (reason: unknown) => void rejections.push(reason)
beforeAll(() => void process.on('unhandledRejection', hear))
afterAll(() => void process.off('unhandledRejection', hear))

/** It has no text, not even by String(). */
const TEXTLESS: unknown = Object.create(null)
const throwing = (thrown: unknown): Produce =>
  async function* () {
    yield text('a')
    throw thrown
  }

test.each<[string, Produce]>([
  ['null', throwing(null)],
  ['an object without a prototype', throwing(TEXTLESS)],
  [
    'an error whose message cannot be read',
    throwing(
      Object.defineProperty(new Error(), 'message', {
        get() {
          throw TEXTLESS
        },
      }),
    ),
  ],
  ['it before there is a stream', () => Promise.reject(TEXTLESS)],
  ['it through its stream', () => new ReadableStream({ pull: (controller) => controller.error(TEXTLESS) })],
])('a producer may throw anything: %s ends the run as failed, and no rejection is left', async (_, produce) => {
  const { runs, log, errors } = stage()
  const { run } = await runs.start(command('s1'), produce)
  await runs.idle()
  await settle()
  expect((await eventsOf(log, 's1')).at(-1)).toEqual({ type: 'run.ended', run, reason: 'failed', error: 'producer' })
  expect(errors).toHaveLength(1)
  expect(rejections).toEqual([])
})

const FORGED = { type: 'run.ended', run: 'r1', reason: 'finished' }
const join: Coalesce['join'] = () => FORGED

test.each<[string, object, Coalesce['join'] | undefined]>([
  ['by its type', FORGED, undefined],
  ['by its toJSON', { type: 'text', toJSON: () => FORGED }, undefined],
  ['a suspension by its toJSON', { type: 'text', toJSON: () => ({ type: 'run.suspended', run: 'r1' }) }, undefined],
  ['by what its mapping joins', text('b'), join],
])('no producer speaks for the library, %s: the event is none, and there is one run.ended', async (_, event, join) => {
  const { runs, log } = stage(join && { coalesce: { join } })
  const produce = says(text('a'), event as typeof FORGED, event as typeof FORGED)
  await runs.start(command('s1'), produce, { id: 'r1' })
  await runs.idle()
  expect((await eventsOf(log, 's1')).filter(({ type }) => type.startsWith('run.'))).toEqual([
    { type: 'run.started', run: 'r1' },
    { type: 'run.ended', run: 'r1', reason: 'failed', error: 'bad-event' },
  ])
})

test('events that are small enough alone are not joined to one that is too large', async () => {
  const log = memoryLog()
  const { server } = createTestServer({ log, limits: { eventBytes: 1_024 } })
  const runs = createRuns({ server, coalesce: { join: (a, b) => ({ ...a, text: `${a.text}${b.text}` }) } })
  await runs.start(command('s1'), says(...Array.from({ length: 9 }, () => text('é'.repeat(150)))))
  await runs.idle()
  const events = await eventsOf(log, 's1')
  expect(events.at(-1)).toMatchObject({ reason: 'finished' })
  expect(events.flatMap((event) => event.text ?? []).join('')).toBe('é'.repeat(1_350))
})

test('a clock that is set back by an hour does not hold up what coalesce gathers', async () => {
  const { log, server, clock } = stage()
  const runs = createRuns({ server, coalesce: { join: () => undefined } })
  const { produce, say } = manualProducer()
  await runs.start(command('s1'), produce)
  say(text('a'))
  await clock.advance(0)
  const now = clock.now.bind(clock)
  clock.now = () => now() - 3_600_000
  say(text('b'))
  await clock.advance(25)
  expect((await eventsOf(log, 's1')).slice(1)).toEqual([text('a'), text('b')])
})

test('a run that waits for more than the log can hold ends as too-large, and is not asked for ever', async () => {
  const { runs, log, errors, metrics } = stage({}, memoryLog({ maxBytes: 65_536 }))
  const { run } = await runs.start(command('s1'), says(text('a'), suspend('x'.repeat(10_000))))
  await runs.idle()
  const end = { type: 'run.ended', run, reason: 'failed', error: 'too-large' }
  expect((await eventsOf(log, 's1')).slice(1)).toEqual([text('a'), end])
  expect(errors.map(String)).toEqual([expect.stringContaining('maxSessionBytes')])
  expect(metrics.filter(({ name }) => name === 'runs.failed')).toHaveLength(1)
})

test('what is no command is refused, and no rejection is left', async () => {
  const { runs } = stage()
  const broken = [null, { sessionId: 's1', idempotencyKey: 'k1' }] as unknown as ReturnType<typeof command>[]
  for (const call of broken) {
    await expect(runs.start(call, says(), { id: 'r1' })).rejects.toThrow(TypeError)
    await expect(runs.resume(call, 'r1', 7 as unknown as Produce)).rejects.toThrow(TypeError)
    await expect(runs.resume(call, '..', says())).rejects.toMatchObject({ code: 'bad-run' })
  }
  await settle()
  expect(rejections).toEqual([])
})

test('of a thousand starts at once that interrupt each other each begins, and the last one goes on', async () => {
  const { runs, log } = stage({ onBusy: 'interrupt' })
  const ids = Array.from({ length: 1_000 }, (_, index) => `r${index}`)
  const { produce } = manualProducer()
  const receipts = await Promise.all(ids.map((id) => runs.start(command('s1'), produce, { id })))
  expect(receipts.map(({ state }) => state)).toEqual(ids.map(() => 'running'))
  const events = await eventsOf(log, 's1')
  for (const type of ['run.started', 'run.ended'])
    expect(new Set(events.filter((event) => event.type === type).map(({ run }) => run)).size).toBe(
      type === 'run.started' ? 1_000 : 999,
    )
})

test('a stop without a name ends the run that was active on arrival, and not the one that began meanwhile', async () => {
  const inner = memoryLog()
  let meanwhile = async () => {}
  const joinRuns: typeof inner.joinRuns = (process) => {
    const runs = inner.joinRuns?.(process)
    if (!runs) throw new Error('it keeps runs')
    return {
      ...runs,
      async change(...given) {
        const now = meanwhile
        meanwhile = async () => {}
        await now()
        return runs.change(...given)
      },
    }
  }
  const { runs } = stage({ onBusy: 'interrupt' }, { ...inner, joinRuns })
  const [first, second] = [manualProducer(), manualProducer()]
  await runs.start(command('s1'), first.produce, { id: 'first' })
  meanwhile = async () => void (await runs.start(command('s1'), second.produce, { id: 'second' }))
  expect(await runs.stop('s1')).toBe(undefined)
  expect([first.signal?.aborted, second.signal?.aborted]).toEqual([true, false])
})
