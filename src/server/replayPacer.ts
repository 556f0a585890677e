import type { Clock } from './options'

/** How long a principal that was written nothing may save up, ms. */
const SAVED = 2_000

/**
 * What a principal's streams may write of replays: a token bucket of bytes. Whoever has spent more than there was waits. A principal
 * whose bucket is full costs nothing.
 */
export class ReplayPacer {
  readonly #perMs: number
  readonly #full: number
  readonly #clock: Pick<Clock, 'now'>
  /** Those that were last written to stand last. */
  readonly #buckets = new Map<string, { readonly left: number; readonly at: number }>()

  /** @param rate bytes per second */
  constructor(rate: number, clock: Pick<Clock, 'now'>) {
    this.#perMs = rate / 1_000
    this.#full = this.#perMs * SAVED
    this.#clock = clock
  }

  /** How long to wait, ms; 0: write. */
  delay(principalId: string): number {
    return Math.max(0, Math.ceil(-this.#leftOf(principalId) / this.#perMs))
  }

  spend(principalId: string, bytes: number) {
    const left = this.#leftOf(principalId) - bytes
    this.#buckets.delete(principalId)
    this.#buckets.set(principalId, { left, at: this.#clock.now() })
    for (const [id] of this.#buckets) {
      if (this.#leftOf(id) < this.#full) return
      this.#buckets.delete(id)
    }
  }

  #leftOf(principalId: string): number {
    const { left, at } = this.#buckets.get(principalId) ?? { left: this.#full, at: 0 }
    // Not below 0: the clock may have been set back.
    return Math.min(this.#full, left + Math.max(0, this.#clock.now() - at) * this.#perMs)
  }
}
