import type { Clock } from './options'

/** How long a principal that was written nothing may save up, ms. */
const SAVED = 1_000
/** To look a session up and to follow it costs about as much as to write so many bytes. */
const SESSION_BYTES = 8_192

/**
 * What a principal's streams may write of replays, and resume of sessions: a token bucket of bytes. Whoever has spent more than there
 * was waits. A principal whose bucket is full costs nothing.
 */
export class ReplayPacer {
  readonly #perMs: number
  readonly #full: number
  readonly #clock: Pick<Clock, 'now' | 'setTimeout'>
  /** Those that were last written to stand last. */
  readonly #buckets = new Map<string, { readonly left: number; readonly at: number }>()

  /** @param rate bytes per second */
  constructor(rate: number, clock: Pick<Clock, 'now' | 'setTimeout'>) {
    this.#perMs = rate / 1_000
    this.#full = this.#perMs * SAVED
    this.#clock = clock
  }

  /** How long to wait, ms; 0: write. */
  delay(principalId: string): number {
    return Math.max(0, Math.ceil(-this.#leftOf(principalId) / this.#perMs))
  }

  /** Waits until so many sessions may be resumed. */
  async admit(principalId: string, sessions: number): Promise<void> {
    for (let ms = this.delay(principalId); ms > 0; ms = this.delay(principalId)) {
      await new Promise<void>((resolve) => void this.#clock.setTimeout(resolve, ms))
    }
    this.spend(principalId, sessions * SESSION_BYTES)
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
