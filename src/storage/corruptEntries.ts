import type { Clock } from '../environment'
import { ConnectionError } from '../errors'
import type { Medium } from './medium'
import { type Soon, soon } from './soon'

/**
 * It may hold prompts: how many lines are kept, of how many characters each, and for how long, ms.
 */
const MAX_LINES = 32
const MAX_LINE = 2_000
const ASIDE_FOR = 604_800_000

/** An entry that is not what was stored. */
export type CorruptEntry = readonly [place: string, text: string]

export interface CorruptEntriesOptions {
  readonly medium: Medium
  readonly clock: Clock
  readonly key: string
  tell(error: ConnectionError): void
}

/** Where corrupt entries are set aside: `<key>.corrupt`. */
export class CorruptEntries {
  readonly #options: CorruptEntriesOptions
  readonly #place: string
  /** One change after the other: each reads what the last one has written. */
  #changed: Soon<unknown> = true
  #clears = 0

  constructor(options: CorruptEntriesOptions) {
    this.#options = options
    this.#place = `${options.key}.corrupt`
    this.#change([])
  }

  setAside(entries: readonly CorruptEntry[]) {
    if (!entries.length) return
    const { clock, medium, tell } = this.#options
    for (const [place] of entries) {
      tell(new ConnectionError('storage-corrupt', `${place.slice(0, MAX_LINE)}: moved to ${this.#place}`))
    }
    const lines = entries.map((entry) => JSON.stringify([clock.now(), ...entry]).slice(0, MAX_LINE))
    soon(this.#change(lines), (isDone) => {
      if (isDone) for (const [place] of entries) void medium.remove(place)
    })
  }

  clear() {
    this.#clears++
    void this.#options.medium.remove(this.#place)
  }

  /** Adds lines, and takes away what is too old or too much. */
  #change(lines: readonly string[]): Soon<boolean> {
    const clears = this.#clears
    const { medium } = this.#options
    const change = soon(this.#changed, () =>
      soon(medium.get(this.#place), (text) => {
        // Cleared meanwhile: nothing of it is kept.
        if (clears !== this.#clears) return true
        return text === undefined ? false : this.#write(text?.split('\n') ?? [], lines)
      }),
    )
    this.#changed = change
    return change
  }

  #write(before: readonly string[], more: readonly string[]): Soon<boolean> {
    const { clock, medium } = this.#options
    const isFresh = (line: string) => clock.now() - Number.parseFloat(line.slice(1)) < ASIDE_FOR
    const fresh = before.filter(isFresh)
    if (!more.length && fresh.length === before.length) return true
    const lines = [...fresh, ...more].slice(-MAX_LINES)
    return lines.length ? medium.set(this.#place, lines.join('\n')) : medium.remove(this.#place)
  }
}
