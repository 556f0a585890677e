import { MAX_BATCH_MESSAGES } from '../protocol'

/** How many messages go in one batch. */
export class BatchSize {
  #state: { readonly name: 'allowed'; readonly size: number } | { readonly name: 'refused' } = FULL

  get size() {
    return this.#state.name === 'allowed' ? this.#state.size : 1
  }

  /** A batch of so many failed as a whole: half of it may pass, and in the end the message that spoils it stands alone. */
  halve(length: number) {
    this.#change(() => length >> 1)
  }

  grow() {
    this.#change((size) => 2 * size)
  }

  /** A fresh stream may lead to a server that is quicker. */
  renew() {
    this.#change(() => MAX_BATCH_MESSAGES)
  }

  /** The server has turned a batch down: from now on messages go one by one. True the first time. */
  refuse(): boolean {
    const isNews = this.#state.name === 'allowed'
    this.#state = { name: 'refused' }
    return isNews
  }

  #change(next: (size: number) => number) {
    if (this.#state.name === 'refused') return
    this.#state = { name: 'allowed', size: Math.min(MAX_BATCH_MESSAGES, Math.max(1, next(this.#state.size))) }
  }
}

const FULL = { name: 'allowed', size: MAX_BATCH_MESSAGES } as const
