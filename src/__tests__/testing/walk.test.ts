import { createConnection } from 'holdline'
import { persist } from 'holdline/storage'
import { formatWalk, type WalkReport, walk } from 'holdline/testing'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { connectionMachine, outboxMachine } from '../../machine'
import { labelOf, transitionsOf } from '../../testing/walk/plan'
import { createStorage } from '../support/storage'

/** A walk takes seconds, and more on a machine that does something else as well, ms. */
const PATIENCE = 120_000

const real = vi.hoisted(() => ({ machine: undefined as AnyStateMachine | undefined }))
vi.mock('../../connection/actors', async (importActual) => {
  const actual = await importActual<typeof import('../../connection/actors')>()
  return {
    ...actual,
    get machine() {
      return real.machine ?? actual.machine
    },
  }
})

interface Config {
  readonly on?: Record<string, unknown>
  readonly after?: Record<string, unknown>
  readonly always?: unknown
  readonly invoke?: { readonly onError?: unknown } | readonly { readonly onError?: unknown }[]
  readonly states?: Record<string, Config>
}
/** The branches of all transitions, counted in what was written down. */
function countBranches({ on = {}, after = {}, always = [], invoke = [], states = {} }: Config): number {
  const invoked = [invoke].flat().map(({ onError }) => onError)
  const own = [...Object.values(on), ...Object.values(after), always, ...invoked].flat()
  return own.length + Object.values(states).reduce((sum, state) => sum + countBranches(state), 0)
}

/** The events of each state, as `state × event`; `only` those that end so. */
const pairs = (steps: readonly string[], only = '') =>
  new Set(steps.filter((step) => step.endsWith(only)).map((step) => step.replace(/(,| →| \(sent\)).*/, '')))

let report: WalkReport
beforeAll(async () => {
  report = await walk()
  // 20 s on a quiet machine.
}, 240_000)

describe('the walk', () => {
  test('takes every transition of both definitions, and finds nothing to complain of', () => {
    const count = countBranches(connectionMachine.config as Config) + countBranches(outboxMachine.config as Config)
    expect(report.covered.length + report.injected.length).toBe(count)
    expect(new Set([...report.covered, ...report.injected])).toEqual(
      new Set([connectionMachine, outboxMachine].flatMap(transitionsOf).map(labelOf)),
    )
    expect(report).toMatchObject({ unreachable: [], missing: [], violations: [], errors: [] })
  })

  test('has the world outside cause each of them, but for actors that nothing outside can make throw', () => {
    expect(report.injected).toEqual([
      'streaming: error of eventStream → backoff',
      'reconnecting: error of resume → backoff',
      'probing: error of probe → streaming',
      'doubting: error of probe → backoff',
    ])
  })

  test('knows of each event in each state whether it is taken or refused, and has seen it', () => {
    const seen = pairs([...report.taken, ...report.rejected])
    const leaves =
      'idle connecting awaitingWelcome posting replaying confirming steady probing doubting suspended backoff'.split(
        ' ',
      )
    const of = (states: readonly string[], { events }: AnyStateMachine) =>
      states.flatMap((state) =>
        events.filter((event) => !event.startsWith('xstate.')).map((event) => `${state} × ${event}`),
      )
    const expected = [
      ...of(leaves, connectionMachine),
      ...of(['held', 'suspended', 'flowing', 'pausing'], outboxMachine),
    ]
    expect(expected.filter((pair) => !seen.has(pair))).toEqual([])
  })

  test('sends an event to the machine itself only where nobody is left who would tell it', () => {
    const streamFacts = 'opened welcomed replayed gapped reset probed drained failed silent refused'.split(' ')
    const facts: Record<string, readonly string[]> = {
      stream: streamFacts.map((fact) => `stream.${fact}`),
      watchdog: ['stream.silent'],
      resume: ['resume.succeeded', 'resume.failed'],
      hole: ['stream.gapped'],
      welcomed: ['stream.refused'],
      posts: ['upstream.disowned', 'upstream.unauthorized', 'upstream.doubtful', 'upstream.proved'],
      failures: ['upstream.doubtful'],
      page: ['page.suspended'],
      turn: ['upstream.wanted'],
      answered: ['resume.succeeded'],
    }
    const missing = {
      idle: ['stream', 'resume', 'posts', 'page', 'turn'],
      backoff: ['stream', 'resume', 'posts', 'page', 'turn'],
      connecting: ['watchdog', 'hole', 'resume', 'posts', 'page', 'turn'],
      awaitingWelcome: ['watchdog', 'hole', 'resume', 'posts', 'page', 'turn'],
      posting: ['hole', 'welcomed', 'posts', 'page', 'turn'],
      confirming: ['hole', 'welcomed', 'posts', 'page', 'turn'],
      replaying: ['hole', 'welcomed', 'posts', 'answered', 'page', 'turn'],
      steady: ['welcomed', 'resume', 'turn'],
      probing: ['welcomed', 'resume', 'turn'],
      doubting: ['welcomed', 'resume', 'failures', 'turn'],
      suspended: ['welcomed', 'resume', 'failures'],
    }
    const expected = Object.entries(missing).flatMap(([state, tellers]) =>
      tellers.flatMap((teller) => facts[teller]?.map((event) => `${state} × ${event}`)),
    )
    expect(pairs(report.rejected, ' (sent)')).toEqual(
      new Set([
        ...expected,
        'suspended × release',
        'suspended × pause',
        'suspended × flow',
        'held × pause',
        'held × flow',
        'flowing × release',
        'flowing × flow',
        'pausing × release',
        'pausing × pause',
      ]),
    )
    // An actor that throws, and what is decided elsewhere.
    expect(report.taken.filter((step) => step.endsWith(' (sent)') && !step.includes('error of'))).toEqual([
      'suspended × upstream.disowned → connecting (sent)',
      'suspended × upstream.unauthorized → idle (sent)',
      'suspended × upstream.proved → suspended (sent)',
      'doubting × upstream.proved → doubting (sent)',
      'replaying × resume.failed, 403 → idle (sent)',
      'replaying × resume.failed, 404 → connecting (sent)',
      'suspended × upstream.disowned → backoff (sent)',
      'suspended × upstream.disowned → idle (sent)',
    ])
  })

  test('goes again through what leads back to where it was, and leaves and enters states anew', () => {
    expect(report.taken).toEqual(
      expect.arrayContaining([
        'connecting × reconnect → connecting',
        'posting × stream.welcomed, sessions → posting',
        'confirming × resume.succeeded, left-overs → posting',
        'steady × stream.welcomed, no session → steady',
        'steady × after stableDelay → steady',
      ]),
    )
  })

  test('is told in a few lines, with one for each thing that is wrong', () => {
    expect(formatWalk(report)).toMatch(
      new RegExp(`^\\d+ steps: ${report.covered.length} transitions covered, 4 injected, 0 unreachable; .*$`),
    )
    const lines = formatWalk({ ...report, missing: ['one', 'two'], violations: ['three'] }).split('\n')
    expect(lines.slice(1)).toEqual(['missing    one', 'missing    two', 'violation  three'])
  })
})

describe('what is wrong is missing', () => {
  test(
    'a transition that the real machine does not have',
    async () => {
      const { machine } = await vi.importActual<typeof import('../../connection/actors')>('../../connection/actors')
      real.machine = machine.provide({})
      const { open, reconnecting } = real.machine.states.active?.states.streaming?.states ?? {}
      open?.transitions.delete('stream.gapped')
      reconnecting?.transitions.get('resume.failed')?.shift()
      const { missing, covered } = await walk().finally(() => {
        real.machine = undefined
      })
      expect(missing).toEqual(
        expect.arrayContaining([
          'steady × stream.gapped → posting: it took nothing',
          'posting × resume.failed, 403 → idle: it took reconnecting: resume.failed → backoff',
          'open: stream.gapped → reconnecting: it was not taken',
          'reconnecting: resume.failed [isFatal] → idle: it was not taken',
        ]),
      )
      expect(covered).toHaveLength(report.covered.length - 3)
    },
    PATIENCE,
  )

  test(
    'what an adapter never tells',
    async () => {
      const { missing } = await walk({
        create: (environment) =>
          createConnection({
            ...environment,
            createEventSource(url, setup) {
              const source = environment.createEventSource(url, setup) as EventSource
              return {
                addEventListener: (type, listener) => type === 'open' || source.addEventListener(type, listener),
                close: () => source.close(),
              }
            },
          }),
      })
      expect(missing).toContain('connecting × stream.opened → awaitingWelcome: it never came')
      expect(missing).toContain('awaitingWelcome: after welcomeTimeout → backoff: it was not taken')
    },
    PATIENCE,
  )
})

describe('an app of the user’s own', () => {
  test(
    'is walked with its options, its listeners and what it does by itself',
    async () => {
      const prompts: string[] = []
      const storage = createStorage()
      const report = await walk({
        event: { type: 'delta', text: 'x' },
        message: { type: 'ask' },
        create(environment) {
          const connection = createConnection({
            ...environment,
            storage: persist(storage, { cursors: true }),
            heartbeat: 20_000,
            headers: async () => ({ Authorization: 'Bearer token' }),
            outbox: { maxInFlight: Number.POSITIVE_INFINITY },
            protocol: { endpoints: { ask: 'ask' } },
          })
          connection.on('message', ({ text }) => prompts.push(String(text)))
          connection.watch('mine')
          connection.connect()
          return connection
        },
      })
      expect(report.missing).toEqual([])
      expect(report.errors).toEqual([])
      expect(report.unreachable).toEqual(['backoff: always [hasNoAttemptsLeft] → idle'])
      expect(new Set(prompts)).toEqual(new Set(['x']))
    },
    PATIENCE,
  )

  test(
    'that throws in a listener is told, with the step at which it did',
    async () => {
      const { errors } = await walk({
        create(environment) {
          const connection = createConnection(environment)
          connection.on('closed', ({ reason }) => {
            if (reason === 'gap') throw new Error('what a gap')
          })
          return connection
        },
      })
      expect(new Set(errors.map(({ step }) => step))).toEqual(
        new Set(
          ['steady', 'probing', 'doubting']
            .flatMap((from) => [`${from} × stream.gapped → posting`, `${from} × stream.gapped → backoff`])
            .concat('suspended × stream.gapped → posting'),
        ),
      )
      expect(errors[0]?.error).toMatchObject({ code: 'listener-failed', cause: { message: 'what a gap' } })
    },
    PATIENCE,
  )
})
