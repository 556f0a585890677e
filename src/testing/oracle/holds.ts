import type { Connection } from '../../connection/api'
import { before } from './watch'

type WatchOptions = NonNullable<Parameters<Connection['watch']>[1]>

interface Told {
  watched(sessionId: string, after: WatchOptions['after']): void
  /** The app has given back every watch of it, or has called `unwatch`. */
  left(sessionId: string): void
}

/** Counts the watches of each session that the app has not given back. */
export class Holds {
  readonly #holds = new Map<string, Set<object>>()

  constructor(connection: Connection, told: Told) {
    const { watch } = connection
    Object.assign(connection, {
      watch: (sessionId: string, options: WatchOptions = {}) => {
        told.watched(sessionId, options.after)
        const end = watch(sessionId, options)
        const hold = {}
        const own = this.#of(sessionId).add(hold)
        const release = () => {
          // After an `unwatch` it is one of a past that is over.
          if (own.delete(hold) && own === this.#holds.get(sessionId) && !own.size) {
            this.#holds.delete(sessionId)
            told.left(sessionId)
          }
          end()
        }
        return Object.assign(release, { [Symbol.dispose]: release })
      },
    })
    before(connection, ['unwatch'], (sessionId: string) => {
      this.#holds.delete(sessionId)
      told.left(sessionId)
    })
    connection.on('session', ({ sessionId, status }) => {
      if (status === 'gone' || status === 'forbidden') this.#holds.delete(sessionId)
    })
  }

  #of(sessionId: string): Set<object> {
    const known = this.#holds.get(sessionId) ?? new Set()
    this.#holds.set(sessionId, known)
    return known
  }

  /** The sessions that are watched, and how often. */
  counts(): readonly (readonly [sessionId: string, count: number])[] {
    return [...this.#holds].map(([sessionId, { size }]) => [sessionId, size] as const)
  }
}
