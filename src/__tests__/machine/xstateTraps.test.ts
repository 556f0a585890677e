import { describe, expect, test } from 'vitest'
import { type ActorOptions, type AnyStateMachine, assign, createActor, emit, fromCallback, sendTo, setup } from 'xstate'
import { fakeClock } from '../../testing/harness/fakeClock'

/** Started, with time that stands still, and an ear for what kills it. */
function start<Machine extends AnyStateMachine>(machine: Machine) {
  const clock = fakeClock()
  const errors: unknown[] = []
  const actor = createActor(machine, { clock } as ActorOptions<Machine>)
  actor.subscribe({ error: (error) => errors.push(error) })
  actor.start()
  return { actor, clock, errors }
}
const BOOM = new Error('boom')

/** An actor that writes down that it came and went. */
const resource = (log: string[], name = 'resource') =>
  fromCallback(() => {
    log.push(`+${name}`)
    return () => {
      log.push(`-${name}`)
    }
  })

describe('a delay', () => {
  test('that is misspelt fires at once: hence the shape test', () => {
    const machine = setup({ delays: { retryDelay: 30_000 } }).createMachine({
      initial: 'waiting',
      states: { waiting: { after: { retryDelya: { target: 'storming' } } as never }, storming: {} },
    })
    const { actor, clock } = start(machine)
    clock.advance(0)
    expect(actor.getSnapshot().value).toBe('storming')
  })

  test('is read once, on entry, and sees the assign of the same entry', () => {
    const machine = setup({
      types: {} as { context: { delay: number }; events: { type: 'change' } },
      actions: { draw: assign({ delay: 100 }), change: assign({ delay: 5_000 }) },
      delays: { drawnDelay: ({ context }) => context.delay },
    }).createMachine({
      context: { delay: 1 },
      initial: 'waiting',
      states: {
        waiting: {
          entry: 'draw',
          on: { change: { actions: 'change' } },
          after: { drawnDelay: { target: 'done' } },
        },
        done: {},
      },
    })
    const { actor, clock } = start(machine)
    expect(clock.pending).toEqual([100])
    actor.send({ type: 'change' })
    expect(actor.getSnapshot().context.delay).toBe(5_000)
    expect(clock.pending).toEqual([100])
    clock.advance(99)
    expect(actor.getSnapshot().value).toBe('waiting')
    clock.advance(1)
    expect(actor.getSnapshot().value).toBe('done')
  })

  test('whose state is left has no timer any more', () => {
    const machine = setup({ delays: { longDelay: 30_000 } }).createMachine({
      initial: 'waiting',
      on: { leave: { target: '.away' } },
      states: { waiting: { after: { longDelay: { target: 'away' } } }, away: {} },
    })
    const { actor, clock } = start(machine)
    expect(clock.pending).toEqual([30_000])
    actor.send({ type: 'leave' })
    expect(clock.pending).toEqual([])
  })

  test('is not set again by restoring a snapshot: hence data is persisted, not the machine', () => {
    const machine = setup({ delays: { longDelay: 30_000 } }).createMachine({
      initial: 'waiting',
      states: { waiting: { after: { longDelay: { target: 'away' } } }, away: {} },
    })
    const { actor } = start(machine)
    const clock = fakeClock()
    createActor(machine, { snapshot: actor.getPersistedSnapshot(), clock }).start()
    expect(clock.pending).toEqual([])
  })
})

describe('an action that throws', () => {
  const machine = (log: string[]) =>
    setup({
      types: {} as { events: { type: 'act' | 'assign' | 'guard' } },
      actors: { resource: resource(log) },
      actions: {
        fail: () => {
          throw BOOM
        },
        failToAssign: assign(() => {
          throw BOOM
        }),
      },
      guards: {
        failToJudge: () => {
          throw BOOM
        },
      },
    }).createMachine({
      invoke: { src: 'resource' },
      on: {
        act: { actions: 'fail' },
        assign: { actions: 'failToAssign' },
        guard: { guard: 'failToJudge', actions: 'fail' },
      },
    })

  test.each(['act', 'assign', 'guard'] as const)('%s: ends the machine, and leaves its resources alive', (type) => {
    const log: string[] = []
    const { actor, errors } = start(machine(log))
    actor.send({ type })
    expect(actor.getSnapshot().status).toBe('error')
    expect(errors).toHaveLength(1)
    expect(log).toEqual(['+resource'])
  })

  test('in a machine that is invoked reaches the onError of the parent: what outboxMachine relies on', () => {
    const parent = setup({ actors: { child: machine([]) } }).createMachine({
      initial: 'alive',
      states: {
        alive: {
          invoke: { src: 'child', id: 'child', onError: { target: 'told' } },
          on: { poke: { actions: sendTo('child', { type: 'act' }) } },
        },
        told: {},
      },
    })
    const { actor, errors } = start(parent)
    actor.send({ type: 'poke' })
    expect([actor.getSnapshot().value, actor.getSnapshot().status, errors]).toEqual(['told', 'active', []])
  })
})

describe('a callback actor', () => {
  test('is never there twice: a re-entered state cleans up the old one before the new one starts', () => {
    const log: string[] = []
    const machine = setup({
      actors: { resource: resource(log) },
      actions: { enter: () => log.push('entry'), exit: () => log.push('exit'), move: () => log.push('transition') },
    }).createMachine({
      initial: 'in',
      on: { again: { target: '.in', actions: 'move' } },
      states: { in: { entry: 'enter', exit: 'exit', invoke: { src: 'resource' } } },
    })
    const { actor } = start(machine)
    log.length = 0
    actor.send({ type: 'again' })
    expect(log).toEqual(['exit', 'transition', 'entry', '-resource', '+resource'])
  })

  test('has nobody who hears it when its state is left', () => {
    let tell: (event: { type: 'late' }) => void = () => {}
    const machine = setup({
      actors: {
        resource: fromCallback<{ type: string }>(({ sendBack }) => {
          tell = sendBack
        }),
      },
    }).createMachine({
      initial: 'in',
      on: { leave: { target: '.out' }, late: { target: '.wrong' } },
      states: { in: { invoke: { src: 'resource' } }, out: {}, wrong: {} },
    })
    const { actor } = start(machine)
    actor.send({ type: 'leave' })
    tell({ type: 'late' })
    expect(actor.getSnapshot().value).toBe('out')
  })

  test('whose `receive` throws tells onError and never cleans up: hence such handlers must not throw', () => {
    const log: string[] = []
    const machine = setup({
      actors: {
        resource: fromCallback(({ receive }) => {
          receive(() => {
            throw BOOM
          })
          return () => {
            log.push('-resource')
          }
        }),
      },
    }).createMachine({
      initial: 'in',
      states: {
        in: {
          invoke: { src: 'resource', id: 'resource', onError: { target: 'out' } },
          on: { poke: { actions: sendTo('resource', { type: 'poke' }) } },
        },
        out: {},
      },
    })
    const { actor } = start(machine)
    actor.send({ type: 'poke' })
    expect([actor.getSnapshot().value, log]).toEqual(['out', []])
  })

  test('that fails without onError ends the machine: hence every invoke has one', () => {
    const machine = setup({
      actors: {
        resource: fromCallback(() => {
          throw BOOM
        }),
      },
    }).createMachine({ invoke: { src: 'resource' } })
    const { actor, errors } = start(machine)
    expect([actor.getSnapshot().status, errors]).toEqual(['error', [BOOM]])
  })
})

describe('stopping', () => {
  test('an actor runs the cleanups of what it invoked, and no exit actions: hence dispose disconnects first', () => {
    const log: string[] = []
    const machine = setup({
      actors: { resource: resource(log) },
      actions: { exit: () => log.push('exit') },
    }).createMachine({
      initial: 'in',
      exit: 'exit',
      states: { in: { exit: 'exit', invoke: { src: 'resource' } } },
    })
    const { actor } = start(machine)
    actor.stop()
    expect(log).toEqual(['+resource', '-resource'])
  })

  test('an actor cancels its timers', () => {
    const machine = setup({ delays: { longDelay: 30_000 } }).createMachine({
      initial: 'waiting',
      states: { waiting: { after: { longDelay: { target: 'away' } } }, away: {} },
    })
    const { actor, clock } = start(machine)
    actor.stop()
    expect(clock.pending).toEqual([])
  })

  test('is what an event called xstate.stop does: hence events are built by hand, not from JSON', () => {
    const { actor } = start(setup({}).createMachine({ on: { '*': { actions: () => {} } } }))
    actor.send({ type: 'xstate.stop' })
    expect(actor.getSnapshot().status).toBe('stopped')
  })
})

describe('an exit action', () => {
  test('runs before the actions of the transition: it sees the event and the old context', () => {
    const machine = setup({
      types: {} as {
        context: { why: string }
        events: { type: 'leave'; why: string }
        emitted: { type: 'left'; known: string; told: string }
      },
      actions: {
        record: assign({ why: (_, params: { why: string }) => params.why }),
        emitLeft: emit(({ context }, params: { told: string }) => ({
          type: 'left' as const,
          known: context.why,
          told: params.told,
        })),
      },
    }).createMachine({
      context: { why: 'old' },
      initial: 'in',
      states: {
        in: {
          exit: { type: 'emitLeft', params: ({ event }) => ({ told: event.why }) },
          on: {
            leave: { target: 'out', actions: { type: 'record', params: ({ event }) => ({ why: event.why }) } },
          },
        },
        out: {},
      },
    })
    const { actor } = start(machine)
    const heard: unknown[] = []
    actor.on('left', ({ known, told }) => heard.push({ known, told }))
    actor.send({ type: 'leave', why: 'new' })
    expect(heard).toEqual([{ known: 'old', told: 'new' }])
    expect(actor.getSnapshot().context.why).toBe('new')
  })

  test('of an inner state runs before that of an outer one', () => {
    const log: string[] = []
    const machine = setup({
      actions: { leaveInner: () => log.push('inner'), leaveOuter: () => log.push('outer') },
    }).createMachine({
      initial: 'outer',
      states: {
        outer: {
          exit: 'leaveOuter',
          on: { leave: { target: 'out' } },
          initial: 'inner',
          states: { inner: { exit: 'leaveInner' } },
        },
        out: {},
      },
    })
    start(machine).actor.send({ type: 'leave' })
    expect(log).toEqual(['inner', 'outer'])
  })

  test('that sends to a child reaches it, although the child is stopped in the same step: the outbox hears `hold`', () => {
    const log: string[] = []
    const machine = setup({
      actors: {
        outbox: fromCallback(({ receive }) => {
          receive(({ type }) => log.push(type))
          return () => {
            log.push('-outbox')
          }
        }),
      },
      actions: { hold: sendTo('outbox', { type: 'hold' }) },
    }).createMachine({
      initial: 'active',
      states: {
        active: {
          invoke: { src: 'outbox', id: 'outbox' },
          on: { disconnect: { target: 'idle' } },
          initial: 'open',
          states: { open: { exit: 'hold' } },
        },
        idle: {},
      },
    })
    const { actor, errors } = start(machine)
    actor.send({ type: 'disconnect' })
    expect([actor.getSnapshot().value, log, errors]).toEqual(['idle', ['hold', '-outbox'], []])
  })
})

test('what is emitted is heard when the snapshot is new, and before those who subscribed to it', () => {
  const machine = setup({
    types: {} as { events: { type: 'go' }; emitted: { type: 'went' } },
    actions: { emitWent: emit({ type: 'went' }) },
  }).createMachine({
    initial: 'here',
    states: { here: { on: { go: { target: 'there' } } }, there: { entry: 'emitWent' } },
  })
  const { actor } = start(machine)
  const order: unknown[] = []
  actor.on('went', () => order.push(['emitted', actor.getSnapshot().value]))
  actor.subscribe(({ value }) => order.push(['snapshot', value]))
  actor.send({ type: 'go' })
  expect(order).toEqual([
    ['emitted', 'there'],
    ['snapshot', 'there'],
  ])
})
