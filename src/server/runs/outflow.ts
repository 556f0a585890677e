import type { Clock } from '../clock'
import type { SessionEvent } from '../log/sessionLog'
import type { Coalesce } from './api'

export interface OutflowOptions {
  readonly coalesce: Coalesce | undefined
  readonly clock: Clock
  /** The size of an event as JSON. */
  readonly maxBytes: number
  /** The event as it is appended. @throws TypeError if it is none */
  copy(event: object): { readonly copy: SessionEvent; readonly json: string }
  /** Appends them, whatever it takes. Rejects when no more can be appended. */
  append(events: readonly string[]): Promise<void>
}

interface Piece {
  readonly copy: SessionEvent
  readonly json: string
}

/** Events and characters of one append, and at the same time of what waits for the next one. */
const MAX_EVENTS = 64
const MAX_CHARS = 262_144
/** An event that is longer is not joined with others. Characters. */
const MAX_JOINED = 16_384
const DELAY = 25

/**
 * The events of a run on their way to the log: one append at a time, with whatever came up since
 * the last one.
 */
export class Outflow {
  readonly #options: OutflowOptions
  readonly #delay: number
  readonly #maxJoined: number
  #pieces: Piece[] = []
  #chars = 0
  #flow: Promise<void> | undefined
  #lastAt = Number.NEGATIVE_INFINITY
  #pace: 'gathering' | 'hurrying' = 'gathering'
  /** Ends the pause between two appends. */
  #hurry = () => {}
  #roomFor: (() => void)[] = []

  constructor(options: OutflowOptions) {
    this.#options = options
    this.#delay = options.coalesce ? (options.coalesce.delay ?? DELAY) : 0
    // A character takes three bytes at most.
    this.#maxJoined = Math.min(MAX_JOINED, options.maxBytes / 3)
  }

  /** @throws TypeError if it is no event */
  push(event: object) {
    const piece = this.#options.copy(event)
    const last = this.#pieces.at(-1)
    const joined = last && this.#join(last, piece)
    if (joined) {
      this.#pieces[this.#pieces.length - 1] = joined
      this.#chars += joined.json.length - last.json.length
    } else {
      this.#pieces.push(piece)
      this.#chars += piece.json.length
    }
    this.#start()
  }

  /** Resolves when the next event may come; never, if none may come any more. */
  async room(): Promise<void> {
    if (!this.#isFull()) return
    this.#hurry()
    await new Promise<void>((resolve) => this.#roomFor.push(resolve))
  }

  /** Resolves when all is in the log; rejects if that cannot be any more. */
  async flush(): Promise<void> {
    this.#pace = 'hurrying'
    this.#hurry()
    await this.#flow
  }

  #join(last: Piece, next: Piece): Piece | undefined {
    const { coalesce, copy } = this.#options
    if (!coalesce || last.json.length + next.json.length > this.#maxJoined) return undefined
    const joined = coalesce.join(last.copy, next.copy)
    return joined && copy(joined)
  }

  #isFull() {
    return this.#pieces.length >= MAX_EVENTS || this.#chars >= MAX_CHARS
  }

  #start() {
    if (this.#flow) return
    this.#flow = this.#run()
    // Whoever flushes hears of it.
    this.#flow.catch(() => {})
  }

  async #run() {
    const { clock, append } = this.#options
    while (this.#pieces.length > 0) {
      // The clock may have been set back.
      const wait = Math.min(this.#delay, this.#lastAt + this.#delay - clock.now())
      if (wait > 0 && this.#pace === 'gathering' && !this.#isFull()) await this.#pause(wait)
      this.#lastAt = clock.now()
      await append(this.#take())
    }
    this.#flow = undefined
  }

  #pause(ms: number): Promise<void> {
    const { clock } = this.#options
    return new Promise((resolve) => {
      const timer = clock.setTimeout(resolve, ms)
      this.#hurry = () => {
        clock.clearTimeout(timer)
        resolve()
      }
    })
  }

  #take(): readonly string[] {
    let chars = 0
    const end = this.#pieces.findIndex(({ json }, index) => {
      chars += json.length
      return index >= MAX_EVENTS || (index > 0 && chars > MAX_CHARS)
    })
    const taken = this.#pieces.splice(0, end < 0 ? this.#pieces.length : end).map(({ json }) => json)
    this.#chars -= taken.reduce((sum, json) => sum + json.length, 0)
    if (!this.#isFull()) for (const tell of this.#roomFor.splice(0)) tell()
    return taken
  }
}
