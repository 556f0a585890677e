import { assign, emit, sendTo } from 'xstate'
import { ConnectionError } from '../errors'
import type { Cursor } from '../protocol'
import { backoffDelay } from './backoff'
import {
  type Cause,
  canProbe,
  completes,
  confirms,
  type Done,
  type Failure,
  MAX_FLAPS,
  MAX_REFUSALS,
  madeProgress,
  NO_STREAM,
  nonceOf,
  toConnectionError,
} from './facts'
import { notProvided, outboxMachine, withEvent } from './outboxMachine'
import { setup } from './setup'
import {
  byServer,
  closed,
  flappedAgain,
  flapping,
  probe,
  probed,
  recordReported,
  refused,
  resumeDone,
  retry,
  stop,
  timedOut,
  timeout,
  unanswered,
} from './transitions'
import type {
  CloseReason,
  ConnectionContext,
  ConnectionEmitted,
  ConnectionEvent,
  ConnectionInput,
  OutboxEvent,
  Phase,
  ProbeInput,
  ResumeInput,
} from './types'

/**
 * The lifecycle of one connection. docs/states.md has the diagram and says what each state
 * promises.
 */
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
    /**
     * The gate of the outbox: is told to `release`, `hold` and `suspend`. Provide it with its own
     * `poster`.
     */
    outbox: outboxMachine,
    /** The one live EventSource and its watchdog: tells every `stream.*` fact. */
    eventStream: notProvided<undefined>(),
    /**
     * The resume POST: tells `resume.succeeded` or `resume.failed`, the latter also when a replay
     * stalls.
     */
    resume: notProvided<ResumeInput>(),
    /** The probe POST: its proof is `stream.probed`, told by the stream. */
    probe: notProvided<ProbeInput>(),
  },

  actions: {
    recordWelcome: assign(
      ({ context }, { type, ...stream }: Extract<ConnectionEvent, { type: 'stream.welcomed' }>) => ({
        ...stream,
        // A second welcome on one stream costs a resume, as a hole does.
        flaps: context.flaps + Number(context.connectionId !== null),
      }),
    ),
    forgetStream: assign(NO_STREAM),
    recordCursors: assign((_, { cursors }: { cursors: readonly Cursor[] }) => ({ cursors })),
    recordFarewell: assign({ farewell: 'said' }),
    forgetFarewell: assign({ farewell: 'none' }),
    /** Counts a resume that got nowhere. */
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
    /** From here on, a line is trusted only once it has taken a POST. */
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
    /** Follows an action that records the error. */
    emitStopped: emit(({ context }) => ({ type: 'stopped' as const, error: context.lastError as ConnectionError })),
  },

  guards: {
    hasCursors: (_, { cursors }: { cursors: readonly Cursor[] }) => cursors.length > 0,
    awaitsReplayMarker: ({ context }) => context.features.includes('replay-marker'),
    confirmsResume: ({ context }, done: Done) => confirms(context, done),
    completesResume: ({ context }, done: Done) => completes(context, done),
    /**
     * The answer to the POST does not prove that the stream lives, as a marker would: a probe has
     * to.
     */
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
    /** The stream has died while it was suspended. */
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
                    // With a marker to come, the replay is still on its way: left-overs are counted
                    // when it has come.
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
                    // Re-entered, because `stableDelay` is a time without resets.
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
                /** As `probing`, but no POST starts: POSTs have failed as on a dead line. */
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
                /**
                 * The server has been told that the page goes away, and may have detached the
                 * sessions: nothing leaves before a resume.
                 */
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
