import type { Harness } from '../../harness/harness'
import { before } from '../watch'

/** docs/transports.md: a page that is there so long after `beforeunload` stays, ms. */
const STAYS = 1_000

/** Whether the app, or the page, has asked for a stream: then it need not wait. */
export class Causes {
  readonly #now: () => number
  #isAsked = false
  /**
   * The machine slept until then; the page lifecycle notices as soon as a timer has a chance to
   * fire.
   */
  #sleptUntil = Number.NaN
  readonly #wokenAt: number[] = []
  readonly #stayedAt: number[] = []

  constructor({ connection, page, time }: Harness) {
    this.#now = time.clock.now
    const wakes = () => {
      this.ask()
      this.woken()
    }
    before(connection, ['connect', 'reconnect'], () => this.ask())
    before(connection, ['wake'], wakes)
    before(page, ['shows', 'returns', 'comesOnline'], wakes)
    before(page, ['stays'], () => {
      this.#wokenAt.push(this.#now() + STAYS)
      this.#stayedAt.push(this.#now() + STAYS)
    })
    before(time, ['jumps'], (ms: number) => {
      this.#sleptUntil = this.#now() + ms
    })
  }

  ask() {
    this.#isAsked = true
  }

  /** The stream has to prove itself from now on. */
  woken() {
    this.#wokenAt.push(this.#now())
  }

  settled() {
    this.#isAsked = false
  }

  /** `probe`: how long a stream has to prove itself, ms. */
  allowStream(probe: number): boolean {
    const now = this.#now()
    const isProbeOver = this.#wokenAt.some((at) => at + probe === now)
    return this.#isAsked || isProbeOver || this.#sleptUntil === now || this.#stayedAt.includes(now)
  }
}
