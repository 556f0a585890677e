import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { Connection, ConnectionSnapshot } from '../connection/api'
import type { Delivery, InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import type { ConnectionOptions } from '../connection/options'
import type { Defined, InboundOf, OutboundOf } from '../protocol/define/types'
import { type DeliveryView, deliveryReader, onDeliveries, pendingReader } from '../sessions/deliveries'
import { IDLE } from '../sessions/holdLine'
import { IDLE_LINE, type LineStatus, lineStatus } from '../sessions/lineStatus'
import { userLine } from '../sessions/userLine'
import { useConnection } from './provider'

/** A server, and the page that takes over from it, know of nothing that waits. */
const NONE: readonly never[] = []
const none = () => NONE
const nothing = () => null
const idle = () => IDLE_LINE
const all = (snapshot: ConnectionSnapshot) => snapshot

/** How the line is. Renders when that changes, or with `select`, when what it returns does. */
export function useConnectionStatus(): ConnectionSnapshot
export function useConnectionStatus<Selected>(select: (snapshot: ConnectionSnapshot) => Selected): Selected
export function useConnectionStatus(select: (snapshot: ConnectionSnapshot) => unknown = all) {
  const { subscribe, getSnapshot } = useConnection()
  const selected = useMemo(() => remembering(select), [select])
  return useSyncExternalStore(
    subscribe,
    () => selected(getSnapshot()),
    () => selected(IDLE),
  )
}

/** The same result for the same snapshot, so that a selector may make objects. */
function remembering(select: (snapshot: ConnectionSnapshot) => unknown) {
  let last: readonly [ConnectionSnapshot, unknown] | undefined
  return (snapshot: ConnectionSnapshot) => {
    if (last?.[0] !== snapshot) last = [snapshot, select(snapshot)]
    return last[1]
  }
}

/** `connection.send`: the same function as long as the connection is the same. */
export function useSend<Outbound extends Typed = OutboundMessage>(): Connection<InboundMessage, Outbound>['send'] {
  return useConnection<InboundMessage, Outbound>().send
}

/** The messages without a verdict, oldest first; of one session, or of all. */
export function usePending<Outbound = OutboundMessage>(sessionId?: string): readonly DeliveryView<Outbound>[] {
  const connection = useConnection()
  const subscribe = useCallback((listener: () => void) => onDeliveries(connection, listener), [connection])
  const read = useMemo(() => pendingReader(connection, sessionId), [connection, sessionId])
  return useSyncExternalStore(subscribe, read, none) as readonly DeliveryView<Outbound>[]
}

/**
 * What becomes of a message: the `Delivery` that `send` returned, or the id of one that has no
 * verdict yet. Null where there is none.
 */
export function useDelivery<Outbound = OutboundMessage>(
  delivery: Delivery<Outbound> | string | null,
): DeliveryView<Outbound> | null {
  const connection = useConnection()
  const subscribe = useCallback((listener: () => void) => onDeliveries(connection, listener), [connection])
  const read = useMemo(() => deliveryReader(connection, delivery), [connection, delivery])
  return useSyncExternalStore(subscribe, read, nothing) as DeliveryView<Outbound> | null
}

/** How the line is, for people: in both directions, and when it is tried again. */
export function useLineStatus(): LineStatus {
  const connection = useConnection()
  const { subscribe, getSnapshot } = useMemo(() => lineStatus(connection), [connection])
  return useSyncExternalStore(subscribe, getSnapshot, idle)
}

/**
 * A connection of one user: `<HoldlineProvider connection={useHoldline(options, user.id)}>`. It is
 * disposed of when the component is unmounted, or the key changes. Components with the same key and
 * `url` share one. Only the first options of a key count.
 */
export function useHoldline<P extends Defined>(
  options: Omit<ConnectionOptions, 'protocol'> & {
    readonly protocol: P & ('~messages' extends keyof P ? unknown : never)
  },
  key: string | number,
): Connection<InboundOf<P>, OutboundOf<P>>
/** Without types of its own, or with `protocol.endpoints`. */
export function useHoldline<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>(
  options: ConnectionOptions,
  key: string | number,
): Connection<Inbound, Outbound>
export function useHoldline<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>(
  options: ConnectionOptions,
  key: string | number,
): Connection<Inbound, Outbound> {
  const [, renew] = useState({})
  const line = userLine(options, key)
  useEffect(() => line.claim(() => renew({})), [line])
  return line.connection as unknown as Connection<Inbound, Outbound>
}
