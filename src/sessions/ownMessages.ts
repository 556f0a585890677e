import type { Connection } from '../connection/api'
import type { Delivery, OfType, OutboundMessage, SendOptions, Typed } from '../connection/messages'
import { partsOf } from '../connection/publicConnection'
import { counted, leftUntil, type Store } from './counted'
import { type DeliveryView, kept, onDeliveries, viewOf } from './deliveries'

/** A message of one's own, as it is now. Immutable; the same reference until something changes. */
export interface OwnMessage<Outbound = unknown> extends DeliveryView<Outbound> {
  /** ms until it is tried again, whole seconds, counted down; null where it need not wait. */
  readonly retryIn: number | null
  /** Shows it no more. It is not taken back: that is `cancel`. */
  dismiss(): void
  /**
   * Sends it again, if it was `rejected` or is `unknown`: the latter under its id, so that a server
   * with `idempotency` applies it once. A lane or an age of its own has to be given again.
   */
  repeat(options?: Omit<SendOptions, 'id'>): void
}

/**
 * Which messages the transcript has: its entries, of which those have the `id` of a message that
 * stand for it, or a function.
 */
export type Shown<Outbound = unknown> =
  | readonly { readonly id?: unknown }[]
  | ((message: OwnMessage<Outbound>) => boolean)

export interface OwnOptions<Outbound extends Typed = OutboundMessage, Type extends string = string> {
  readonly shown: Shown<OfType<Outbound, Type>>
  /** The `type` of the messages. Default: `send`. */
  readonly type?: Type | undefined
}

const NONE: readonly OwnMessage[] = []

/**
 * Messages from `send` until somebody has seen them in a transcript. `connection.pending` loses one
 * between its receipt and its event, and all that ended badly.
 */
export class OwnMessages {
  readonly #connection: Connection
  readonly #most: number
  /** In the order of sending. */
  readonly #all = new Map<string, Delivery>()
  readonly #met = new WeakSet<Delivery>()
  readonly #views = new WeakMap<object, OwnMessage>()
  /** Those that somebody shows: of others an accepted message is needed no more. */
  readonly #types = new Set<unknown>()
  readonly #listeners = new Set<() => void>()

  constructor(connection: Connection) {
    const { notifier, settings } = partsOf(connection)
    this.#connection = connection
    this.#most = settings.outbox.maxMessages
    notifier.on('handle', (delivery) => this.#meet(delivery as Delivery))
    for (const delivery of connection.pending) this.#meet(delivery)
  }

  /** Those of a session and a type, oldest first; of no session, none. */
  store(session: string | null, type: string): Store<readonly OwnMessage[]> {
    let last = NONE
    return counted(this.#connection, {
      on: (changed) => {
        this.#types.add(type)
        this.#listeners.add(changed)
        const end = onDeliveries(this.#connection, changed)
        return () => {
          this.#listeners.delete(changed)
          end()
        }
      },
      read: (now) => {
        const own = [...this.#all.values()].filter(
          ({ message }) => session !== null && message.sessionId === session && message.type === type,
        )
        last = kept(
          last,
          own.map((delivery) => this.#view(delivery, now)),
        )
        return last
      },
      times: (views) => views.map(({ retryAt }) => retryAt),
    })
  }

  /** They are in a transcript: those with a verdict are needed no more. */
  seen(messages: readonly { readonly id: string }[]) {
    for (const { id } of messages) {
      const delivery = this.#all.get(id)
      if (delivery && isOver(delivery)) this.#drop(delivery)
    }
  }

  #meet(delivery: Delivery) {
    const { id, message, status } = delivery
    if (!this.#met.has(delivery)) this.#all.set(id, delivery)
    this.#met.add(delivery)
    if (status === 'accepted' && !this.#types.has(message.type)) this.#drop(delivery)
    if (this.#all.size <= this.#most) return
    const [oldest, ...over] = [...this.#all.values()].filter(isOver)
    if (oldest && over.length >= this.#most) this.#drop(oldest)
  }

  #view(delivery: Delivery, now: number): OwnMessage {
    const view = viewOf(delivery)
    const { retryAt } = view
    const retryIn = retryAt === null ? null : leftUntil(retryAt, now)
    const old = this.#views.get(view)
    if (old?.retryIn === retryIn) return old
    const own = {
      ...view,
      retryIn,
      dismiss: () => this.#drop(delivery),
      repeat: (options?: SendOptions) => this.#repeat(delivery, options),
    }
    this.#views.set(view, own)
    return own
  }

  #repeat(delivery: Delivery, options?: SendOptions) {
    const { id, message, status } = delivery
    // Not twice.
    if (status === 'accepted' || !isOver(delivery) || !this.#drop(delivery)) return
    this.#connection.send(message, { ...options, id: status === 'unknown' ? id : undefined })
  }

  /** Returns whether it was there. */
  #drop(delivery: Delivery): boolean {
    const { id } = delivery
    const isThere = this.#all.get(id) === delivery && this.#all.delete(id)
    if (isThere) for (const listener of [...this.#listeners]) listener()
    return isThere
  }
}

const isOver = ({ status }: Delivery) => status !== 'queued' && status !== 'sending'

const known = new WeakMap<object, OwnMessages>()

/** One for all who use a connection, from the time on that somebody holds its line. */
export function ownMessagesOf(connection: unknown): OwnMessages {
  const found = known.get(connection as object) ?? new OwnMessages(connection as Connection)
  known.set(connection as object, found)
  return found
}

/** Whether the transcript has a message. */
export function shownBy(shown: Shown<never>): (message: OwnMessage) => boolean {
  if (typeof shown === 'function') return shown as (message: OwnMessage) => boolean
  const ids = new Set(shown.map(({ id }) => id))
  return ({ id }) => ids.has(id)
}
