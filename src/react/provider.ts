import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect } from 'react'
import type { Connection } from '../connection/api'
import type { InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import { type AnyConnection, holdLine } from '../sessions/holdLine'

const HoldlineContext = createContext<object | null>(null)

export interface HoldlineProviderProps {
  /** Made outside of components, or by `useHoldline`. */
  readonly connection: AnyConnection
  readonly children?: ReactNode
}

/** The line is up while this is mounted; StrictMode does not cut it. */
export function HoldlineProvider({ connection, children }: HoldlineProviderProps): ReactElement {
  useEffect(() => holdLine(connection), [connection])
  return createElement(HoldlineContext.Provider, { value: connection }, children)
}

/**
 * The connection of the nearest `HoldlineProvider`, with the types that it was made with.
 *
 * @throws {Error} where there is none.
 */
export function useConnection<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>() {
  const connection = useContext(HoldlineContext)
  if (!connection)
    throw new Error('holdline/react: there is no <HoldlineProvider connection={…}> around this component')
  return connection as Connection<Inbound, Outbound>
}
