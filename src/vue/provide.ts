import { getCurrentInstance, type InjectionKey, inject, onMounted, onScopeDispose, provide } from 'vue'
import type { Connection } from '../connection/api'
import type { InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import { type AnyConnection, holdLine } from '../sessions/holdLine'

const KEY: InjectionKey<object> = Symbol('holdline')

/**
 * In the `setup` of a component: gives the connection to all below it. The line is up while the
 * component is mounted; a server that renders connects nothing.
 */
export function provideHoldline(connection: AnyConnection): void {
  provide(KEY, connection)
  whileMounted(() => holdLine(connection))
}

/**
 * The connection that a component above has provided, with the types that it was made with.
 *
 * @throws {Error} where none has.
 */
export function useConnection<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>() {
  const connection = inject(KEY, null)
  if (!connection) throw new Error('holdline/vue: no component above this one has called provideHoldline(connection)')
  return connection as Connection<Inbound, Outbound>
}

/** From the mount of the component, outside of one from now, to the end of the scope. */
export function whileMounted(begin: () => () => void): void {
  let end: (() => void) | undefined
  const start = () => {
    end = begin()
  }
  if (getCurrentInstance()) onMounted(start)
  else start()
  onScopeDispose(() => end?.())
}
