import type { Timers } from '../clock'
import { unknownStream } from '../errors'

/**
 * How long what has not begun outlives its client, ms: a client repeats what got no answer within
 * its backoff, and that is capped at 30 s. A repeat finds its place in the line until then.
 */
export const GRACE = 30_000

/** Most waits are over before that, and are not worth a look at the client. ms. */
const SOON = 1_000

/**
 * The client of one request. It is gone when the request was aborted, or its stream has ended, and
 * the grace is over.
 */
export class Presence {
  readonly #signal: () => AbortSignal | undefined
  readonly #onStreamEnd: (listener: () => void) => () => void
  readonly #clock: Timers
  #gone: Promise<void> | undefined
  #timer: unknown
  #unwatch = () => {}

  constructor(signal: () => AbortSignal | undefined, onStreamEnd: (listener: () => void) => () => void, clock: Timers) {
    this.#signal = signal
    this.#onStreamEnd = onStreamEnd
    this.#clock = clock
  }

  get gone(): Promise<void> {
    this.#gone ??= new Promise((resolve) => {
      this.#timer = this.#clock.setTimeout(() => this.#watch(resolve), SOON)
    })
    return this.#gone
  }

  /**
   * Rejects with `Refusal` 404 if the client is gone first: the end of its stream may be all that
   * is known of that.
   */
  async waitFor(reached: Promise<void> | undefined) {
    if (reached) await Promise.race([reached, this.gone.then(() => Promise.reject(unknownStream()))])
  }

  /** The request has its answer. */
  end() {
    this.#clock.clearTimeout(this.#timer)
    this.#unwatch()
  }

  #watch(resolve: () => void) {
    this.#timer = undefined
    const leave = () => {
      this.#timer ??= this.#clock.setTimeout(resolve, GRACE)
    }
    const signal = this.#signal()
    signal?.addEventListener('abort', leave)
    const forget = this.#onStreamEnd(leave)
    this.#unwatch = () => {
      signal?.removeEventListener('abort', leave)
      forget()
    }
    if (signal?.aborted) leave()
  }
}
