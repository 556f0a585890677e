import { isObject } from '../../protocol'
import { setIdleTimeout } from '../clock'
import { textOf } from '../log/storedEntry'
import type { ServerParts } from '../parts'
import { copyOf } from '../publish'
import type { Coalesce, Produce, RunError } from './api'
import { Outflow } from './outflow'
import { type Source, sourceOf } from './producer'
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

/**
 * How a producer came to its end. `lost`: the run was ended by another hand, or taken from this
 * process.
 */
type Ending =
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly error: RunError }
  | { readonly type: 'suspended'; readonly waitsFor: unknown }
  | { readonly type: 'lost' }

type OwnEnding = Exclude<Ending, { type: 'lost' }>

const LOST: Ending = { type: 'lost' }
const TOO_LARGE: OwnEnding = { type: 'failed', error: 'too-large' }

/** How long it waits before it asks a log again that has failed, ms. */
const FIRST_PAUSE = 100
const MAX_PAUSE = 2_000

/** Events after which others have their turn. */
const BREATH = 64

/** A run that this process has: from its first trace in the log to the last. */
export class LocalRun {
  /**
   * `starting`: it is not known yet whether the log has it. `ending`: its producer is over, and the
   * log is told so.
   */
  state: 'starting' | 'queued' | 'producing' | 'ending' | 'over' = 'starting'
  readonly #options: LocalRunOptions
  readonly #controller = new AbortController()
  readonly #outflow: Outflow
  /** The end that comes from the log and not from the producer. */
  readonly #cutOff: Promise<Ending>
  #cut: (ending: Ending) => void = () => {}
  #batches = 0
  #isTold = false

  constructor(options: LocalRunOptions) {
    this.#options = options
    const { coalesce, parts } = options
    this.#cutOff = new Promise((resolve) => {
      this.#cut = resolve
    })
    this.#outflow = new Outflow({
      coalesce,
      clock: parts.clock,
      maxBytes: parts.limits.eventBytes,
      copy(event) {
        const { copy, json } = copyOf(event, parts.limits.eventBytes)
        if (OWN_TYPES.includes(copy.type)) throw new TypeError(`the type '${copy.type}' is the library's`)
        parts.contract.event(options.sessionId, copy)
        return { copy, json: textOf(copy, json) }
      },
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
    this.#cut(LOST)
    this.#abort('the run has ended')
    this.#close()
  }

  /** It never came into the log. */
  drop() {
    this.state = 'over'
  }

  async #live() {
    const { parts } = this.#options
    const start = parts.clock.now()
    const ending = await this.#produceAll()
    if (ending.type === 'failed') this.#countFailure()
    if (ending.type !== 'lost') {
      this.state = 'ending'
      await this.#persist(() => this.#conclude(ending))
    }
    parts.onMetric({ name: 'run.duration', value: Math.max(0, parts.clock.now() - start) })
    this.#close()
  }

  #countFailure() {
    this.#abort('the run has failed')
    this.#options.parts.onMetric({ name: 'runs.failed', value: 1 })
  }

  #close() {
    if (this.state === 'over') return
    this.state = 'over'
    this.#options.onOver(this)
  }

  #abort(message: string) {
    this.#controller.abort(new DOMException(message, 'AbortError'))
  }

  async #produceAll(): Promise<Ending> {
    const { produce, hold } = this.#options
    const { signal } = this.#controller
    let source: Source | undefined
    const opening = (async () => sourceOf(await produce(signal, hold.id)))()
    // One that opens too late is closed again.
    opening.then(
      (opened) => {
        source = opened
        if (signal.aborted) opened.cancel(signal.reason)
      },
      () => {},
    )
    const ending = await Promise.race([this.#cutOff, this.#pump(opening)])
    if (ending.type !== 'finished') source?.cancel(signal.reason)
    return ending
  }

  async #pump(opening: Promise<Source>): Promise<Ending> {
    let last: Ending = { type: 'finished' }
    try {
      const source = await opening
      for (let count = 1; ; count += 1) {
        const { done, value } = await source.next()
        if (done || this.#controller.signal.aborted) break
        const ending = this.#take(value)
        if (ending) {
          last = ending
          break
        }
        await this.#outflow.room()
        // One that has everything at hand, and a log that answers at once, would keep this process
        // from all else.
        if (count % BREATH === 0) await new Promise((resolve) => setTimeout(resolve, 0))
      }
    } catch (error) {
      last = this.#fail('producer', error)
    }
    // What came before stays, however it ends.
    await this.#outflow.flush()
    return last
  }

  /** The end, if it is one. */
  #take(event: unknown): Ending | undefined {
    try {
      if (!isObject(event)) throw new TypeError('an event must be a JSON object')
      if (event.type === 'run.suspended') {
        const { eventBytes } = this.#options.parts.limits
        const { copy } = copyOf({ type: event.type, waitsFor: event.waitsFor ?? null }, eventBytes)
        return { type: 'suspended', waitsFor: copy.waitsFor }
      }
      this.#outflow.push(event)
      return undefined
    } catch (error) {
      return this.#fail('bad-event', error)
    }
  }

  #fail(error: RunError, cause: unknown): Ending {
    const { parts, hold } = this.#options
    // After an abort it is no news that it failed.
    if (!this.#controller.signal.aborted) {
      const what = error === 'producer' ? 'its producer threw' : 'its producer yielded what is no event'
      parts.onError(new Error(`run ${hold.id} fails: ${what} (${messageOf(cause)})`, { cause }))
    }
    return { type: 'failed', error }
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
    if (outcome === 'full') this.#cut(TOO_LARGE)
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

/** Written by the library alone. */
const OWN_TYPES: readonly string[] = ['run.queued', 'run.started', 'run.suspended', 'run.resumed', 'run.ended']

/** A producer may throw anything, also what has no text. */
function messageOf(cause: unknown): string {
  try {
    return cause instanceof Error ? `${cause.message}` : String(cause)
  } catch {
    return 'something that cannot be told'
  }
}
