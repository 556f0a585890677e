import { type AnyActorRef, type EventObject, fromCallback, type NonReducibleUnknown } from 'xstate'
import type { ConnectionError } from '../errors'
import { connectionMachine } from '../machine/connectionMachine'
import { outboxMachine, type PosterEvent } from '../machine/outboxMachine'
import type { ConnectionEvent, OutboxEvent, ProbeInput, ResumeInput } from '../machine/types'
import type { Gate } from '../outbox/flight'
import { FACTS } from '../outbox/judge'
import { meaningOf } from '../protocol/status'
import { resume } from './resume'
import { openStream, type StreamParts } from './stream'

type Tell<Event extends EventObject = ConnectionEvent> = (event: Event) => void

// One provided machine serves all connections: providing actors per connection would copy the whole
// chart, 23 KiB each. An actor finds its connection by the actor system that it lives in, and its
// work by its id.
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

/**
 * Gives the actors of one connection something to work on. To be called before the first of them
 * starts.
 */
export const bindActors = (system: AnyActorRef['system'], parts: StreamParts) => actorsOf.set(system, new Actors(parts))

/**
 * What the actors of one connection do, by their ids. Each returns the function that undoes it;
 * XState silences it then.
 */
class Actors {
  readonly #parts: StreamParts
  /** How long the server remembers what it took, ms. */
  #receiptAge = Infinity

  constructor(parts: StreamParts) {
    this.#parts = parts
  }

  pageLifecycle(tell: Tell) {
    const { settings, carrier, farewell } = this.#parts
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
  }

  poster(tell: Tell<OutboxEvent>, listen: (listener: (event: PosterEvent) => void) => void) {
    const { inbox, outbox, line } = this.#parts
    const end = () => {
      outbox.hold()
      outbox.abort()
      inbox.rest()
    }
    listen(({ type }) => {
      if (type === 'stop') return outbox.hold()
      const { connectionId, features, resumes, trust } = line.context()
      try {
        const receiptAge = this.#receiptAge
        const isResumed = resumes > 0
        const gate: Gate = { connectionId, features, receiptAge, isResumed, trust, tell: (type) => tell({ type }) }
        if (type === 'start') outbox.start(gate)
        else outbox.suspend(gate)
      } catch (error) {
        // XState cleans nothing up after a listener that throws.
        end()
        throw error
      }
    })
    return end
  }

  eventStream(tell: Tell) {
    return openStream(this.#parts, tell, (receiptAge) => {
      this.#receiptAge = receiptAge
    })
  }

  resume(tell: Tell, input: ResumeInput) {
    return resume(this.#parts, tell, input)
  }

  probe(tell: Tell, { nonce }: ProbeInput) {
    const abort = new AbortController()
    const body = JSON.stringify({ type: 'probe', nonce })
    this.#parts.carrier.post('probe', body, abort).catch((error: ConnectionError) => {
      const type = FACTS[meaningOf(error.status)]
      if (type) tell({ type, error })
    })
    return () => abort.abort()
  }
}
