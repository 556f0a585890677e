import type { Harness } from '../../harness/harness'
import { clamp, NO_WISH, type Wish } from '../wire'

/**
 * The least that has to be waited after a failure, by the numbers that the connection has drawn
 * since all had settled.
 */
export class Waits {
  readonly #backoff: { readonly base: number; readonly cap: number }
  /** An app with a random source of its own is not watched drawing. */
  readonly #isWatched: boolean
  #draws: number[] = []

  constructor({ connection, random }: Harness) {
    const { policy } = connection.actor.getSnapshot().context
    this.#backoff = policy.backoff
    this.#isWatched = policy.random === random
  }

  drawn(value: number) {
    this.#draws.push(value)
  }

  settled() {
    this.#draws = []
  }

  /** After the `count`th failure in a row, ms. */
  least(count: number, { retryAfter, spread }: Wish = NO_WISH): number {
    const { base, cap } = this.#backoff
    const factor = !this.#isWatched ? 0 : this.#draws.length ? Math.min(...this.#draws) : 1
    const exponential = Math.min(cap, base * 2 ** (count - 1))
    return Math.floor(Math.max(factor * exponential, clamp(retryAfter) + factor * clamp(spread)))
  }
}
