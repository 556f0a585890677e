import type { ChatStreamOptions } from './api'

/** ms. */
const MOMENT = 100

/** The stream whose pulse it is. */
export interface PulseHost {
  /** When it was written to last, ms since the epoch. */
  readonly lastWrite: number
  ping(): void
  end(): void
}

/**
 * One timer for the pings, the beats and the age of a stream. An age of its own would be a list of
 * its own in Node, as no two are the same.
 */
export class Pulse {
  readonly #options: Pick<ChatStreamOptions, 'clock' | 'heartbeat' | 'beat' | 'onBeat'>
  readonly #host: PulseHost
  /** The part of the stream's age that is left when `#timer` fires, ms. */
  #left: number
  #timer: unknown

  constructor(options: Pick<ChatStreamOptions, 'clock' | 'heartbeat' | 'beat' | 'onBeat' | 'age'>, host: PulseHost) {
    this.#options = options
    this.#host = host
    this.#left = options.age
    this.#sleep(options.heartbeat)
  }

  /** Ends the stream in a moment. */
  retire() {
    this.stop()
    this.#left = Math.min(this.#left, MOMENT)
    this.#sleep(MOMENT)
  }

  stop() {
    this.#options.clock.clearTimeout(this.#timer)
  }

  #sleep(untilPing: number) {
    const { clock, beat } = this.#options
    const ms = Math.min(untilPing, this.#left, beat)
    this.#left -= ms
    this.#timer = clock.setTimeout(this.#awake, ms)
  }

  readonly #awake = () => {
    if (this.#left <= 0) return this.#host.end()
    const { clock, heartbeat, onBeat } = this.#options
    // Not below 0: the clock may have been set back.
    const quiet = Math.max(0, clock.now() - this.#host.lastWrite)
    const isDue = quiet >= heartbeat
    this.#sleep(isDue ? heartbeat : heartbeat - quiet)
    onBeat()
    if (isDue) this.#host.ping()
  }
}
