import { type AnyActorRef, type EventObject, fromCallback } from 'xstate'
import { openEventSource } from './adapters/eventSourceStream'
import type { Upstream } from './adapters/fetchUpstream'
import { watchSilence } from './adapters/silence'
import { ConnectionError } from './errors'
import type { Inbox } from './inbox'
import { connectionMachine, type ProbeInput, type ResumeInput } from './machine/connectionMachine'
import { outboxMachine, type PosterEvent } from './machine/outboxMachine'
import type { ConnectionContext, ConnectionEvent, OutboxEvent } from './machine/types'
import type { Settings } from './options'
import type { Outbox } from './outbox'
import { isObject, parseVerdicts, parseWelcome } from './protocol'

type Tell<Event extends EventObject = ConnectionEvent> = (event: Event) => void

/** What the actors of one connection do. Each returns what undoes it, and is silent afterwards. */
interface Actors {
  pageLifecycle(tell: Tell): () => void
  poster(tell: Tell<OutboxEvent>, listen: (listener: (event: PosterEvent) => void) => void): () => void
  eventStream(tell: Tell): () => void
  resume(tell: Tell, input: ResumeInput): () => void
  probe(tell: Tell, input: ProbeInput): () => void
}

// One provided machine serves all connections: providing actors per connection would copy the whole chart, 23 KiB each.
// An actor finds its connection by the actor system that it lives in.
const actorsOf = new WeakMap<AnyActorRef['system'], Actors>()
const actors = (system: AnyActorRef['system']): Actors => {
  const found = actorsOf.get(system)
  if (!found) throw new Error('this actor system belongs to no connection')
  return found
}

/** The machine with its real actors. */
export const machine = connectionMachine.provide({
  actors: {
    pageLifecycle: fromCallback(({ sendBack, system }) => actors(system).pageLifecycle(sendBack)),
    outbox: outboxMachine.provide({
      actors: {
        poster: fromCallback(({ sendBack, receive, system }) => actors(system).poster(sendBack, receive as never)),
      },
    }),
    eventStream: fromCallback(({ sendBack, system }) => actors(system).eventStream(sendBack)),
    resume: fromCallback<EventObject, ResumeInput>(({ sendBack, system, input }) =>
      actors(system).resume(sendBack, input),
    ),
    probe: fromCallback<EventObject, ProbeInput>(({ sendBack, system, input }) =>
      actors(system).probe(sendBack, input),
    ),
  },
})

export interface World {
  readonly settings: Settings
  readonly upstream: Upstream
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly context: () => ConnectionContext
}

/** Gives the actors of one connection something to work on. To be called before the first of them starts. */
export function bindActors(system: AnyActorRef['system'], world: World) {
  const { settings, upstream, inbox, outbox, context } = world
  const { url, clock, timeouts } = settings

  /** Exists while the connection is active. */
  let suspension: AbortController | null = null

  function suspend() {
    const { connectionId } = context()
    const sessions = inbox.cursors()
    if (!suspension || connectionId === null || sessions.length === 0) return
    const message = { type: 'session_suspend', sessions }
    if (!('keepalive' in Request.prototype)) {
      upstream.beacon('suspend', JSON.stringify({ ...message, connectionId }))
      return
    }
    // Best effort: the page may be gone before an answer comes.
    upstream
      .post({ endpoint: 'suspend', body: JSON.stringify(message), abort: suspension, keepalive: true })
      .catch(() => {})
  }

  actorsOf.set(system, {
    pageLifecycle(tell) {
      suspension = new AbortController()
      const unsubscribe = settings.pageLifecycle?.subscribe((signal) => {
        if (signal.type === 'suspend') suspend()
        else if (signal.type === 'wake') tell({ type: 'wake', awayFor: Number(signal.awayFor) || 0 })
        else if (signal.type === 'reconnect') tell({ type: 'reconnect' })
      })
      return () => {
        unsubscribe?.()
        suspension?.abort()
        suspension = null
      }
    },

    poster(tell, listen) {
      listen(({ type }) => {
        if (type === 'stop') outbox.stop()
        else outbox.start({ features: context().features, pause: (delay) => tell({ type: 'pause', delay }) })
      })
      return () => {
        outbox.stop()
        outbox.abort()
        inbox.rest()
      }
    },

    eventStream(tell) {
      let stopWatchdog = () => {}
      const fail = (error: ConnectionError) => {
        stopWatchdog()
        const isRefused = error.code === 'unauthorized' && context().connectionId === null
        tell({ type: isRefused ? 'stream.unauthorized' : 'stream.failed', error })
      }
      const setup = { withCredentials: settings.credentials === 'include', fetch: upstream.streamFetch }
      const close = openEventSource(settings.createEventSource, `${url}/events`, setup, {
        opened: () => tell({ type: 'stream.opened' }),
        failed: fail,
        welcomed(data) {
          const welcome = parseWelcome(data)
          if (!welcome) {
            close()
            fail(new ConnectionError('bad-welcome', 'malformed, or of another protocol version'))
            return
          }
          const { connectionId, features } = welcome
          const heartbeat = welcome.heartbeat ?? settings.heartbeat ?? null
          const cursors = inbox.welcome(features.includes('contiguous-seq'))
          stopWatchdog()
          if (heartbeat !== null) {
            const silent = () => {
              const error = new ConnectionError('stream-silent', 'no sign of life on the stream')
              tell({ type: 'stream.silent', error })
            }
            stopWatchdog = watchSilence(clock, 2 * heartbeat, () => inbox.lastSign, silent)
          }
          tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
        },
        received(data) {
          const control = inbox.receive(data)
          if (!control) return
          const { type } = control
          if (type === 'probe') tell({ type: 'stream.probed', nonce: control.nonce })
          else if (type === 'goodbye') {
            const { retryAfter, spread } = control
            const error = new ConnectionError('goodbye', 'the server asked to come back later')
            tell({ type: 'stream.drained', delay: { retryAfter, spread }, error })
          } else if (type === 'reconnected') {
            inbox.judge(control.resumeId, control.sessions)
            tell({ type: 'stream.replayed', resumeId: control.resumeId ?? null, leftOvers: inbox.leftOvers() })
          }
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
      upstream.post({ endpoint: 'reconnect', body, abort }).then(({ json, readable }) => {
        if (abort.signal.aborted) return
        if (!readable || (isObject(json) && json.ok === false)) {
          fail(new ConnectionError('bad-response', 'a 2xx that does not confirm the resume'))
          return
        }
        inbox.judge(resumeId, parseVerdicts(json))
        const answeredAt = clock.now()
        stopWatching = watchSilence(
          clock,
          timeouts.resume,
          () => Math.max(answeredAt, inbox.lastSign),
          () => fail(new ConnectionError('timeout', 'the replay stalled')),
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
      upstream.post({ endpoint: 'probe', body, abort }).catch((error: ConnectionError) => {
        if (abort.signal.aborted) return
        if (error.status === 404) tell({ type: 'upstream.disowned', error })
        if (error.status === 401) tell({ type: 'upstream.unauthorized', error })
      })
      return () => abort.abort()
    },
  })

  return { suspend }
}
