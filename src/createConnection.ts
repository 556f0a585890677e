import { createActor, type InspectionEvent } from 'xstate'
import type { TransportSetup } from './adapters/transport'
import { bindActors, machine } from './connection/actors'
import type { Connection, ConnectionSnapshot } from './connection/api'
import { Farewell } from './connection/farewell'
import { Line } from './connection/line'
import type { BuiltInType, EndpointsFor, InboundMessage, OutboundMessage, Typed } from './connection/messages'
import { Notifier } from './connection/notifier'
import { type ConnectionOptions, readOptions, type Settings } from './connection/options'
import { type Parts, publicConnection } from './connection/publicConnection'
import { Reminder } from './connection/reminder'
import { releaseQuiet, resumeLeftOvers } from './connection/watch'
import { tellOfLine } from './connection/whenOpen'
import { ConnectionError, type StopError } from './errors'
import { Inbox } from './inbox/inbox'
import { Outbox } from './outbox/outbox'
import type { Defined, InboundOf, OutboundOf } from './protocol/define/types'
import { Recorder } from './trace/recorder'

/**
 * Makes a connection. It touches nothing but `storage` before `connect()`. What it can `send` are
 * messages of the built-in types and of those in `protocol.endpoints`; `createConnection<Inbound,
 * Outbound>` says more of them, and a `protocol` that both sides share (`holdline/protocol`) says
 * it all.
 *
 * @throws {ConnectionError} `invalid-option`; the message names the option.
 */
export function createConnection<P extends Defined>(
  options: Omit<ConnectionOptions, 'protocol'> & {
    readonly protocol: P & ('~messages' extends keyof P ? unknown : never)
  },
): Connection<InboundOf<P>, OutboundOf<P>>
/** Without types of its own, or with `protocol.endpoints`. */
export function createConnection<Inbound extends object = InboundMessage, Own extends string = never>(
  options: ConnectionOptions<Own>,
): Connection<Inbound, OutboundMessage<BuiltInType | Own>>
/** With message types of the app's own: one without an endpoint does not compile. */
export function createConnection<Inbound extends object = InboundMessage, Outbound extends Typed = OutboundMessage>(
  options: ConnectionOptions & EndpointsFor<Outbound>,
): Connection<Inbound, Outbound>
export function createConnection<Inbound extends object, Outbound extends Typed>(
  options: ConnectionOptions,
): Connection<Inbound, Outbound> {
  const settings = readOptions(options)
  const parts = makeParts(settings)
  const { line, notifier, inbox, outbox } = parts
  bindActors(line.actor.system, parts)
  line.actor.on('*', (event) => {
    if (event.type === 'stopped') notifier.tell('line', event.error)
    const { type, ...fact } = event
    const sessions = inbox.cursors().map(({ sessionId }) => sessionId)
    notifier.note(type, (type === 'opened' ? { ...fact, sessions } : fact) as never)
  })
  tellOfLine(line, notifier, settings.url)
  const end = (cause?: unknown) => fail(parts, cause)
  line.actor.subscribe(() => notifier.publish(), end, end)
  line.actor.start()
  // Not before: what is told now is told when the app had a chance to listen.
  outbox.restore()
  return publicConnection(parts)
}

/** The parts of one connection. They know each other by what is handed to them here. */
function makeParts(settings: Settings): Parts {
  const { url, clock, backoff, random, timeouts } = settings
  const notifier: Notifier = new Notifier(() => snapshotOf(parts))
  const recorder = new Recorder(clock, backoff.maxAttempts)
  const line: Line = new Line(
    createActor(machine, {
      input: { backoff, random, timeouts, now: () => clock.now() },
      clock,
      inspect: (event) => inspect(settings, notifier, recorder, event),
    }),
  )
  // Not a spread of all settings: V8 gives each clone that is added to a hidden class of its own,
  // 0.9 KiB.
  const { fetch, createEventSource, headers, credentials, inbound } = settings
  const context = () => line.context()
  const setup = { url, fetch, createEventSource, headers, credentials, clock, inbound, context }
  const transport = settings.transport(setup as TransportSetup)
  const store = settings.storage?.open({ url, clock, report: notifier.report, warn: notifier.warn }) ?? null
  const carrier = store?.afterRead(transport) ?? transport
  const inbox: Inbox = new Inbox(settings, store?.cursors ?? null, notifier, {
    onHole: () => resumeLeftOvers(parts),
    onReset: () => line.tell({ type: 'stream.reset' }),
    onQuiet: (sessionIds) => releaseQuiet(parts, sessionIds),
  })
  const outbox: Outbox = new Outbox(settings, carrier, store, {
    changed(delivery, sessionId) {
      const { id, status, message, error } = delivery
      inbox.touch(sessionId)
      notifier.tell('handle', delivery)
      notifier.note('delivery', { id, status, message, error })
    },
    waits: notifier.publishSoon,
    tellMachine: (fact) => line.tell(fact),
    report: notifier.report,
    crash: (cause) => fail(parts, cause),
  })
  const farewell = new Farewell(settings, carrier, inbox, line)
  const reminder = new Reminder(clock, () => {
    if (outbox.size) notifier.warn('a message waits, and connect() was not called', url)
  })
  const parts: Parts = { settings, notifier, recorder, line, carrier, inbox, outbox, farewell, reminder }
  return parts
}

function snapshotOf({ line, outbox }: Parts): ConnectionSnapshot {
  const { connectionId, attempt, lastError, retryAt } = line.context()
  const phase = line.phase()
  return {
    phase,
    connectionId,
    attempt,
    retryAt: phase === 'backoff' ? retryAt : null,
    pendingCount: outbox.size,
    outbox: outbox.state,
    lastError,
  }
}

function inspect(settings: Settings, notifier: Notifier, recorder: Recorder, event: InspectionEvent) {
  const { inspect } = settings
  const step = () => {
    const refused = recorder.note(event)
    if (refused) notifier.note('refused', { event: refused, phase: notifier.getSnapshot().phase })
    return typeof inspect === 'function' ? inspect(event) : inspect?.next?.(event)
  }
  // An inspector that throws would stop the machine.
  notifier.call('inspect', step, event)
}

/** XState has ended the machine, or an actor has crashed: tells it, and retires the outbox. */
function fail({ line, notifier, outbox }: Parts, cause: unknown) {
  const error = new ConnectionError('internal', 'the machine stopped', { cause })
  const phase = line.fail(error)
  if (!phase) return
  if (phase === 'open') notifier.note('closed', { reason: 'failed', error })
  notifier.tell('line', error)
  notifier.note('stopped', { error: error as StopError })
  outbox.retire()
  line.actor.stop()
}
