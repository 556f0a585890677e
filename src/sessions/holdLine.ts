import type { Connection, ConnectionSnapshot } from '../connection/api'
import { ownMessagesOf } from './ownMessages'

/** As a server sees every connection, and a page before its first effect. */
export const IDLE: ConnectionSnapshot = {
  phase: 'idle',
  connectionId: null,
  attempt: 0,
  retryAt: null,
  pendingCount: 0,
  outbox: { state: 'held', retryAt: null },
  lastError: null,
}

/** A connection, whatever its messages are. */
export type AnyConnection = Pick<Connection, 'phase' | 'connect' | 'disconnect' | 'watch' | 'subscribe' | 'getSnapshot'>

const users = new WeakMap<object, number>()

/**
 * The line is up while somebody holds it. Who lets go and takes it again at once, as StrictMode
 * does, has not let go.
 */
export function holdLine(connection: AnyConnection): () => void {
  const count = (by: number) => {
    const now = (users.get(connection) ?? 0) + by
    users.set(connection, now)
    return now
  }
  // A message that an earlier page has left may be refused before somebody asks for it.
  ownMessagesOf(connection)
  if (count(1) === 1 && connection.phase === 'idle') connection.connect()
  return () => {
    count(-1)
    queueMicrotask(() => {
      if (!users.get(connection)) connection.disconnect()
    })
  }
}
