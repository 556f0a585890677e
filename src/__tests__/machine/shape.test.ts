import { describe, expect, test } from 'vitest'
import {
  assign,
  createActor,
  emit,
  enqueueActions,
  fromCallback,
  raise,
  sendParent,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from 'xstate'
import { type ConnectionEvent, connectionMachine, type OutboxEvent, outboxMachine, type Phase } from '../../machine'
import { type Expected, type Shape, shapeFaults } from '../support/shape'

// `satisfies` keeps the lists and the unions the same.
const CONNECTION_EVENTS = Object.keys({
  connect: 1,
  disconnect: 1,
  reconnect: 1,
  wake: 1,
  'page.suspended': 1,
  'stream.opened': 1,
  'stream.welcomed': 1,
  'stream.replayed': 1,
  'stream.gapped': 1,
  'stream.reset': 1,
  'stream.probed': 1,
  'stream.drained': 1,
  'stream.failed': 1,
  'stream.silent': 1,
  'stream.refused': 1,
  'upstream.disowned': 1,
  'upstream.unauthorized': 1,
  'resume.succeeded': 1,
  'upstream.doubtful': 1,
  'upstream.proved': 1,
  'upstream.wanted': 1,
  'resume.failed': 1,
} satisfies Record<ConnectionEvent['type'], 1>)
const OUTBOX_EVENTS = Object.keys({ release: 1, hold: 1, suspend: 1, pause: 1, flow: 1 } satisfies Record<
  OutboxEvent['type'],
  1
>)
const PHASES = Object.keys({
  idle: 1,
  connecting: 1,
  awaitingWelcome: 1,
  reconnecting: 1,
  open: 1,
  backoff: 1,
} satisfies Record<Phase, 1>)

test('the connection machine is in house style', () => {
  expect(shapeFaults(connectionMachine, { events: CONNECTION_EVENTS, tags: PHASES })).toEqual([])
})

test('the outbox machine is in house style', () => {
  expect(shapeFaults(outboxMachine, { events: OUTBOX_EVENTS })).toEqual([])
})

// Plain data, so that every mistake can be planted: some of them would not compile, some XState
// itself refuses.
type Mistake = (parts: {
  /** The machine. */
  root: Record<string, unknown>
  off: Record<string, unknown>
  on: Record<string, unknown>
  /** Inside `on`. */
  dim: Record<string, unknown>
  invoke: Record<string, unknown>
  /** The one of `toggle` in `off`. */
  toggle: Record<string, unknown>
  actions: Record<string, unknown>
}) => void

const EXPECTED: Expected = { events: ['toggle', 'blink'], tags: ['dark', 'light'] }

function lamp(plant: Mistake = () => {}): Shape {
  const { implementations } = setup({
    types: {} as { context: { count: number }; events: { type: 'toggle' } | { type: 'blink' } },
    actors: { bulb: fromCallback(() => {}) },
    actions: {
      countToggle: assign({ count: ({ context }) => context.count + 1 }),
      lightUp: sendTo('bulb', { type: 'on' }),
    },
    guards: { isCold: () => true },
    delays: { burnTimeout: () => 1_000 },
  }).createMachine({ context: { count: 0 } })
  const toggle = { target: 'on', guard: 'isCold', actions: ['countToggle'] }
  const off: Record<string, unknown> = { tags: 'dark', on: { toggle } }
  const invoke = { src: 'bulb', id: 'bulb', onError: { target: '#lamp.off' } }
  const dim = { after: { burnTimeout: { target: 'bright' } } }
  const on: Record<string, unknown> = {
    tags: 'light',
    entry: 'lightUp',
    invoke,
    on: { toggle: { target: 'off' }, blink: { target: '.dim' } },
    initial: 'bright',
    states: { bright: {}, dim },
  }
  const root: Record<string, unknown> = { id: 'lamp', context: { count: 0 }, initial: 'off', states: { off, on } }
  const actions: Record<string, unknown> = { ...implementations.actions }
  plant({ root, off, on, dim, invoke, toggle, actions })
  return { config: root, implementations: { ...implementations, actions } }
}

describe('the shape test', () => {
  test('finds nothing in a machine without a mistake', () => {
    expect(shapeFaults(lamp(), EXPECTED)).toEqual([])
  })

  test.each<[string, Mistake, string]>([
    ['a misspelt `on`', ({ off }) => Object.assign(off, { onn: {} }), 'lamp.off: unknown key "onn"'],
    ['a misspelt `after`', ({ dim }) => Object.assign(dim, { afer: {} }), 'lamp.on.dim: unknown key "afer"'],
    ['a misspelt `entry`', ({ on }) => Object.assign(on, { entyr: 'lightUp' }), 'lamp.on: unknown key "entyr"'],
    ['a misspelt key of the machine', ({ root }) => Object.assign(root, { contxt: {} }), 'lamp: unknown key "contxt"'],
    [
      'a context below the machine',
      ({ off }) => Object.assign(off, { context: {} }),
      'lamp.off: unknown key "context"',
    ],
    [
      'a misspelt `guard`',
      ({ toggle }) => Object.assign(toggle, { gaurd: 'isCold' }),
      'lamp.off on toggle: unknown key "gaurd"',
    ],
    [
      '`cond`, as in XState 4',
      ({ toggle }) => Object.assign(toggle, { cond: 'isCold' }),
      'lamp.off on toggle: unknown key "cond"',
    ],
    [
      'a misspelt key of an invoke',
      ({ invoke }) => Object.assign(invoke, { onErorr: {} }),
      'lamp.on invoke: unknown key "onErorr"',
    ],
    [
      'a misspelt `params`',
      ({ toggle }) => Object.assign(toggle, { actions: { type: 'countToggle', parms: {} } }),
      'lamp.off on toggle countToggle: unknown key "parms"',
    ],
    [
      'a misspelt delay',
      ({ dim }) => Object.assign(dim, { after: { burnTimeuot: { target: 'bright' } } }),
      'lamp.on.dim after: unknown delay "burnTimeuot", it would fire at once',
    ],
    [
      'a delay without a name',
      ({ dim }) => Object.assign(dim, { after: { 1000: { target: 'bright' } } }),
      'lamp.on.dim after: unknown delay "1000", it would fire at once',
    ],
    ['a wildcard', ({ off }) => Object.assign(off, { on: { '*': { target: 'on' } } }), 'lamp.off on: wildcard "*"'],
    [
      'a partial wildcard',
      ({ off }) => Object.assign(off, { on: { 'stream.*': { target: 'on' } } }),
      'lamp.off on: wildcard "stream.*"',
    ],
    ['an invoke without `onError`', ({ invoke }) => delete invoke.onError, 'lamp.on invoke: no onError'],
    [
      'an unknown actor',
      ({ invoke }) => Object.assign(invoke, { src: 'blub' }),
      'lamp.on invoke: unknown actor "blub"',
    ],
    [
      'an actor given inline',
      ({ invoke }) => Object.assign(invoke, { src: fromCallback(() => {}) }),
      'lamp.on invoke: unknown actor "[object Object]"',
    ],
    [
      'an actor with another id',
      ({ invoke }) => Object.assign(invoke, { id: 'lightBulb' }),
      'lamp.on invoke: the id of an actor is its src',
    ],
    [
      'an invoke that is a string',
      ({ on }) => Object.assign(on, { invoke: 'bulb' }),
      'lamp.on invoke: an invoke that is no object',
    ],
    [
      'an unknown action in a transition',
      ({ toggle }) => Object.assign(toggle, { actions: ['countTogle'] }),
      'lamp.off on toggle: unknown action "countTogle"',
    ],
    [
      'an unknown action on entry',
      ({ off }) => Object.assign(off, { entry: 'x' }),
      'lamp.off entry: unknown action "x"',
    ],
    [
      'an unknown action on exit',
      ({ off }) => Object.assign(off, { exit: { type: 'x' } }),
      'lamp.off exit: unknown action "x"',
    ],
    [
      'an unknown action of `onError`',
      ({ invoke }) => Object.assign(invoke, { onError: { actions: 'x' } }),
      'lamp.on invoke onError: unknown action "x"',
    ],
    [
      'an unknown guard',
      ({ toggle }) => Object.assign(toggle, { guard: { type: 'isHot' } }),
      'lamp.off on toggle: unknown guard "isHot"',
    ],
    [
      'a guard given inline',
      ({ toggle }) => Object.assign(toggle, { guard: () => true }),
      'lamp.off on toggle: inline guard, give it a name',
    ],
    [
      'an action given inline',
      ({ toggle }) => Object.assign(toggle, { actions: [() => {}] }),
      'lamp.off on toggle: inline action, give it a name',
    ],
    [
      'an assign given inline',
      ({ off }) => Object.assign(off, { exit: assign({}) }),
      'lamp.off exit: inline action xstate.assign, give it a name',
    ],
    [
      'an emit given inline',
      ({ off }) => Object.assign(off, { exit: [emit({ type: 'x' })] }),
      'lamp.off exit: inline action xstate.emit, give it a name',
    ],
    [
      'an event that nobody sends',
      ({ off }) => Object.assign(off, { on: { togle: { target: 'on' } } }),
      'lamp.off on: unknown event "togle"',
    ],
    [
      'an event that is handled nowhere',
      ({ on }) => Object.assign(on, { on: { toggle: { target: 'off' } } }),
      'event "blink" is handled nowhere',
    ],
    [
      'a literal key of XState’s own',
      ({ on }) => Object.assign(on, { on: { 'xstate.done.actor.bulb': { target: 'off' } } }),
      'lamp.on on: literal "xstate.done.actor.bulb"',
    ],
    [
      'a second `always`',
      ({ off, dim }) => {
        Object.assign(off, { always: { guard: 'isCold', target: 'on' } })
        Object.assign(dim, { always: { guard: 'isCold', target: 'bright' } })
      },
      '2 eventless transitions, one is enough',
    ],
    [
      'a second `always` in the same place',
      ({ off }) => Object.assign(off, { always: [{ guard: 'isCold', target: 'on' }, { target: 'on' }] }),
      '2 eventless transitions, one is enough',
    ],
    [
      'spawnChild',
      ({ actions }) => Object.assign(actions, { lightUp: spawnChild('bulb') }),
      'action lightUp: xstate.spawnChild',
    ],
    [
      'stopChild',
      ({ actions }) => Object.assign(actions, { lightUp: stopChild('bulb') }),
      'action lightUp: xstate.stopChild',
    ],
    [
      'enqueueActions',
      ({ actions }) => Object.assign(actions, { lightUp: enqueueActions(() => {}) }),
      'action lightUp: xstate.enqueueActions',
    ],
    [
      'raise',
      ({ actions }) => Object.assign(actions, { lightUp: raise({ type: 'blink' }) }),
      'action lightUp: xstate.raise',
    ],
    [
      'sendParent',
      ({ actions }) => Object.assign(actions, { lightUp: sendParent({ type: 'lit' }) }),
      'action lightUp: sendParent',
    ],
    [
      'a message to an actor that is not invoked',
      ({ actions }) => Object.assign(actions, { lightUp: sendTo('blub', { type: 'on' }) }),
      'action lightUp: sends to "blub", which is not invoked',
    ],
    [
      'a transition that is a string',
      ({ off }) => Object.assign(off, { on: { toggle: 'on' } }),
      'lamp.off on toggle: a transition that is no object',
    ],
    [
      'a transition that is a string, among others',
      ({ off, toggle }) => Object.assign(off, { on: { toggle: [toggle, 'on'] } }),
      'lamp.off on toggle: a transition that is no object',
    ],
    [
      'a transition that is a string, after a delay',
      ({ dim }) => Object.assign(dim, { after: { burnTimeout: 'bright' } }),
      'lamp.on.dim after burnTimeout: a transition that is no object',
    ],
    [
      'a transition that does nothing',
      ({ off }) => Object.assign(off, { on: { toggle: {} } }),
      'lamp.off on toggle: does nothing',
    ],
    ['a leaf without a phase', ({ off }) => delete off.tags, 'lamp.off: 0 phase tags'],
    ['a leaf with an unknown phase', ({ off }) => Object.assign(off, { tags: 'dusk' }), 'lamp.off: 0 phase tags'],
    ['a leaf with two phases', ({ dim }) => Object.assign(dim, { tags: ['dark'] }), 'lamp.on.dim: 2 phase tags'],
    [
      'an unknown sibling as target',
      ({ toggle }) => Object.assign(toggle, { target: 'onn' }),
      'lamp.off on toggle: no state "onn"',
    ],
    [
      'an unknown child as target',
      ({ on }) => Object.assign(on, { on: { blink: { target: '.dimm' } } }),
      'lamp.on on blink: no state ".dimm"',
    ],
    [
      'an unknown id as target',
      ({ invoke }) => Object.assign(invoke, { onError: { target: '#lmap' } }),
      'lamp.on invoke onError: no state "#lmap"',
    ],
    [
      'an unknown state under a known id as target',
      ({ invoke }) => Object.assign(invoke, { onError: { target: '#lamp.of' } }),
      'lamp.on invoke onError: no state "#lamp.of"',
    ],
    [
      'an unknown initial state',
      ({ on }) => Object.assign(on, { initial: 'x' }),
      'lamp.on: initial "x" is no state of it',
    ],
    ['no initial state', ({ root }) => delete root.initial, 'lamp: initial "undefined" is no state of it'],
    [
      'an action that is never used',
      ({ actions }) => Object.assign(actions, { flicker: () => {} }),
      'actions: "flicker" is never used',
    ],
    ['a guard that is never used', ({ toggle }) => delete toggle.guard, 'guards: "isCold" is never used'],
  ])('finds %s', (_, plant, fault) => {
    expect(shapeFaults(lamp(plant), EXPECTED)).toContain(fault)
  })

  test('is needed: XState takes the misspelt key without a word', () => {
    const { config, implementations } = lamp(({ off }) => Object.assign(off, { entyr: 'lightUp', onn: {} }))
    const machine = setup(implementations as never).createMachine(config as never)
    expect(createActor(machine).start().getSnapshot().status).toBe('active')
  })
})
