import { type AnyActorRef, createActor, type EventObject, fromCallback, type InspectionEvent } from 'xstate'
import { openEventSource } from './adapters/eventSourceStream'
import { createUpstream } from './adapters/fetchUpstream'
import { rejectedEvent } from './adapters/rejectedEvents'
import { watchSilence } from './adapters/silence'
import { ConnectionError } from './errors'
import { createInbox } from './inbox'
import { connectionMachine, type ProbeInput, type ResumeInput } from './machine/connectionMachine'
import { outboxMachine, type PosterEvent } from './machine/outboxMachine'
import { phase as phaseOf } from './machine/phase'
import type { ConnectionEvent, OutboxEvent } from './machine/types'
import { createNotifier } from './notifier'
import { readOptions } from './options'
import { createOutbox, type Gate } from './outbox'
import { type Control, isObject, parseVerdicts, parseWelcome } from './protocol'
import type {
  Connection,
  ConnectionActor,
  ConnectionOptions,
  ConnectionSnapshot,
  Delivery,
  InboundMessage,
  OutboundMessage,
} from './types'
import { createWatching } from './watching'

type Tell<Event extends EventObject = ConnectionEvent> = (event: Event) => void

/** What the actors of one connection do. Each returns what undoes it. */
interface Ports {
  pageLifecycle(tell: Tell): () => void
  poster(tell: Tell<OutboxEvent>, listen: (listener: (event: PosterEvent) => void) => void): () => void
  eventStream(tell: Tell): () => void
  resume(tell: Tell, input: ResumeInput): () => void
  probe(tell: Tell, input: ProbeInput): () => void
}

// One provided machine serves all connections: providing actors per connection would copy the whole chart, 23 KiB each.
// An actor finds its connection by the actor system that it lives in.
const portsOf = new WeakMap<AnyActorRef['system'], Ports>()
const ports = (system: AnyActorRef['system']): Ports => {
  const found = portsOf.get(system)
  if (!found) throw new Error('this actor system belongs to no connection')
  return found
}

const machine = connectionMachine.provide({
  actors: {
    pageLifecycle: fromCallback(({ sendBack, system }) => ports(system).pageLifecycle(sendBack)),
    outbox: outboxMachine.provide({
      actors: {
        poster: fromCallback(({ sendBack, receive, system }) => ports(system).poster(sendBack, receive as never)),
      },
    }),
    eventStream: fromCallback(({ sendBack, system }) => ports(system).eventStream(sendBack)),
    resume: fromCallback<EventObject, ResumeInput>(({ sendBack, system, input }) =>
      ports(system).resume(sendBack, input),
    ),
    probe: fromCallback<EventObject, ProbeInput>(({ sendBack, system, input }) => ports(system).probe(sendBack, input)),
  },
})

/**
 * Makes a connection. It touches nothing before `connect()`.
 *
 * @throws {ConnectionError} `invalid-option`; the message names the option.
 */
export function createConnection<
  Inbound extends InboundMessage = InboundMessage,
  Outbound extends OutboundMessage = OutboundMessage,
>(options: ConnectionOptions): Connection<Inbound, Outbound> {
  const settings = readOptions(options)
  const { url, clock, timeouts, backoff, random } = settings
  let isDisposed = false
  let retryAt: number | null = null
  let suspension = new AbortController()

  const notifier = createNotifier((): ConnectionSnapshot => {
    const { connectionId, attempt, lastError } = context()
    return { phase: phase(), connectionId, attempt, retryAt, pending: outbox.size, lastError }
  })
  const actor = createActor(machine, { input: { backoff, timeouts, random }, clock, inspect })
  const context = () => actor.getSnapshot().context
  const phase = () => phaseOf(actor.getSnapshot())
  const report = (error: ConnectionError) => notifier.tell('error', { error })

  const upstream = createUpstream({ ...settings, attempt: () => context().attempt })
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
    clock,
    random,
    backoff,
    timeout: timeouts.send,
    endpoints: settings.endpoints,
    onChange({ id, status, message }) {
      notifier.note('delivery', { id, status, message })
      notifier.publishSoon()
    },
  })
  const watching = createWatching({ upstream, inbox, timeout: timeouts.send, onUnattached: resumeLeftOvers })

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

  function suspend() {
    const { connectionId } = context()
    const sessions = inbox.cursors()
    if (connectionId === null || sessions.length === 0) return
    const message = { type: 'session_suspend', sessions }
    if (!('keepalive' in Request.prototype)) {
      upstream.beacon('suspend', JSON.stringify({ ...message, connectionId }))
      return
    }
    const { signal } = suspension
    // Best effort: the page may be gone before an answer comes.
    upstream
      .post({ endpoint: 'suspend', body: JSON.stringify(message), connectionId, signal, keepalive: true })
      .catch(() => {})
  }

  portsOf.set(actor.system, {
    pageLifecycle(tell) {
      suspension = new AbortController()
      const unsubscribe = settings.pageLifecycle?.subscribe((signal) => {
        if (signal.type === 'suspend') suspend()
        else if (signal.type === 'wake') tell({ type: 'wake', awayFor: Number(signal.awayFor) || 0 })
        else if (signal.type === 'reconnect') tell({ type: 'reconnect' })
      })
      return () => {
        unsubscribe?.()
        suspension.abort()
      }
    },

    poster(tell, listen) {
      listen(({ type }) => {
        if (type === 'stop') {
          outbox.stop()
          watching.stop()
          return
        }
        const { connectionId, features } = context()
        const gate: Gate = {
          connectionId,
          features,
          pause: (delay) => tell({ type: 'pause', delay }),
          disowned: (error) => command({ type: 'upstream.disowned', error }),
          unauthorized: (error) => command({ type: 'upstream.unauthorized', error }),
        }
        outbox.start(gate)
        watching.start(gate)
      })
      return () => {
        watching.stop()
        outbox.stop()
        outbox.abort()
        inbox.rest()
      }
    },

    eventStream(tell) {
      let stopWatchdog = () => {}
      const fail = (error: ConnectionError) => {
        stopWatchdog()
        tell({ type: error.code === 'unauthorized' ? 'stream.unauthorized' : 'stream.failed', error })
      }
      const setup = { withCredentials: settings.credentials === 'include', fetch: upstream.streamFetch }
      const close = openEventSource(settings.createEventSource, `${url}/events`, setup, {
        opened: () => tell({ type: 'stream.opened' }),
        failed: fail,
        welcomed(data) {
          const welcome = parseWelcome(data)
          if (!welcome) {
            close()
            fail(new ConnectionError('bad-welcome', 'malformed, or of another protocol version', { retryable: true }))
            return
          }
          const { connectionId, features } = welcome
          const heartbeat = welcome.heartbeat ?? settings.heartbeat
          const cursors = inbox.welcome(features.includes('contiguous-seq'))
          watching.forget()
          stopWatchdog()
          if (heartbeat !== null) {
            const silent = () => {
              const error = new ConnectionError('stream-silent', 'no sign of life on the stream', { retryable: true })
              tell({ type: 'stream.silent', error })
            }
            stopWatchdog = watchSilence(clock, 2 * heartbeat, () => inbox.lastSign, silent)
          }
          tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
        },
        received(data) {
          const control = inbox.receive(data)
          if (control) obey(control, tell)
        },
      })
      return () => {
        close()
        stopWatchdog()
      }
    },

    resume(tell, { resumeId, cursors }) {
      const abort = new AbortController()
      let stopWatching = () => {}
      const fail = (error: ConnectionError) => {
        if (!abort.signal.aborted) tell({ type: 'resume.failed', error })
      }
      inbox.beginResume(resumeId, cursors)
      const body = JSON.stringify({ type: 'reconnect', resumeId, sessions: cursors })
      upstream
        .post({ endpoint: 'reconnect', body, connectionId: context().connectionId, signal: abort.signal })
        .then(({ json, readable }) => {
          if (abort.signal.aborted) return
          if (!readable || (isObject(json) && json.ok === false)) {
            fail(new ConnectionError('bad-response', 'a 2xx that does not confirm the resume', { retryable: true }))
            return
          }
          if (isObject(json)) inbox.judge(resumeId, parseVerdicts(json.sessions))
          const answeredAt = clock.now()
          stopWatching = watchSilence(
            clock,
            timeouts.resume,
            () => Math.max(answeredAt, inbox.lastSign),
            () => fail(new ConnectionError('timeout', 'the replay stalled', { retryable: true })),
          )
          tell({ type: 'resume.succeeded', leftOvers: inbox.leftOvers() })
        }, fail)
      return () => {
        abort.abort()
        stopWatching()
      }
    },

    probe(tell, { nonce }) {
      const abort = new AbortController()
      const body = JSON.stringify({ type: 'probe', nonce })
      upstream
        .post({ endpoint: 'probe', body, connectionId: context().connectionId, signal: abort.signal })
        .catch((error: ConnectionError) => {
          if (abort.signal.aborted) return
          if (error.status === 404) tell({ type: 'upstream.disowned', error })
          if (error.status === 401) tell({ type: 'upstream.unauthorized', error })
        })
      return () => abort.abort()
    },
  })

  function obey(control: Control, tell: Tell) {
    switch (control.type) {
      case 'probe':
        tell({ type: 'stream.probed', nonce: control.nonce })
        break
      case 'reconnected':
        inbox.judge(control.resumeId, control.sessions)
        tell({ type: 'stream.replayed', resumeId: control.resumeId ?? null, leftOvers: inbox.leftOvers() })
        break
      case 'goodbye': {
        const error = new ConnectionError('goodbye', 'the server asked to come back later', { retryable: true })
        tell({ type: 'stream.drained', delay: { retryAfter: control.retryAfter, spread: control.spread }, error })
        break
      }
    }
  }

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
      if (inbox.watch(sessionId, after)) watching.wish(sessionId, 'watch')
    },
    unwatch(sessionId) {
      inbox.unwatch(sessionId)
      watching.wish(sessionId, 'unwatch')
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
