import { MAX_BATCH_MESSAGES } from '../protocol'

/** Decides how many messages go in one batch. */
export class BatchSize {
  #most: number | 'refused' = MAX_BATCH_MESSAGES

  get size() {
    return this.#most === 'refused' ? 1 : this.#most
  }

  /** A batch of so many failed as a whole: half of it may pass, and in the end the message that spoils it stands alone. */
  halve(length: number) {
    this.#change(length >> 1)
  }

  grow() {
    this.#change(2 * this.size)
  }

  /** A fresh stream may lead to a server that is quicker. */
  renew() {
    this.#change(MAX_BATCH_MESSAGES)
  }

  /** The server has turned a batch down: from now on messages go one by one. True the first time. */
  refuse(): boolean {
    const isNews = this.#most !== 'refused'
    this.#most = 'refused'
    return isNews
  }

  #change(most: number) {
    if (this.#most !== 'refused') this.#most = Math.min(MAX_BATCH_MESSAGES, Math.max(1, most))
  }
}
