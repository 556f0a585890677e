import type { StorageLike } from '../environment'
import { isSeq, isText } from '../protocol'
import type { Soon } from './soon'

/**
 * A storage whose failures are reported, and harm nothing else. Nothing of it throws or rejects.
 */
export interface Medium {
  readonly answers: 'at once' | 'later'
  /** None, if they could not be read. */
  keys(): Soon<readonly string[]>
  /** `null`: there is none. `undefined`: it could not be read. */
  get(place: string): Soon<string | null | undefined>
  /** `isFirst`: nothing was stored there before. Tells whether it is stored now. */
  set(place: string, text: string, isFirst?: boolean): Soon<boolean>
  /** Tells whether it is gone. */
  remove(place: string): Soon<boolean>
  /** Calls back when nothing is being written. */
  whenWritten(then: () => void): void
}

/** `localStorage`, and what is like it. */
export class SyncMedium implements Medium {
  readonly answers = 'at once'
  readonly #storage: StorageLike
  readonly #fail: (cause: unknown) => void

  constructor(storage: StorageLike, fail: (cause: unknown) => void) {
    this.#storage = storage
    this.#fail = fail
  }

  keys() {
    const read = () => {
      const { length } = this.#storage
      if (!isSeq(length)) throw 'length is no number: not like localStorage'
      return Array.from({ length }, (_, index) => this.#storage.key(index) ?? '')
    }
    return this.#attempt<readonly string[]>(read, [])
  }

  get(place: string) {
    return this.#attempt<string | null | undefined>(() => textOf(this.#storage.getItem(place)), undefined)
  }

  set(place: string, text: string) {
    return this.#attempt(() => {
      this.#storage.setItem(place, text)
      return true
    }, false)
  }

  remove(place: string) {
    return this.#attempt(() => {
      this.#storage.removeItem(place)
      return true
    }, false)
  }

  whenWritten(then: () => void) {
    then()
  }

  #attempt<T>(work: () => T, failed: T): T {
    try {
      return work()
    } catch (cause) {
      this.#fail(cause)
      return failed
    }
  }
}

export const textOf = (value: unknown) => (isText(value) ? value : null)
