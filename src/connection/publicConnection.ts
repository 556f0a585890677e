import type { Carrier } from '../adapters/transport'
import type { Inbox } from '../inbox/inbox'
import type { Outbox } from '../outbox/outbox'
import type { Recorder } from '../trace/recorder'
import type { Connection, ConnectionActor, ConnectionEvents } from './api'
import { check, invalid, isAbsolute, isFunction, isName, oneOf } from './checks'
import type { Farewell } from './farewell'
import type { Line } from './line'
import type { Delivery, SendOptions, Typed } from './messages'
import type { Notifier } from './notifier'
import type { Settings } from './options'
import type { Reminder } from './reminder'
import { unwatch, watch } from './watch'
import { abandon, whenOpen } from './whenOpen'

/** The parts that a connection stands on. */
export interface Parts {
  readonly settings: Settings
  readonly notifier: Notifier
  readonly recorder: Recorder
  readonly line: Line
  readonly carrier: Carrier
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly farewell: Farewell
  readonly reminder: Reminder
}

/** The object that the app holds. Its functions need no `this`, so that it may be destructured. */
export function publicConnection<Inbound extends object, Outbound extends Typed>(
  parts: Parts,
): Connection<Inbound, Outbound> {
  const { settings, notifier, recorder, line, carrier, inbox, outbox, farewell, reminder } = parts

  function dispose() {
    if (line.state !== 'running') return
    abandon(notifier, 'disposed')
    reminder.end()
    line.dispose()
    outbox.retire()
  }

  return Object.assign(Object.create(CURRENT, { [own]: { value: () => parts } }), {
    connect() {
      if (!isAbsolute(settings.url)) throw invalid('url', `${settings.url} is relative, and here is no page`)
      reminder.end()
      line.tell({ type: 'connect' })
    },
    disconnect() {
      line.tell({ type: 'disconnect' })
      abandon(notifier, 'cancelled')
    },
    reconnect: () => line.tell({ type: 'reconnect' }),
    wake({ awayFor = 0 } = {}) {
      carrier.check?.()
      line.tell({ type: 'wake', awayFor })
    },
    dispose,
    [Symbol.dispose]: dispose,

    send(message: Outbound, options?: SendOptions): Delivery<never> {
      const delivery = outbox.enqueue(message, options)
      reminder.begin()
      return delivery as Delivery<never>
    },
    clearOutbox: () => outbox.clear(),

    watch: (sessionId, options) => watch(parts, sessionId, options),
    unwatch: (sessionId) => unwatch(parts, sessionId),
    cursor: (sessionId) => inbox.cursor(sessionId),

    on: (name: keyof ConnectionEvents, ...given: readonly unknown[]) => listen(parts, name, given),
    whenOpen: ({ signal } = {}) => whenOpen(line, notifier, signal),
    suspend: () => farewell.say(),
    trace: () => recorder.trace(),
    actor: line.actor as unknown as ConnectionActor,
    subscribe: notifier.subscribe,
    getSnapshot: notifier.getSnapshot,
  } satisfies Omit<Connection<Inbound, Outbound>, keyof typeof CURRENT>)
}

/** A listener; or of messages, which session it wants to hear, and a listener. */
function listen({ inbox, notifier }: Parts, name: keyof ConnectionEvents, [scope, scoped]: readonly unknown[]) {
  if ((name as string) === 'rejected') throw invalid('event', 'rejected is called refused now')
  check('event', name, isEvent)
  const isScoped = name === 'message' && scoped !== undefined
  const { session }: { readonly session?: string } = isScoped ? Object(scope) : {}
  if (isScoped) check('session', session, isName)
  const listener = isScoped ? scoped : scope
  check('listener', listener, isFunction)
  return name === 'message' ? inbox.listen(listener as never, session) : notifier.on(name, listener as never)
}

const isEvent = oneOf('message, opened, closed, stopped, phase, session, delivery, refused, error')

const own = Symbol('parts')

// On a prototype of their own: an object literal with getters is a dictionary to V8, 2 KiB per
// connection.
const CURRENT = {
  // [Vue] A connection in a `ref` or `reactive` stays what it is, as with `markRaw`.
  __v_skip: true,
  get phase() {
    return snapshotOf(this).phase
  },
  get isOpen() {
    return snapshotOf(this).phase === 'open'
  },
  get connectionId() {
    return snapshotOf(this).connectionId
  },
  get lastError() {
    return snapshotOf(this).lastError
  },
  get attempt() {
    return snapshotOf(this).attempt
  },
  get retryAt() {
    return snapshotOf(this).retryAt
  },
  get pending() {
    return partsOf(this).outbox.pending
  },
  get cursors() {
    return partsOf(this).inbox.cursors()
  },
}

/**
 * For code of this package that stands on top of a connection. A function, because a proxy leaves
 * that as it is.
 */
export const partsOf = (connection: unknown) => (connection as { readonly [own]: () => Parts })[own]()
const snapshotOf = (connection: unknown) => partsOf(connection).notifier.getSnapshot()
