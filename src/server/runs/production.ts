import { isObject } from '../../protocol'
import type { ServerParts } from '../parts'
import { copyOf } from '../publish'
import type { Coalesce, Produce, RunError } from './api'
import { appEvent } from './appEvent'
import type { Ending } from './ending'
import { Outflow } from './outflow'
import { type Source, sourceOf } from './producer'

export interface ProductionOptions {
  readonly sessionId: string
  readonly run: string
  readonly produce: Produce
  readonly coalesce: Coalesce | undefined
  readonly parts: ServerParts
  /** As in `OutflowOptions`. */
  append(events: readonly string[]): Promise<void>
}

/** Events after which others have their turn. */
const BREATH = 64

/** The work of a producer: from its call to its last event. */
export class Production {
  readonly #options: ProductionOptions
  readonly #controller = new AbortController()
  readonly #outflow: Outflow
  /** The end that comes from the log and not from the producer. */
  readonly #cutOff: Promise<Ending>
  #cut: (ending: Ending) => void = () => {}

  constructor(options: ProductionOptions) {
    this.#options = options
    const { sessionId, coalesce, parts, append } = options
    this.#cutOff = new Promise((resolve) => {
      this.#cut = resolve
    })
    this.#outflow = new Outflow({
      coalesce,
      clock: parts.clock,
      maxBytes: parts.limits.eventBytes,
      copy: (event) => appEvent(parts, sessionId, event),
      append,
    })
  }

  /** Calls the producer. Resolves when all that it said before its end is in the log. */
  async run(): Promise<Ending> {
    const { produce, run } = this.#options
    const { signal } = this.#controller
    let source: Source | undefined
    const opening = (async () => sourceOf(await produce(signal, run)))()
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

  /** It has ended, wherever its producer is. */
  cut(ending: Ending) {
    this.#cut(ending)
  }

  abort(message: string) {
    this.#controller.abort(new DOMException(message, 'AbortError'))
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
    const { parts, run } = this.#options
    // After an abort it is no news that it failed.
    if (!this.#controller.signal.aborted) {
      const what = error === 'producer' ? 'its producer threw' : 'its producer yielded what is no event'
      parts.onError(new Error(`run ${run} fails: ${what} (${messageOf(cause)})`, { cause }))
    }
    return { type: 'failed', error }
  }
}

/** A producer may throw anything, also what has no text. */
function messageOf(cause: unknown): string {
  try {
    return cause instanceof Error ? `${cause.message}` : String(cause)
  } catch {
    return 'something that cannot be told'
  }
}
