import {
  ConnectionError,
  type ConnectionEvents,
  type ConnectionSnapshot,
  type Delivery,
  type InboundMessage,
  type OutboundMessage,
  type Verdict,
} from 'holdline'
import type { Relayed, ToHub, ToPage } from './hub'

/**
 * A page's end: as much of a connection as a page needs, so that stores, hooks and components
 * cannot tell the difference.
 */
export function createRemote<Inbound = InboundMessage, Outbound extends OutboundMessage = OutboundMessage>(
  port: MessagePort,
) {
  type Events = ConnectionEvents<Inbound, Outbound>
  let snapshot: ConnectionSnapshot = {
    phase: 'idle',
    connectionId: null,
    attempt: 0,
    retryAt: null,
    pendingCount: 0,
    outbox: { state: 'held', retryAt: null },
    lastError: null,
  }
  const subscribers = new Set<() => void>()
  const listeners = { message: new Set<never>(), session: new Set<never>(), delivery: new Set<never>() } as {
    readonly [Type in Relayed]: Set<(fact: Events[Type]) => void>
  }
  /**
   * As a connection counts them: this page follows a session as long as one of its watches lasts.
   */
  const watches = new Map<string, Set<() => void>>()
  const unsettled = new Map<string, (verdict: Verdict) => void>()
  const ask = (message: ToHub) => port.postMessage(message)

  port.addEventListener('message', ({ data }: MessageEvent<ToPage>) => {
    const { type, fact } = data
    if (type === 'verdict') {
      unsettled.get(fact.id)?.(revive(fact))
      unsettled.delete(fact.id)
    } else if (type === 'snapshot') {
      snapshot = revive(fact)
      for (const listener of subscribers) listener()
    } else for (const listener of listeners[type]) listener(fact as never)
  })
  port.start()

  return {
    getSnapshot: () => snapshot,
    subscribe(listener: () => void) {
      subscribers.add(listener)
      return () => void subscribers.delete(listener)
    },
    on<Type extends Relayed>(type: Type, listener: (fact: Events[Type]) => void) {
      listeners[type].add(listener)
      return () => void listeners[type].delete(listener)
    },
    send(message: Outbound): Pick<Delivery<Outbound>, 'id' | 'settled'> {
      const id = crypto.randomUUID()
      const settled = new Promise<Verdict>((resolve) => unsettled.set(id, resolve))
      ask({ type: 'send', id, message })
      return { id, settled: settled as Delivery<Outbound>['settled'] }
    },
    /** Those of all pages are told as `delivery`. */
    pending: [] as const,
    watch(sessionId: string) {
      const own = watches.get(sessionId) ?? new Set()
      watches.set(sessionId, own.add(unwatch))
      if (own.size === 1) ask({ type: 'watch', sessionId })
      function unwatch() {
        if (own.delete(unwatch) && !own.size) ask({ type: 'unwatch', sessionId })
      }
      return unwatch
    },
  }
}

/** The errors in it, as what they were. */
const revive = <Fact extends object>(fact: Fact): Fact =>
  Object.fromEntries(
    Object.entries(fact).map(([name, value]) => [
      name,
      value?.name === 'ConnectionError' ? new ConnectionError(value.code, value.message, value) : value,
    ]),
  ) as Fact
