import { effectScope, getCurrentInstance, type InjectionKey, inject, onMounted, onScopeDispose, provide } from 'vue'
import type { Connection } from '../connection/api'
import type { InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import { type AnyConnection, holdLine } from '../sessions/holdLine'

const KEY: InjectionKey<object> = Symbol('holdline')
/** By the component itself: `inject` finds what those above have provided. */
const own = new WeakMap<object, object>()

/**
 * In the `setup` of a component: gives the connection to it and to all below it. The line is up
 * while the component is mounted; a server that renders connects nothing.
 */
export function provideHoldline(connection: AnyConnection): void {
  provide(KEY, connection)
  const instance = getCurrentInstance()
  if (instance) own.set(instance, connection)
  whileMounted(() => holdLine(connection))
}

/**
 * The connection that this component, or one above, has provided, with the types that it was made
 * with.
 *
 * @throws {Error} where none has.
 */
export function useConnection<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>() {
  const instance = getCurrentInstance()
  const connection = (instance && own.get(instance)) ?? inject(KEY, null)
  if (!connection) throw new Error('holdline/vue: no component from this one up has called provideHoldline(connection)')
  return connection as Connection<Inbound, Outbound>
}

/**
 * From the mount of the component, outside of one from now, to the end of the scope: so do the
 * watchers that `begin` makes.
 */
export function whileMounted(begin: () => () => void): void {
  const scope = effectScope()
  // A scope may end before its component is mounted.
  const start = () => scope.active && scope.run(() => onScopeDispose(begin()))
  if (getCurrentInstance()) onMounted(start)
  else start()
}
