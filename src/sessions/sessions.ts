import type { Connection } from '../connection/api'
import { partsOf } from '../connection/publicConnection'
import { ConnectionError } from '../errors'
import { viewOf } from './audience'
import type { AnyConnection } from './holdLine'
import { PAGE, type PageTime } from './page'
import type { SessionParts } from './parts'
import { LiveSession } from './session'
import type { SessionOptions, SessionView } from './types'

/** The sessions of one connection that somebody uses, or has used of late. */
export class Sessions {
  readonly #connection: Connection
  readonly #time: PageTime
  readonly #all = new Map<string, LiveSession>()

  constructor(connection: Connection, time = PAGE) {
    this.#connection = connection
    this.#time = time
  }

  /** As it is; undefined before somebody uses it. */
  view<State>(id: string): SessionView<State> | undefined {
    return this.#all.get(id)?.audience.view as SessionView<State> | undefined
  }

  open<State, Message extends object>(id: string, options: SessionOptions<State, Message>): LiveSession {
    let session = this.#all.get(id)
    if (!session) {
      // Another one may have taken its place.
      const drop = () => void (this.#all.get(id) === session && this.#all.delete(id))
      const report: SessionParts['report'] = (code, why, cause) => {
        const details = { cause, retryable: code === 'load-failed' }
        const error = new ConnectionError(code, `session ${id}: ${why}`, details)
        partsOf(this.#connection).notifier.report(error)
      }
      session = new LiveSession({ id, connection: this.#connection, time: this.#time, report, drop }, options as never)
      this.#all.set(id, session)
    }
    return session
  }

  /** Follows the session until the returned function is called, and `keepFor` longer. */
  use<State, Message extends object>(id: string, options: SessionOptions<State, Message>, user: () => void) {
    return this.open(id, options).use(options as never, user)
  }

  /** The connection is disposed of. */
  end() {
    for (const session of [...this.#all.values()]) session.end()
  }
}

const known = new WeakMap<object, Sessions>()

/** One store for all who use a connection, whatever they are written with. */
export function sessionsOf(connection: unknown): Sessions {
  const found = known.get(connection as object) ?? new Sessions(connection as Connection)
  known.set(connection as object, found)
  return found
}

/** A store, as `useSyncExternalStore` and Svelte want it. */
export interface SessionStore<State> {
  /**
   * Calls back at once, and then at most once per frame. Returns the function that unsubscribes.
   */
  subscribe(listener: (view: SessionView<State>) => void): () => void
  getSnapshot(): SessionView<State>
}

/**
 * The state of a session as a store, for frameworks without an entry of their own. The session is
 * followed while somebody is subscribed, and `keepFor` longer.
 */
export function sessionStore<State, Message extends object>(
  connection: AnyConnection,
  id: string,
  options: SessionOptions<State, Message>,
): SessionStore<State> {
  const sessions = sessionsOf(connection)
  const blank = viewOf(options)
  const getSnapshot = () => sessions.view<State>(id) ?? blank
  return {
    subscribe(listener) {
      const leave = sessions.use(id, options, () => listener(getSnapshot()))
      listener(getSnapshot())
      return leave
    },
    getSnapshot,
  }
}
