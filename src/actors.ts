import { type AnyActorRef, type EventObject, fromCallback, type NonReducibleUnknown } from 'xstate'
import { watchSilence } from './adapters/silence'
import type { Carrier } from './adapters/transport'
import { ConnectionError } from './errors'
import { Farewell, type Line } from './farewell'
import type { Inbox } from './inbox/inbox'
import { connectionMachine, type ProbeInput, type ResumeInput } from './machine/connectionMachine'
import { outboxMachine, type PosterEvent } from './machine/outboxMachine'
import type { ConnectionEvent, OutboxEvent } from './machine/types'
import { MAX_DELAY, type Settings } from './options'
import { FACTS } from './outbox/judge'
import type { Outbox } from './outbox/outbox'
import { isObject, PROTOCOL_VERSION, parseVerdicts, parseWelcome } from './protocol'
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

const unanswered = (ms: number) =>
  new ConnectionError('probe-timeout', `nothing came on the suspended stream for ${ms} ms (timeouts.probe)`)

/** What the actors of one connection work on. */
interface ConnectionParts {
  readonly settings: Settings
  readonly carrier: Carrier
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly line: Line
}

/** Gives the actors of one connection something to work on. To be called before the first of them starts. */
export function bindActors(system: AnyActorRef['system'], { settings, carrier, inbox, outbox, line }: ConnectionParts) {
  const { clock } = settings
  const { context } = line
  const farewell = new Farewell(settings, carrier, inbox, line)
  /** How long a server that recognises a repeat remembers what it took, ms. */
  let receiptAge = Infinity

  actorsOf.set(system, {
    pageLifecycle(tell) {
      const unsubscribe = settings.pageLifecycle?.subscribe((signal) => {
        if (signal.type === 'suspend') farewell.say()
        else if (signal.type === 'wake') {
          carrier.check?.()
          tell({ type: 'wake', awayFor: Number(signal.awayFor) || 0 })
        } else if (signal.type === 'reconnect') tell({ type: 'reconnect' })
      })
      return () => {
        unsubscribe?.()
        farewell.end()
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
          outbox[type]({
            connectionId,
            features,
            receiptAge,
            isResumed: resumes > 0,
            trust,
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
          Object.assign(farewell, { connectionId, resumeId: null })
          tell({ type: 'stream.welcomed', connectionId, heartbeat, features, cursors })
        },
        message(data, json) {
          const control = inbox.receive(data, json)
          if (!control) return
          if (control.type === 'probe') tell({ type: 'stream.probed', nonce: control.nonce })
          if (control.type === 'goodbye') {
            const error = new ConnectionError('goodbye', 'the server asked to come back later')
            tell({ type: 'stream.drained', delay: control, error })
          }
          if (control.type === 'reconnected') {
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
      farewell.resumeId = resumeId
      const abort = new AbortController()
      const isAsleep = context().farewell === 'said'
      let isPosted = false
      let stopWatching = () => {}
      const fail = (error: ConnectionError) => tell({ type: 'resume.failed', error })
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
      const post = () => {
        if (abort.signal.aborted) return
        isPosted = true
        const body = JSON.stringify({ type: 'reconnect', resumeId, sessions: inbox.beginResume(resumeId, cursors) })
        carrier.post('reconnect', body, abort).then(succeed).catch(fail)
      }
      const before = inbox.signs()
      const isMarked = context().features.includes('replay-marker')
      const timer =
        isAsleep &&
        clock.setTimeout(() => {
          if (inbox.signs() === before && (isMarked || !isPosted)) fail(unanswered(settings.timeouts.probe))
        }, settings.timeouts.probe)
      // A server that detaches on a suspend may know no `resumeId`: one that it has not taken yet would undo the resume.
      if (isAsleep && farewell.over) farewell.over.then(post, post)
      else post()
      return () => {
        abort.abort()
        stopWatching()
        clock.clearTimeout(timer)
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

  return () => farewell.say()
}
