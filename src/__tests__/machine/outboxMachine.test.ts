import { describe, expect, test } from 'vitest'
import { assign, createActor, type EventObject, fromCallback, setup } from 'xstate'
import { type OutboxEvent, outboxMachine, type PosterEvent } from '../../machine'

function startOutbox() {
  const told: string[] = []
  let tell: (event: EventObject) => void = () => {}
  let isPosterAlive = false
  const machine = outboxMachine.provide({
    actors: {
      poster: fromCallback(({ receive, sendBack }) => {
        isPosterAlive = true
        tell = sendBack
        receive(({ type }) => told.push(type))
        return () => {
          isPosterAlive = false
        }
      }),
    },
  })
  const refused: string[] = []
  const actor = createActor(machine, {
    inspect: (event) => {
      if (event.type === '@xstate.microstep' && event._transitions.length === 0) refused.push(event.event.type)
    },
  }).start()
  return {
    actor,
    told,
    refused,
    tellAsPoster: (event: OutboxEvent) => tell(event),
    get state(): Gate {
      const { value } = actor.getSnapshot()
      return typeof value === 'string' ? value : value.released
    },
    get isPosterAlive() {
      return isPosterAlive
    },
  }
}
type Gate = 'held' | 'suspended' | 'flowing' | 'pausing'

const RELEASE: OutboxEvent = { type: 'release' }
const HOLD: OutboxEvent = { type: 'hold' }
const SUSPEND: OutboxEvent = { type: 'suspend' }
const PAUSE: OutboxEvent = { type: 'pause' }
const FLOW: OutboxEvent = { type: 'flow' }
const PATHS: Record<Gate, readonly OutboxEvent[]> = {
  held: [],
  suspended: [RELEASE, SUSPEND],
  flowing: [RELEASE],
  pausing: [RELEASE, PAUSE],
}
const START: PosterEvent['type'] = 'start'
const STOP: PosterEvent['type'] = 'stop'
const AWAIT: PosterEvent['type'] = 'suspend'

describe('the gate', () => {
  test('is held at first: nothing is posted before the first release', () => {
    const { state, told, isPosterAlive } = startOutbox()
    expect([state, told, isPosterAlive]).toEqual(['held', [], true])
  })

  test.each<[Gate, OutboxEvent, Gate | 'refused', readonly string[]]>([
    ['held', RELEASE, 'flowing', [START]],
    ['held', HOLD, 'held', []],
    ['held', PAUSE, 'refused', []],
    ['held', FLOW, 'refused', []],
    ['held', SUSPEND, 'suspended', [AWAIT]],
    ['suspended', RELEASE, 'refused', []],
    ['suspended', HOLD, 'held', [STOP]],
    ['suspended', SUSPEND, 'suspended', [STOP, AWAIT]],
    ['suspended', PAUSE, 'refused', []],
    ['suspended', FLOW, 'refused', []],
    ['flowing', RELEASE, 'refused', []],
    ['flowing', SUSPEND, 'suspended', [STOP, AWAIT]],
    ['flowing', HOLD, 'held', [STOP]],
    ['flowing', PAUSE, 'pausing', []],
    ['flowing', FLOW, 'refused', []],
    ['pausing', RELEASE, 'refused', []],
    ['pausing', HOLD, 'held', [STOP]],
    ['pausing', SUSPEND, 'suspended', [STOP, AWAIT]],
    ['pausing', PAUSE, 'refused', []],
    ['pausing', FLOW, 'flowing', []],
  ])('%s, %o → %s', (from, event, to, told) => {
    const outbox = startOutbox()
    for (const before of PATHS[from]) outbox.actor.send(before)
    expect(outbox.state).toBe(from)
    outbox.told.length = 0

    outbox.actor.send(event)
    expect(outbox.state).toBe(to === 'refused' ? from : to)
    expect(outbox.refused).toEqual(to === 'refused' ? [event.type] : [])
    expect(outbox.told).toEqual(told)
  })

  test('is paused by the poster itself', () => {
    const outbox = startOutbox()
    outbox.actor.send(RELEASE)
    outbox.tellAsPoster(PAUSE)
    expect(outbox.state).toBe('pausing')
    expect(outbox.told).toEqual([START])
  })

  test('is not opened by a pause that the poster tells too late', () => {
    const outbox = startOutbox()
    for (const event of [RELEASE, HOLD]) outbox.actor.send(event)
    outbox.tellAsPoster(PAUSE)
    expect(outbox.state).toBe('held')
    expect(outbox.told).toEqual([START, STOP])
  })

  test('held leaves the poster alive, so that a POST in flight may settle; the end of the machine ends it', () => {
    const outbox = startOutbox()
    for (const event of [RELEASE, HOLD]) outbox.actor.send(event)
    expect(outbox.isPosterAlive).toBe(true)
    outbox.actor.stop()
    expect(outbox.isPosterAlive).toBe(false)
  })
})

describe('a poster that throws', () => {
  function hear(poster: Parameters<typeof fromCallback>[0]) {
    const heard: unknown[] = []
    const outbox = outboxMachine.provide({ actors: { poster: fromCallback(poster) } })
    const parent = setup({
      actors: { outbox },
      actions: { hear: (_, params: { error: unknown }) => heard.push(params.error) },
    }).createMachine({
      initial: 'alive',
      states: {
        alive: {
          invoke: {
            src: 'outbox',
            id: 'outbox',
            onError: { target: 'over', actions: { type: 'hear', params: ({ event }) => ({ error: event.error }) } },
          },
        },
        over: {},
      },
    })
    const actor = createActor(parent).start()
    return { heard, actor }
  }
  const BOOM = new Error('boom')

  test('at its start reaches the parent’s onError, with what it threw', () => {
    const { heard, actor } = hear(() => {
      throw BOOM
    })
    expect([heard, actor.getSnapshot().value]).toEqual([[BOOM], 'over'])
  })

  test('when it is told to start reaches the parent’s onError, with what it threw', () => {
    const { heard, actor } = hear(({ receive }) => {
      receive(() => {
        throw BOOM
      })
    })
    expect(heard).toEqual([])
    actor.getSnapshot().children.outbox?.send(RELEASE)
    expect([heard, actor.getSnapshot().value, actor.getSnapshot().status]).toEqual([[BOOM], 'over', 'active'])
  })

  test('is what a machine without one has, and says so', () => {
    const parent = setup({ actors: { outbox: outboxMachine } }).createMachine({
      context: { error: undefined },
      initial: 'alive',
      states: {
        alive: {
          invoke: {
            src: 'outbox',
            id: 'outbox',
            onError: { target: 'over', actions: assign({ error: ({ event }) => event.error }) },
          },
        },
        over: {},
      },
    })
    const { value, context } = createActor(parent).start().getSnapshot()
    expect(value).toBe('over')
    expect(context.error).toEqual(new Error('actor "poster" is not provided'))
  })
})
