import type { Connection } from '../connection/api'
import type { Delivery, OutboundMessage, Verdict } from '../connection/messages'
import { isShort, type JsonObject } from '../protocol'

export type Failure = Exclude<Verdict, { readonly status: 'accepted' }>

/** What becomes of the messages of a line, those that the last page left included. */
export class Deliveries {
  readonly #connection: Connection
  readonly #fail: (failure: Failure, message: OutboundMessage) => void
  /**
   * What is waited for: the verdict, and the session that the receipt names, unless that was
   * cleared meanwhile.
   */
  readonly #followed = new Map<Delivery, 'both' | 'verdict'>()

  constructor(connection: Connection, fail: (failure: Failure, message: OutboundMessage) => void) {
    this.#connection = connection
    this.#fail = fail
    // What the last page left is here by now, or comes later.
    connection.on('delivery', () => connection.pending.forEach(this.follow, this))
  }

  follow(delivery: Delivery) {
    if (this.#followed.has(delivery)) return
    this.#followed.set(delivery, 'both')
    void delivery.settled.then((verdict) => {
      const wanted = this.#followed.get(delivery)
      this.#followed.delete(delivery)
      const { message } = delivery
      if (verdict.status !== 'accepted') this.#fail(verdict, message)
      else if (wanted === 'both' && message.type === 'send') this.#watch(verdict.receipt)
    })
  }

  /** The app has left the session. */
  clear(sessionId: string) {
    for (const delivery of this.#followed.keys())
      if (delivery.message.sessionId === sessionId) this.#followed.set(delivery, 'verdict')
  }

  #watch(receipt: unknown) {
    const { sessionId }: JsonObject = Object(receipt)
    if (isShort(sessionId) && sessionId && !this.#connection.cursor(sessionId)) this.#connection.watch(sessionId)
  }
}
