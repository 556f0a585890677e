import { type EventObject, fromCallback, type NonReducibleUnknown, sendTo } from 'xstate'
import { setup } from './setup'
import type { OutboxEvent } from './types'

/** The events of the `poster` actor. */
export type PosterEvent = { type: 'start' } | { type: 'stop' } | { type: 'suspend' }

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
 * The gate of the outbox. POSTs start in `released` only. In `suspended` the first message whose turn it is asks for a resume instead.
 * `pausing` tells that no queued message may leave before a delay has passed; the delays are kept by the lanes.
 *
 * The actor `poster` does the posting. It lives as long as this machine, and not in `released` alone, because a POST in flight may settle
 * while the gate is held. The queue is data, and outlives both.
 */
export const outboxMachine = setup({
  types: {} as {
    events: OutboxEvent
  },
  actors: {
    /** Told to `start`, to `stop` and to `suspend`; tells `pause` and `flow`. Its end aborts what is in flight. */
    poster: notProvided(),
  },
  actions: {
    startPosting: sendTo('poster', { type: 'start' } satisfies PosterEvent),
    stopPosting: sendTo('poster', { type: 'stop' } satisfies PosterEvent),
    suspendPosting: sendTo('poster', { type: 'suspend' } satisfies PosterEvent),
    // An action that throws fails this machine, and so reaches the `onError` of the machine that invoked it.
    fail: (_, params: { error: unknown }) => {
      throw params.error
    },
  },
}).createMachine({
  id: 'outbox',
  invoke: {
    src: 'poster',
    id: 'poster',
    onError: { actions: withEvent('fail') },
  },
  on: {
    hold: { target: '.held' },
    suspend: { target: '.suspended' },
  },

  initial: 'held',
  states: {
    held: {
      on: {
        release: { target: 'released' },
      },
    },
    suspended: {
      entry: 'suspendPosting',
      exit: 'stopPosting',
    },
    released: {
      entry: 'startPosting',
      exit: 'stopPosting',

      initial: 'flowing',
      states: {
        flowing: {
          on: {
            pause: { target: 'pausing' },
          },
        },
        pausing: {
          on: {
            flow: { target: 'flowing' },
          },
        },
      },
    },
  },
})
