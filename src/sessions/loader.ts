import type { PageTime } from './page'

export interface LoaderParts<Result> {
  readonly time: PageTime
  readonly load: () => Promise<Result>
  /** What it throws is a failure of the load. */
  readonly take: (result: Result) => void
  /** It is tried again after `delay` ms. */
  readonly fail: (cause: unknown, delay: number) => void
}

/** Loads until it succeeds. Only the last load counts. */
export class Loader<Result> {
  readonly #parts: LoaderParts<Result>
  #turn = 0
  #failures = 0
  /** Exists while it waits to try again. */
  #cancel: (() => void) | undefined

  constructor(parts: LoaderParts<Result>) {
    this.#parts = parts
  }

  run() {
    this.stop()
    const turn = this.#turn
    const { load, take, fail, time } = this.#parts
    const isLast = () => turn === this.#turn
    Promise.resolve()
      .then(load)
      .then((result) => {
        if (!isLast()) return
        take(result)
        this.#failures = 0
      })
      .catch((cause) => {
        if (!isLast()) return
        const delay = Math.min(30_000, 1_000 * 2 ** this.#failures++) * (1 - Math.random() / 2)
        this.#cancel = time.later(() => this.run(), delay)
        fail(cause, delay)
      })
  }

  /** Does not wait any longer. */
  hurry() {
    if (this.#cancel) this.run()
  }

  /** The result of what is under way is ignored. */
  stop() {
    this.#turn++
    this.#cancel?.()
    this.#cancel = undefined
  }
}
