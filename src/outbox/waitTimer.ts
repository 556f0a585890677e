import type { Clock } from '../environment'
import type { Wait } from './lane'
import type { Lanes } from './lanes'

/** The one timer of all waits. */
export class WaitTimer {
  readonly #clock: Clock
  readonly #lanes: Lanes
  readonly #onDue: () => void
  #wait: Wait | undefined
  #timer: unknown

  constructor(clock: Clock, lanes: Lanes, onDue: () => void) {
    this.#clock = clock
    this.#lanes = lanes
    this.#onDue = onDue
  }

  /** Fires at the end of this wait, in place of the one before; without one, never. */
  set(wait?: Wait) {
    if (wait === this.#wait) return
    this.#clock.clearTimeout(this.#timer)
    this.#wait = wait
    if (!wait) return
    const now = this.#clock.now()
    const left = wait.leftAt(now)
    this.#timer = this.#clock.setTimeout(() => {
      this.#wait = undefined
      // The time has passed, whatever the wall clock says: it may have been set back.
      this.#lanes.setBack(Math.max(0, now + left - this.#clock.now()))
      this.#onDue()
    }, left)
  }
}
