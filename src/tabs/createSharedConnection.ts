import type { InspectionEvent } from 'xstate'
import { eventSourceTransport, type Transport } from '../adapters/transport'
import type { Connection } from '../connection/api'
import { being, has, isFunction, isName, oneOf, REQUIRED, read, type Table } from '../connection/checks'
import type { BuiltInType, EndpointsFor, InboundMessage, OutboundMessage, Typed } from '../connection/messages'
import type { ConnectionOptions } from '../connection/options'
import { type Parts, partsOf } from '../connection/publicConnection'
import { createConnection } from '../createConnection'
import { ConnectionError } from '../errors'
import { newId } from '../protocol'
import type { Defined, InboundOf, OutboundOf } from '../protocol/define/types'
import type { TabLocks } from './lock'
import { standingOf, type TabScope } from './page'
import { type ChannelLike, nameOf, Tab, type TabEnvironment } from './tab'
import { TabCarrier } from './tabCarrier'
import type { TabRole } from './types'

export interface SharedOptions {
  /**
   * Tabs of one origin with the same name, `url` and `credentials` share a line. Give each user a
   * name of their own.
   */
  readonly name: string
  /**
   * `auto`: share a line where the browser and the server have what it takes, else have one of this
   * tab's own (`not-shared`). `own`: a line of this tab's own. Default: `auto`.
   */
  readonly mode?: 'auto' | 'own' | undefined
  /**
   * What `disconnect()` ends: this tab's part in the line, or, after a logout, that of all tabs
   * that share it. Default: `tab`.
   */
  readonly disconnects?: 'tab' | 'all' | undefined
  /**
   * By what tabs know of each other, for tests and other run-times. Default: `navigator.locks`,
   * `BroadcastChannel`, and the page.
   */
  readonly environment?: Partial<TabEnvironment> | undefined
}

/** What this tab is to the others. */
export interface Tabs {
  /**
   * `leading`: it holds the stream. `following`: another tab does. `own`: it has one of its own.
   * `electing`: no leader is known. `away`: frozen. `apart`: its connection is idle.
   */
  readonly role: TabRole
  /** Calls back at once and after each change. Returns the function that unsubscribes. */
  subscribe(listener: (role: TabRole) => void): () => void
}

export type SharedConnection<Inbound = InboundMessage, Outbound extends Typed = OutboundMessage> = Connection<
  Inbound,
  Outbound
> & { readonly tabs: Tabs }

const TABLE = {
  name: [isName, REQUIRED],
  mode: [oneOf('auto, own'), 'auto'],
  disconnects: [oneOf('tab, all'), 'tab'],
  environment: {
    locks: [has('request')],
    openChannel: [isFunction],
    scope: [being('a scope', (value) => Object(value) === value)],
  },
} satisfies Table

/**
 * As `createConnection`, but tabs share one stream. Each tab keeps its own outbox, cursors and
 * listeners, and posts its own messages.
 *
 * @throws {ConnectionError} `invalid-option`; the message names the option.
 */
export function createSharedConnection<P extends Defined>(
  options: Omit<ConnectionOptions, 'protocol'> & {
    readonly protocol: P & ('~messages' extends keyof P ? unknown : never)
  },
  shared: SharedOptions,
): SharedConnection<InboundOf<P>, OutboundOf<P>>
/** Without types of its own, or with `protocol.endpoints`. */
export function createSharedConnection<Inbound extends object = InboundMessage, Own extends string = never>(
  options: ConnectionOptions<Own>,
  shared: SharedOptions,
): SharedConnection<Inbound, OutboundMessage<BuiltInType | Own>>
/** With message types of the app's own: one without an endpoint does not compile. */
export function createSharedConnection<
  Inbound extends object = InboundMessage,
  Outbound extends Typed = OutboundMessage,
>(options: ConnectionOptions & EndpointsFor<Outbound>, shared: SharedOptions): SharedConnection<Inbound, Outbound>
export function createSharedConnection<Inbound extends object, Outbound extends Typed>(
  options: ConnectionOptions,
  shared: SharedOptions,
): SharedConnection<Inbound, Outbound> {
  const { name, mode, disconnects, environment } = read(TABLE, shared ?? null) as ReadOptions
  const { locks, openChannel, scope } = environmentOf(environment)
  const missing = missingOf(options, locks, openChannel)
  if (mode === 'own' || missing) return alone(createConnection<Inbound, Outbound>(options as never), missing)

  const id = newId()
  let carrier: TabCarrier | undefined
  const transport: Transport = (setup) => {
    const tell = (fact: { type: 'stream.wanted' | 'stream.unwanted' }) => tab.actor.send(fact)
    const own = new TabCarrier(options.transport ?? eventSourceTransport, setup, { tab: id, tell })
    if (own.real.postsOverStream) return own.real
    carrier = own
    return own
  }
  const connection = createConnection<Inbound, Outbound>({ ...options, transport } as never)
  if (!carrier) return alone(connection, 'its transport posts over its stream')
  const parts = partsOf(connection)
  const tabCarrier: TabCarrier = carrier
  const { settings, notifier } = parts
  const { url, clock, random, timeouts, credentials } = settings
  const tab: Tab = new Tab({
    input: { tab: id, standing: standingOf(scope), now: () => clock.now(), random },
    name: nameOf(name, url, credentials),
    carrier,
    clock,
    timeout: timeouts.resume,
    inspect: inspectorOf(parts),
    locks: locks as TabLocks,
    openChannel: openChannel as TabEnvironment['openChannel'],
    scope,
    doubted: () => connection.wake(),
  })
  const { actor } = tab
  const { disconnect, trace } = connection
  const view = viewOf(actor, notifier)
  actor.on('ready', () => {
    if (connection.phase === 'backoff' && !isAskedToWait(connection, view)) connection.wake()
  })
  actor.on('own', ({ error }) => notifier.report(error))
  actor.on('ended', disconnect)
  actor.start()
  connection.on('phase', ({ phase }) => {
    if (phase === 'idle') actor.send({ type: 'leave' })
  })
  connection.on('opened', () => {
    if (mustSleepAgain(parts, tabCarrier) && standingOf(scope) === 'hidden') connection.suspend()
  })
  return Object.assign(connection, {
    disconnect() {
      if (disconnects === 'all') actor.send({ type: 'end' })
      disconnect()
    },
    trace: () => ({ ...trace(), tab: id, leader: actor.getSnapshot().context.leader }),
    tabs: view,
  })
}

/**
 * Another tab's stream costs the server nothing; for one of its own a tab waits as long as the
 * server asked.
 */
function isAskedToWait({ lastError }: Pick<Connection, 'lastError'>, { role }: Tabs): boolean {
  return role !== 'following' && (lastError?.code === 'goodbye' || !!lastError?.retryAfter)
}

/**
 * A hand-over wakes nobody: the leader is told again that this page is away. Not where a suspend
 * detaches: the tabs that share would take turns to suspend and to resume.
 */
function mustSleepAgain({ line }: Parts, { hasSlept }: TabCarrier): boolean {
  return hasSlept && line.context().features.includes('suspend-keeps')
}

/** Tells the trace, and the app. An inspector that throws would stop the machine. */
function inspectorOf({ settings: { inspect }, notifier, recorder }: Parts) {
  return (event: InspectionEvent) => {
    recorder.note(event, 'tab')
    notifier.call('inspect', () => (typeof inspect === 'function' ? inspect(event) : inspect?.next?.(event)), event)
  }
}

type ReadOptions = Required<Pick<SharedOptions, 'name' | 'mode' | 'disconnects'>> & {
  readonly environment: Partial<TabEnvironment>
}

/** What the browser has of it. */
function environmentOf({ locks, openChannel, scope }: Partial<TabEnvironment>) {
  const { BroadcastChannel: Channel } = globalThis
  return {
    locks: locks ?? (globalThis.navigator?.locks as TabLocks | undefined),
    openChannel: openChannel ?? (Channel && ((name: string) => new Channel(name) as ChannelLike)),
    scope: scope ?? (globalThis as TabScope),
  }
}

/** Why a line cannot be shared; null if it can. */
function missingOf({ dedupe }: ConnectionOptions, locks: unknown, openChannel: unknown): string | null {
  if (!locks) return 'there are no Web Locks here, as on a page without https'
  if (!openChannel) return 'there is no BroadcastChannel here'
  return dedupe === false ? 'dedupe is false' : null
}

/** An ordinary connection. */
function alone<Inbound, Outbound extends Typed>(connection: Connection<Inbound, Outbound>, why: string | null) {
  const { notifier } = partsOf(connection)
  if (why) {
    const error = new ConnectionError('not-shared', `this tab has a line of its own: ${why}`)
    // Not where a server renders: nobody connects there.
    const unsubscribe = connection.on('phase', () => {
      unsubscribe()
      notifier.report(error)
    })
  }
  const tabs: Tabs = {
    role: 'own',
    subscribe(listener) {
      notifier.call('tabs', listener, 'own')
      return () => {}
    },
  }
  return Object.assign(connection, { tabs })
}

function viewOf(actor: Tab['actor'], notifier: Parts['notifier']): Tabs {
  const roleOf = () => [...actor.getSnapshot().tags][0] as TabRole
  return {
    get role() {
      return roleOf()
    },
    subscribe(listener) {
      let told: TabRole | undefined
      const tell = () => {
        const role = roleOf()
        if (role === told) return
        told = role
        notifier.call('tabs', listener, role)
      }
      tell()
      const { unsubscribe } = actor.subscribe(tell)
      return unsubscribe
    },
  }
}
