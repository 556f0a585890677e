import type { Connection, ConnectionError } from 'holdline'

/** A session that has ended is answered 401, or by a login page in the place of an answer. */
const SIGNED_OUT = ['unauthorized', 'redirected']

/**
 * Asks for a login when the server says that the session has ended, once at a time, and goes on
 * from where it was. The page stays, and with it the queue. `login` resolves when the new cookie is
 * set; if it rejects, the next sign asks again.
 */
export function keepSignedIn(connection: Connection, login: () => Promise<unknown>) {
  let isAsking = false

  async function ask(error: ConnectionError | null) {
    if (isAsking || !error || !SIGNED_OUT.includes(error.code)) return
    isAsking = true
    try {
      await login()
      resume(connection)
    } finally {
      isAsking = false
    }
  }

  // A 401 ends the line.
  connection.on('stopped', ({ error }) => ask(error))
  // A login page in the place of the stream does not: it is tried again. Nor does one in the place
  // of a message's receipt.
  connection.on('phase', ({ phase }) => phase === 'backoff' && ask(connection.lastError))
  connection.on('error', ({ error }) => ask(error))
}

/** In any phase: `connect` is for `idle`, `reconnect` for all others. */
export function resume(connection: Connection) {
  if (connection.phase === 'idle') connection.connect()
  else connection.reconnect()
}
