import { beginOf, statusOf } from './modes'
import type { PageTime } from './page'
import type { SessionOptions, SessionView } from './types'

/** Before anything was done. */
export const viewOf = <State>(options: SessionOptions<State, never>): SessionView<State> => ({
  state: options.initial,
  status: statusOf(beginOf(options)),
  error: null,
})

/** Those who look at a session, and what they see: a new view at most once per frame. */
export class Audience {
  view: SessionView<unknown>
  readonly #time: PageTime
  readonly #users = new Set<() => void>()
  #next: SessionView<unknown>
  #frame: 'none' | 'asked' = 'none'
  #ready: { readonly promise: Promise<void>; readonly wake: () => void } | undefined

  constructor(view: SessionView<unknown>, time: PageTime) {
    this.view = view
    this.#next = view
    this.#time = time
  }

  get size(): number {
    return this.#users.size
  }

  /** Returns the function that leaves: false for one that has left. */
  add(user: () => void): () => boolean {
    const own = () => user()
    this.#users.add(own)
    return () => this.#users.delete(own)
  }

  show(next: SessionView<unknown>) {
    this.#next = next
    if (this.#frame === 'asked' || isSame(next, this.view)) return
    this.#frame = 'asked'
    this.#time.frame(() => {
      this.#frame = 'none'
      if (isSame(this.#next, this.view)) return
      this.view = this.#next
      if (!isBlank(this.view)) this.#ready?.wake()
      for (const user of [...this.#users]) user()
    })
  }

  /** Resolves when there is something to show, or `load` has failed. */
  get ready(): Promise<void> {
    if (!isBlank(this.view)) return Promise.resolve()
    if (!this.#ready) {
      let wake = () => {}
      const promise = new Promise<void>((resolve) => {
        wake = resolve
      })
      this.#ready = { promise, wake }
    }
    return this.#ready.promise
  }
}

const isBlank = ({ status, error }: SessionView<unknown>) => status === 'loading' && error === null

const isSame = (one: SessionView<unknown>, other: SessionView<unknown>) =>
  one.state === other.state && one.status === other.status && one.error === other.error
