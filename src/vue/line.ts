import {
  computed,
  type MaybeRefOrGetter,
  onScopeDispose,
  type Ref,
  type ShallowRef,
  shallowRef,
  toValue,
  watch,
} from 'vue'
import type { Connection, ConnectionSnapshot } from '../connection/api'
import type { Delivery, InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import type { ConnectionOptions } from '../connection/options'
import type { Defined, InboundOf, OutboundOf } from '../protocol/define/types'
import { type DeliveryView, deliveryReader, onDeliveries, pendingReader } from '../sessions/deliveries'
import { IDLE } from '../sessions/holdLine'
import { IDLE_LINE, type LineStatus, lineStatus } from '../sessions/lineStatus'
import { type MakeConnection, type OwnedConnection, userLine } from '../sessions/userLine'
import { useConnection, whileMounted } from './provide'

/** How the line is; with `select`, a part of that. */
export function useConnectionStatus(): Readonly<Ref<ConnectionSnapshot>>
export function useConnectionStatus<Selected>(
  select: (snapshot: ConnectionSnapshot) => Selected,
): Readonly<Ref<Selected>>
export function useConnectionStatus(select?: (snapshot: ConnectionSnapshot) => unknown) {
  const { subscribe, getSnapshot } = useConnection()
  const now = getSnapshot()
  // A server, and the page that takes over from it, know of nothing that waits.
  const snapshot = shallowRef(now.phase === 'idle' ? IDLE : now)
  whileMounted(() =>
    subscribe((next) => {
      snapshot.value = next
    }),
  )
  return select ? computed(() => select(snapshot.value)) : snapshot
}

/** `connection.send`. */
export function useSend<Outbound extends Typed = OutboundMessage>(): Connection<InboundMessage, Outbound>['send'] {
  return useConnection<InboundMessage, Outbound>().send
}

/** The messages without a verdict, oldest first; of one session, or of all. */
export function usePending<Outbound = OutboundMessage>(
  sessionId?: MaybeRefOrGetter<string | undefined>,
): Readonly<ShallowRef<readonly DeliveryView<Outbound>[]>> {
  const connection = useConnection()
  return useReader([], () => pendingReader(connection, toValue(sessionId))) as never
}

/**
 * What becomes of a message: the `Delivery` that `send` returned, or the id of one that has no
 * verdict yet. Null where there is none.
 */
export function useDelivery<Outbound = OutboundMessage>(
  delivery: MaybeRefOrGetter<Delivery<Outbound> | string | null>,
): Readonly<ShallowRef<DeliveryView<Outbound> | null>> {
  const connection = useConnection()
  return useReader(null, () => deliveryReader(connection, toValue(delivery))) as never
}

/** Reads anew with each change of the deliveries, or of what is to be read. */
function useReader<Value>(before: Value, make: () => () => Value): ShallowRef<Value> {
  const connection = useConnection()
  const value = shallowRef(before) as ShallowRef<Value>
  whileMounted(() => {
    let read = make()
    const update = () => {
      value.value = read()
    }
    watch(make, (next) => {
      read = next
      update()
    })
    return onDeliveries(connection, update)
  })
  return value
}

/** How the line is, for people: in both directions, and when it is tried again. */
export function useLineStatus(): Readonly<ShallowRef<LineStatus>> {
  const { subscribe, getSnapshot } = lineStatus(useConnection())
  const line = shallowRef(IDLE_LINE)
  const update = () => {
    line.value = getSnapshot()
  }
  whileMounted(() => {
    update()
    return subscribe(update)
  })
  return line
}

/**
 * A connection of one user: `provideHoldline(useHoldline(options, user.id))`, in a component with
 * `:key="user.id"`. It is disposed of with the component. Components with the same key and `url`
 * share one. Only the first options of a key count.
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
/**
 * The same, made by a function of the app's: `(options) => createSharedConnection(options, { name:
 * user.id })`. It is called once per key.
 */
export function useHoldline<Made extends OwnedConnection>(
  options: ConnectionOptions,
  key: string | number,
  make: MakeConnection<Made>,
): Made
export function useHoldline(options: ConnectionOptions, key: string | number, make?: MakeConnection) {
  const { connection, claim } = userLine(options, key, make)
  onScopeDispose(claim(() => {}))
  return connection
}
