import { ConnectionError } from './errors'

type Waiter = readonly [resolve: () => void, reject: (why: unknown) => void]

/** Those who wait for the line to open. */
export class Waiters {
  #waiting: readonly Waiter[] = []

  wait(signal: AbortSignal | undefined): Promise<void> {
    let abort = () => {}
    return new Promise<void>((...own) => {
      this.#waiting = [...this.#waiting, own]
      abort = () => {
        this.#waiting = this.#waiting.filter((other) => other !== own)
        // React Native knows no reasons.
        own[1](signal?.reason ?? new ConnectionError('cancelled', 'the signal was aborted'))
      }
      if (signal?.aborted) abort()
      signal?.addEventListener('abort', abort)
    }).finally(() => signal?.removeEventListener('abort', abort))
  }

  /** It is open, or will not be. */
  settle(error?: ConnectionError) {
    const waiting = this.#waiting
    this.#waiting = []
    for (const [resolve, reject] of waiting) {
      if (error) reject(error)
      else resolve()
    }
  }
}
