import fc from 'fast-check'
import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { createHarness, type HarnessOptions } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import type { ConnectionOptions } from '../../connection/options'

const encoder = new TextEncoder()
const WELCOME = `event: welcome\ndata: ${JSON.stringify({ type: 'welcome', protocolVersion: 2, connectionId: 'c1', heartbeat: 1_000 })}\n\n`
const event = (seq: number, text = '') => `data: ${JSON.stringify({ type: 'token', sessionId: 's1', seq, text })}\n\n`

/** One answer to `GET …/events`, byte by byte in the hands of the test. */
interface Served {
  readonly headers: Headers
  readonly signal: AbortSignal
  readonly wasCancelled: boolean
  writes(text: string | Uint8Array): Promise<void>
  ends(): Promise<void>
  breaks(): Promise<void>
}

type Answer = { readonly status?: number; readonly headers?: Record<string, string> }

/** A connection over `fetch` alone; POSTs are answered by the harness. */
function createFetchLine(
  answers: readonly Answer[] = [],
  options: Partial<ConnectionOptions> = {},
  harnessOptions: HarnessOptions = {},
) {
  const served: Served[] = []
  const harness = createHarness({
    ...harnessOptions,
    create: (environment) =>
      createConnection({
        ...environment,
        createEventSource: () => {
          throw new Error('not over an EventSource')
        },
        transport: fetchStreamTransport,
        ...options,
        fetch: async (input, init = {}) => {
          if (!String(input).endsWith('/events')) return environment.fetch(input, init)
          let wasCancelled = false
          let sink: ReadableStreamDefaultController<Uint8Array>
          const signal = init.signal as AbortSignal
          const body = new ReadableStream<Uint8Array>({
            start(controller) {
              sink = controller
              signal.addEventListener('abort', () => controller.error(signal.reason))
            },
            cancel() {
              wasCancelled = true
            },
          })
          const { status = 200, headers = { 'content-type': 'text/event-stream' } } = answers[served.length] ?? {}
          served.push({
            headers: new Headers(init.headers),
            signal,
            get wasCancelled() {
              return wasCancelled
            },
            writes(text) {
              sink.enqueue(typeof text === 'string' ? encoder.encode(text) : text)
              return harness.settles()
            },
            ends() {
              sink.close()
              return harness.settles()
            },
            breaks() {
              sink.error(new Error('socket hang up'))
              return harness.settles()
            },
          })
          return new Response(body, { status, headers })
        },
      }),
  })
  const errors: unknown[] = []
  harness.connection.on('stopped', ({ error }) => errors.push(error))
  return {
    harness,
    connection: harness.connection,
    served,
    errors,
    get stream() {
      return served.at(-1) as Served
    },
    async connects() {
      harness.connection.connect()
      await harness.settles()
    },
  }
}

const seqs = ({ harness }: ReturnType<typeof createFetchLine>) => harness.messages.map(({ seq }) => seq)

describe('a stream read with fetch', () => {
  test('opens, is welcomed, and carries events', async () => {
    const world = createFetchLine()
    await world.connects()
    expect(world.connection.phase).toBe('awaitingWelcome')
    expect(world.stream.headers.get('accept')).toBe('text/event-stream')
    await world.stream.writes(WELCOME + event(1) + event(2))
    expect([world.connection.phase, world.connection.connectionId, seqs(world)]).toEqual(['open', 'c1', [1, 2]])
  })

  test('sends the headers, where an EventSource could not', async () => {
    const world = createFetchLine([], { headers: { authorization: 'Bearer t' } })
    await world.connects()
    expect(world.stream.headers.get('authorization')).toBe('Bearer t')
  })

  test('C31: a 401 stops the line at once', async () => {
    const world = createFetchLine([{ status: 401 }])
    await world.connects()
    expect([world.connection.phase, world.errors]).toEqual([
      'idle',
      [expect.objectContaining({ code: 'unauthorized', status: 401 })],
    ])
  })

  test('a 401 asks the hook once more; the line goes on with what it says', async () => {
    const asked: string[] = []
    const world = createFetchLine([{ status: 401 }], {
      headers: ({ reason }) => {
        asked.push(reason)
        return { authorization: reason }
      },
    })
    await world.connects()
    expect(asked).toEqual(['stream', 'unauthorized'])
    expect(world.stream.headers.get('authorization')).toBe('unauthorized')
    await world.stream.writes(WELCOME)
    expect(world.connection.phase).toBe('open')
  })

  test.each([429, 503])('C40: a %s that says how long to wait is obeyed', async (status) => {
    const world = createFetchLine([{ status, headers: { 'retry-after': '40' } }])
    await world.connects()
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError).toMatchObject({ code: 'stream-failed', status, retryAfter: 40_000 })
    await world.harness.passes(39_999)
    expect(world.served.length).toBe(1)
    await world.harness.passes(40_000)
    expect(world.served.length).toBeGreaterThan(1)
  })

  test.each([
    ['a page of a captive portal', { headers: { 'content-type': 'text/html; charset=utf-8' } }, /text\/html/],
    ['nothing', { headers: {} }, /not text\/event-stream/],
    ['a type that only begins alike', { headers: { 'content-type': 'text/event-streams' } }, /text\/event-streams/],
    ['a 500', { status: 500 }, /500/],
    ['a 203', { status: 203 }, /203/],
  ])('%s is no stream: it is let go, and tried again', async (_, answer, message) => {
    const world = createFetchLine([answer])
    await world.connects()
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError).toMatchObject({ code: 'stream-failed', message: expect.stringMatching(message) })
    expect(world.stream.wasCancelled || world.stream.signal.aborted).toBe(true)
    await world.harness.passes(30_000)
    await world.stream.writes(WELCOME)
    expect(world.connection.phase).toBe('open')
  })

  test.each(['ends', 'breaks'] as const)('C16: a stream that %s is over, and its request aborted', async (how) => {
    const world = createFetchLine()
    await world.connects()
    await world.stream.writes(WELCOME)
    await world.stream[how]()
    expect([world.connection.phase, world.stream.signal.aborted]).toEqual(['backoff', true])
    expect(world.connection.lastError).toMatchObject({
      code: 'stream-failed',
      message: expect.stringMatching(/ended|cut/),
    })
  })

  test('C22 C23: comments are signs of life, which an EventSource does not show', async () => {
    const world = createFetchLine()
    await world.connects()
    await world.stream.writes(WELCOME)
    for (let second = 0; second < 20; second++) {
      await world.harness.passes(1_000)
      await world.stream.writes(': still here\n\n')
    }
    expect(world.connection.phase).toBe('open')
    await world.harness.passes(4_000)
    expect(world.harness.told.filter(({ name }) => name === 'closed')).toEqual([
      expect.objectContaining({ event: expect.objectContaining({ reason: 'silent' }) }),
    ])
  })

  test('a frame of another name is no message, but a sign of life', async () => {
    const world = createFetchLine()
    await world.connects()
    await world.stream.writes(WELCOME)
    await world.harness.passes(1_500)
    await world.stream.writes('event: weather\ndata: {"type":"rain"}\n\n')
    await world.harness.passes(1_500)
    expect([world.connection.phase, world.harness.messages]).toEqual(['open', []])
  })

  test('C21: after a disconnect in a listener nothing more of that chunk is heard', async () => {
    const world = createFetchLine()
    await world.connects()
    await world.stream.writes(WELCOME)
    world.connection.on('message', () => world.connection.disconnect())
    await world.stream.writes(event(1) + event(2) + event(3))
    expect([seqs(world), world.connection.phase, world.stream.signal.aborted]).toEqual([[1], 'idle', true])
  })

  test('I1: a disconnect while the answer is on its way lets it go', async () => {
    const world = createFetchLine()
    world.connection.connect()
    world.connection.disconnect()
    await world.harness.settles()
    expect([world.connection.phase, world.served.every(({ signal }) => signal.aborted)]).toEqual(['idle', true])
  })

  test('wherever the bytes are cut, every text arrives as it was sent', async () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 80 })
    await fc.assert(
      fc.asyncProperty(
        cuts,
        fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 4 }),
        async (sizes, texts) => {
          const world = createFetchLine()
          await world.connects()
          const bytes = encoder.encode(`\uFEFF${WELCOME}${texts.map((text, index) => event(index + 1, text)).join('')}`)
          let at = 0
          for (const size of sizes) {
            if (at < bytes.length) await world.stream.writes(bytes.slice(at, at + size))
            at += size
          }
          if (at < bytes.length) await world.stream.writes(bytes.slice(at))
          expect(world.harness.messages.map(({ text }) => text)).toEqual(texts)
        },
      ),
      { numRuns: 40 },
    )
  })

  test('I1: leaving a stream cancels its body, also where the fetch knows no signals', async () => {
    let cancelled = 0
    const body = () =>
      new ReadableStream<Uint8Array>({
        start: (sink) => sink.enqueue(encoder.encode(WELCOME)),
        cancel: () => void cancelled++,
      })
    const harness = createHarness({
      create: (environment) =>
        createConnection({
          ...environment,
          transport: fetchStreamTransport,
          fetch: async () => new Response(body(), { headers: { 'content-type': 'text/event-stream' } }),
        }),
    })
    await harness.opens()
    harness.connection.disconnect()
    await harness.settles()
    expect(cancelled).toBe(1)
  })

  test('C72: a 403 that does not say why stops the line at the third time', async () => {
    const world = createFetchLine(Array(9).fill({ status: 403, headers: { 'content-type': 'text/html' } }))
    await world.connects()
    await world.harness.passes(60_000)
    expect([world.connection.phase, world.served.length]).toEqual(['idle', 3])
  })

  test('C73: a welcome whose lines end in CR is heard before the next byte', async () => {
    const world = createFetchLine()
    await world.connects()
    await world.stream.writes(`${WELCOME.replaceAll('\n', '\r')}`)
    expect(world.connection.phase).toBe('open')
    await world.stream.writes(event(1).replaceAll('\n', '\r'))
    expect(seqs(world)).toEqual([1])
  })

  test('C73: wherever the bytes are cut, CR, LF and CRLF end the same lines', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('\r', '\n', '\r\n'),
        fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 40 }),
        async (end, sizes) => {
          const world = createFetchLine()
          await world.connects()
          const text = `${WELCOME}${event(1)}: a comment\n\n${event(2)}`.replaceAll('\n', end)
          const bytes = encoder.encode(text)
          let at = 0
          for (const size of sizes) {
            if (at < bytes.length) await world.stream.writes(bytes.slice(at, at + size))
            at += size
          }
          if (at < bytes.length) await world.stream.writes(bytes.slice(at))
          expect(seqs(world)).toEqual([1, 2])
        },
      ),
      { numRuns: 60 },
    )
  })
})

test.each([
  ['the fetch stream', { transport: fetchStreamTransport }],
  ['the eventsource package', { headers: {} }],
] as const)(
  'C103: over %s a stream of another origin is not believed, one that was moved within it is',
  async (_, options) => {
    const welcome = () => new Response(WELCOME, { headers: { 'content-type': 'text/event-stream' } })
    const elsewhere = await listen(welcome)
    let target = elsewhere.url
    const host = await listen(({ url }) =>
      url.endsWith('/events') ? new Response(null, { status: 307, headers: { location: target } }) : welcome(),
    )
    const connection = createConnection({ url: host.url, ...options, backoff: { base: 1, cap: 1 } })
    const opened: unknown[] = []
    connection.on('opened', (event) => opened.push(event))
    connection.connect()
    await expect.poll(() => connection.attempt).toBeGreaterThan(2)
    expect([opened, connection.lastError?.message]).toEqual([[], expect.stringContaining(elsewhere.url)])
    target = '/moved'
    await expect.poll(() => opened.length).toBeGreaterThan(0)
    connection.dispose()
    await host.close()
    await elsewhere.close()
  },
)
