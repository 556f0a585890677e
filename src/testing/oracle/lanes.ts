import type { Connection } from '../../connection/api'
import type { Delivery, SendOptions } from '../../connection/messages'

export const isFinal = (status: Delivery['status']) => status !== 'queued' && status !== 'sending'

/** Calls `tell` with each message that the app sends. */
function onSend(connection: Connection, tell: (delivery: Delivery, options?: SendOptions) => void) {
  const { send } = connection
  Object.assign(connection, {
    send(...args: Parameters<typeof send>) {
      const delivery = send(...args)
      tell(delivery, args[1])
      return delivery
    },
  })
}

export interface Place {
  readonly delivery: Delivery
  readonly isStop: boolean
}

/** The messages without a verdict, by lane. A stop is in the lane of its session. */
export class Lanes {
  readonly #byName = new Map<string, Place[]>()
  readonly #names = new Map<string, string>()

  constructor(connection: Connection) {
    onSend(connection, (delivery, options) => {
      const { type, sessionId } = Object(delivery.message)
      const session = JSON.stringify(['session', sessionId])
      const name =
        options?.lane === undefined ? (type === 'switch_session' ? 'switch' : session) : `lane ${options.lane}`
      const line = this.#byName.get(name) ?? []
      this.#byName.set(name, line)
      this.#names.set(delivery.id, name)
      line.push({ delivery, isStop: type === 'stop' && options?.lane === undefined })
    })
  }

  all(): Iterable<readonly [name: string, lane: readonly Place[]]> {
    return this.#byName
  }

  /** The lane of this message, oldest first. */
  of(id: string): readonly Place[] {
    return this.#byName.get(this.nameOf(id) ?? '') ?? []
  }

  nameOf(id: string): string | undefined {
    return this.#names.get(id)
  }

  isStop(id: string): boolean {
    return this.of(id).some(({ delivery, isStop }) => isStop && delivery.id === id)
  }

  readonly tidy = () => {
    for (const [name, line] of this.#byName) {
      const left = line.filter(({ delivery }) => !isFinal(delivery.status))
      for (const { delivery } of line) if (isFinal(delivery.status)) this.#names.delete(delivery.id)
      if (left.length) this.#byName.set(name, left)
      else this.#byName.delete(name)
    }
  }
}

/** Every message of the app's, those that were restored from a storage too. */
export function onDelivery(connection: Connection, tell: (delivery: Delivery) => void) {
  const known = new WeakSet<Delivery>()
  const meet = (delivery: Delivery) => {
    if (!known.has(delivery)) tell(delivery)
    known.add(delivery)
  }
  onSend(connection, meet)
  connection.on('delivery', () => connection.pending.forEach(meet))
}
