import type { Connection } from 'holdline'
import { createContext, type ReactNode, useContext, useEffect, useSyncExternalStore } from 'react'
import { statusOf } from '../status'

const ConnectionContext = createContext<Connection | null>(null)

/**
 * The line is up while this is mounted. The connection is made outside of rendering, because React
 * may call anything inside twice; here it is only switched on and off, which may be repeated.
 */
export function ConnectionProvider({ connection, children }: { connection: Connection; children: ReactNode }) {
  useEffect(() => {
    connection.connect()
    return connection.disconnect
  }, [connection])
  return <ConnectionContext value={connection}>{children}</ConnectionContext>
}

export function useConnection(): Connection {
  const connection = useContext(ConnectionContext)
  if (!connection) throw new Error('useConnection: there is no <ConnectionProvider> around this')
  return connection
}

/**
 * Anything with `subscribe` and `getSnapshot`: a connection, a store of your own. On a server it is
 * what it is there: `idle`.
 */
export const useStore = <T,>({ subscribe, getSnapshot }: Store<T>): T =>
  useSyncExternalStore(subscribe, getSnapshot, getSnapshot)

export interface Store<T> {
  subscribe(listener: () => void): () => void
  getSnapshot(): T
}

export const useConnectionSnapshot = () => useStore(useConnection())

export const Status = () => <output>{statusOf(useConnectionSnapshot())}</output>
