import { createActor, type InspectionEvent } from 'xstate'
import { bindActors, machine } from './actors'
import { ConnectionError, type StopError } from './errors'
import { Inbox } from './inbox/inbox'
import { phase as phaseOf } from './machine/phase'
import type { ConnectionContext, ConnectionEvent } from './machine/types'
import { Notifier } from './notifier'
import { check, invalid, isAbsolute, isFunction, isName, isSignal, oneOf, readOptions } from './options'
import { Outbox } from './outbox/outbox'
import { Recorder } from './recorder'
import type {
  BuiltInType,
  Connection,
  ConnectionActor,
  ConnectionEvents,
  ConnectionOptions,
  ConnectionSnapshot,
  Delivery,
  EndpointsFor,
  InboundMessage,
  OutboundMessage,
  Typed,
} from './types'
import { createWatch } from './watch'
import { whenOpen } from './whenOpen'

/**
 * Makes a connection. It touches nothing but `storage` before `connect()`. What it can `send` are messages of the built-in types and of
 * those in `protocol.endpoints`; `createConnection<Inbound, Outbound>` says more of them.
 *
 * @throws {ConnectionError} `invalid-option`; the message names the option.
 */
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
  const { backoff, clock, random, timeouts } = settings
  let isDisposed = false
  /** Says that messages wait for a `connect()`. Null: it was called. */
  let hint: unknown
  /** What is left of the machine once it is no more. */
  let remains: ConnectionContext | undefined

  const notifier = new Notifier((): ConnectionSnapshot => {
    const { connectionId, attempt, lastError, retryAt } = context()
    const now = phase()
    return {
      phase: now,
      connectionId,
      attempt,
      retryAt: now === 'backoff' ? retryAt : null,
      pendingCount: outbox.size,
      outbox: outbox.state,
      lastError,
    }
  })
  const { report, getSnapshot, subscribe } = notifier
  const abandon = (code: 'cancelled' | 'disposed') =>
    notifier.tell('line', new ConnectionError(code, 'by disconnect() or dispose()'))
  const recorder = new Recorder(clock, backoff.maxAttempts)
  const actor = createActor(machine, { input: { backoff, random, timeouts, now: () => clock.now() }, clock, inspect })
  const context = () => remains ?? actor.getSnapshot().context
  const phase = () => (remains ? 'idle' : phaseOf(actor.getSnapshot()))

  const line = settings.transport({ ...settings, context })
  const store = settings.storage?.open({ url: settings.url, clock, report, warn: notifier.warn }) ?? null
  const carrier = store?.afterRead(line) ?? line
  const inbox = new Inbox(settings, store?.cursors ?? null, notifier, {
    onHole: resumeLeftOvers,
    onReset: () => command({ type: 'stream.reset' }),
    onQuiet(sessionIds) {
      // On any other line, what there is of them is still to come.
      if (phase() !== 'open') return
      const waiting = outbox.sessions
      for (const sessionId of sessionIds) {
        if (waiting.has(sessionId)) continue
        inbox.release(sessionId)
        if (context().features.includes('watch-replay')) detach(sessionId)
      }
    },
  })
  const outbox = new Outbox(settings, carrier, store, {
    changed({ id, status, message }: Delivery, sessionId: unknown) {
      inbox.touch(sessionId)
      notifier.note('delivery', { id, status, message })
    },
    waits: notifier.publishSoon,
    tellMachine: command,
    report,
    crash: end,
  })

  function command(event: ConnectionEvent) {
    if (!isDisposed) actor.send(event)
  }

  function inspect(event: InspectionEvent) {
    // What throws here would stop the machine.
    const { inspect } = settings
    notifier.call(
      'inspect',
      () => {
        const refused = recorder.note(event)
        if (refused) notifier.note('refused', { event: refused, phase: phase() })
        return typeof inspect === 'function' ? inspect(event) : inspect?.next?.(event)
      },
      event,
    )
  }

  function resumeLeftOvers() {
    // In every other phase the resume that is due, or under way, takes them along.
    const cursors = inbox.leftOvers()
    if (cursors.length && phase() === 'open') command({ type: 'stream.gapped', cursors, hasHole: inbox.hasHole() })
  }

  const { watch, unwatch, detach } = createWatch({ inbox, outbox, context, resumeLeftOvers })
  const suspend = bindActors(actor.system, {
    settings,
    carrier,
    inbox,
    outbox,
    line: { context, phase, tell: command },
  })

  actor.on('*', (event) => {
    if (event.type === 'stopped') notifier.tell('line', event.error)
    const { type, ...fact } = event
    const sessions = inbox.cursors().map(({ sessionId }) => sessionId)
    notifier.note(type, (type === 'opened' ? { ...fact, sessions } : fact) as never)
  })
  // Once it was open, `closed` tells how it is lost; until then nothing would. Nor would it tell of a login page in the stream's place.
  let told = ''
  notifier.on('phase', () => {
    const now = phase()
    if (now === 'open') {
      told = now
      notifier.tell('line')
    } else if (now === 'idle') abandon('cancelled')
    if (now !== 'backoff') return
    const { code, message, ...details } = context().lastError as ConnectionError
    if (told && (told === code || code !== 'redirected')) return
    told = code
    report(new ConnectionError(code, `not connected to ${settings.url}, but trying: ${message}`, details))
  })
  actor.subscribe(() => notifier.publish(), end, end)
  actor.start()
  // Not before: what is told now is told when the app had a chance to listen.
  outbox.restore()

  function hintLater() {
    hint = clock.setTimeout(() => {
      hint = undefined
      if (outbox.size) notifier.warn('a message waits, and connect() was not called', settings.url)
    }, HINT_DELAY)
  }

  function forgetHint() {
    clock.clearTimeout(hint)
    hint = null
  }

  /** The machine is no more. Unless that is because the app disposed of it, this does, and tells. */
  function end(cause?: unknown) {
    // XState stops no child of a machine that has failed.
    for (const child of Object.values(actor.getSnapshot().children)) child?.send({ type: 'xstate.stop' } as never)
    if (isDisposed) return
    isDisposed = true
    const error = new ConnectionError('internal', 'the machine stopped', { cause })
    if (phase() === 'open') notifier.note('closed', { reason: 'failed', error })
    remains = { ...context(), connectionId: null, lastError: error }
    notifier.tell('line', error)
    notifier.note('stopped', { error: error as StopError })
    outbox.retire()
    actor.stop()
  }

  function dispose() {
    if (isDisposed) return
    isDisposed = true
    abandon('disposed')
    forgetHint()
    actor.send({ type: 'disconnect' })
    outbox.retire()
    // In a listener, the disconnect still stands in line behind the event that is being told.
    queueMicrotask(() => actor.stop())
  }

  const own = { getSnapshot, inbox, outbox }
  return Object.assign(Object.create(CURRENT, { [parts]: { value: () => own } }), {
    connect() {
      if (!isAbsolute(settings.url)) throw invalid('url', `${settings.url} is relative, and here is no page`)
      forgetHint()
      command({ type: 'connect' })
    },
    disconnect() {
      command({ type: 'disconnect' })
      abandon('cancelled')
    },
    reconnect: () => command({ type: 'reconnect' }),
    wake({ awayFor = 0 } = {}) {
      carrier.check?.()
      command({ type: 'wake', awayFor })
    },
    dispose,
    [Symbol.dispose]: dispose,

    send(message, options) {
      const delivery = outbox.enqueue(message, options) as Delivery<Outbound>
      if (hint === undefined) hintLater()
      return delivery
    },
    clearOutbox: () => outbox.clear(),

    watch,
    unwatch,
    cursor: (sessionId) => inbox.cursor(sessionId),

    on(name: keyof ConnectionEvents, scope: unknown, listener?: unknown) {
      if ((name as string) === 'rejected') throw invalid('event', 'rejected is called refused now')
      check('event', name, isEvent)
      const isOfOne = name === 'message' && listener !== undefined
      const { session }: { readonly session?: string } = isOfOne ? Object(scope) : {}
      if (isOfOne) check('session', session, isName)
      const own = isOfOne ? listener : scope
      check('listener', own, isFunction)
      return name === 'message' ? inbox.listen(own as never, session) : notifier.on(name, own as never)
    },
    whenOpen({ signal } = {}) {
      if (signal !== undefined) check('signal', signal, isSignal)
      const open = whenOpen(notifier, signal)
      if (phase() === 'open') notifier.tell('line')
      else if (isDisposed) abandon('disposed')
      return open
    },
    suspend,
    trace: () => recorder.trace(),
    actor: actor as unknown as ConnectionActor,
    subscribe,
    getSnapshot,
  } satisfies Omit<Connection<Inbound, Outbound>, keyof typeof CURRENT>)
}

/** ms. */
const HINT_DELAY = 5_000

const isEvent = oneOf('message, opened, closed, stopped, phase, session, delivery, refused, error')

const parts = Symbol('parts')
type Parts = Pick<Connection, 'getSnapshot'> & { readonly inbox: Inbox; readonly outbox: Outbox }

// On a prototype of their own: an object literal with getters is a dictionary to V8, 2 KiB per connection.
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

/** For what stands on top of a connection and lives in this package. A function, because a proxy leaves that as it is. */
export const partsOf = (connection: unknown) => (connection as { readonly [parts]: () => Parts })[parts]()
const snapshotOf = (connection: unknown) => partsOf(connection).getSnapshot()
