import { initialTransition, transition } from 'xstate'
import { ConnectionError } from '../errors'
import {
  type ConnectionEmitted,
  type ConnectionEvent,
  type ConnectionInput,
  connectionMachine,
  type Phase,
  phase,
} from '../machine'
import type { Cursor, Feature } from '../protocol'

export const POLICY: ConnectionInput = {
  backoff: { base: 500, cap: 30_000, maxAttempts: Number.POSITIVE_INFINITY, stableDelay: 5_000 },
  timeouts: { connect: 15_000, welcome: 10_000, resume: 15_000, send: 15_000, probe: 2_000 },
  random: () => 0.5,
}

export const CURSORS: readonly Cursor[] = [
  { sessionId: 's1', lastSeq: 7 },
  { sessionId: 's2', lastSeq: 3 },
]
export const transient = new ConnectionError('http', '503', { retryable: true, status: 503 })
export const fatal = new ConnectionError('forbidden', '403', { status: 403 })
export const unauthorized = new ConnectionError('unauthorized', '401', { status: 401 })

export const welcome = (cursors: readonly Cursor[] = [], features: readonly Feature[] = []): ConnectionEvent => ({
  type: 'stream.welcomed',
  connectionId: 'c1',
  heartbeat: 15_000,
  features,
  cursors,
})
export const wake = (awayFor = 0): ConnectionEvent => ({ type: 'wake', awayFor })
export const succeeded = (leftOvers: readonly Cursor[] = []): ConnectionEvent => ({
  type: 'resume.succeeded',
  leftOvers,
})
export const failed = (error = transient): ConnectionEvent => ({ type: 'resume.failed', error })
export const replayed = (resumeId: string | null, leftOvers: readonly Cursor[] = []): ConnectionEvent => ({
  type: 'stream.replayed',
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

/** One pure step: where it leads, what it would do, and whether the state refused the event. */
export function step(snapshot: Snapshot, event: ConnectionEvent) {
  const [next, actions] = transition(connectionMachine, snapshot, event)
  return {
    next,
    phase: phase(next) as Phase,
    // A step without a transition does nothing and changes nothing; each real one here at least assigns, emits or re-enters.
    refused: actions.length === 0 && next.value === snapshot.value && next.context === snapshot.context,
    actions: actions.map((action) => action.type),
    emitted: (actions as { type: string; params: unknown }[]).flatMap((action) =>
      action.type === 'xstate.emit' ? [(action.params as { event: ConnectionEmitted }).event] : [],
    ),
  }
}
