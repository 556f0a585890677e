import type { Connection } from 'holdline'
import { isObservable, makeAutoObservable, observable } from 'mobx'
import { expect, test } from 'vitest'
import { isProxy, reactive, readonly, ref, shallowReactive, shallowRef } from 'vue'
import { createWorld, settle, type World } from '../support/fakes'

/** Each member that an app calls or reads, from inside of what wraps it. */
async function usesAll({ opens, stream, event, received }: World, connection: Connection) {
  const phases: string[] = []
  const off = connection.on('phase', ({ phase }) => phases.push(phase))
  const unsubscribe = connection.subscribe(() => {})
  connection.watch('s1')
  const delivery = connection.send({ type: 'send', sessionId: 's1', prompt: 'hi' })
  expect([connection.phase, connection.isOpen, connection.pending.map(({ id }) => id)]).toEqual([
    'connecting',
    false,
    [delivery.id],
  ])
  await opens()
  stream.sends(event('s1', 1))
  await settle()
  const { phase, isOpen, connectionId, attempt, retryAt, lastError, cursors } = connection
  expect({ phase, isOpen, connectionId, attempt, retryAt, lastError, cursors }).toEqual({
    phase: 'open',
    isOpen: true,
    connectionId: 'c2',
    attempt: 0,
    retryAt: null,
    lastError: null,
    cursors: [{ sessionId: 's1', lastSeq: 1 }],
  })
  expect([connection.cursor('s1')?.lastSeq, received.length, (await delivery.settled).status]).toEqual([
    1,
    1,
    'accepted',
  ])
  expect(connection.actor.getSnapshot().hasTag('open')).toBe(true)
  const { getSnapshot } = connection
  expect(Object.is(getSnapshot(), getSnapshot())).toBe(true)
  expect(connection.trace().steps.length).toBeGreaterThan(3)
  expect(phases).toContain('open')
  off()
  unsubscribe()
  connection.dispose()
  expect(connection.phase).toBe('idle')
}

/**
 * A proxy that wraps all that it hands out as well: a class with private fields does not survive
 * that.
 */
const deep = <T extends object>(target: T): T =>
  new Proxy(target, {
    get(from, name, receiver) {
      const value = Reflect.get(from, name, receiver)
      return typeof value === 'object' && value && name !== 'actor' ? deep(value) : value
    },
  })

class Store {
  constructor(readonly connection: Connection) {
    makeAutoObservable(this)
  }
}

test.each<[string, (connection: Connection) => Connection]>([
  ['a plain proxy', (connection) => new Proxy(connection, {})],
  ['a deep proxy', (connection) => deep(connection)],
  ['an object that inherits from it', (connection) => Object.create(connection)],
  ['Vue: ref', (connection) => ref(connection).value as Connection],
  ['Vue: shallowRef', (connection) => shallowRef(connection).value],
  ['Vue: reactive', (connection) => reactive({ connection }).connection as Connection],
  ['Vue: reactive itself', (connection) => reactive(connection) as Connection],
  ['Vue: shallowReactive', (connection) => shallowReactive({ connection }).connection],
  ['Vue: readonly', (connection) => readonly({ connection }).connection as unknown as Connection],
  ['Vue: a list in a ref', (connection) => ref([connection]).value[0] as Connection],
  ['MobX: observable', (connection) => observable({ connection }).connection],
  ['MobX: observable itself', (connection) => observable.box(connection).get()],
  ['MobX: a list', (connection) => observable([connection])[0] as Connection],
  ['MobX: a class', (connection) => new Store(connection).connection],
])('C79: a connection works inside %s', async (_, wrap) => {
  const world = createWorld()
  const connection = wrap(world.connection)
  connection.connect()
  await usesAll(world, connection)
})

test('C79: Vue and MobX leave a connection, and the actor inside, what they are', () => {
  const { connection } = createWorld()
  // Not with `toBe`: it would print both, and they are endless.
  expect(ref(connection).value === connection).toBe(true)
  expect(isProxy((reactive({ connection }).connection as Connection).actor)).toBe(false)
  expect(isObservable(observable({ connection }).connection)).toBe(false)
})

test('C79: a delivery works inside Vue and MobX', async () => {
  const world = createWorld()
  const deliveries = [
    ref(world.connection.send({ type: 'send' })).value,
    reactive([world.connection.send({ type: 'send' })])[0],
    observable({ delivery: world.connection.send({ type: 'send' }) }).delivery,
  ]
  await world.opens()
  for (const delivery of deliveries) {
    expect(delivery?.status).toBe('accepted')
    expect(await delivery?.settled).toMatchObject({ status: 'accepted', id: delivery?.id })
  }
})
