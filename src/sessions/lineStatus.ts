import type { Connection } from '../connection/api'
import type { ConnectionError } from '../errors'
import { counted, leftUntil, type Store } from './counted'
import { onDeliveries } from './deliveries'

/**
 * How the line is, for people. It speaks of both directions: a stream that is open while no POST
 * gets through is not `online`.
 *
 * | status | meaning |
 * | --- | --- |
 * | `idle` | not connected: a server, a page before its first effect, or after `disconnect()` |
 * | `connecting` | it is being tried, or tried again |
 * | `online` | messages go both ways, as far as is known |
 * | `retrying` | the stream, or what is to be sent, is tried again in `retryIn` ms |
 * | `stopped` | it does not come back by itself; `error` says why. `connect()` starts again |
 */
export type LineStatus =
  | { readonly status: 'idle' }
  | { readonly status: 'connecting' }
  | { readonly status: 'online' }
  /** Whole seconds, in ms, counted down. `wake()` tries now. */
  | { readonly status: 'retrying'; readonly retryIn: number }
  | { readonly status: 'stopped'; readonly error: ConnectionError }

/** As a server sees every line, and a page before its first effect. */
export const IDLE_LINE: LineStatus = { status: 'idle' }
const CONNECTING: LineStatus = { status: 'connecting' }
const ONLINE: LineStatus = { status: 'online' }

/** When it is tried again; null if nothing waits. */
function retryAtOf(connection: Connection): number | null {
  const { phase, retryAt, outbox } = connection.getSnapshot()
  return phase === 'open' && outbox.state === 'pausing' ? outbox.retryAt : retryAt
}

/** A message that has failed is tried again, and none that has not is on its way. */
const isFailing = ({ pending }: Connection) =>
  pending.some(({ error }) => error) && !pending.some(({ error, status }) => !error && status === 'sending')

function statusOf(connection: Connection, now: number): LineStatus {
  const { phase, outbox, lastError: error } = connection.getSnapshot()
  if (phase === 'idle') return error ? { status: 'stopped', error } : IDLE_LINE
  const at = retryAtOf(connection)
  if (at !== null) return { status: 'retrying', retryIn: leftUntil(at, now) }
  return phase === 'open' && outbox.state !== 'held' && !isFailing(connection) ? ONLINE : CONNECTING
}

export function lineStatus(connection: Connection): Store<LineStatus> {
  type Fields = { readonly status: string; readonly retryIn?: number; readonly error?: unknown }
  let last = IDLE_LINE
  const isNew = (one: Fields, other: Fields) =>
    one.status !== other.status || one.retryIn !== other.retryIn || one.error !== other.error
  return counted(connection, {
    on: (changed) => onDeliveries(connection, changed),
    read(now) {
      const next = statusOf(connection, now)
      if (isNew(last, next)) last = next
      return last
    },
    times: () => [retryAtOf(connection)],
  })
}
