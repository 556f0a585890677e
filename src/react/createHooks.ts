import type { Connection } from '../connection/api'
import type { Delivery, OfType, Typed } from '../connection/messages'
import type { ConnectionOptions } from '../connection/options'
import type { Defined, InboundOf, OutboundOf } from '../protocol/define/types'
import type { DeliveryView } from '../sessions/deliveries'
import type { OwnMessage, OwnOptions } from '../sessions/ownMessages'
import type { SessionOptions, SessionView } from '../sessions/types'
import type { MakeConnection, OwnedConnection } from '../sessions/userLine'
import { useConnectionStatus, useDelivery, useHoldline, useLineStatus, usePending, useSend } from './line'
import { useOwnMessages } from './ownMessages'
import { useConnection } from './provider'
import { useSession, useSessionSuspense } from './session'

/** The hooks of this module, with the messages of one protocol. */
export interface Hooks<Inbound extends object, Outbound extends Typed, P extends Defined = Defined> {
  useConnection(): Connection<Inbound, Outbound>
  readonly useConnectionStatus: typeof useConnectionStatus
  readonly useLineStatus: typeof useLineStatus
  useSession<State>(id: string | null, options: SessionOptions<State, Inbound>): SessionView<State>
  useSessionSuspense<State>(id: string, options: SessionOptions<State, Inbound>): SessionView<State>
  useSend(): Connection<Inbound, Outbound>['send']
  usePending(sessionId?: string): readonly DeliveryView<Outbound>[]
  useDelivery<Message extends Outbound = Outbound>(
    delivery: Delivery<Message> | string | null,
  ): DeliveryView<Message> | null
  useOwnMessages<Type extends string = 'send'>(
    sessionId: string | null,
    options: OwnOptions<Outbound, Type>,
  ): readonly OwnMessage<OfType<Outbound, Type>>[]
  /** Gives the connection the protocol as well. */
  useHoldline(options: Omit<ConnectionOptions, 'protocol'>, key: string | number): Connection<Inbound, Outbound>
  /** `make` is given the protocol as well, so a connection that it makes has the same types. */
  useHoldline<Made extends OwnedConnection>(
    options: Omit<ConnectionOptions, 'protocol'>,
    key: string | number,
    make: (options: Omit<ConnectionOptions, 'protocol'> & { readonly protocol: P }) => Made,
  ): Made
}

const hooks = {
  useConnection,
  useConnectionStatus,
  useLineStatus,
  useSession,
  useSessionSuspense,
  useSend,
  usePending,
  useDelivery,
  useOwnMessages,
}

/**
 * The hooks of this module, typed once, by what both sides share:
 *
 * @example
 * export const { useSession, useSend } = createHooks(chat)
 */
export const createHooks = <P extends Defined>(protocol: P): Hooks<InboundOf<P>, OutboundOf<P>, P> =>
  ({
    ...hooks,
    useHoldline: (options: ConnectionOptions, key: string, make: MakeConnection) =>
      useHoldline({ ...options, protocol } as never, key, make),
  }) as never
