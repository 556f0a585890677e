import type { StreamHandlers } from '../adapters/eventSource'
import type { Carrier } from '../adapters/transport'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import { isLater, type Soon } from './soon'

/** How long the line waits for a storage, ms. */
export const LATE = 2_000

/** The reads of a storage that answers later, and the stream that waits for the first of them. */
export class Reads {
  readonly #clock: Clock
  readonly #late: () => void
  readonly #timers = new Set<unknown>()
  /**
   * The reads that have to end before a stream opens. Once they have, no later read holds up a
   * stream.
   */
  readonly #first = new Set<object>()
  #stage: 'first' | 'later' = 'first'
  readonly #streams = new Set<() => void>()

  constructor(clock: Clock, late: () => void) {
    this.#clock = clock
    this.#late = late
  }

  /**
   * Where the answer is not there in time, that is reported, and `goOn` called. The answer is used
   * all the same.
   */
  within<T>(value: Soon<T>, goOn: () => void): Soon<T> {
    if (!isLater(value)) return value
    const timer = this.#clock.setTimeout(() => {
      this.#timers.delete(timer)
      this.#late()
      goOn()
    }, LATE)
    this.#timers.add(timer)
    return value.then((answer) => {
      this.#clock.clearTimeout(timer)
      this.#timers.delete(timer)
      return answer
    })
  }

  /** Returns what ends the read for those who wait. */
  begin(): () => void {
    if (this.#stage === 'later') return () => {}
    const read = {}
    this.#first.add(read)
    return () => {
      if (!this.#first.delete(read) || this.#first.size) return
      this.#stage = 'later'
      for (const open of this.#streams) open()
      this.#streams.clear()
    }
  }

  /** The same carrier; its streams wait for the first read. */
  gate(carrier: Carrier): Carrier {
    return {
      open: (handlers) => this.#open(carrier, handlers),
      post: (...request) => carrier.post(...request),
      beacon: (...request) => carrier.beacon(...request),
      check: () => carrier.check?.(),
      maxInFlight: (features) => carrier.maxInFlight?.(features) ?? 1,
    }
  }

  #open(carrier: Carrier, handlers: StreamHandlers): () => void {
    if (!this.#first.size) return carrier.open(handlers)
    let stream: 'wanted' | 'closed' = 'wanted'
    let close = () => {}
    const open = () => {
      try {
        close = carrier.open(handlers)
      } catch (cause) {
        handlers.error(
          new ConnectionError('internal', `the transport threw while it opened a stream: ${cause}`, {
            cause,
            retryable: true,
          }),
        )
      }
      // It has failed while it was opened.
      if (stream === 'closed') close()
    }
    this.#streams.add(open)
    return () => {
      stream = 'closed'
      this.#streams.delete(open)
      close()
    }
  }

  /** Nothing is waited for any more. */
  end() {
    for (const timer of this.#timers) this.#clock.clearTimeout(timer)
    this.#timers.clear()
  }
}
