import type { Connection } from '../connection/api'
import type { ConnectionOptions } from '../connection/options'
import { createConnection } from '../createConnection'
import type { AnyConnection } from './holdLine'
import { PAGE } from './page'
import { sessionsOf } from './sessions'

/** How long a connection waits for the component that made it to be mounted, ms. */
const PATIENCE = 60_000

/** A connection that may be made while something renders. */
export type OwnedConnection = AnyConnection & Pick<Connection, 'dispose'>

/** `createConnection`, or what an app has instead of it. */
export type MakeConnection<Made extends OwnedConnection = OwnedConnection> = (options: ConnectionOptions) => Made

/** A connection that is made while something renders, and disposed of when it is used no more. */
export interface UserLine {
  readonly connection: Connection
  /** Returns the function that lets go. `renew` is called where it has been disposed of already. */
  claim(renew: () => void): () => void
}

const lines = new Map<string, UserLine>()

/**
 * One per URL and key. Rendering may happen twice, or for nothing: so what was made is found again,
 * and one that nobody claims is disposed of.
 */
export function userLine(
  options: ConnectionOptions,
  key: string | number,
  make: MakeConnection = createConnection,
): UserLine {
  // On a server nothing is ever mounted, and a storage is not the user's.
  if (typeof window === 'undefined') return own(make({ ...options, storage: null }), () => {})
  const name = `${options.url} ${key}`
  const line = lines.get(name) ?? own(make(options), () => lines.delete(name))
  lines.set(name, line)
  return line
}

function own(made: OwnedConnection, forget: () => void): UserLine {
  const connection = made as Connection
  let users = 0
  let state: 'live' | 'over' = 'live'
  const end = () => {
    if (users || state === 'over') return
    state = 'over'
    forget()
    sessionsOf(connection).end()
    connection.dispose()
  }
  PAGE.later(end, PATIENCE)
  return {
    connection,
    claim(renew) {
      users++
      if (state === 'over') renew()
      return () => {
        users--
        queueMicrotask(end)
      }
    },
  }
}
