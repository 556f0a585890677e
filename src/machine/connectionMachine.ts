import { assign, type EventObject, emit, fromCallback, sendTo, setup } from 'xstate'
import { ConnectionError, type ConnectionErrorCode } from '../errors'
import type { Cursor } from '../protocol'
import { backoffDelay } from './backoff'
import { outboxMachine } from './outboxMachine'
import type {
  CloseReason,
  ConnectionContext,
  ConnectionEmitted,
  ConnectionEvent,
  ConnectionInput,
  OutboxEvent,
  Phase,
  ServerDelay,
} from './types'

type WithError = { readonly error: ConnectionError }

/** What the `resume` actor is asked to do. */
export type ResumeInput = { readonly resumeId: string; readonly cursors: readonly Cursor[] }
/** What the `probe` actor is asked to do. */
export type ProbeInput = { readonly nonce: string }

/** A placeholder: createConnection provides the actor that does the work. */
const notProvided = <Input>(name: string) =>
  fromCallback<EventObject, Input>(() => {
    throw new Error(`actor "${name}" is not provided: use connectionMachine.provide({ actors })`)
  })

const CLOSE_REASONS: Partial<Record<ConnectionEvent['type'], CloseReason>> = {
  disconnect: 'disconnect',
  reconnect: 'reconnect',
  wake: 'wake',
  'stream.welcomed': 'welcome',
  'stream.gapped': 'gap',
  'stream.drained': 'goodbye',
  'stream.failed': 'failed',
  'stream.silent': 'silent',
  'upstream.disowned': 'disowned',
  'upstream.unauthorized': 'unauthorized',
}

const errorOf = (event: EventObject) => ('error' in event ? toConnectionError(event.error) : undefined)
const toConnectionError = (error: unknown) =>
  error instanceof ConnectionError
    ? error
    : new ConnectionError('internal', 'an actor of the connection threw', { retryable: true, cause: error })

/** Is there a left-over that the resume just done could not have moved, because it was not part of it, or did move? */
const madeProgress = (before: readonly Cursor[], leftOvers: readonly Cursor[]) =>
  leftOvers.some(({ sessionId, lastSeq, epoch }) => {
    const asked = before.find((cursor) => cursor.sessionId === sessionId)
    return !asked || asked.lastSeq !== lastSeq || asked.epoch !== epoch
  })

const reportedError = ({ event }: { event: { readonly error: unknown } }): WithError => ({
  error: toConnectionError(event.error),
})
const recordReported = { type: 'recordError' as const, params: reportedError }
const retry = { target: '#backoff', actions: recordReported }
const stop = { target: '#idle', actions: [recordReported, 'emitStopped' as const] }
const noticed = (code: ConnectionErrorCode, what: string) => ({
  type: 'recordFailure' as const,
  params: { code, what },
})
const timedOut = (what: string) => ({ target: '#backoff', actions: noticed('timeout', `no ${what} in time`) })
/** `resumeId`: undefined is the POST's own answer, null a marker that names no resume. */
type Done = { readonly leftOvers: readonly Cursor[]; readonly resumeId?: string | null }
const done = ({ event }: { event: Done }) => event

/** A marker that names no resume can only mean the one resume that this stream has seen. */
const confirms = ({ resumes, resumeId }: ConnectionContext, marker: Pick<Done, 'resumeId'>) =>
  marker.resumeId === null ? resumes === 1 : marker.resumeId === undefined || marker.resumeId === resumeId

/** The resume is answered and, where the server marks the end of a replay, replayed. Left-overs belong to the same barrier. */
const resumeDone = [
  {
    guard: { type: 'isFruitlessAgain' as const, params: done },
    target: '#backoff',
    actions: noticed('no-progress', 'nothing of what is missing was replayed'),
  },
  {
    guard: { type: 'hasLeftOvers' as const, params: done },
    target: '#reconnecting',
    actions: [
      { type: 'countFruitless' as const, params: done },
      { type: 'recordLeftOvers' as const, params: done },
    ],
  },
  { guard: { type: 'confirmsResume' as const, params: done }, target: '#open' },
]

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
    pageLifecycle: notProvided<undefined>('pageLifecycle'),
    /** What posts: told to `release` and to `hold`. Provide it with its own `poster`. */
    outbox: outboxMachine,
    /** The one live EventSource and its watchdog: tells every `stream.*` fact. */
    eventStream: notProvided<undefined>('eventStream'),
    /** The resume POST: tells `resume.succeeded` or `resume.failed`, the latter also when a replay stalls. */
    resume: notProvided<ResumeInput>('resume'),
    /** The probe POST: its proof is `stream.probed`, told by the stream. */
    probe: notProvided<ProbeInput>('probe'),
  },

  actions: {
    startOver: assign({ attempt: 0, fruitless: 0, lastError: null }),
    recordWelcome: assign(
      (_, welcome: Pick<ConnectionContext, 'connectionId' | 'heartbeat' | 'features' | 'cursors'>) => ({
        connectionId: welcome.connectionId,
        heartbeat: welcome.heartbeat,
        features: welcome.features,
        cursors: welcome.cursors,
      }),
    ),
    forgetStream: assign({
      connectionId: null,
      heartbeat: null,
      features: [],
      cursors: [],
      resumes: 0,
      resumeId: null,
      serverDelay: {},
    }),
    recordCursors: assign({ cursors: (_, params: { cursors: readonly Cursor[] }) => params.cursors }),
    recordLeftOvers: assign({ cursors: (_, params: Done) => params.leftOvers }),
    numberResume: assign({
      resumes: ({ context }) => context.resumes + 1,
      resumeId: ({ context }) => `r${context.resumes + 1}`,
    }),
    countFruitless: assign({
      fruitless: ({ context }, params: Done) =>
        madeProgress(context.cursors, params.leftOvers) ? 0 : context.fruitless + 1,
    }),
    numberProbe: assign({
      probes: ({ context }) => context.probes + 1,
      nonce: ({ context }) => `p${context.probes + 1}`,
    }),
    recordError: assign((_, { error }: WithError) => ({
      lastError: error,
      serverDelay: { retryAfter: error.retryAfter },
    })),
    recordServerDelay: assign({ serverDelay: (_, params: { delay: ServerDelay }) => params.delay }),
    /** What no actor reports, because it is something that did not happen. */
    recordFailure: assign({
      lastError: ({ context }, { code, what }: { code: ConnectionErrorCode; what: string }) =>
        new ConnectionError(code, what, { cause: code === 'gave-up' ? context.lastError : undefined }),
    }),
    clearFailures: assign({ lastError: null, fruitless: 0 }),
    countAttempt: assign({ attempt: ({ context }) => context.attempt + 1 }),
    resetAttempts: assign({ attempt: 0 }),
    drawDelay: assign({
      delay: ({ context: { policy, attempt, serverDelay } }) =>
        backoffDelay({ ...policy.backoff, random: policy.random, attempt, server: serverDelay }),
      serverDelay: {},
    }),
    releaseOutbox: sendTo('outbox', { type: 'release' } satisfies OutboxEvent),
    holdOutbox: sendTo('outbox', { type: 'hold' } satisfies OutboxEvent),
    emitOpened: emit(({ context }) => ({ type: 'opened' as const, connectionId: context.connectionId ?? '' })),
    emitClosed: emit((_, params: { cause: EventObject }) => {
      const { type } = params.cause
      // What the map does not name is the one timer of `open` that ends it, or an actor that threw.
      const other = type.startsWith('xstate.after.') ? 'probe-timeout' : 'failed'
      const reason = CLOSE_REASONS[type as ConnectionEvent['type']] ?? other
      const error = errorOf(params.cause)
      return error ? { type: 'closed' as const, reason, error } : { type: 'closed' as const, reason }
    }),
    emitStopped: emit(({ context }) => ({
      type: 'stopped' as const,
      error: context.lastError ?? new ConnectionError('internal', 'stopped without an error'),
    })),
  },

  guards: {
    hasCursors: (_, params: { cursors: readonly Cursor[] }) => params.cursors.length > 0,
    awaitsReplayMarker: ({ context }) => context.features.includes('replay-marker'),
    confirmsResume: ({ context }, params: Pick<Done, 'resumeId'>) => confirms(context, params),
    hasLeftOvers: ({ context }, params: Done) => params.leftOvers.length > 0 && confirms(context, params),
    isFruitlessAgain: ({ context }, params: Done) =>
      params.leftOvers.length > 0 &&
      confirms(context, params) &&
      context.fruitless > 0 &&
      !madeProgress(context.cursors, params.leftOvers),
    isFatal: (_, { error }: WithError) => !error.retryable,
    canProbe: ({ context }) => context.features.includes('probe'),
    wasAwayTooLong: ({ context }, params: { awayFor: number }) =>
      params.awayFor > (context.heartbeat === null ? 10_000 : 2 * context.heartbeat),
    answersProbe: ({ context }, params: { nonce: string }) => params.nonce === context.nonce,
    isFirstAttempt: ({ context }) => context.attempt === 0 && context.policy.backoff.maxAttempts > 0,
    hasNoAttemptsLeft: ({ context }) => context.attempt > context.policy.backoff.maxAttempts,
  },

  delays: {
    connectTimeout: ({ context }) => context.policy.timeouts.connect,
    welcomeTimeout: ({ context }) => context.policy.timeouts.welcome,
    resumeTimeout: ({ context }) => context.policy.timeouts.resume,
    probeTimeout: ({ context }) => context.policy.timeouts.probe,
    stableDelay: ({ context }) => context.policy.backoff.stableDelay,
    backoffDelay: ({ context }) => context.delay,
  },
}).createMachine({
  id: 'connection',
  context: ({ input }) => ({
    policy: input,
    attempt: 0,
    delay: 0,
    serverDelay: {},
    connectionId: null,
    heartbeat: null,
    features: [],
    cursors: [],
    resumes: 0,
    resumeId: null,
    fruitless: 0,
    probes: 0,
    nonce: null,
    lastError: null,
  }),

  initial: 'idle',
  states: {
    idle: {
      id: 'idle',
      tags: 'idle',
      on: {
        connect: { target: 'active', actions: 'startOver' },
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
                guard: { type: 'hasCursors', params: ({ event }) => event },
                target: '.reconnecting',
                actions: { type: 'recordWelcome', params: ({ event }) => event },
              },
              { target: '.open', actions: { type: 'recordWelcome', params: ({ event }) => event } },
            ],
            'stream.failed': retry,
            'stream.drained': {
              target: '#backoff',
              actions: [recordReported, { type: 'recordServerDelay', params: ({ event }) => event }],
            },
          },

          initial: 'connecting',
          states: {
            connecting: {
              tags: 'connecting',
              on: {
                'stream.opened': { target: 'awaitingWelcome' },
                'stream.unauthorized': stop,
              },
              after: {
                connectTimeout: timedOut('stream'),
              },
            },

            awaitingWelcome: {
              tags: 'awaitingWelcome',
              on: {
                'stream.unauthorized': stop,
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
                input: ({ context }) => ({ resumeId: context.resumeId ?? '', cursors: context.cursors }),
                onError: retry,
              },
              on: {
                'stream.silent': retry,
                'resume.failed': [
                  {
                    guard: { type: 'isFatal', params: ({ event }) => event },
                    target: '#idle',
                    actions: [recordReported, 'emitStopped'],
                  },
                  retry,
                ],
              },

              initial: 'posting',
              states: {
                posting: {
                  on: {
                    // What a replay on the way has not brought yet is no left-over: they are counted at the marker.
                    'resume.succeeded': [{ guard: 'awaitsReplayMarker', target: 'replaying' }, ...resumeDone],
                    'stream.replayed': {
                      guard: { type: 'confirmsResume', params: done },
                      target: 'confirming',
                    },
                  },
                  after: {
                    resumeTimeout: timedOut('answer to the resume'),
                  },
                },
                replaying: {
                  on: { 'stream.replayed': resumeDone },
                },
                confirming: {
                  on: { 'resume.succeeded': resumeDone },
                  after: {
                    resumeTimeout: timedOut('answer to the resume'),
                  },
                },
              },
            },

            open: {
              id: 'open',
              tags: 'open',
              entry: ['clearFailures', 'releaseOutbox', 'emitOpened'],
              exit: ['holdOutbox', { type: 'emitClosed', params: ({ event }) => ({ cause: event }) }],
              on: {
                'stream.gapped': {
                  target: 'reconnecting',
                  actions: { type: 'recordCursors', params: ({ event }) => event },
                },
                'stream.silent': retry,
                'upstream.disowned': [
                  {
                    guard: 'isFirstAttempt',
                    target: '#streaming',
                    actions: ['countAttempt', recordReported],
                  },
                  retry,
                ],
                'upstream.unauthorized': stop,
              },

              initial: 'steady',
              states: {
                steady: {
                  on: {
                    wake: [
                      { guard: 'canProbe', target: 'probing' },
                      { guard: { type: 'wasAwayTooLong', params: ({ event }) => event }, target: '#streaming' },
                    ],
                  },
                  after: {
                    stableDelay: { actions: 'resetAttempts' },
                  },
                },
                probing: {
                  entry: 'numberProbe',
                  invoke: {
                    src: 'probe',
                    id: 'probe',
                    input: ({ context }) => ({ nonce: context.nonce ?? '' }),
                    onError: { target: '#streaming', actions: recordReported },
                  },
                  on: {
                    'stream.probed': {
                      guard: { type: 'answersProbe', params: ({ event }) => event },
                      target: 'steady',
                    },
                  },
                  after: {
                    probeTimeout: {
                      target: '#streaming',
                      actions: noticed('probe-timeout', 'no answer to the probe on the stream'),
                    },
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
            actions: [noticed('gave-up', 'no attempts left'), 'emitStopped'],
          },
          after: {
            backoffDelay: { target: '#streaming' },
          },
        },
      },
    },
  },
})
