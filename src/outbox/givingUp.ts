import type { Message } from './message'

export interface GivingUpLimits {
  readonly maxFailures: number
  readonly maxDrops: number
  readonly giveUpAfter: number
}

/**
 * Decides when a message is given up: after `maxDrops` attempts in a row whose stream dropped; or
 * after `maxFailures` failures, once there is proof that it is the message that fails, and not the
 * server. There are two proofs:
 *
 * - The server has taken another message since the first failure of this one, and this one was
 *   posted again after that, and failed.
 * - No other message of its lane can be tried in its place, the line has been open for
 *   `giveUpAfter` since the first failure, and the server has answered a POST with 2xx meanwhile.
 *
 * A server that takes nothing at all proves nothing: no message is given up in an outage, however
 * long.
 */
export class GivingUp {
  readonly #limits: GivingUpLimits
  /**
   * How many messages the server has taken so far, and how many POSTs of any kind it answered with
   * 2xx.
   */
  #accepted = 0
  #answered = 0
  /** How long the line was open before it opened last, and the time that this counts from, ms. */
  #openFor = 0
  #openSince = 0

  constructor(limits: GivingUpLimits) {
    this.#limits = limits
  }

  opened(now: number) {
    this.#openSince = now - this.#openFor
  }

  closed(now: number) {
    this.#openFor = this.#timeOpen(now)
  }

  answered() {
    this.#answered++
  }

  accepted() {
    this.#accepted++
    this.#answered++
  }

  posted(message: Message) {
    message.takenBefore = this.#accepted
  }

  /**
   * It has failed `maxFailures` times, and the server has taken nothing else since its last
   * attempt. Once the server has, the message is tried once more: those failures may have been the
   * server's.
   */
  isExhausted({ failures, takenBefore }: Message): boolean {
    return failures >= this.#limits.maxFailures && takenBefore === this.#accepted
  }

  /**
   * Counts a failure that was the message's own, on a stream that lived. True if it is to be given
   * up.
   */
  failed(message: Message, now: number, isLastOfLane: boolean): boolean {
    const { maxFailures, giveUpAfter } = this.#limits
    message.drops = 0
    message.failures++
    message.firstFailure ??= { accepted: this.#accepted, answered: this.#answered, openFor: this.#timeOpen(now) }
    if (message.failures < maxFailures) return false
    const { accepted, answered, openFor } = message.firstFailure
    const isAtFault = message.takenBefore > accepted
    const isOverdue = isLastOfLane && this.#timeOpen(now) - openFor >= giveUpAfter && this.#answered > answered
    return isAtFault || isOverdue
  }

  /** Counts an attempt whose stream dropped. True if the message is to be given up. */
  dropped(message: Message): boolean {
    return ++message.drops >= this.#limits.maxDrops
  }

  #timeOpen(now: number) {
    // The clock may be set back.
    return Math.max(this.#openFor, now - this.#openSince)
  }
}
