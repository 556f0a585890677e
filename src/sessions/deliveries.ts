import type { Connection } from '../connection/api'
import type { Delivery } from '../connection/messages'

/** A delivery as it is now. Immutable; the same reference until something changes. */
export type DeliveryView<Outbound = unknown> = Omit<Delivery<Outbound>, 'settled'>

const views = new WeakMap<object, DeliveryView>()

export function viewOf(delivery: Delivery<unknown>): DeliveryView {
  const { id, message, status, attempts, error, retryAt, cancel } = delivery
  const old = views.get(delivery)
  const isSame = old?.status === status && old.attempts === attempts && old.error === error && old.retryAt === retryAt
  const view = isSame ? old : { id, message, status, attempts, error, retryAt, cancel }
  views.set(delivery, view)
  return view
}

/** Whatever may change a delivery. */
export function onDeliveries(connection: Connection, listener: () => void): () => void {
  const ends = [connection.on('delivery', listener), connection.subscribe(listener)]
  return () => {
    for (const end of ends) end()
  }
}

const NONE: readonly DeliveryView[] = []

/** Reads those without a verdict; of one session, or of all. */
export function pendingReader(connection: Connection, session: string | undefined) {
  let last = NONE
  return () => {
    const own = connection.pending.filter(({ message }) => session === undefined || message.sessionId === session)
    const now = own.map(viewOf)
    last = kept(last, now)
    return last
  }
}

/** The list of before, if nothing has changed. */
export const kept = <View>(last: readonly View[], now: readonly View[]) =>
  now.length === last.length && now.every((view, index) => view === last[index]) ? last : now

/** Reads one, also after its verdict if it was read before; null if there is none. */
export function deliveryReader(connection: Connection, which: string | Delivery<unknown> | null) {
  let found = typeof which === 'object' ? which : null
  return () => {
    found ??= connection.pending.find(({ id }) => id === which) ?? null
    return found && viewOf(found)
  }
}
