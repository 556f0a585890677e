import type { Connection } from '../connection/api'
import { isBeyond } from './place'
import type { StatePlace } from './types'

/** Keeps the cursor of a session where its state ends. */
export class Follower {
  readonly #connection: Connection
  readonly #id: string
  #unwatch: (() => void) | undefined

  constructor(connection: Connection, id: string) {
    this.#connection = connection
    this.#id = id
  }

  /** Nobody has said `unwatch(id)` meanwhile. */
  get isFollowing(): boolean {
    return this.#unwatch !== undefined && this.#connection.cursor(this.#id) !== undefined
  }

  /**
   * Goes on after the last event that the state contains. Returns whether the cursor was
   * elsewhere: the events between come again.
   */
  follow({ lastSeq, epoch }: StatePlace): boolean {
    const connection = this.#connection
    const id = this.#id
    const after = { sessionId: id, lastSeq, ...(epoch !== undefined && { epoch }) }
    const old = this.#unwatch
    this.#unwatch = connection.watch(id, { after })
    old?.()
    const cursor = connection.cursor(id) ?? after
    // A tracked session stays where it is: it was restored, or moved before somebody used it.
    if (!isBeyond(cursor, after)) return false
    connection.unwatch(id)
    this.#unwatch = connection.watch(id, { after })
    return true
  }

  /** Returns whether the cursor stands: somebody else watches the session. */
  leave(): boolean {
    this.#unwatch?.()
    this.#unwatch = undefined
    return this.#connection.cursor(this.#id) !== undefined
  }
}
