import type { EventObject } from 'xstate'
import { ConnectionError, type ConnectionErrorCode } from '../errors'
import { type Cause, nonceOf, toConnectionError } from './facts'
import { withEvent } from './outboxMachine'
import type { CloseReason, ConnectionContext, ConnectionEvent, Timeouts } from './types'

// The transitions, and parts of transitions, that stand in the chart more than once, each under the
// name that the chart uses.

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

/**
 * Tells how the line closed. An event that is not in the table is a failure that brings its error,
 * or else the timer of a probe.
 */
export const closed = {
  type: 'emitClosed' as const,
  params: ({ event }: { event: EventObject }) => ({
    reason: CLOSE_REASONS[event.type] ?? ('error' in event ? 'failed' : 'probe-timeout'),
    ...('error' in event && { error: toConnectionError(event.error) }),
  }),
}

/** With the error that the event brings. */
export const recordReported = withEvent('recordError')
export const retry = { target: '#backoff', actions: recordReported }
export const stop = { target: '#idle', actions: [recordReported, 'emitStopped' as const] }
/** Records an error that no actor reports: something did not happen in time, or too often. */
export const missed = (code: ConnectionErrorCode, what: string) => ({
  type: 'recordError' as const,
  params: () => ({ error: new ConnectionError(code, what) }),
})
export const unanswered = missed('probe-timeout', 'the stream did not answer a probe')
export const timedOut = (name: keyof Timeouts) => ({
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
export const timeout =
  (name: keyof Timeouts) =>
  ({ context }: { context: ConnectionContext }) =>
    context.policy.timeouts[name]

const BY_SERVER: Cause = { isByServer: true }
export const flapping = {
  target: '#backoff',
  actions: missed('flapping', 'the server caused resumes or resets without a pause'),
}

export const probe = {
  src: 'probe' as const,
  id: 'probe',
  input: ({ context }: { context: ConnectionContext }) => ({ nonce: nonceOf(context) }),
}
export const probed = { guard: withEvent('answersProbe'), target: 'steady' as const }

/**
 * The resume was answered and, where the server marks the end of a replay, replayed. Left-overs
 * belong to the same barrier.
 */
export const resumeDone = [
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

export const refused = [{ guard: withEvent('mayPass'), ...retry }, stop]

export const byServer = <Name extends string>(type: Name) => ({ type, params: BY_SERVER })
/** For events that only the server can cause: this one is one too many. */
export const flappedAgain = { guard: byServer('isFlapping'), ...flapping }
