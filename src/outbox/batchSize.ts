import type { ConnectionError } from '../errors'
import { MAX_BATCH_MESSAGES } from '../protocol'
import { meaningOf } from '../protocol/status'

/**
 * Decides how many messages go in one batch.
 *
 * | happens | the next batch has |
 * | --- | --- |
 * | a batch fails as a whole, and one of its messages may be why | half as many |
 * | the server takes a batch, or a message alone | up to twice as many |
 * | a fresh stream opens: it may lead to a server that is quicker | the most that there are in one |
 * | the server turns a batch down | one message, from then on |
 */
export class BatchSize {
  #most: number | 'refused' = MAX_BATCH_MESSAGES

  get size() {
    return this.#most === 'refused' ? 1 : this.#most
  }

  /** Of so many. Half of them may pass, and in the end the one that spoils it stands alone. */
  failed(length: number, { code, status }: ConnectionError) {
    const meaning = meaningOf(status)
    // A login page, a quota, and a batch that came too early are about none of them.
    if (code !== 'redirected' && meaning !== 'early' && meaning !== 'quota') this.#change(length >> 1)
  }

  grow() {
    this.#change(2 * this.size)
  }

  renew() {
    this.#change(MAX_BATCH_MESSAGES)
  }

  /** True the first time. */
  refuse(): boolean {
    const isNews = this.#most !== 'refused'
    this.#most = 'refused'
    return isNews
  }

  #change(most: number) {
    if (this.#most !== 'refused') this.#most = Math.min(MAX_BATCH_MESSAGES, Math.max(1, most))
  }
}
