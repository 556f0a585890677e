import { Budget } from '../limits/budget'

/**
 * The memory of all sockets without a welcome, bytes. Their principals are unknown, so they share
 * one account, and it is small.
 */
export const MAX_AT_DOOR = 33_554_432

/** A socket without a welcome. */
export interface Visitor {
  /** It has said hello, and waits for an answer. False if there is no room for that. */
  greet(bytes: number): boolean
  /** It was let in, or is gone. */
  leave(): void
}

/**
 * Where sockets wait for their welcome. Those that say nothing make room for others: the oldest
 * first, as it had the most time.
 */
export class Door {
  readonly #room = new Budget(MAX_AT_DOOR)
  readonly #silent = new Map<Visitor, () => void>()

  /** `cut` ends the socket, and has it leave. Undefined if there is no room. */
  enter(bytes: number, cut: () => void): Visitor | undefined {
    if (!this.#makeRoom(bytes)) return undefined
    const account = new Budget(MAX_AT_DOOR, this.#room)
    account.take(bytes)
    const visitor = {
      greet: (more: number) => {
        this.#silent.delete(visitor)
        return this.#makeRoom(more) && account.take(more)
      },
      leave: () => {
        this.#silent.delete(visitor)
        account.close()
      },
    }
    this.#silent.set(visitor, cut)
    return visitor
  }

  #makeRoom(bytes: number): boolean {
    for (const [visitor, cut] of this.#silent) {
      if (this.#room.used + bytes <= MAX_AT_DOOR) break
      visitor.leave()
      cut()
    }
    return this.#room.used + bytes <= MAX_AT_DOOR
  }
}
