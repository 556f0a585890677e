import type { Clock } from '../environment'
import type { Session } from './session'

/** How often the sessions are asked whether they had an event since the last time, ms. */
const ASK_EVERY = 900_000
/**
 * Asked later than it should be by more than this, the device has slept, and has not heard what
 * happened, ms.
 */
const SLEPT = 60_000

/** Finds the sessions that the app has not asked for, and whose last event is old. */
export class Quiet {
  readonly #sessions: ReadonlyMap<string, Session>
  readonly #clock: Clock
  readonly #found: (sessionIds: readonly string[]) => void
  #timer: unknown

  constructor(sessions: ReadonlyMap<string, Session>, clock: Clock, found: (sessionIds: readonly string[]) => void) {
    this.#sessions = sessions
    this.#clock = clock
    this.#found = found
  }

  /** There is such a session. */
  watch() {
    const due = this.#clock.now() + ASK_EVERY
    this.#timer ??= this.#clock.setTimeout(() => this.#ask(due), ASK_EVERY)
  }

  #ask(due: number) {
    this.#timer = undefined
    const asked = [...this.#sessions.values()].filter(({ openedBy }) => openedBy === 'server')
    const quiet = asked.filter((session) => session.look())
    if (asked.length) this.watch()
    if (this.#clock.now() < due + SLEPT) this.#found(quiet.map(({ sessionId }) => sessionId))
  }

  rest() {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
