import { describe, expect, test, vi } from 'vitest'
import { assign, createActor, type EventObject, fromCallback, type InspectionEvent, setup } from 'xstate'
import { connectionMachine } from '../../machine'
import { fakeClock } from '../../testing/harness/fakeClock'
import { Recorder } from '../../trace/recorder'
import { connect, opened, POLICY, reconnect, silent, succeeded, wake, welcome } from '../support/machine'

const child = setup({ types: {} as { events: { type: 'poke' } } }).createMachine({ initial: 'a', states: { a: {} } })

/**
 * One event for each way in which a machine can take one, and `refuse`, which it takes in no way.
 */
const machine = setup({
  types: {} as {
    context: { count: number }
    events: { type: 'move' | 'loop' | 'reenter' | 'act' | 'count' | 'ask' | 'refuse' | 'forbid' | 'chain' | 'fail' }
  },
  actors: {
    child,
    broken: fromCallback(() => {
      throw new Error('boom')
    }),
  },
  actions: { act: () => {}, count: assign({ count: ({ context }) => context.count + 1 }) },
  guards: { never: () => false },
  delays: { tick: 1 },
}).createMachine({
  context: { count: 0 },
  invoke: { src: 'child', id: 'child' },
  initial: 'here',
  states: {
    here: {
      on: {
        move: { target: 'there' },
        loop: { target: 'here' },
        reenter: { target: 'here', reenter: true },
        act: { actions: 'act' },
        count: { actions: 'count' },
        ask: { guard: 'never', target: 'there' },
        chain: { target: 'passing' },
        fail: { target: 'failing' },
      },
    },
    there: {},
    passing: { always: { target: 'there' } },
    failing: {
      invoke: { src: 'broken', id: 'broken', onError: { target: 'there' } },
      on: { refuse: { target: 'there' } },
    },
  },
})

/** The types of the events that the root machine refused. */
function refusals(inspected: readonly InspectionEvent[]) {
  const recorder = new Recorder(fakeClock(), Number.POSITIVE_INFINITY)
  return inspected.map((event) => recorder.note(event)).filter((type) => type !== undefined)
}

function watch() {
  const inspected: InspectionEvent[] = []
  const actor = createActor(machine, { inspect: (event) => inspected.push(event) }).start()
  return {
    actor,
    inspected,
    get rejected() {
      return refusals(inspected)
    },
  }
}

describe('a rejected event is exactly a microstep in which no transition was taken', () => {
  test('an event that the state does not handle', () => {
    const watched = watch()
    watched.actor.send({ type: 'refuse' })
    expect(watched.rejected).toEqual(['refuse'])
    const [microstep, ...more] = watched.inspected.filter(
      (event) => event.type === '@xstate.microstep' && event.event.type === 'refuse',
    )
    expect(more).toEqual([])
    expect(microstep).toMatchObject({ type: '@xstate.microstep', _transitions: [] })
  })

  test('not one that the chart has no word for: it is none of the lifecycle, and its name may be a secret', () => {
    const watched = watch()
    watched.actor.send({ type: 'secret' } as never)
    expect(watched.rejected).toEqual([])
  })

  test('an event whose guards all say no', () => {
    const watched = watch()
    watched.actor.send({ type: 'ask' })
    expect(watched.rejected).toEqual(['ask'])
  })

  test('an event that only another state would take, as often as it comes', () => {
    const watched = watch()
    for (const type of ['move', 'move', 'loop', 'move'] as const) watched.actor.send({ type })
    expect(watched.rejected).toEqual(['move', 'loop', 'move'])
  })

  test.each(['move', 'loop', 'reenter', 'act', 'count', 'chain', 'fail'] as const)(
    '`%s` is taken, and so is what follows from it',
    (type) => {
      const watched = watch()
      watched.actor.send({ type })
      expect(watched.rejected).toEqual([])
    },
  )

  test('start and stop are none', () => {
    const watched = watch()
    watched.actor.stop()
    expect(watched.rejected).toEqual([])
  })

  test('an actor that fails without onError is none', () => {
    const inspected: InspectionEvent[] = []
    const failing = setup({
      actors: {
        broken: fromCallback(() => {
          throw new Error('boom')
        }),
      },
    }).createMachine({ invoke: { src: 'broken' } })
    const actor = createActor(failing, { inspect: (event) => inspected.push(event) })
    actor.subscribe({ error: () => {} })
    actor.start()
    expect(actor.getSnapshot().status).toBe('error')
    expect(refusals(inspected)).toEqual([])
  })

  test('what a child refuses is not reported: it is not the line that refused it', () => {
    const watched = watch()
    watched.actor.send({ type: 'act' })
    const ref = watched.actor.getSnapshot().children.child
    ref?.send({ type: 'poke' })
    expect(watched.inspected).toContainEqual(
      expect.objectContaining({ type: '@xstate.microstep', actorRef: ref, _transitions: [] }),
    )
    expect(watched.rejected).toEqual([])
  })

  test('an event to an actor that has stopped is none', () => {
    const watched = watch()
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    watched.actor.stop()
    watched.actor.send({ type: 'refuse' })
    warn.mockRestore()
    expect(watched.rejected).toEqual([])
  })
})

test('the connection: what its current state has no use for is reported, nothing else', () => {
  const inspected: InspectionEvent[] = []
  const silentActor = fromCallback<EventObject, undefined>(() => {})
  const actor = createActor(
    connectionMachine.provide({
      actors: {
        pageLifecycle: silentActor,
        eventStream: silentActor,
        resume: silentActor as never,
        probe: silentActor as never,
        outbox: setup({}).createMachine({}) as never,
      },
    }),
    {
      input: POLICY,
      inspect: (event) => inspected.push(event),
    },
  ).start()
  for (const event of [wake(), connect, connect, opened, opened, silent, welcome(), succeeded(), wake(), reconnect]) {
    actor.send(event)
  }
  expect(refusals(inspected)).toEqual(['wake', 'connect', 'stream.opened', 'stream.silent', 'resume.succeeded', 'wake'])
  actor.stop()
})
