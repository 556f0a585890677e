import { type ConnectionOptions, createConnection } from 'holdline'
import { createHarness, type Harness, type TestPost } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { createChatServer } from '../../server'

// The native EventSource does not tell with which status it was refused: the harness's tells none
// either.

const isAsk = ({ endpoint }: TestPost) => endpoint === 'events?ask'

/** No stream opens, and what is asked is left to the test. */
function createAskingLine(options: Partial<ConnectionOptions> = {}) {
  const harness = createHarness({
    server: { stream() {}, post: (post, next) => isAsk(post) || next() },
    random: () => 0.5,
    ignoresAbort: true,
    create: (environment) => createConnection({ ...environment, ...options }),
  })
  const stops: unknown[] = []
  harness.connection.on('stopped', ({ error }) => stops.push(error))
  return {
    harness,
    connection: harness.connection,
    stops,
    asks: () => harness.posts.filter(isAsk),
    async fails() {
      harness.stream.fails()
      await harness.settles()
    },
    /** To the second failure in a row, which is asked about. */
    async asksWhy(): Promise<TestPost> {
      harness.connection.connect()
      await this.fails()
      await waits(harness)
      await this.fails()
      const ask = this.asks().at(-1)
      if (!ask) throw new Error('nothing was asked')
      return ask
    },
  }
}
const waits = ({ connection, passes, time }: Harness) => passes((connection.retryAt ?? 0) - time.clock.now())

describe('C72: why an EventSource did not open', () => {
  test('is asked from the second failure in a row on, without a stream beside it, and in `connecting`', async () => {
    const world = createAskingLine()
    world.connection.connect()
    await world.fails()
    expect([world.asks().length, world.connection.phase]).toEqual([0, 'backoff'])
    await waits(world.harness)
    await world.fails()
    expect([world.asks().length, world.connection.phase]).toEqual([1, 'connecting'])
    expect(world.harness.streams.filter(({ isClosed }) => !isClosed)).toEqual([])
    expect(world.asks()[0]?.headers.get('accept')).toBe('text/event-stream')
  })

  test.each([
    [204, {}, 'ended'],
    [401, {}, 'unauthorized'],
    [403, { error: 'blocked' }, 'forbidden'],
  ])('%i %j stops the line at once: %s', async (status, json, code) => {
    const world = createAskingLine()
    const ask = await world.asksWhy()
    ask.answers(status, json)
    await world.harness.settles()
    expect([world.connection.phase, world.stops]).toEqual(['idle', [expect.objectContaining({ code, status })]])
    expect(world.harness.time.clock.pending).toBe(0)
  })

  test('403 without a word may pass: the third one in a row stops the line, another failure between begins anew', async () => {
    const world = createAskingLine({ backoff: { base: 1_000, cap: 1_000 } })
    let ask = await world.asksWhy()
    for (const status of [403, 403, 500, 403, 403]) {
      ask.answersText(status, '<h1>blocked</h1>', 'text/html')
      await world.harness.settles()
      expect([world.connection.phase, world.connection.lastError?.status]).toEqual(['backoff', status])
      await waits(world.harness)
      await world.fails()
      ask = world.asks().at(-1) as TestPost
    }
    ask.answersText(403, '<h1>blocked</h1>', 'text/html')
    await world.harness.settles()
    expect([world.connection.phase, world.stops.length]).toEqual(['idle', 1])
  })

  test('a JSON without an `error`, or with one that is no text, says nothing either', async () => {
    for (const json of [{}, null, [], { error: 5 }, { error: null }]) {
      const world = createAskingLine()
      const ask = await world.asksWhy()
      ask.answers(403, json)
      await world.harness.settles()
      expect(world.connection.phase).toBe('backoff')
    }
  })

  test.each([429, 503])('C40: %i with Retry-After is waited for', async (status) => {
    const world = createAskingLine()
    const ask = await world.asksWhy()
    ask.answers(status, {}, { 'retry-after': '40' })
    await world.harness.settles()
    expect(world.connection.lastError).toMatchObject({ code: 'stream-failed', status, retryAfter: 40_000 })
    // Half of it is the spread, and chance is 0.5.
    expect((world.connection.retryAt ?? 0) - world.harness.time.clock.now()).toBe(50_000)
  })

  test.each<[string, (ask: TestPost) => void, message: string]>([
    ['a server that is down, or behind CORS without headers', (ask) => ask.fails(), 'the stream was cut'],
    [
      'a page in the place of a stream',
      (ask) => ask.answers(200),
      'GET events: application/json, not text/event-stream',
    ],
  ])('%s leaves it an ordinary failure', async (_, answers, message) => {
    const world = createAskingLine()
    answers(await world.asksWhy())
    await world.harness.settles()
    expect([world.connection.phase, world.connection.lastError?.message]).toEqual(['backoff', message])
  })

  test('a server that does not answer is waited for 3 s, and its late answer changes nothing', async () => {
    const world = createAskingLine()
    const ask = await world.asksWhy()
    await world.harness.passes(2_999)
    expect(world.connection.phase).toBe('connecting')
    await world.harness.passes(1)
    expect([world.connection.phase, ask.isAborted]).toEqual(['backoff', true])
    ask.answers(401)
    await world.harness.settles()
    expect([world.connection.phase, world.stops]).toEqual(['backoff', []])
  })

  test('`timeouts.connect` is the limit, if it is the shorter one', async () => {
    const world = createAskingLine({ timeouts: { connect: 1_000 } })
    const ask = await world.asksWhy()
    await world.harness.passes(1_000)
    expect([world.connection.phase, world.connection.lastError?.code, ask.isAborted]).toEqual([
      'backoff',
      'timeout',
      true,
    ])
  })

  test('I8: a disconnect ends the question', async () => {
    const world = createAskingLine()
    const ask = await world.asksWhy()
    world.connection.disconnect()
    await world.harness.settles()
    expect([ask.isAborted, world.harness.time.clock.pending]).toEqual([true, 0])
    ask.answers(401)
    await world.harness.settles()
    expect([world.connection.phase, world.connection.lastError?.code]).toEqual(['idle', undefined])
  })

  test.each([
    ['that had opened', (world: ReturnType<typeof createAskingLine>) => world.harness.stream.opens()],
    ['that was welcomed', (world: ReturnType<typeof createAskingLine>) => world.harness.stream.welcomes()],
  ])('is not asked of a stream %s', async (_, comesSoFar) => {
    const world = createAskingLine()
    world.connection.connect()
    await world.fails()
    await waits(world.harness)
    comesSoFar(world)
    await world.fails()
    expect([world.asks(), world.connection.phase]).toEqual([[], 'backoff'])
  })

  test('is not asked of an EventSource that tells the status, or cannot be made', async () => {
    const world = createAskingLine()
    world.connection.connect()
    for (const _ of [1, 2, 3]) {
      world.harness.stream.fails(500)
      await world.harness.settles()
      await waits(world.harness)
    }
    const broken = createAskingLine({ createEventSource: () => Promise.reject(new Error('blocked by policy')) })
    broken.connection.connect()
    await broken.harness.passes(10_000)
    expect([world.asks(), broken.asks(), broken.connection.attempt > 2]).toEqual([[], [], true])
  })
})

describe('?ask, over HTTP', () => {
  const ask = (url: string) => fetch(`${url}/events?ask`, { signal: AbortSignal.timeout(5_000) })

  test('is answered by the server half as a stream would be, and opens none', async () => {
    const streams: number[] = []
    let principal: { id: string } | null = { id: 'me' }
    const chat = createChatServer({
      authenticate: () => principal,
      authorize: () => true,
      onCommand: () => ({}),
      onMetric: ({ name, value }) => name === 'streams' && streams.push(value),
      limits: { streamsPerPrincipal: 1 },
    })
    const host = await listen(chat.fetch)
    const granted = await ask(host.url)
    expect([granted.status, granted.headers.get('content-type'), await granted.text()]).toEqual([
      200,
      'text/event-stream',
      '',
    ])
    expect(streams).toEqual([])
    const stream = await fetch(`${host.url}/events`)
    const full = await ask(host.url)
    expect([full.status, full.headers.get('retry-after')]).toEqual([429, '5'])
    await stream.body?.cancel()
    principal = null
    expect((await ask(host.url)).status).toBe(401)
    await host.close()
    await chat.close()
  })

  test('a server that does not know it opens a stream, which is let go at once', async () => {
    let cancelled = 0
    let count = 0
    const host = await listen(({ url }) => {
      count++
      if (!url.endsWith('?ask')) return new Response(null, { status: 500 })
      const body = new ReadableStream({ cancel: () => void cancelled++ })
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    })
    const connection = createConnection({
      url: host.url,
      backoff: { base: 1, cap: 1 },
      // As a native one: it tells nothing.
      createEventSource: (url) => ({
        addEventListener(type, listener) {
          const fails = () => listener({})
          if (type === 'error') fetch(url).then(fails, fails)
        },
        close() {},
      }),
    })
    connection.connect()
    await expect.poll(() => cancelled).toBeGreaterThan(1)
    expect(count).toBeGreaterThan(3)
    connection.dispose()
    await host.close()
  })
})
