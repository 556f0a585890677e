import { unknownStream } from './http'
import type { Timers } from './options'

/**
 * How long what has not begun outlives its client, ms: a client repeats what got no answer within its backoff, and that is capped at
 * 30 s. A repeat finds its place in the line until then.
 */
export const GRACE = 30_000

/** The client of one request. It is gone when the request was aborted, or its stream has ended, and the grace is over. */
export class Presence {
  readonly #signal: () => AbortSignal | undefined
  readonly #onStreamEnd: (listener: () => void) => () => void
  readonly #clock: Timers
  #gone: Promise<void> | undefined
  #unwatch = () => {}

  constructor(signal: () => AbortSignal | undefined, onStreamEnd: (listener: () => void) => () => void, clock: Timers) {
    this.#signal = signal
    this.#onStreamEnd = onStreamEnd
    this.#clock = clock
  }

  /** Watched for from the first question on: most requests never wait. */
  get gone(): Promise<void> {
    this.#gone ??= new Promise((resolve) => this.#watch(resolve))
    return this.#gone
  }

  /** Rejects with `Refusal` 404 if the client is gone first: the end of its stream may be all that is known of that. */
  async waitFor(reached: Promise<void> | undefined) {
    if (reached) await Promise.race([reached, this.gone.then(() => Promise.reject(unknownStream()))])
  }

  /** The request has its answer. */
  end() {
    this.#unwatch()
  }

  #watch(resolve: () => void) {
    let timer: unknown
    const leave = () => {
      timer ??= this.#clock.setTimeout(resolve, GRACE)
    }
    const signal = this.#signal()
    signal?.addEventListener('abort', leave)
    const forget = this.#onStreamEnd(leave)
    this.#unwatch = () => {
      this.#clock.clearTimeout(timer)
      signal?.removeEventListener('abort', leave)
      forget()
    }
    if (signal?.aborted) leave()
  }
}
