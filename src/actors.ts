import { type AnyActorRef, type EventObject, fromCallback, type NonReducibleUnknown } from 'xstate'
import { canRequest } from './adapters/fetchUpstream'
import { watchSilence } from './adapters/silence'
import type { Carrier } from './adapters/transport'
import { ConnectionError } from './errors'
import type { Inbox } from './inbox/inbox'
import { connectionMachine, type ProbeInput, type ResumeInput } from './machine/connectionMachine'
import { outboxMachine, type PosterEvent } from './machine/outboxMachine'
import type { ConnectionContext, ConnectionEvent, OutboxEvent } from './machine/types'
import { MAX_DELAY, type Settings } from './options'
import { sizeOf } from './outbox/batch'
import { FACTS } from './outbox/judge'
import type { Outbox } from './outbox/outbox'
import {
  type Cursor,
  isObject,
  MAX_SESSIONS_PER_RESUME,
  PROTOCOL_VERSION,
  parseVerdicts,
  parseWelcome,
} from './protocol'
import { meaningOf, REFUSALS } from './protocol/status'

type Tell<Event extends EventObject = ConnectionEvent> = (event: Event) => void

/** What the actors of one connection do. Each returns what undoes it; XState silences it then. */
interface Actors {
  pageLifecycle(tell: Tell): () => void
  poster(tell: Tell<OutboxEvent>, listen: (listener: (event: PosterEvent) => void) => void): () => void
  eventStream(tell: Tell): () => void
  resume(tell: Tell, input: ResumeInput): () => void
  probe(tell: Tell, input: ProbeInput): () => void
}

/**
 * [spec] Fetch: the bodies of all `keepalive` requests under way have 64 KiB together, a beacon's among them; one too many is a network
 * error. Half of it leaves room for the page's own.
 */
const MAX_SUSPEND_BYTES = 32_768

// One provided machine serves all connections: providing actors per connection would copy the whole chart, 23 KiB each.
// An actor finds its connection by the actor system that it lives in, and its work by its id.
const actorsOf = new WeakMap<AnyActorRef['system'], Actors>()
const bound = <Input = NonReducibleUnknown>() =>
  fromCallback<EventObject, Input>(({ self, system, sendBack, input, receive }) =>
    (actorsOf.get(system) as Actors)[self.id as keyof Actors](sendBack, (input ?? receive) as never),
  )

/** The machine with its real actors. */
export const machine = connectionMachine.provide({
  actors: {
    pageLifecycle: bound<undefined>(),
    outbox: outboxMachine.provide({ actors: { poster: bound() } }),
    eventStream: bound<undefined>(),
    resume: bound<ResumeInput>(),
    probe: bound<ProbeInput>(),
  },
})

/** What the actors of one connection work on. */
interface ConnectionParts {
  readonly settings: Settings
  readonly carrier: Carrier
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly context: () => ConnectionContext
}

/** Gives the actors of one connection something to work on. To be called before the first of them starts. */
export function bindActors(
  system: AnyActorRef['system'],
  { settings, carrier, inbox, outbox, context }: ConnectionParts,
) {
  const { clock } = settings
  /** Ends what is posted on behalf of the page. */
  let suspension: AbortController | undefined
  /** How long a server that recognises a repeat remembers what it took, ms. */
  let receiptAge = Infinity
  /** Of the last stream: an engine may end it before it says that the page goes away. */
  let lastId: string | null = null

  function suspend() {
    const connectionId = lastId
    const sessions: Cursor[] = []
    let room = MAX_SUSPEND_BYTES
    for (const cursor of inbox.cursors().slice(0, MAX_SESSIONS_PER_RESUME)) {
      room -= sizeOf(JSON.stringify(cursor))
      if (room >= 0) sessions.push(cursor)
    }
    if (!connectionId || !sessions.length) return
    // What the last one said is old.
    suspension?.abort()
    const abort = new AbortController()
    suspension = abort
    const message = { type: 'session_suspend', connectionId, sessions }
    const post = (keepalive: boolean) =>
      carrier.post('suspend', JSON.stringify(message), abort, {
        timeout: settings.timeouts.send,
        keepalive,
        // After an async hook the page may be back, on another stream.
        onStart() {
          if (lastId !== connectionId) throw new ConnectionError('cancelled', 'too late')
        },
      })
    // Best effort: the page may be gone before an answer comes. While it still lives, a POST that the quota was too small for leaves without it.
    if (canRequest('keepalive'))
      post(true)
        .catch(({ code }) => code === 'network' && !abort.signal.aborted && post(false))
        .catch(() => {})
    else if (carrier.beacon('suspend', JSON.stringify(message)) === false) post(false).catch(() => {})
  }

  actorsOf.set(system, {
    pageLifecycle(tell) {
      const unsubscribe = settings.pageLifecycle?.subscribe((signal) => {
        if (signal.type === 'suspend') suspend()
        else if (signal.type === 'wake') {
          carrier.check?.()
          tell({ type: 'wake', awayFor: Number(signal.awayFor) || 0 })
        } else if (signal.type === 'reconnect') tell({ type: 'reconnect' })
      })
      return () => {
        unsubscribe?.()
        suspension?.abort()
        lastId = null
      }
    },

    poster(tell, listen) {
      const end = () => {
        outbox.stop()
        outbox.abort()
        inbox.rest()
      }
      listen(({ type }) => {
        if (type === 'stop') return outbox.stop()
        const { connectionId, features, resumes, trust } = context()
        try {
          outbox.start({
            connectionId,
            features,
            receiptAge,
            isProven: resumes > 0,
            isDoubted: trust === 'lost',
            tell: (type) => tell({ type }),
          })
        } catch (error) {
          // XState cleans nothing up after a listener that throws.
          end()
          throw error
        }
      })
      return end
    },

    eventStream(tell) {
      let stopWatchdog = () => {}
      inbox.enterStream()
      const close = carrier.open({
        sign: inbox.sign,
        open: () => tell({ type: 'stream.opened' }),
        error(error) {
          // Once it was welcomed, that is how it ended.
          const isRefused = context().connectionId === null && REFUSALS.includes(error.code)
          tell({ type: isRefused ? 'stream.refused' : 'stream.failed', error })
        },
        welcome(data) {
          const welcome = parseWelcome(data)
          if (!welcome) {
            const why = `not a welcome of protocol ${PROTOCOL_VERSION}: ${data.slice(0, 200)}`
            return tell({ type: 'stream.failed', error: new ConnectionError('bad-welcome', why) })
          }
          const { heartbeat = settings.heartbeat ?? null, features } = welcome
          receiptAge = (features.includes('idempotency') && welcome.receiptAge) || Infinity
          const cursors = inbox.welcome(features.includes('contiguous-seq'))
          stopWatchdog()
          if (heartbeat) {
            const limit = Math.min(2 * heartbeat, MAX_DELAY)
            const why = `nothing came for ${limit} ms: a dead line, or a proxy that buffers`
            stopWatchdog = watchSilence(clock, limit, inbox.signs, () =>
              tell({ type: 'stream.silent', error: new ConnectionError('stream-silent', why) }),
            )
          }
          const { connectionId } = welcome
          lastId = connectionId
          tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
        },
        message(data, json) {
          const control = inbox.receive(data, json)
          if (control?.type === 'probe') tell({ type: 'stream.probed', nonce: control.nonce })
          if (control?.type === 'goodbye') {
            const error = new ConnectionError('goodbye', 'the server asked to come back later')
            tell({ type: 'stream.drained', delay: control, error })
          }
          if (control?.type === 'reconnected') {
            const { resumeId, sessions } = control
            if (resumeId !== undefined || context().resumes === 1) inbox.judge(resumeId, sessions)
            tell({
              type: 'stream.replayed',
              resumeId: resumeId ?? null,
              leftOvers: inbox.leftOvers(),
              hasHole: inbox.hasHole(),
            })
          }
        },
      })
      return () => {
        close()
        stopWatchdog()
        inbox.leaveStream()
        outbox.leaveStream()
      }
    },

    resume(tell, { resumeId, cursors }) {
      const abort = new AbortController()
      let stopWatching = () => {}
      const fail = (error: ConnectionError) => tell({ type: 'resume.failed', error })
      const sessions = inbox.beginResume(resumeId, cursors)
      const body = JSON.stringify({ type: 'reconnect', resumeId, sessions })
      const succeed = (json: unknown) => {
        if (abort.signal.aborted) return
        if (json === undefined || (isObject(json) && json.ok === false))
          return fail(
            new ConnectionError('bad-response', `POST reconnect: ${json ? 'ok: false' : 'no JSON'}`, { cause: json }),
          )
        inbox.judge(resumeId, parseVerdicts(json))
        if (abort.signal.aborted) return
        stopWatching = watchSilence(clock, settings.timeouts.resume, inbox.events, () =>
          fail(
            new ConnectionError('timeout', `the replay stalled for ${settings.timeouts.resume} ms (timeouts.resume)`),
          ),
        )
        tell({ type: 'resume.succeeded', leftOvers: inbox.leftOvers(), hasHole: inbox.hasHole() })
      }
      carrier.post('reconnect', body, abort).then(succeed).catch(fail)
      return () => {
        abort.abort()
        stopWatching()
      }
    },

    probe(tell, { nonce }) {
      const abort = new AbortController()
      const body = JSON.stringify({ type: 'probe', nonce })
      carrier.post('probe', body, abort).catch((error: ConnectionError) => {
        const type = FACTS[meaningOf(error.status)]
        if (type) tell({ type, error })
      })
      return () => abort.abort()
    },
  })

  return suspend
}
