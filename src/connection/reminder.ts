import type { Clock } from '../environment'

/** ms. */
const DELAY = 5_000

/** Says once that messages wait for a `connect()` that has not come. */
export class Reminder {
  readonly #clock: Clock
  readonly #remind: () => void
  #state: 'unused' | 'waiting' | 'over' = 'unused'
  #timer: unknown

  constructor(clock: Clock, remind: () => void) {
    this.#clock = clock
    this.#remind = remind
  }

  begin() {
    if (this.#state !== 'unused') return
    this.#state = 'waiting'
    this.#timer = this.#clock.setTimeout(() => {
      this.#state = 'unused'
      this.#remind()
    }, DELAY)
  }

  /** `connect()` was called, or never will be. */
  end() {
    this.#state = 'over'
    this.#clock.clearTimeout(this.#timer)
  }
}
