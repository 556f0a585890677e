import type { Message } from './message'

export interface PatienceLimits {
  readonly maxFailures: number
  readonly maxDrops: number
  readonly giveUpAfter: number
}

/**
 * How long a message that fails is tried. It is given up only with proof that the fault is its own: it failed once more after the
 * server had taken another message, or the server has answered other POSTs for `giveUpAfter` of open line. An outage of everything proves
 * nothing.
 */
export class Patience {
  readonly #limits: PatienceLimits
  /** What the server has taken so far, and how many POSTs of any kind it answered with 2xx. */
  #accepted = 0
  #answered = 0
  #openSince: number | undefined
  #openFor = 0
  /** Over `maxFailures`, and waiting for the proof. */
  readonly #exhausted = new Set<Message>()

  constructor(limits: PatienceLimits) {
    this.#limits = limits
  }

  opened(now: number) {
    this.#openSince ??= now
  }

  closed(now: number) {
    this.#openFor = this.#timeOpen(now)
    this.#openSince = undefined
  }

  answered() {
    this.#answered++
  }

  accepted(message: Message) {
    this.#exhausted.delete(message)
    this.#accepted++
    this.#answered++
  }

  posted(message: Message) {
    message.takenBefore = this.#accepted
  }

  forget(message: Message) {
    this.#exhausted.delete(message)
  }

  /** With news of what the server takes, it has one more try: an outage that is over was nobody's fault. */
  isExhausted(message: Message): boolean {
    return this.#exhausted.has(message) && message.takenBefore === this.#accepted
  }

  /** Counts a failure that was the message's own, on a stream that lived. True if it is to be given up. */
  failed(message: Message, now: number, isLastOfLane: boolean): boolean {
    message.drops = 0
    message.failures++
    message.firstFailure ??= { accepted: this.#accepted, answered: this.#answered, openFor: this.#timeOpen(now) }
    if (message.failures < this.#limits.maxFailures) return false
    if (this.#isProven(message)) return true
    this.#exhausted.add(message)
    const { answered, openFor } = message.firstFailure
    const isOverdue = this.#timeOpen(now) - openFor >= this.#limits.giveUpAfter
    return isLastOfLane && isOverdue && this.#answered > answered
  }

  /** Counts an attempt whose stream dropped. True if the message is to be given up. */
  dropped(message: Message): boolean {
    return ++message.drops >= this.#limits.maxDrops
  }

  /** The server had taken another message since the first failure, and before the last try. */
  #isProven({ firstFailure, takenBefore }: Message) {
    return firstFailure !== undefined && takenBefore > firstFailure.accepted
  }

  #timeOpen(now: number) {
    return this.#openFor + Math.max(0, now - (this.#openSince ?? now))
  }
}
