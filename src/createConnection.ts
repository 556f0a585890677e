import { createActor, type InspectionEvent } from 'xstate'
import { bindActors, machine } from './actors'
import { createUpstream } from './adapters/fetchUpstream'
import { rejectedEvent } from './adapters/rejectedEvents'
import { ConnectionError } from './errors'
import { createInbox } from './inbox'
import { phase as phaseOf } from './machine/phase'
import type { ConnectionEvent } from './machine/types'
import { createNotifier } from './notifier'
import { readOptions } from './options'
import { createOutbox } from './outbox'
import { parseVerdicts } from './protocol'
import type {
  Connection,
  ConnectionActor,
  ConnectionOptions,
  ConnectionSnapshot,
  Delivery,
  InboundMessage,
  OutboundMessage,
  Typed,
} from './types'

/**
 * Makes a connection. It touches nothing before `connect()`.
 *
 * @throws {ConnectionError} `invalid-option`; the message names the option.
 */
export function createConnection<
  Inbound extends InboundMessage = InboundMessage,
  Outbound extends Typed = OutboundMessage,
>(options: ConnectionOptions): Connection<Inbound, Outbound> {
  const settings = readOptions(options)
  const { clock, timeouts, backoff, random } = settings
  let isDisposed = false
  let retryAt: number | null = null

  const notifier = createNotifier((): ConnectionSnapshot => {
    const { connectionId, attempt, lastError } = context()
    return { phase: phase(), connectionId, attempt, retryAt, pending: outbox.size, lastError }
  })
  const actor = createActor(machine, { input: { backoff, timeouts, random }, clock, inspect })
  const context = () => actor.getSnapshot().context
  const phase = () => phaseOf(actor.getSnapshot())

  const upstream = createUpstream({ ...settings, context: () => context() })
  const inbox = createInbox({
    clock,
    dedupe: settings.dedupe,
    cursors: settings.cursors,
    report,
    tell: (news) => notifier.tell('session', news),
    onHole: resumeLeftOvers,
  })
  const outbox = createOutbox({
    upstream,
    settings,
    onChange({ id, status, message }) {
      notifier.note('delivery', { id, status, message })
      notifier.publishSoon()
    },
    onDisowned: (error) =>
      command({ type: error.status === 404 ? 'upstream.disowned' : 'upstream.unauthorized', error }),
  })

  function report(error: ConnectionError) {
    notifier.tell('error', { error })
  }

  function command(event: ConnectionEvent) {
    if (!isDisposed) actor.send(event)
  }

  function inspect(event: InspectionEvent) {
    const refused = rejectedEvent(event)
    if (refused !== undefined) notifier.note('rejected', { event: refused, phase: phase() })
    try {
      if (typeof settings.inspect === 'function') settings.inspect(event)
      else settings.inspect?.next?.(event)
    } catch (cause) {
      report(new ConnectionError('listener-failed', 'inspect threw', { cause }))
    }
  }

  function resumeLeftOvers() {
    // In every other phase the resume that is due, or under way, takes them along.
    if (phase() === 'open') command({ type: 'stream.gapped', cursors: inbox.leftOvers() })
  }

  const { suspend } = bindActors(actor.system, { settings, upstream, inbox, outbox, context })

  actor.on('*', (fact) => {
    if (fact.type === 'closed') {
      const { type, ...closed } = fact
      notifier.note('closed', closed)
    } else if (fact.type === 'stopped') notifier.note('stopped', { error: fact.error })
    else {
      const sessions = inbox.cursors().map(({ sessionId }) => sessionId)
      notifier.note('opened', { connectionId: fact.connectionId, sessions })
    }
  })
  actor.subscribe({
    next(snapshot) {
      if (!snapshot.hasTag('backoff')) retryAt = null
      else retryAt ??= clock.now() + snapshot.context.delay
      notifier.publish()
    },
    error: (cause) => report(new ConnectionError('internal', 'the machine stopped', { cause })),
  })
  actor.start()

  function dispose() {
    if (isDisposed) return
    command({ type: 'disconnect' })
    isDisposed = true
    outbox.retire()
    actor.stop()
  }

  return {
    connect: () => command({ type: 'connect' }),
    disconnect: () => command({ type: 'disconnect' }),
    reconnect: () => command({ type: 'reconnect' }),
    wake: ({ awayFor = 0 } = {}) => command({ type: 'wake', awayFor }),
    dispose,
    [Symbol.dispose]: dispose,

    get phase() {
      return phase()
    },
    get isOpen() {
      return phase() === 'open'
    },
    get connectionId() {
      return context().connectionId
    },
    get lastError() {
      return context().lastError
    },
    get attempt() {
      return context().attempt
    },
    get retryAt() {
      return retryAt
    },

    send: (message, options) => outbox.enqueue(message, options) as Delivery<Outbound>,
    get pending() {
      return outbox.pending() as readonly Delivery<Outbound>[]
    },
    clearOutbox: () => outbox.clear(),

    watch(sessionId, { after } = {}) {
      if (!inbox.watch(sessionId, after)) return
      if (!context().features.includes('watch-replay')) return resumeLeftOvers()
      // A resume that comes first attaches the session too: then there is nothing left to post.
      const body = () => (inbox.wants(sessionId) ? JSON.stringify({ type: 'watch', ...inbox.cursor(sessionId) }) : '')
      outbox.post('watch', body, (verdict) => {
        if (verdict.status === 'accepted') inbox.attached(sessionId, parseVerdicts(verdict.receipt))
        else resumeLeftOvers()
      })
    },
    unwatch(sessionId) {
      inbox.unwatch(sessionId)
      const body = () => (inbox.cursor(sessionId) ? '' : JSON.stringify({ type: 'unwatch', sessionId }))
      outbox.post('unwatch', body, () => {})
    },
    cursor: (sessionId) => inbox.cursor(sessionId),
    get sessions() {
      return inbox.cursors()
    },

    on: (name, listener) =>
      name === 'message' ? inbox.listen(listener as never) : notifier.on(name, listener as never),
    suspend,
    actor: actor as unknown as ConnectionActor,
    subscribe: notifier.subscribe,
    getSnapshot: notifier.getSnapshot,
  }
}
