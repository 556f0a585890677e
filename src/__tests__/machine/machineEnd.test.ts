import { createConnection } from 'holdline'
import { createHarness, type Environment, type Harness, type HarnessOptions } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { processSettles, watchProcess } from '../support/process'

const lost = watchProcess()

const noDice = () => {
  throw new Error('no dice')
}

/** Everything is over, and said to be so. */
async function expectTheEnd(harness: Harness, { wasOpen }: { wasOpen: boolean }) {
  const { connection, streams, posts, time, page, told, settles } = harness
  await settles()
  await processSettles()
  expect(streams.filter(({ isClosed }) => !isClosed)).toEqual([])
  expect(posts.filter(({ isAborted, isAnswered }) => !isAborted && !isAnswered)).toEqual([])
  expect([time.clock.pending, page.listeners]).toEqual([0, 0])
  const stopped = told.flatMap((one) => (one.name === 'stopped' ? [one.event.error] : []))
  expect(stopped).toMatchObject([{ name: 'ConnectionError', code: 'internal' }])
  const flips = told.flatMap(({ name }) => (name === 'opened' || name === 'closed' ? [name] : []))
  expect(flips).toEqual(wasOpen ? ['opened', 'closed'] : [])
  const [error] = stopped
  expect(connection.getSnapshot()).toMatchObject({ phase: 'idle', connectionId: null, retryAt: null, lastError: error })
  expect(told.findLast(({ name }) => name === 'phase')?.event).toMatchObject({ phase: 'idle' })
  expect(connection.pending).toEqual([])
  const { length } = told
  connection.connect()
  connection.suspend()
  connection.dispose()
  await settles()
  expect(await connection.send({ type: 'send' }).settled).toMatchObject({ error: { code: 'disposed' } })
  expect(told.slice(length).map(({ name }) => name)).not.toContain('stopped')
  expect(lost.mock.calls).toEqual([])
}

const WHERE: Record<string, (harness: Harness) => unknown> = {
  connecting: ({ connection }) => connection.connect(),
  async reconnecting({ connection, reaches }) {
    connection.watch('s1')
    connection.connect()
    await reaches('reconnecting')
  },
  open: ({ opens }) => opens(),
  async 'open, with a POST under way'({ connection, opens, settles }) {
    await opens()
    connection.send({ type: 'send' })
    await settles()
  },
  async 'open, waiting to repeat a POST'({ connection, opens, settles, post }) {
    await opens()
    connection.send({ type: 'send' })
    await settles()
    post('send').answers(503)
    await settles()
  },
  async backoff(harness) {
    await harness.opens()
    harness.stream.fails()
    await harness.reaches('backoff')
    harness.connection.send({ type: 'send' })
  },
}
const EVENTS: readonly object[] = [
  { type: 5 },
  {},
  { type: '*' },
  { type: 'xstate.error.actor.nobody' },
  { type: 'xstate.stop' },
]
const SILENT: HarnessOptions = {
  server: { post: ({ endpoint }, next) => /send|reconnect|suspend/.test(endpoint) || next() },
}

/** From when it `breaks` on, no timer can be set. */
function createBroken(options: HarnessOptions = {}) {
  let isBroken = false
  const create = ({ clock, ...environment }: Environment) =>
    createConnection({
      ...environment,
      clock: { ...clock, setTimeout: (...timer) => (isBroken ? noDice() : clock.setTimeout(...timer)) },
    })
  const harness = createHarness({ ...options, create })
  const breaks = () => {
    isBroken = true
    return () => {
      isBroken = false
    }
  }
  return { harness, breaks }
}

describe('whatever ends the machine, nothing is left open, and the app is told', () => {
  test.each(
    Object.entries(WHERE).flatMap(([where, goesThere]) => EVENTS.map((event) => ({ where, event, goesThere }))),
  )('$where: the app sends it $event', async ({ event, goesThere }) => {
    const harness = createHarness(SILENT)
    await goesThere(harness)
    const wasOpen = harness.told.some(({ name }) => name === 'opened')
    harness.connection.actor.send(event as never)
    await expectTheEnd(harness, { wasOpen })
  })

  test('the app sends it a fact without what belongs to it', async () => {
    const harness = createHarness()
    await harness.opens()
    harness.connection.actor.send({ type: 'stream.welcomed' } as never)
    await expectTheEnd(harness, { wasOpen: true })
  })

  test('the app stops it', async () => {
    const harness = createHarness()
    await harness.opens()
    const actor = harness.connection.actor as unknown as { stop(): void }
    actor.stop()
    await expectTheEnd(harness, { wasOpen: true })
  })

  test.each<[string, (harness: Harness) => unknown]>([
    ['the line backs off', ({ server }) => server.sends({ type: 'goodbye' })],
    [
      'a POST is to be repeated',
      async ({ connection, settles, post }) => {
        connection.send({ type: 'send' })
        await settles()
        post('send').answers(503)
      },
    ],
  ])('a `random` that throws, as %s', async (_, happens) => {
    const harness = createHarness({ ...SILENT, random: noDice })
    await harness.opens()
    await happens(harness)
    await expectTheEnd(harness, { wasOpen: true })
  })

  test('a clock that throws, as the machine asks for it', async () => {
    const { harness, breaks } = createBroken()
    await harness.opens()
    breaks()
    harness.connection.reconnect()
    await expectTheEnd(harness, { wasOpen: true })
  })

  test('a clock that throws, as a POST asks for it', async () => {
    const { harness, breaks } = createBroken()
    await harness.opens()
    breaks()
    harness.connection.send({ type: 'send' })
    await expectTheEnd(harness, { wasOpen: true })
  })

  test('a clock that throws, as a stream asks for it', async () => {
    const { harness, breaks } = createBroken({ heartbeat: 20_000, server: { stream: (stream) => stream.opens() } })
    harness.connection.connect()
    await harness.settles()
    breaks()
    harness.stream.welcomes({ heartbeat: 20_000 })
    await expectTheEnd(harness, { wasOpen: false })
  })

  test('what was queued has its verdict, and the error is the one that was thrown', async () => {
    const harness = createHarness({ ...SILENT, random: noDice })
    await harness.opens()
    const sent = harness.connection.send({ type: 'send' })
    await harness.settles()
    const queued = harness.connection.send({ type: 'send' })
    harness.server.sends({ type: 'goodbye' })
    expect([await sent.settled, await queued.settled]).toMatchObject([
      { status: 'unknown', error: { code: 'cancelled' } },
      { status: 'rejected', error: { code: 'cancelled' } },
    ])
    expect(harness.connection.lastError?.cause).toEqual(new Error('no dice'))
  })

  test('where the app disposed of it, it is told of nothing', async () => {
    const harness = createHarness()
    await harness.opens()
    harness.connection.dispose()
    await harness.settles()
    expect(harness.told.map(({ name }) => name)).not.toContain('stopped')
    expect(harness.connection.lastError).toBeNull()
  })
})

test('a clock that throws, as a resume asks for it, stops the line in order: `connect` starts again', async () => {
  const { harness, breaks } = createBroken(SILENT)
  const { connection } = harness
  connection.watch('s1')
  connection.connect()
  await harness.reaches('reconnecting')
  const mends = breaks()
  harness.post('reconnect').answers(200, { ok: true })
  await harness.settles()
  expect(connection).toMatchObject({ phase: 'idle', lastError: { code: 'internal', cause: new Error('no dice') } })
  expect([harness.time.clock.pending, harness.page.listeners]).toEqual([0, 0])
  mends()
  connection.connect()
  await harness.reaches('reconnecting')
  expect(lost.mock.calls).toEqual([])
})
