import fc from 'fast-check'
import { formatTrace, parseTrace, replayTrace } from 'holdline/inspect'
import {
  commands,
  createHarness,
  createWorld,
  type Harness,
  resumeFails,
  sendFails,
  streamDropsAfter,
  type World,
} from 'holdline/testing'
import { describe, expect, test, vi } from 'vitest'
import { createConnection } from '../../createConnection'
import { ConnectionError } from '../../errors'
import { FEATURES } from '../../protocol'
import type { Trace, TraceStep } from '../../trace/trace'

/** As it is read from a file. */
const saved = (trace: Trace): Trace => JSON.parse(JSON.stringify(trace))
const told = ({ machine, event, from, to, refused }: TraceStep) =>
  `${machine === 'outbox' ? 'outbox: ' : ''}${event}: ${refused ? `${from} ✗` : from === to ? `${from} ·` : `${from} → ${to}`}`

async function aRoughMorning() {
  const harness = createHarness({ server: resumeFails({ status: 503, times: 1 }) })
  harness.connection.watch('s1')
  harness.connection.connect()
  harness.connection.connect()
  await harness.opens()
  harness.connection.reconnect()
  await harness.opens()
  harness.connection.disconnect()
  return harness
}

describe('the recorder', () => {
  test('tells each event, the refused ones too, and where it led', async () => {
    const { connection } = await aRoughMorning()
    expect(connection.trace().steps.map(told)).toEqual([
      'connect: idle → active.streaming.connecting',
      'connect: active.streaming.connecting ✗',
      'stream.opened: active.streaming.connecting → active.streaming.awaitingWelcome',
      'stream.welcomed: active.streaming.awaitingWelcome → active.streaming.reconnecting.posting',
      'resume.failed: active.streaming.reconnecting.posting → active.backoff',
      'xstate.after.backoffDelay.backoff: active.backoff → active.streaming.connecting',
      'stream.opened: active.streaming.connecting → active.streaming.awaitingWelcome',
      'stream.welcomed: active.streaming.awaitingWelcome → active.streaming.reconnecting.posting',
      'stream.replayed: active.streaming.reconnecting.posting → active.streaming.reconnecting.confirming',
      'resume.succeeded: active.streaming.reconnecting.confirming → active.streaming.open.steady',
      'outbox: release: held → released.flowing',
      'reconnect: active.streaming.open.steady → active.streaming.connecting',
      'outbox: hold: released.flowing → held',
      'stream.opened: active.streaming.connecting → active.streaming.awaitingWelcome',
      'stream.welcomed: active.streaming.awaitingWelcome → active.streaming.reconnecting.posting',
      'stream.replayed: active.streaming.reconnecting.posting → active.streaming.reconnecting.confirming',
      'resume.succeeded: active.streaming.reconnecting.confirming → active.streaming.open.steady',
      'outbox: release: held → released.flowing',
      'disconnect: active.streaming.open.steady → idle',
      'outbox: hold: released.flowing → held',
    ])
  })

  test('says what the guards asked, and what was known before', async () => {
    const { connection } = await aRoughMorning()
    const { steps } = connection.trace()
    const failed = steps.find(({ event }) => event === 'resume.failed')
    expect(failed).toMatchObject({ code: 'http', status: 503, retryable: true, attempt: 0, resumes: 1 })
    expect(failed?.delay).toBe(steps[5] && steps[4] ? steps[5].at - steps[4].at : undefined)
    expect(steps.find(({ event }) => event === 'stream.welcomed')).toMatchObject({ sessions: 1, features: [] })
    expect(steps.find(({ event }) => event === 'stream.replayed')).toMatchObject({
      own: true,
      sessions: 0,
      attempt: 1,
      features: FEATURES,
    })
  })

  test('one event is one step, also where it leads through backoff to the end', async () => {
    const harness = createHarness({
      create: (environment) => createConnection({ ...environment, backoff: { maxAttempts: 0 } }),
    })
    await harness.opens()
    harness.stream.fails()
    await harness.settles()
    expect(harness.connection.trace().steps.map(told).at(-2)).toBe('stream.failed: active.streaming.open.steady → idle')
    expect(replayTrace(saved(harness.connection.trace())).divergence).toBeNull()
  })

  test('keeps the last 256 steps, and says how many were dropped', async () => {
    const harness = createHarness()
    await harness.opens()
    for (let n = 0; n < 300; n++) harness.connection.connect()
    const { steps, dropped } = harness.connection.trace()
    expect([steps.length, dropped]).toEqual([256, 300 + 4 - 256])
    expect(new Set(steps.map(told))).toEqual(new Set(['connect: active.streaming.open.steady ✗']))
    harness.connection.disconnect()
    expect(harness.connection.trace().steps.slice(-2).map(told)).toEqual([
      'disconnect: active.streaming.open.steady → idle',
      'outbox: hold: released.flowing → held',
    ])
  })

  test('has no payload: no ids, no texts, no headers, no answers', async () => {
    const secret = (what: string) => `SECRET-${what}`
    const harness = createHarness({
      server: [sendFails({ status: 503, times: 1 }), streamDropsAfter(2, { times: 1 })],
      create: (environment) =>
        createConnection({
          ...environment,
          url: `http://harness.test/${secret('path')}`,
          headers: { authorization: secret('token') },
        }),
    })
    const { connection } = harness
    connection.watch(secret('session'))
    connection.on('message', () => {
      throw new Error(secret('listener'))
    })
    connection.on('error', () => {})
    await harness.opens()
    connection.send({ type: 'send', sessionId: secret('session'), prompt: secret('prompt') }, { id: secret('id') })
    for (let n = 0; n < 3; n++) harness.server.publish(secret('session'), { type: 'token', text: secret('text') })
    await harness.passes(60_000)
    harness.stream.fails(503)
    await harness.opens()
    await harness.passes(60_000)
    expect([connection.pending.length, connection.connectionId]).toEqual([0, expect.any(String)])
    const json = JSON.stringify(connection.trace())
    expect(json).not.toContain('SECRET')
    expect(json).not.toContain(String(connection.connectionId))
    expect(formatTrace(connection.trace())).not.toContain('SECRET')
  })
})

describe('a replay', () => {
  test('of what this version did finds nothing, through a file too', async () => {
    const { connection } = await aRoughMorning()
    const trace = connection.trace()
    expect(replayTrace(trace)).toEqual({ steps: trace.steps.length, divergence: null })
    expect(replayTrace(JSON.stringify(trace))).toEqual({ steps: trace.steps.length, divergence: null })
  })

  test.each([
    [[], Number.POSITIVE_INFINITY],
    [['replay-marker', 'contiguous-seq'], 3],
    [FEATURES, Number.POSITIVE_INFINITY],
  ] as const)('of whatever happened finds nothing: %j, at most %s attempts', async (features, maxAttempts) => {
    let steps = 0
    const letters = commands().map((command) => fc.constant(command))
    await fc.assert(
      fc.asyncProperty(fc.commands(letters, { maxCommands: 200, size: 'max' }), async (run) => {
        let world: World | undefined
        await fc.asyncModelRun(() => {
          world = createWorld({
            features,
            heartbeat: 10_000,
            create: (environment) => createConnection({ ...environment, backoff: { maxAttempts } }),
          })
          return { model: world, real: world }
        }, run)
        const trace = world?.connection.trace()
        if (!trace) return
        steps += trace.steps.length
        const { divergence } = replayTrace(saved(trace))
        expect(divergence).toBeNull()
      }),
      { numRuns: 60 },
    )
    expect(steps).toBeGreaterThan(60 * 5)
  })

  test.each([
    ['another state', 4, { to: 'active.streaming.connecting' }, { to: 'active.backoff' }],
    ['a refusal that was none', 2, { refused: true }, { refused: false }],
    ['a refused event that was taken', 1, { refused: false }, { refused: true }],
    ['a fatal error that was retried', 4, { retryable: false }, { to: 'idle' }],
    ['another resume', 8, { own: false }, { to: 'active.streaming.reconnecting.posting', refused: true }],
    ['an attempt that was not counted', 5, { attempt: 0 }, { attempt: 1 }, 4],
    ['a state that there is not', 0, { from: 'asleep' }, { to: null }],
  ] as const)(
    'names the first step that this version decides otherwise: %s',
    async (_, index, change, replayed, at?: number) => {
      const { connection } = await aRoughMorning()
      const trace = saved(connection.trace())
      // The steps after a changed one do not begin where it ended.
      const steps = trace.steps.slice(0, index + 1).map((step, n) => (n === index ? { ...step, ...change } : step))
      const { divergence } = replayTrace({ ...trace, steps })
      expect(divergence?.index).toBe(at ?? index)
      expect(divergence?.replayed).toMatchObject(replayed)
    },
  )
})

test.each<[string, (harness: Harness) => void]>([
  ['a wake after for ever', ({ connection }) => connection.wake({ awayFor: Number.POSITIVE_INFINITY })],
  [
    'a marker that names an empty resume',
    ({ server }) => server.sends({ type: 'reconnected', resumeId: '', sessions: [] }),
  ],
  ['an EventSource that tells no number', ({ stream }) => stream.fails('ECONNRESET' as never)],
  [
    'a goodbye that was refused',
    ({ connection }) => {
      connection.disconnect()
      connection.actor.send({
        type: 'stream.drained',
        delay: { retryAfter: 5 },
        error: new ConnectionError('goodbye', 'why'),
      })
    },
  ],
  ['an event with a long name', ({ connection }) => connection.actor.send({ type: 'x'.repeat(201) } as never)],
  ['an event with an empty name', ({ connection }) => connection.actor.send({ type: '' } as never)],
  [
    'an error that is none of ours',
    ({ connection }) =>
      connection.actor.send({ type: 'resume.failed', error: new DOMException('', 'AbortError') } as never),
  ],
])('what this line wrote it can read: %s', async (_, happens) => {
  const harness = createHarness()
  await harness.opens()
  happens(harness)
  await harness.settles()
  expect(replayTrace(saved(harness.connection.trace())).divergence).toBeNull()
})

test.each<[string, object]>([
  ['the name of an event', { type: 'SECRET' }],
  ['a time', { type: 'wake', awayFor: 'SECRET' }],
  ['a delay', { type: 'stream.drained', delay: 'SECRET' }],
  ['the code of an error', { type: 'stream.failed', error: { code: 'SECRET', status: 'SECRET', retryable: 'SECRET' } }],
  ['a list', { type: 'wake', leftOvers: { length: 'SECRET', some: () => 'SECRET' } }],
  ['another list', { type: 'wake', cursors: { length: 'SECRET' } }],
  ['an id', { type: 'wake', resumeId: 'SECRET', nonce: 'SECRET' }],
])('what an app sends to the actor does not leave with a trace, and does not break it: %s', (_, event) => {
  const { connection } = createHarness()
  connection.actor.send(event as never)
  const trace = connection.trace()
  expect(JSON.stringify(trace)).not.toContain('SECRET')
  expect(replayTrace(trace).divergence).toBeNull()
})

test('a trace that was not saved can be read too: for ever is a number', async () => {
  const harness = createHarness()
  await harness.opens()
  harness.connection.wake({ awayFor: Number.POSITIVE_INFINITY })
  expect(replayTrace(harness.connection.trace()).divergence).toBeNull()
})

test('to replay ten times the steps takes ten times the work', async () => {
  const [step] = (await aRoughMorning()).connection.trace().steps
  const outbox = { ...step, machine: 'outbox', event: 'pause', from: 'held', to: 'held', refused: true }
  /** How often a step is looked at. */
  const looksAt = (length: number) => {
    let looks = 0
    const { find } = Array.prototype
    const counted = vi.spyOn(Array.prototype, 'find').mockImplementation(function (this: unknown[], is, that) {
      return find.call(this, (...item) => {
        looks++
        return is.apply(that, item)
      })
    })
    const filler = Array.from({ length }, () => outbox)
    try {
      replayTrace({ format: 'holdline-trace', version: 1, startedAt: 0, maxAttempts: null, dropped: 0, steps: filler })
    } finally {
      counted.mockRestore()
    }
    return looks
  }
  expect(looksAt(1_000)).toBeLessThanOrEqual(1_000)
})

test('an event that the recorder cannot read harms nothing', async () => {
  const harness = createHarness()
  harness.connection.on('error', () => {})
  await harness.opens()
  harness.connection.actor.send({ type: 'nonsense', leftOvers: true } as never)
  expect(harness.connection.isOpen).toBe(true)
  harness.connection.dispose()
  await harness.settles()
  expect([harness.connection.phase, harness.stream.isClosed]).toEqual(['idle', true])
})

describe('a trace from a stranger is data', () => {
  const good = async () => saved((await aRoughMorning()).connection.trace())

  test.each([
    ['not JSON', () => 'not JSON', /not JSON/],
    ['null', () => null, /not an object/],
    ['another format', (trace: Trace) => ({ ...trace, format: 'har' }), /format/],
    ['another version', (trace: Trace) => ({ ...trace, version: 2 }), /version/],
    ['a date that is none', (trace: Trace) => ({ ...trace, startedAt: 1e300 }), /startedAt/],
    ['steps that are no list', (trace: Trace) => ({ ...trace, steps: { length: 1 } }), /steps/],
    ['too many steps', (trace: Trace) => ({ ...trace, steps: Array(10_001).fill(trace.steps[0]) }), /steps/],
    [
      'a step without a state',
      ({ steps: [step], ...trace }: Trace) => ({ ...trace, steps: [{ ...step, to: undefined }] }),
      /steps\[0\]: to/,
    ],
    [
      'a state that is code',
      ({ steps: [step], ...trace }: Trace) => ({ ...trace, steps: [{ ...step, to: 'a;b()' }] }),
      /steps\[0\]: to/,
    ],
    [
      'an endless name',
      ({ steps: [step], ...trace }: Trace) => ({ ...trace, steps: [{ ...step, event: 'x'.repeat(201) }] }),
      /event/,
    ],
    [
      'steps that do not follow',
      ({ steps, ...trace }: Trace) => ({ ...trace, steps: [steps[0], steps[0]] }),
      /does not begin/,
    ],
  ])('%s is refused by name', async (_, make, message) => {
    const given = make(await good())
    for (const read of [parseTrace, replayTrace, formatTrace]) {
      expect(() => read(given)).toThrow(
        expect.objectContaining({ code: 'bad-trace', message: expect.stringMatching(message) }),
      )
    }
  })

  test('what is no part of a trace is left behind, a __proto__ too', async () => {
    const trace = await good()
    const json = JSON.stringify(trace).replace('{', '{"__proto__":{"polluted":1},"constructor":1,')
    const parsed = parseTrace(json)
    expect(parsed).toEqual(trace)
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype)
    expect('polluted' in parsed).toBe(false)
  })

  test('anything at all throws nothing but bad-trace', () => {
    const near = fc.record(
      {
        format: fc.constant('holdline-trace'),
        version: fc.constant(1),
        startedAt: fc.integer(),
        maxAttempts: fc.option(fc.nat()),
        dropped: fc.nat(),
        steps: fc.array(
          fc.record({
            at: fc.integer(),
            machine: fc.constantFrom('connection', 'outbox'),
            event: fc.oneof(
              fc.string(),
              fc.constantFrom('connect', 'stream.welcomed', 'xstate.stop', 'xstate.init', 'resume.succeeded'),
            ),
            from: fc.constantFrom(
              'idle',
              'active',
              'active.backoff',
              'active.streaming.open.steady',
              'held',
              '__proto__',
              'a.b',
            ),
            to: fc.constantFrom('idle', 'flowing'),
            refused: fc.boolean(),
            attempt: fc.nat(),
            fruitless: fc.nat(),
            resumes: fc.nat(),
            features: fc.array(fc.string()),
            heartbeat: fc.option(fc.integer()),
            sessions: fc.option(fc.nat(), { nil: undefined }),
            own: fc.option(fc.boolean()),
          }),
          { maxLength: 4 },
        ),
      },
      { requiredKeys: ['format', 'version', 'startedAt', 'maxAttempts', 'dropped'] },
    )
    fc.assert(
      fc.property(fc.oneof(near, fc.json(), fc.anything()), (given) => {
        for (const read of [parseTrace, replayTrace, formatTrace, (it: unknown) => formatTrace(it, 'mermaid')]) {
          try {
            read(given)
          } catch (error) {
            expect(error).toMatchObject({ code: 'bad-trace' })
          }
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('a trace for people', () => {
  test('is a timeline: when, from where to where, why', async () => {
    const { connection } = await aRoughMorning()
    const lines = formatTrace(connection.trace()).split('\n')
    expect(lines[0]).toMatch(/^holdline trace: 20 steps since \d{4}-/)
    expect(lines[2]).toMatch(/\+0 ms {2}✗ connecting +connect refused$/)
    expect(lines[5]).toMatch(/\+\d+ ms {4}reconnecting\.posting → backoff +resume\.failed \(http 503, wait \d+ ms\)$/)
    expect(lines[6]).toMatch(/backoff → connecting +backoffDelay \(attempt 1\)$/)
  })

  test('is a Mermaid sequence diagram, in which refused events do not arrive', async () => {
    const { connection } = await aRoughMorning()
    const lines = formatTrace(connection.trace(), 'mermaid').split('\n')
    expect(lines[0]).toBe('sequenceDiagram')
    expect(lines).toContain('  app->>connection: connect')
    expect(lines).toContain('  app-xconnection: connect')
    expect(lines).toContain('  Note over connection: open.steady')
    expect(lines).toContain('  connection->>outbox: release')
  })

  test('a name that would end a line or a statement does not', async () => {
    const trace = (await aRoughMorning()).connection.trace()
    const [first] = trace.steps
    const steps = [{ ...first, event: 'x\nend;<script>', refused: true, to: 'idle', code: 'a\nb' }]
    for (const form of ['timeline', 'mermaid'] as const) {
      const lines = formatTrace({ ...trace, steps }, form).split('\n')
      expect(lines.at(form === 'timeline' ? 1 : -1)).toContain('x_end__script_')
      expect(lines.join('')).not.toContain('<')
    }
  })
})
