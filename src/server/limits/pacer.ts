import type { Clock } from '../clock'
import { TokenBuckets } from './tokenBuckets'

export interface PacerOptions {
  /** Bytes per second. */
  readonly rate: number
  /** How long a principal that spent nothing may save up, ms. */
  readonly saved: number
  readonly clock: Pick<Clock, 'now' | 'setTimeout'>
}

/** So many bytes per second for each principal; beyond that, its work waits. */
export class Pacer {
  readonly #clock: Pick<Clock, 'now' | 'setTimeout'>
  readonly #buckets: TokenBuckets

  constructor({ rate, saved, clock }: PacerOptions) {
    const perMs = rate / 1_000
    this.#clock = clock
    this.#buckets = new TokenBuckets({ perMs, full: perMs * saved, clock })
  }

  /** How long to wait, ms; 0: go on. */
  delay(principalId: string): number {
    return this.#buckets.delay(principalId)
  }

  /** Spends the bytes as soon as it is their turn; before it returns, if that is now. */
  async admit(principalId: string, bytes: number): Promise<void> {
    for (let ms = this.delay(principalId); ms > 0; ms = this.delay(principalId)) {
      await new Promise<void>((resolve) => void this.#clock.setTimeout(resolve, ms))
    }
    this.spend(principalId, bytes)
  }

  spend(principalId: string, bytes: number) {
    this.#buckets.spend(principalId, bytes)
  }
}
