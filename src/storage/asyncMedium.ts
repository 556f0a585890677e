import type { AsyncStorageLike, Clock } from '../environment'
import { type Medium, textOf } from './medium'
import { LATE } from './reads'

/** How many entries are written at the same time. */
const MAX_AT_A_TIME = 16

/** The last word about an entry; `text` is null if it is to be deleted. */
interface Job {
  text: string | null
  /** Nothing was stored there before. */
  readonly isFirst: boolean
  readonly done: Promise<boolean>
  readonly settle: (isDone: boolean) => void
}

export interface AsyncMediumOptions {
  readonly storage: AsyncStorageLike
  readonly clock: Clock
  fail(cause: unknown): void
  /** It has not answered a write in time. */
  late(): void
}

/**
 * AsyncStorage, IndexedDB behind its four members. The writes of one entry are serialised; of those
 * that wait only the last one is made.
 */
export class AsyncMedium implements Medium {
  readonly answers = 'later'
  readonly #options: AsyncMediumOptions
  readonly #waiting = new Map<string, Job>()
  readonly #underWay = new Set<string>()
  readonly #thens = new Set<() => void>()
  #timer: unknown

  constructor(options: AsyncMediumOptions) {
    this.#options = options
  }

  async keys() {
    const keys = await this.#attempt(async (storage) => {
      const given: unknown = await storage.getAllKeys()
      if (!Array.isArray(given)) throw 'getAllKeys gave no list'
      return given.map(String)
    })
    return keys ?? []
  }

  get(place: string) {
    return this.#attempt(async (storage) => textOf(await storage.getItem(place)))
  }

  set(place: string, text: string, isFirst = false) {
    return this.#write(place, text, isFirst)
  }

  remove(place: string) {
    return this.#write(place, null, false)
  }

  whenWritten(then: () => void) {
    if (this.#underWay.size) this.#thens.add(then)
    else then()
  }

  #write(place: string, text: string | null, isFirst: boolean): Promise<boolean> {
    const waiting = this.#waiting.get(place)
    if (waiting && text === null && waiting.isFirst) {
      // It was never begun: a storage that hangs must not make a list of what is over.
      this.#waiting.delete(place)
      waiting.settle(true)
      return waiting.done
    }
    if (waiting) {
      waiting.text = text
      return waiting.done
    }
    const job = jobOf(text, isFirst)
    this.#waiting.set(place, job)
    this.#pump()
    return job.done
  }

  #pump() {
    for (const [place, job] of this.#waiting) {
      if (this.#underWay.size >= MAX_AT_A_TIME) break
      if (this.#underWay.has(place)) continue
      this.#waiting.delete(place)
      this.#underWay.add(place)
      void this.#make(place, job)
    }
    this.#watch()
    if (this.#underWay.size) return
    const thens = [...this.#thens]
    this.#thens.clear()
    for (const then of thens) then()
  }

  async #make(place: string, { text, settle }: Job) {
    const isDone = await this.#attempt(async (storage) => {
      if (text === null) await storage.removeItem(place)
      else await storage.setItem(place, text)
      return true
    })
    this.#underWay.delete(place)
    this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    settle(!!isDone)
    this.#pump()
  }

  /** As long as something is under way, something has to be done in time. */
  #watch() {
    const { clock, late } = this.#options
    if (this.#underWay.size) this.#timer ??= clock.setTimeout(late, LATE)
  }

  async #attempt<T>(work: (storage: AsyncStorageLike) => Promise<T>) {
    const { storage, fail } = this.#options
    try {
      return await work(storage)
    } catch (cause) {
      fail(cause)
      return undefined
    }
  }
}

function jobOf(text: string | null, isFirst: boolean): Job {
  let settle: Job['settle'] = () => {}
  const done = new Promise<boolean>((resolve) => {
    settle = resolve
  })
  return { text, isFirst, done, settle }
}
