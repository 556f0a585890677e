import type { Connection } from 'holdline'
import {
  type InjectionKey,
  inject,
  onMounted,
  onScopeDispose,
  onUnmounted,
  provide,
  type ShallowRef,
  shallowRef,
} from 'vue'

const KEY: InjectionKey<Connection> = Symbol('connection')

/**
 * In the `setup` of the root: the line is up while it is mounted. A server that renders connects
 * nothing.
 */
export function provideConnection(connection: Connection) {
  provide(KEY, connection)
  onMounted(connection.connect)
  onUnmounted(connection.disconnect)
}

export interface Store<T> {
  subscribe(listener: () => void): () => void
  getSnapshot(): T
}

/**
 * Anything with `subscribe` and `getSnapshot`, as a ref, for as long as the scope lives that asks
 * for it.
 */
export function useStore<T>({ subscribe, getSnapshot }: Store<T>): Readonly<ShallowRef<T>> {
  const current = shallowRef(getSnapshot())
  onScopeDispose(
    subscribe(() => {
      current.value = getSnapshot()
    }),
  )
  return current
}

/** The connection itself, and what of it changes. */
export function useConnection() {
  const connection = inject(KEY)
  if (!connection) throw new Error('useConnection: no component above has called provideConnection')
  return { connection, snapshot: useStore(connection) }
}
