import { setIdleTimeout } from '../clock'
import type { ServerParts } from '../parts'
import type { Coalesce, Produce } from './api'
import { LOST, type OwnEnding, TOO_LARGE } from './ending'
import { Production } from './production'
import { end, type Hold, runningOf, wait } from './record'
import type { RunStore } from './store'

export interface LocalRunOptions {
  readonly sessionId: string
  readonly hold: Hold
  readonly produce: Produce
  readonly coalesce: Coalesce | undefined
  readonly suspendAge: number
  readonly store: RunStore
  readonly parts: ServerParts
  /** This process has nothing to do with the run any more. */
  onOver(run: LocalRun): void
}

/** How long it waits before it asks a log again that has failed, ms. */
const FIRST_PAUSE = 100
const MAX_PAUSE = 2_000

/** A run that this process has: from its first trace in the log to the last. */
export class LocalRun {
  /**
   * `starting`: it is not known yet whether the log has it. `ending`: its producer is over, and the
   * log is told so.
   */
  state: 'starting' | 'queued' | 'producing' | 'ending' | 'over' = 'starting'
  readonly #options: LocalRunOptions
  readonly #production: Production
  #batches = 0
  #isTold = false

  constructor(options: LocalRunOptions) {
    this.#options = options
    const { sessionId, hold, produce, coalesce, parts } = options
    this.#production = new Production({
      sessionId,
      run: hold.id,
      produce,
      coalesce,
      parts,
      append: (events) => this.#append(events),
    })
  }

  get sessionId() {
    return this.#options.sessionId
  }

  get token() {
    return this.#options.hold.token
  }

  /** The log says that it is its turn. */
  begin() {
    if (this.state !== 'starting' && this.state !== 'queued') return
    this.state = 'producing'
    void this.#live()
  }

  /** The log says that its token is none any more. */
  lose() {
    if (this.state === 'over') return
    this.#production.cut(LOST)
    this.#production.abort('the run has ended')
    this.#close()
  }

  /** It never came into the log. */
  drop() {
    this.state = 'over'
  }

  async #live() {
    const { parts } = this.#options
    const start = parts.clock.now()
    const ending = await this.#production.run()
    if (ending.type === 'failed') this.#countFailure()
    if (ending.type !== 'lost') {
      this.state = 'ending'
      await this.#persist(() => this.#conclude(ending))
    }
    parts.onMetric({ name: 'run.duration', value: Math.max(0, parts.clock.now() - start) })
    this.#close()
  }

  #countFailure() {
    this.#production.abort('the run has failed')
    this.#options.parts.onMetric({ name: 'runs.failed', value: 1 })
  }

  #close() {
    if (this.state === 'over') return
    this.state = 'over'
    this.#options.onOver(this)
  }

  /** Rejects when nothing can be appended any more, and tells the run why. */
  async #append(events: readonly string[]) {
    const { store, sessionId } = this.#options
    this.#batches += 1
    const batch = { token: this.token, number: this.#batches, events }
    const outcome = await this.#persist(() => store.append(sessionId, batch))
    if (outcome === 'appended') return
    // As many as there is room for.
    if (outcome === 'full' && events.length > 1) for (const event of events) await this.#append([event])
    if (outcome === 'full') this.#production.cut(TOO_LARGE)
    else this.lose()
    throw new Error('the log takes no more events of this run')
  }

  async #conclude(ending: OwnEnding) {
    try {
      await this.#write(ending)
    } catch (error) {
      // The log cannot hold what the run waits for, however often it is asked.
      if (ending.type !== 'suspended' || !(error instanceof TypeError)) throw error
      this.#options.parts.onError(error)
      this.#countFailure()
      await this.#write(TOO_LARGE)
    }
  }

  /** The first end is the end: another hand may have been faster. */
  async #write(ending: OwnEnding) {
    const { store, sessionId, suspendAge } = this.#options
    await store.change({
      sessionId,
      decide: ({ record, page }) => {
        const own = runningOf(record)
        if (own?.token !== this.token) return { value: undefined }
        if (ending.type === 'suspended')
          return { step: wait(record, own, ending.waitsFor, page.now + suspendAge), value: undefined }
        const error = ending.type === 'failed' ? ending.error : undefined
        return { step: end(record, own.id, ending.type, error), value: undefined }
      },
    })
  }

  /** Asks until the log answers, or the run is lost: nothing of it may be left out. */
  async #persist<R>(ask: () => Promise<R>): Promise<R | 'lost'> {
    const { clock, onError } = this.#options.parts
    for (let pause = FIRST_PAUSE; this.state !== 'over'; pause = Math.min(2 * pause, MAX_PAUSE)) {
      try {
        const result = await ask()
        this.#isTold = false
        return result
      } catch (error) {
        if (!this.#isTold) onError(error)
        this.#isTold = true
        // After the log was closed this goes on for ever.
        await new Promise<void>((resolve) => setIdleTimeout(clock, resolve, pause))
      }
    }
    return 'lost'
  }
}
