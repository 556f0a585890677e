import { assign, type EventObject, fromCallback, type NonReducibleUnknown, sendTo } from 'xstate'
import { setup } from './setup'
import type { OutboxEvent } from './types'

/** What the `poster` actor is told. */
export type PosterEvent = { type: 'start' } | { type: 'stop' }

/** A placeholder: createConnection provides the actor that does the work. */
export const notProvided = <Input = NonReducibleUnknown>() =>
  fromCallback<EventObject, Input>(({ self }) => {
    throw new Error(`actor "${self.id}" is not provided`)
  })

/** The event is what the action or the guard needs to know. */
export const withEvent = <Name extends string>(type: Name) => ({
  type,
  params: <Event>({ event }: { event: Event }) => event,
})

/**
 * The gate of the outbox: nothing is posted but in `flowing`. The queue is data and outlives it; what posts is `poster`,
 * which exists as long as this machine does, because a POST in flight may settle while the gate is held.
 */
export const outboxMachine = setup({
  types: {} as {
    context: { readonly delay: number }
    events: OutboxEvent
  },
  actors: {
    /** Told to `start` and to `stop`; tells `pause`. Its end aborts what is in flight. */
    poster: notProvided(),
  },
  actions: {
    startPosting: sendTo('poster', { type: 'start' } satisfies PosterEvent),
    stopPosting: sendTo('poster', { type: 'stop' } satisfies PosterEvent),
    recordDelay: assign({ delay: (_, params: { delay: number }) => params.delay }),
    // An action that throws fails this machine, and so reaches the `onError` of whoever invoked it.
    fail: (_, params: { error: unknown }) => {
      throw params.error
    },
  },
  delays: {
    retryDelay: ({ context }) => context.delay,
  },
}).createMachine({
  id: 'outbox',
  context: { delay: 0 },
  invoke: {
    src: 'poster',
    id: 'poster',
    onError: { actions: withEvent('fail') },
  },
  on: {
    hold: { target: '.held' },
  },

  initial: 'held',
  states: {
    held: {
      on: {
        release: { target: 'flowing' },
      },
    },
    flowing: {
      entry: 'startPosting',
      exit: 'stopPosting',
      on: {
        pause: { target: 'pausing', actions: withEvent('recordDelay') },
      },
    },
    pausing: {
      after: {
        retryDelay: { target: 'flowing' },
      },
    },
  },
})
