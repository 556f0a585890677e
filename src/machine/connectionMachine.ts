import { assign, type EventObject, emit, sendTo } from 'xstate'
import { ConnectionError, type ConnectionErrorCode } from '../errors'
import type { Cursor } from '../protocol'
import { backoffDelay } from './backoff'
import { notProvided, outboxMachine, withEvent } from './outboxMachine'
import { setup } from './setup'
import type {
  CloseReason,
  ConnectionContext,
  ConnectionEmitted,
  ConnectionEvent,
  ConnectionInput,
  OutboxEvent,
  Phase,
  ServerDelay,
  Timeouts,
} from './types'

type Failure = { readonly error: unknown; readonly delay?: ServerDelay }

/** What the `resume` actor is asked to do. */
export type ResumeInput = { readonly resumeId: string; readonly cursors: readonly Cursor[] }
/** What the `probe` actor is asked to do. */
export type ProbeInput = { readonly nonce: string }

const CLOSE_REASONS: Readonly<Partial<Record<string, CloseReason>>> = {
  disconnect: 'disconnect',
  reconnect: 'reconnect',
  wake: 'wake',
  'stream.welcomed': 'welcome',
  'stream.gapped': 'gap',
  'stream.reset': 'failed',
  'stream.drained': 'goodbye',
  'stream.silent': 'silent',
  'upstream.disowned': 'disowned',
  'upstream.wanted': 'wake',
  'upstream.unauthorized': 'unauthorized',
} satisfies Partial<Record<ConnectionEvent['type'], CloseReason>>

const toConnectionError = (error: unknown) =>
  error instanceof ConnectionError
    ? error
    : new ConnectionError('internal', 'an actor threw: see cause', { cause: error, retryable: true })

/** Is there a left-over that the resume just done could not have moved, because it was not part of it, or did move? */
export const madeProgress = (before: readonly Cursor[], leftOvers: readonly Cursor[]) =>
  leftOvers.some(
    ({ sessionId, lastSeq, epoch }) =>
      !before.some((asked) => asked.sessionId === sessionId && asked.lastSeq === lastSeq && asked.epoch === epoch),
  )

/** How the line closed: what else leads out of `open` is a failure that brings its error, or the timer of a probe. */
const closed = {
  type: 'emitClosed' as const,
  params: ({ event }: { event: EventObject }) => ({
    reason: CLOSE_REASONS[event.type] ?? ('error' in event ? 'failed' : 'probe-timeout'),
    ...('error' in event && { error: toConnectionError(event.error) }),
  }),
}

const recordReported = withEvent('recordError')
const retry = { target: '#backoff', actions: recordReported }
const stop = { target: '#idle', actions: [recordReported, 'emitStopped' as const] }
/** What no actor reports, because it is something that did not happen. */
const missed = (code: ConnectionErrorCode, what: string) => ({
  type: 'recordError' as const,
  params: () => ({ error: new ConnectionError(code, what) }),
})
const unanswered = missed('probe-timeout', 'the stream did not answer a probe')
const timedOut = (name: keyof Timeouts) => ({
  target: '#backoff',
  actions: {
    type: 'recordError' as const,
    params: ({ context }: { context: ConnectionContext }) => ({
      error: new ConnectionError(
        'timeout',
        `${name} took longer than ${context.policy.timeouts[name]} ms (timeouts.${name})`,
      ),
    }),
  },
})
const timeout =
  (name: keyof Timeouts) =>
  ({ context }: { context: ConnectionContext }) =>
    context.policy.timeouts[name]

/** `isByServer`: it is the server that has made it necessary. `resumeId`: undefined is the POST's own answer, null a marker that names no resume. */
type Cause = { readonly isByServer?: boolean; readonly resumeId?: string | null }
type Done = Cause & { readonly leftOvers: readonly Cursor[] }

/** A marker that names no resume can only mean the one resume that this stream has seen. */
const confirms = ({ resumes, resumeId }: ConnectionContext, done: Cause) =>
  done.resumeId === null ? resumes === 1 : done.resumeId === undefined || done.resumeId === resumeId

const completes = (context: ConnectionContext, done: Done) => confirms(context, done) && !done.leftOvers.length
const canProbe = ({ features }: ConnectionContext) => features.includes('probe')

/** A 403 that a firewall gave may pass; this many in a row do not. */
const MAX_REFUSALS = 3
/** Resumes and resets that a server may cause before `stableDelay` of quiet; those beyond go through backoff. A hole costs up to three. */
export const MAX_FLAPS = 5

const BY_SERVER: Cause = { isByServer: true }
const flapping = {
  target: '#backoff',
  actions: missed('flapping', 'the server caused resumes or resets without a pause'),
}

export const nonceOf = ({ probes }: ConnectionContext) => `p${probes}`

const probe = {
  src: 'probe' as const,
  id: 'probe',
  input: ({ context }: { context: ConnectionContext }) => ({ nonce: nonceOf(context) }),
}
const probed = { guard: withEvent('answersProbe'), target: 'steady' as const }

/** The resume is answered and, where the server marks the end of a replay, replayed. Left-overs belong to the same barrier. */
const resumeDone = [
  { guard: withEvent('completesResume'), target: '#open' },
  {
    guard: withEvent('isFruitlessAgain'),
    target: '#backoff',
    actions: missed('no-progress', 'two resumes in a row replayed nothing of what is missing'),
  },
  { guard: withEvent('isFlapping'), ...flapping },
  {
    guard: withEvent('confirmsResume'),
    target: '#reconnecting',
    actions: [withEvent('recordLeftOvers'), withEvent('countFlap')],
  },
]

const refused = [{ guard: withEvent('mayPass'), ...retry }, stop]

const byServer = <Name extends string>(type: Name) => ({ type, params: BY_SERVER })
/** One too many, of what only the server can cause. */
const flappedAgain = { guard: byServer('isFlapping'), ...flapping }

/** What is known of the live stream, while there is none. */
const NO_STREAM = {
  connectionId: null,
  heartbeat: null,
  features: [],
  cursors: [],
  resumes: 0,
  resumeId: null,
  farewell: 'none',
  serverDelay: {},
} as const

/** The lifecycle of one connection. docs/states.md has the diagram and says what each state promises. */
export const connectionMachine = setup({
  types: {} as {
    context: ConnectionContext
    events: ConnectionEvent
    emitted: ConnectionEmitted
    input: ConnectionInput
    tags: Phase
  },

  actors: {
    /** Tells `wake` and `reconnect`. */
    pageLifecycle: notProvided<undefined>(),
    /** What posts: told to `release` and to `hold`. Provide it with its own `poster`. */
    outbox: outboxMachine,
    /** The one live EventSource and its watchdog: tells every `stream.*` fact. */
    eventStream: notProvided<undefined>(),
    /** The resume POST: tells `resume.succeeded` or `resume.failed`, the latter also when a replay stalls. */
    resume: notProvided<ResumeInput>(),
    /** The probe POST: its proof is `stream.probed`, told by the stream. */
    probe: notProvided<ProbeInput>(),
  },

  actions: {
    recordWelcome: assign(
      ({ context }, { type, ...stream }: Extract<ConnectionEvent, { type: 'stream.welcomed' }>) => ({
        ...stream,
        // A second one costs a resume, as a hole does.
        flaps: context.flaps + Number(context.connectionId !== null),
      }),
    ),
    forgetStream: assign(NO_STREAM),
    recordCursors: assign((_, { cursors }: { cursors: readonly Cursor[] }) => ({ cursors })),
    recordFarewell: assign({ farewell: 'said' }),
    forgetFarewell: assign({ farewell: 'none' }),
    /** A resume that got nowhere counts. */
    recordLeftOvers: assign(({ context: { cursors, fruitless } }, { leftOvers }: Done) => ({
      cursors: leftOvers,
      fruitless: madeProgress(cursors, leftOvers) ? 0 : fruitless + 1,
    })),
    numberResume: assign({
      resumes: ({ context }) => context.resumes + 1,
      resumeId: ({ context }) => `r${context.resumes + 1}`,
    }),
    numberProbe: assign({ probes: ({ context }) => context.probes + 1 }),
    recordError: assign(({ context: { refusals } }, { error, delay }: Failure) => {
      const lastError = toConnectionError(error)
      return {
        lastError,
        refusals: lastError.code === 'forbidden' ? refusals + 1 : 0,
        serverDelay: delay ?? { retryAfter: lastError.retryAfter },
      }
    }),
    clearFailures: assign({ lastError: null, fruitless: 0, refusals: 0 }),
    /** The next lines are not trusted before one of them has taken a POST. */
    recordDoubt: assign({ trust: 'lost' }),
    forgetDoubt: assign({ trust: 'kept' }),
    countAttempt: assign({ attempt: ({ context }) => context.attempt + 1 }),
    countFlap: assign({ flaps: ({ context }, { isByServer = false }: Cause) => context.flaps + Number(isByServer) }),
    resetAttempts: assign({ attempt: 0, flaps: 0 }),
    drawDelay: assign(({ context: { policy, attempt, serverDelay } }) => {
      const delay = backoffDelay({ ...policy.backoff, random: policy.random, attempt, server: serverDelay })
      return { delay, retryAt: policy.now() + delay, serverDelay: {} }
    }),
    releaseOutbox: sendTo('outbox', { type: 'release' } satisfies OutboxEvent),
    holdOutbox: sendTo('outbox', { type: 'hold' } satisfies OutboxEvent),
    suspendOutbox: sendTo('outbox', { type: 'suspend' } satisfies OutboxEvent),
    emitOpened: emit(({ context }) => ({ type: 'opened' as const, connectionId: context.connectionId as string })),
    emitClosed: emit((_, how: { readonly reason: CloseReason; readonly error?: ConnectionError }) => ({
      type: 'closed' as const,
      ...how,
    })),
    /** Always told together with the error. */
    emitStopped: emit(({ context }) => ({ type: 'stopped' as const, error: context.lastError as ConnectionError })),
  },

  guards: {
    hasCursors: (_, { cursors }: { cursors: readonly Cursor[] }) => cursors.length > 0,
    awaitsReplayMarker: ({ context }) => context.features.includes('replay-marker'),
    confirmsResume: ({ context }, done: Done) => confirms(context, done),
    completesResume: ({ context }, done: Done) => completes(context, done),
    /** An answer to a POST says nothing of the stream; a marker would. */
    completesUnproven: ({ context }, done: Done) =>
      completes(context, done) && context.farewell === 'said' && canProbe(context),
    isFlapping: ({ context }, cause: Cause) =>
      !!cause.isByServer && context.flaps >= MAX_FLAPS && confirms(context, cause),
    isFruitlessAgain: ({ context }, done: Done) =>
      confirms(context, done) && context.fruitless > 0 && !madeProgress(context.cursors, done.leftOvers),
    mayPass: ({ context }, { error }: { error: ConnectionError }) =>
      error.retryable && context.refusals < MAX_REFUSALS - 1,
    isFatal: (_, { error }: { error: ConnectionError }) => !error.retryable,
    mayDetach: ({ context }) => !context.features.includes('suspend-keeps'),
    /** It is the stream that did not live through the suspension. */
    isLostAsleep: ({ context }, { error }: { error: ConnectionError }) =>
      context.farewell === 'said' && (error.code === 'probe-timeout' || error.code === 'unknown-stream'),
    isTrusted: ({ context }) => context.trust === 'kept',
    canProbe: ({ context }) => canProbe(context),
    wasAwayTooLong: ({ context }, { awayFor }: { awayFor: number }) => awayFor > 2 * (context.heartbeat ?? 5_000),
    answersProbe: ({ context }, { nonce }: { nonce: string }) => nonce === nonceOf(context),
    isFirstAttempt: ({ context }) => context.attempt === 0 && context.policy.backoff.maxAttempts > 0,
    hasNoAttemptsLeft: ({ context }) => context.attempt > context.policy.backoff.maxAttempts,
  },

  delays: {
    connectTimeout: timeout('connect'),
    welcomeTimeout: timeout('welcome'),
    resumeTimeout: timeout('resume'),
    probeTimeout: timeout('probe'),
    stableDelay: ({ context }) => context.policy.backoff.stableDelay,
    backoffDelay: ({ context }) => context.delay,
  },
}).createMachine({
  id: 'connection',
  context: ({ input }) => ({
    policy: input,
    ...NO_STREAM,
    attempt: 0,
    trust: 'kept',
    delay: 0,
    retryAt: 0,
    fruitless: 0,
    flaps: 0,
    refusals: 0,
    probes: 0,
    lastError: null,
  }),

  initial: 'idle',
  states: {
    idle: {
      id: 'idle',
      tags: 'idle',
      on: {
        connect: { target: 'active', actions: ['resetAttempts', 'clearFailures'] },
      },
    },

    active: {
      invoke: [
        { src: 'pageLifecycle', id: 'pageLifecycle', onError: { actions: recordReported } },
        {
          src: 'outbox',
          id: 'outbox',
          onError: stop,
        },
      ],
      on: {
        disconnect: { target: '#idle' },
        reconnect: { target: '#streaming' },
      },

      initial: 'streaming',
      states: {
        streaming: {
          id: 'streaming',
          invoke: {
            src: 'eventStream',
            id: 'eventStream',
            onError: retry,
          },
          exit: 'forgetStream',
          on: {
            'stream.welcomed': [
              {
                guard: withEvent('hasCursors'),
                target: '.reconnecting',
                actions: withEvent('recordWelcome'),
              },
              { target: '.open', actions: withEvent('recordWelcome') },
            ],
            'stream.reset': [flappedAgain, { actions: byServer('countFlap') }],
            'stream.failed': retry,
            'stream.drained': retry,
          },

          initial: 'connecting',
          states: {
            connecting: {
              tags: 'connecting',
              on: {
                'stream.opened': { target: 'awaitingWelcome' },
                'stream.refused': refused,
              },
              after: {
                connectTimeout: timedOut('connect'),
              },
            },

            awaitingWelcome: {
              tags: 'awaitingWelcome',
              on: {
                'stream.refused': refused,
              },
              after: {
                welcomeTimeout: timedOut('welcome'),
              },
            },

            reconnecting: {
              id: 'reconnecting',
              tags: 'reconnecting',
              entry: 'numberResume',
              invoke: {
                src: 'resume',
                id: 'resume',
                input: ({ context }) => ({ resumeId: context.resumeId as string, cursors: context.cursors }),
                onError: retry,
              },
              on: {
                'stream.welcomed': flappedAgain,
                'stream.silent': retry,
                'resume.failed': [
                  { guard: withEvent('isFatal'), ...stop },
                  { guard: withEvent('isLostAsleep'), target: '#streaming', actions: recordReported },
                  retry,
                ],
              },

              initial: 'posting',
              states: {
                posting: {
                  on: {
                    // What a replay on the way has not brought yet is no left-over: they are counted at the marker.
                    'resume.succeeded': [
                      { guard: 'awaitsReplayMarker', target: 'replaying' },
                      { guard: withEvent('completesUnproven'), target: '#probing' },
                      ...resumeDone,
                    ],
                    'stream.replayed': {
                      guard: withEvent('confirmsResume'),
                      target: 'confirming',
                    },
                  },
                  after: {
                    resumeTimeout: timedOut('resume'),
                  },
                },
                replaying: {
                  on: { 'stream.replayed': resumeDone },
                },
                confirming: {
                  on: { 'resume.succeeded': resumeDone },
                  after: {
                    resumeTimeout: timedOut('resume'),
                  },
                },
              },
            },

            open: {
              id: 'open',
              tags: 'open',
              entry: ['clearFailures', 'forgetFarewell', 'releaseOutbox', 'emitOpened'],
              exit: ['holdOutbox', closed],
              on: {
                'stream.welcomed': flappedAgain,
                'stream.gapped': [
                  { guard: withEvent('isFlapping'), ...flapping },
                  {
                    target: 'reconnecting',
                    actions: [withEvent('recordCursors'), withEvent('countFlap')],
                  },
                ],
                'stream.silent': retry,
                'page.suspended': {
                  guard: 'mayDetach',
                  target: '.suspended',
                  actions: [withEvent('recordCursors'), 'recordFarewell'],
                },
                'upstream.disowned': [
                  {
                    guard: 'isFirstAttempt',
                    target: '#streaming',
                    actions: ['countAttempt', recordReported],
                  },
                  retry,
                ],
                'upstream.unauthorized': stop,
                'upstream.proved': { actions: 'forgetDoubt' },
              },

              initial: 'steady',
              states: {
                steady: {
                  on: {
                    'upstream.doubtful': { guard: 'canProbe', target: 'doubting' },
                    'upstream.proved': { target: 'steady', reenter: true, actions: 'forgetDoubt' },
                    // Begun anew: `stableDelay` is a time without any.
                    'stream.reset': [flappedAgain, { target: 'steady', reenter: true, actions: byServer('countFlap') }],
                    wake: [
                      { guard: 'canProbe', target: 'probing' },
                      { guard: withEvent('wasAwayTooLong'), target: '#streaming' },
                    ],
                  },
                  after: {
                    stableDelay: { guard: 'isTrusted', actions: 'resetAttempts' },
                  },
                },
                probing: {
                  id: 'probing',
                  entry: 'numberProbe',
                  invoke: {
                    ...probe,
                    onError: { target: '#streaming', actions: recordReported },
                  },
                  on: {
                    'stream.probed': probed,
                    'upstream.doubtful': { target: 'doubting' },
                  },
                  after: {
                    probeTimeout: {
                      target: '#streaming',
                      actions: unanswered,
                    },
                  },
                },
                /** As `probing`, but no POST starts: POSTs have failed as they would on a dead line. */
                doubting: {
                  entry: ['holdOutbox', 'numberProbe'],
                  invoke: {
                    ...probe,
                    onError: retry,
                  },
                  on: {
                    'stream.probed': { ...probed, actions: 'releaseOutbox' },
                  },
                  after: {
                    probeTimeout: {
                      target: '#backoff',
                      actions: [unanswered, 'recordDoubt'],
                    },
                  },
                },
                /** The server has been told that the page goes away, and may have detached the sessions: nothing leaves before a resume. */
                suspended: {
                  entry: 'suspendOutbox',
                  on: {
                    wake: [{ guard: withEvent('wasAwayTooLong'), target: '#streaming' }, { target: '#reconnecting' }],
                    'upstream.wanted': { target: '#reconnecting' },
                  },
                },
              },
            },
          },
        },

        backoff: {
          id: 'backoff',
          tags: 'backoff',
          entry: ['drawDelay', 'countAttempt'],
          on: {
            wake: { target: '#streaming' },
          },
          always: {
            guard: 'hasNoAttemptsLeft',
            target: '#idle',
            actions: [
              {
                type: 'recordError',
                params: ({ context: { lastError: cause } }) => ({
                  error: new ConnectionError('gave-up', `no attempts left (backoff.maxAttempts): ${cause?.message}`, {
                    cause,
                  }),
                }),
              },
              'emitStopped',
            ],
          },
          after: {
            backoffDelay: { target: '#streaming' },
          },
        },
      },
    },
  },
})
