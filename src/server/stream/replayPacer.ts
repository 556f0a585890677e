import type { Clock } from '../clock'
import { TokenBuckets } from '../limits/tokenBuckets'

/** How long a principal that was written nothing may save up, ms. */
const SAVED = 1_000
/** To look a session up and to follow it costs about as much as to write so many bytes. */
const SESSION_BYTES = 8_192

/** Limits how fast a principal's streams write replays and resume sessions, in bytes. */
export class ReplayPacer {
  readonly #clock: Pick<Clock, 'now' | 'setTimeout'>
  readonly #buckets: TokenBuckets

  /** @param rate bytes per second */
  constructor(rate: number, clock: Pick<Clock, 'now' | 'setTimeout'>) {
    const perMs = rate / 1_000
    this.#clock = clock
    this.#buckets = new TokenBuckets({ perMs, full: perMs * SAVED, clock })
  }

  /** How long to wait, ms; 0: write. */
  delay(principalId: string): number {
    return this.#buckets.delay(principalId)
  }

  /** Waits until so many sessions may be resumed. */
  async admit(principalId: string, sessions: number): Promise<void> {
    for (let ms = this.delay(principalId); ms > 0; ms = this.delay(principalId)) {
      await new Promise<void>((resolve) => void this.#clock.setTimeout(resolve, ms))
    }
    this.spend(principalId, sessions * SESSION_BYTES)
  }

  spend(principalId: string, bytes: number) {
    this.#buckets.spend(principalId, bytes)
  }
}
