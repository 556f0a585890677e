import type { Notifier } from '../connection/notifier'
import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import type { Session } from './session'

/** A replay that repeats old events has reached the cursor by then, ms. */
const STALE_AFTER = 1_000

/**
 * Counts the events that a resume did not ask for. A server may repeat its whole log, and so gets
 * to the cursor; one whose log has started over does not, and what it sends until then is lost.
 */
export class StaleReport {
  readonly #sessions: ReadonlyMap<string, Session>
  readonly #clock: Clock
  readonly #notifier: Notifier
  #timer: unknown

  constructor(sessions: ReadonlyMap<string, Session>, clock: Clock, notifier: Notifier) {
    this.#sessions = sessions
    this.#clock = clock
    this.#notifier = notifier
  }

  count(session: Session, seq: number) {
    const { lowestTold, lastSeq, stale, wantedBy } = session
    if (wantedBy || lowestTold !== lastSeq || stale === 'settled') return
    session.stale = seq === lowestTold ? 'settled' : stale + 1
    this.#timer ??= this.#clock.setTimeout(() => this.#tell(), STALE_AFTER)
  }

  #tell() {
    this.#timer = undefined
    for (const session of this.#sessions.values()) {
      const { sessionId, stale, lowestTold, lastSeq } = session
      if (!stale || stale === 'settled' || lowestTold !== lastSeq) continue
      session.stale = 'settled'
      const why = `${stale} events of session ${sessionId} were older than its cursor ${lastSeq}: a new log needs a new epoch`
      this.#notifier.report(new ConnectionError('stale-events', why))
    }
  }

  rest() {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
