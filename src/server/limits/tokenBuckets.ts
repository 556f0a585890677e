import type { Clock } from '../clock'

export interface TokenBucketsOptions {
  /** Tokens that each bucket gets back in a millisecond. */
  readonly perMs: number
  /** Tokens that a bucket holds at most, and at first. */
  readonly full: number
  readonly clock: Pick<Clock, 'now'>
}

/**
 * One token bucket for each principal. It may be overdrawn, and then its principal waits. A full
 * one costs nothing.
 */
export class TokenBuckets {
  readonly #options: TokenBucketsOptions
  /** The bucket that was last spent from stands last. */
  readonly #buckets = new Map<string, { readonly left: number; readonly at: number }>()

  constructor(options: TokenBucketsOptions) {
    this.#options = options
  }

  /** How long until there is something left again, ms; 0: now. */
  delay(principalId: string): number {
    return Math.max(0, Math.ceil(-this.#leftOf(principalId) / this.#options.perMs))
  }

  spend(principalId: string, tokens: number) {
    const left = this.#leftOf(principalId) - tokens
    this.#buckets.delete(principalId)
    this.#buckets.set(principalId, { left, at: this.#options.clock.now() })
    for (const [id] of this.#buckets) {
      if (this.#leftOf(id) < this.#options.full) return
      this.#buckets.delete(id)
    }
  }

  /**
   * Spends one token, unless that would overdraw the bucket: then it tells how long to wait, ms.
   */
  take(principalId: string): number {
    const missing = 1 - this.#leftOf(principalId)
    if (missing > 0) return Math.ceil(missing / this.#options.perMs)
    this.spend(principalId, 1)
    return 0
  }

  #leftOf(principalId: string): number {
    const { perMs, full, clock } = this.#options
    const { left, at } = this.#buckets.get(principalId) ?? { left: full, at: 0 }
    // Not below 0: the clock may have been set back.
    return Math.min(full, left + Math.max(0, clock.now() - at) * perMs)
  }
}
