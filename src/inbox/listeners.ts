import type { Notifier } from '../connection/notifier'
import type { JsonObject } from '../protocol'
import type { Check } from '../protocol/define/types'

export type MessageListener = (message: JsonObject) => unknown

export interface Subscription {
  /** Null once it has unsubscribed. */
  listener: MessageListener | null
  /** Undefined: of every message. */
  readonly session: string | undefined
}

const NONE: readonly Subscription[] = []

/** The app's listeners for messages. One that throws harms neither the others nor the line. */
export class Listeners {
  readonly #notifier: Notifier
  readonly #check: Check | undefined
  #all = NONE

  constructor(notifier: Notifier, check: Check | undefined) {
    this.#notifier = notifier
    this.#check = check
  }

  add(listener: MessageListener, session: string | undefined): () => void {
    const own: Subscription = { listener, session }
    this.#all = [...this.#all, own]
    return () => {
      own.listener = null
      this.#all = this.#all.filter((other) => other !== own)
    }
  }

  /** Returns the listeners that threw. One that does not fit the protocol is offered to none. */
  offer(given: JsonObject, to = this.#all): readonly Subscription[] {
    let failed = NONE
    const message = (this.#check ? this.#check('down', given, this.#notifier.report) : given) as JsonObject
    for (const subscription of message ? to : NONE) {
      const { listener, session } = subscription
      // Another one may have unsubscribed it.
      if (!listener || (session !== undefined && session !== message.sessionId)) continue
      if (!this.#notifier.call('message', listener, message)) failed = [...failed, subscription]
    }
    return failed
  }
}
