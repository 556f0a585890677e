import { createActor, type EventObject, fromCallback, initialTransition, transition } from 'xstate'
import { ConnectionError } from '../../errors'
import {
  type BackoffPolicy,
  type ConnectionEmitted,
  type ConnectionEvent,
  type ConnectionInput,
  connectionMachine,
  outboxMachine,
  type Phase,
  type ProbeInput,
  phase,
  type ResumeInput,
  type ServerDelay,
} from '../../machine'
import type { Cursor, Feature } from '../../protocol'
import { fakeClock } from '../../testing/harness/fakeClock'

export const POLICY: ConnectionInput = {
  backoff: { base: 500, cap: 30_000, maxAttempts: Number.POSITIVE_INFINITY, stableDelay: 5_000 },
  timeouts: { connect: 15_000, welcome: 10_000, resume: 15_000, send: 15_000, probe: 2_000 },
  random: () => 0.5,
  now: () => 0,
}
export const policy = (backoff: Partial<BackoffPolicy>, random = POLICY.random): ConnectionInput => ({
  ...POLICY,
  random,
  backoff: { ...POLICY.backoff, ...backoff },
})

export const CURSORS: readonly Cursor[] = [
  { sessionId: 's1', lastSeq: 7 },
  { sessionId: 's2', lastSeq: 3 },
]
/** Left over although the resume asked for it: it moved nothing. */
export const NOT_MOVED: readonly Cursor[] = [{ sessionId: 's1', lastSeq: 7 }]
/** Left over as well, but the resume got somewhere. */
export const MOVED: readonly Cursor[] = [{ sessionId: 's1', lastSeq: 9 }]

export const transient = new ConnectionError('http', '503', { retryable: true, status: 503 })
export const fatal = new ConnectionError('forbidden', '403', { status: 403 })
export const unauthorized = new ConnectionError('unauthorized', '401', { status: 401 })
export const notFound = new ConnectionError('unknown-stream', '404', { retryable: true, status: 404 })
export const unanswered = new ConnectionError('probe-timeout', 'unanswered')
export const silence = new ConnectionError('stream-silent', 'silent', { retryable: true })
export const bye = new ConnectionError('goodbye', 'goodbye', { retryable: true })

export const connect: ConnectionEvent = { type: 'connect' }
export const disconnect: ConnectionEvent = { type: 'disconnect' }
export const reconnect: ConnectionEvent = { type: 'reconnect' }
export const opened: ConnectionEvent = { type: 'stream.opened' }
export const welcome = (
  cursors: readonly Cursor[] = [],
  features: readonly Feature[] = [],
  heartbeat: number | null = 15_000,
): ConnectionEvent => ({
  type: 'stream.welcomed',
  connectionId: 'c1',
  heartbeat,
  features,
  cursors,
})
export const wake = (awayFor = 0): ConnectionEvent => ({ type: 'wake', awayFor })
export const suspended = (cursors: readonly Cursor[] = CURSORS): ConnectionEvent => ({
  type: 'page.suspended',
  cursors,
})
export const gapped = (cursors: readonly Cursor[] = NOT_MOVED, isByServer = false): ConnectionEvent => ({
  type: 'stream.gapped',
  cursors,
  isByServer,
})
export const reset = (): ConnectionEvent => ({ type: 'stream.reset' })
export const probed = (nonce: string): ConnectionEvent => ({ type: 'stream.probed', nonce })
export const drained = (delay: ServerDelay = {}): ConnectionEvent => ({ type: 'stream.drained', delay, error: bye })
export const streamFailed = (error = transient): ConnectionEvent => ({ type: 'stream.failed', error })
export const silent: ConnectionEvent = { type: 'stream.silent', error: silence }
export const refused = (error = unauthorized): ConnectionEvent => ({ type: 'stream.refused', error })
/** A 403 without a word: a firewall's, maybe. */
export const bareForbidden = new ConnectionError('forbidden', '403', { status: 403, retryable: true })
export const disowned: ConnectionEvent = { type: 'upstream.disowned', error: notFound }
export const upstreamUnauthorized: ConnectionEvent = { type: 'upstream.unauthorized', error: unauthorized }
export const doubtful: ConnectionEvent = { type: 'upstream.doubtful', error: transient }
export const proved: ConnectionEvent = { type: 'upstream.proved' }
export const wanted: ConnectionEvent = { type: 'upstream.wanted' }
export const succeeded = (leftOvers: readonly Cursor[] = [], isByServer = false): ConnectionEvent => ({
  type: 'resume.succeeded',
  isByServer,
  leftOvers,
})
export const failed = (error = transient): ConnectionEvent => ({ type: 'resume.failed', error })
export const replayed = (
  resumeId: string | null,
  leftOvers: readonly Cursor[] = [],
  isByServer = false,
): ConnectionEvent => ({
  type: 'stream.replayed',
  isByServer,
  resumeId,
  leftOvers,
})

export type Snapshot = ReturnType<typeof walk>

/** The pure machine after these events; nothing is started, no time passes. */
export function walk(events: readonly ConnectionEvent[], input: ConnectionInput = POLICY) {
  let [snapshot] = initialTransition(connectionMachine, input)
  for (const event of events) [snapshot] = transition(connectionMachine, snapshot, event)
  return snapshot
}

/** The innermost state: `posting`, `steady`, … */
export function leaf({ value }: { readonly value: unknown }): string {
  return typeof value === 'string' ? value : leaf({ value: Object.values(value as object)[0] })
}

type Effect = { readonly type: string; readonly params: unknown }

/** One pure step: where it leads, what it would do, and whether the state refused the event. */
export function step(snapshot: Snapshot, event: ConnectionEvent) {
  const [next, actions] = transition(connectionMachine, snapshot, event)
  const effects = actions as readonly Effect[]
  const of = <Params>(type: string) =>
    effects.filter((effect) => effect.type === type).map(({ params }) => params as Params)
  return {
    next,
    leaf: leaf(next),
    phase: phase(next) as Phase,
    /** No transition is enabled. That such a step changes nothing either is a test of its own. */
    refused: !snapshot.can(event),
    actions: effects.map(({ type }) => type),
    emitted: of<{ event: ConnectionEmitted }>('xstate.emit').map((params) => params.event),
    started: of<{ id: string }>('xstate.spawnChild').map(({ id }) => id),
    stopped: of<{ id: string }>('xstate.stopChild').map(({ id }) => id),
    /** What the outbox is told. */
    told: of<{ event: EventObject }>('xstate.sendTo').map((params) => params.event.type),
  }
}

/** The machine alive, with actors that do nothing but say that they exist, and time that stands still. */
export function startMachine(input: ConnectionInput = POLICY) {
  const clock = fakeClock()
  const log: string[] = []
  const live = new Map<string, number>()
  const emitted: ConnectionEmitted[] = []
  let tellResume: (event: ConnectionEvent) => void = () => {}

  const appear = (name: string, label = name) => {
    log.push(`+${label}`)
    live.set(name, (live.get(name) ?? 0) + 1)
    return () => {
      log.push(`-${label}`)
      live.set(name, (live.get(name) ?? 0) - 1)
    }
  }
  const resource = (name: string) => fromCallback<EventObject, undefined>(() => appear(name))

  const actor = createActor(
    connectionMachine.provide({
      actors: {
        pageLifecycle: resource('pageLifecycle'),
        eventStream: resource('eventStream'),
        resume: fromCallback<EventObject, ResumeInput>(({ input, sendBack }) => {
          tellResume = sendBack
          return appear('resume', `resume ${input.resumeId}`)
        }),
        probe: fromCallback<EventObject, ProbeInput>(({ input }) => appear('probe', `probe ${input.nonce}`)),
        outbox: outboxMachine.provide({
          actors: {
            poster: fromCallback(({ receive }) => {
              receive(({ type }) => log.push(`outbox ${type}`))
              return appear('poster')
            }),
          },
        }),
      },
    }),
    { input, clock },
  )
  actor.on('*', (event) => emitted.push(event))
  actor.start()

  return {
    actor,
    clock,
    log,
    emitted,
    send(...events: readonly ConnectionEvent[]) {
      for (const event of events) actor.send(event)
    },
    /** As the resume actor that was started last, which may be gone. */
    tellAsResume: (event: ConnectionEvent) => tellResume(event),
    live: (name: string) => live.get(name) ?? 0,
    get leaf() {
      return leaf(actor.getSnapshot())
    },
    get phase(): Phase {
      return phase(actor.getSnapshot())
    },
    get context() {
      return actor.getSnapshot().context
    },
  }
}
