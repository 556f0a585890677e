import type { Clock } from '../clock'

export interface SaverOptions {
  save(sessionId: string): Promise<unknown>
  readonly clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>
  onError(error: unknown): void
}

/** How long an event waits to be saved at most, but for the time that saving takes, ms. */
const DELAY = 1_000
/** Sessions that are saved at the same time. */
const CONCURRENCY = 8

/** Saves sessions that have something new, one round a second. */
export class Saver {
  readonly #options: SaverOptions
  readonly #unsaved = new Set<string>()
  #timer: unknown
  /** The round that is under way, or the last one. */
  #round: Promise<unknown> = Promise.resolve()
  #state: 'idle' | 'waiting' | 'saving' | 'closed' = 'idle'
  #isTold = false

  constructor(options: SaverOptions) {
    this.#options = options
  }

  note(sessionId: string) {
    this.#unsaved.add(sessionId)
    if (this.#state === 'idle') this.#wait()
  }

  /** Never rejects: what cannot be saved is told. */
  async close() {
    this.#state = 'closed'
    this.#options.clock.clearTimeout(this.#timer)
    await this.#round
    await this.#saveAll()
  }

  #wait() {
    this.#state = 'waiting'
    this.#timer = this.#options.clock.setTimeout(() => void this.#begin(), DELAY)
  }

  async #begin() {
    this.#state = 'saving'
    this.#round = this.#saveAll()
    await this.#round
    if (this.#state !== 'saving') return
    this.#state = 'idle'
    if (this.#unsaved.size > 0) this.#wait()
  }

  async #saveAll() {
    const waiting = [...this.#unsaved]
    // Before they are read, so that an event that comes meanwhile is not forgotten.
    this.#unsaved.clear()
    let failure: { readonly error: unknown } | undefined
    const work = async () => {
      for (let sessionId = waiting.pop(); sessionId !== undefined; sessionId = waiting.pop()) {
        const id = sessionId
        await this.#options.save(id).catch((error: unknown) => {
          failure = { error }
          this.#unsaved.add(id)
        })
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
    this.#tell(failure)
  }

  #tell(failure: { readonly error: unknown } | undefined) {
    if (failure && !this.#isTold)
      this.#options.onError(
        new Error('transcripts: a session could not be saved; it is tried again every second', {
          cause: failure.error,
        }),
      )
    this.#isTold = failure !== undefined
  }
}
