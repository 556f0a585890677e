import { persist } from 'holdline/storage'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Carrier } from '../../adapters/transport'
import type { ConnectionError } from '../../errors'
import { Reads } from '../../storage/reads'
import { fakeClock } from '../../testing/harness/fakeClock'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, settle, type World } from '../support/fakes'
import { createAsyncStorage, createLocks, createStorage, type FakePage, load } from '../support/storage'

// What a developer reads, and the corners of both kinds of storage.

const prompt = (text: string) => ({ type: 'send', prompt: text })
const sendAll = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text), { id: `id-${text}` }))
const posted = (world: World) => world.postsTo('send').map(({ body }) => body.prompt)
const pending = (world: World) => world.connection.pending.map(({ message }) => message.prompt)
const entry = (text: string, more: object = {}) =>
  JSON.stringify({ id: `id-${text}`, message: prompt(text), attempts: 0, expiresAt: null, ...more })
const cursor = (sessionId: string, lastSeq: number) => JSON.stringify({ sessionId, lastSeq })

/** From now on. */
function reportsOf({ connection }: World) {
  const reports: ConnectionError[] = []
  connection.on('error', ({ error }) => reports.push(error))
  return reports
}
const messages = (reports: readonly ConnectionError[]) => reports.map(({ message }) => message)

async function opens(world: World) {
  if (world.connection.phase === 'idle') world.connection.connect()
  await settle()
  await world.opens()
}

// Node has Web Locks from 24 on.
beforeEach(() => void vi.stubGlobal('navigator', undefined))
afterEach(() => void vi.unstubAllGlobals())

describe('a developer is told what is wrong, and what follows', () => {
  test('persist() refuses a storage that is none at once; what a function gives, createConnection refuses', () => {
    const refusal = expect.objectContaining({
      code: 'invalid-option',
      message: 'storage: object is not a storage like localStorage, or like AsyncStorage, or null',
    })
    expect(() => persist({} as never)).toThrow(refusal)
    const kept = persist(() => ({}) as never)
    expect(() => createWorld({ storage: kept })).toThrow(refusal)
    for (const none of [null, undefined]) expect(() => createWorld({ storage: persist(none) })).not.toThrow()
  })

  test('C80: a function that throws: nothing survives a reload, and its error is the cause', async () => {
    const cause = new Error('sandboxed')
    const reports = reportsOf(
      createWorld({
        storage: persist(() => {
          throw cause
        }),
      }),
    )
    await settle()
    expect(messages(reports)).toEqual(['there is no storage, so nothing survives a reload: Error: sandboxed'])
    expect(reports[0]?.cause).toBe(cause)
  })

  test('C77: two connections of one page with one key: both are named a way out', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const storage = createStorage()
    for (let n = 0; n < 2; n++) createWorld({ storage: persist(storage, { key: 'k' }) })
    expect(warn.mock.calls.flat().join(' ')).toContain(
      'two connections of this page use one storage key: dispose() one, or give each its own',
    )
    warn.mockRestore()
  })

  test('a storage that answers later, in the place of one that answers at once, is told from localStorage', async () => {
    const storage = { ...createAsyncStorage(), getAllKeys: undefined, key: async () => null, length: async () => 0 }
    const reports = reportsOf(createWorld({ storage: persist(storage as never) }))
    await settle()
    expect(messages(reports)).toEqual(['storage: length is no number: not like localStorage'])
  })

  test('a storage that is late: how long it was waited for, and what may be lost', async () => {
    const storage = createAsyncStorage()
    storage.rule(() => 'waits')
    const world = load(storage)
    const reports = reportsOf(world)
    await world.clock.advance(2_000)
    expect(messages(reports)).toEqual([
      'no answer in 2 s: the line goes on, and what is queued may not survive a reload',
    ])
  })

  test.each<[string, FakePage['request'], string]>([
    ['rejects', () => Promise.reject(new Error('not here')), 'Error: not here'],
    ['never answers', () => new Promise(() => {}), 'no answer in 2 s'],
    ['resolves without calling back', async () => {}, 'it did not call back'],
  ])('C65: a lock manager that %s: why, and what it means for both pages', async (_, request, why) => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', entry('old'))
    const world = load(storage, { locks: { ...createLocks().page(), request } })
    const reports = reportsOf(world)
    await world.clock.advance(2_000)
    expect(messages(reports)).toEqual([
      `locks.request: ${why}: other pages’ messages are left alone, and ours may be posted by them too`,
    ])
    expect(String(reports[0]?.cause)).toBe(why)
  })

  test('what is corrupt: its place, at most 2,000 characters of it, and where it is now', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', '{')
    storage.entries.set(`k:cursor:${'x'.repeat(100_000)}`, '{')
    const reports = reportsOf(load(storage))
    await settle()
    expect(messages(reports).sort()).toEqual([
      `${`k:cursor:${'x'.repeat(100_000)}`.slice(0, 2_000)}: moved to k.corrupt`,
      'k:message:o:1: moved to k.corrupt',
    ])
  })

  test('a transport that throws as the wait for a storage ends: the line tries again, and the cause is told', async () => {
    const cause = new Error('not here')
    const storage = createAsyncStorage(new Map([['k:message:o:1', entry('a')]]))
    const broken: Carrier = {
      open() {
        throw cause
      },
      post: async () => null,
      beacon: () => false,
    }
    const world = load(storage, { transport: () => broken })
    world.connection.connect()
    await settle()
    expect(world.connection.lastError).toMatchObject({
      message: 'the transport threw while it opened a stream: Error: not here',
      retryable: true,
      cause,
    })
  })
})

describe('I5: what has its verdict is not posted again', () => {
  test('though its entry cannot be deleted, and its lock is free again', async () => {
    const storage = createStorage()
    const locks = createLocks()
    storage.entries.set('k:message:gone:1', entry('a'))
    storage.removeItem = () => {
      throw new Error('read-only')
    }
    const world = load(storage, { locks: locks.page() })
    await opens(world)
    await settle()
    expect([posted(world), locks.held()]).toEqual([['a'], []])
    world.connection.reconnect()
    await opens(world)
    expect([posted(world), pending(world)]).toEqual([['a'], []])
  })

  test('though a late storage names its entry only afterwards', async () => {
    const storage = createAsyncStorage()
    storage.when('getAllKeys', 'waits')
    const world = load(storage)
    sendAll(world, 'a')
    world.connection.connect()
    storage.rule(({ name }) => (name === 'removeItem' ? 'waits' : 'answers'))
    await world.clock.advance(2_000)
    await opens(world)
    expect([posted(world), storage.stored('k:message:').length]).toEqual([['a'], 1])
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await settle()
    expect([posted(world), pending(world)]).toEqual([['a'], []])
  })

  test('C65: though a lock manager grants the lock of its owner once more', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', entry('old')]]))
    const request: FakePage['request'] = async (_name, _options, callback) => void callback({})
    const world = load(storage, { locks: { ...createLocks().page(), request } })
    storage.when('removeItem', 'waits')
    await opens(world)
    await settle()
    expect(posted(world)).toEqual(['old'])
    world.connection.reconnect()
    await opens(world)
    await settle()
    expect([posted(world), pending(world)]).toEqual([['old'], []])
  })

  test('pages with a key like the default one, which has colons, never post each other’s messages', async () => {
    const storage = createStorage()
    const locks = createLocks()
    const visit = () =>
      createWorld({ storage: persist(Object.create(storage), { key: 'holdline:http://x/a', locks: locks.page() }) })
    const [one, two] = [visit(), visit()]
    sendAll(one, 'a')
    await settle()
    await opens(two)
    expect(pending(two)).toEqual([])
    await opens(one)
    expect([posted(one), posted(two)]).toEqual([['a'], []])
  })
})

describe('C30: clearOutbox leaves nothing', () => {
  test('not even of one’s own what could not be deleted with its verdict', async () => {
    const storage = createStorage()
    const world = load(storage)
    await opens(world)
    const { removeItem } = storage
    storage.removeItem = () => {
      throw new Error('busy')
    }
    sendAll(world, 'a')
    await settle()
    expect(storage.stored('k:message:').length).toBe(1)
    storage.removeItem = removeItem
    world.connection.clearOutbox()
    expect([...storage.entries]).toEqual([])
  })

  test('what is deleted twice, while the storage does not get to it, is deleted', async () => {
    const storage = createAsyncStorage()
    const world = load(storage, {}, SERVER_IS_SILENT)
    const [a] = sendAll(world, 'a')
    await settle()
    storage.when('setItem', 'waits')
    const others = sendAll(world, '0123456789ABCDEF')
    await settle()
    a?.cancel()
    world.connection.clearOutbox()
    await settle()
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect([others.length, [...storage.entries]]).toEqual([16, []])
  })

  test('what was set aside before is deleted, though more of it waits to be written', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', '{"prompt":"secret']]))
    const now = createWorld().clock.now()
    storage.entries.set('k.corrupt', JSON.stringify([now, 'k:message:o:0', 'an older secret']))
    storage.rule(({ name }) => (name === 'getAllKeys' || name === 'setItem' ? 'waits' : 'answers'))
    const world = load(storage)
    sendAll(world, '0123456789ABCDEF')
    await settle()
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await settle()
    expect(world.errors).toContain('storage-corrupt')
    storage.rule(() => 'answers')
    world.connection.clearOutbox()
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect([...storage.entries]).toEqual([])
  })

  test('while a cursor is being set aside: it is deleted as well', async () => {
    const storage = createAsyncStorage(new Map([['k:cursor:s1', '{"prompt":"secret']]))
    storage.rule(({ name, key }) => (name === 'getItem' && key === 'k.corrupt' ? 'waits' : 'answers'))
    const world = load(storage)
    await settle()
    world.connection.clearOutbox()
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('getItem', 'k.corrupt')) call.answer()
    await settle()
    expect([...storage.entries]).toEqual([])
  })

  test('while a message of a page that is gone is read: no lock is kept', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', entry('a')]]))
    const locks = createLocks()
    storage.when('getItem', 'waits')
    const world = load(storage, { locks: locks.page() })
    const told: string[] = []
    world.connection.on('delivery', ({ id }) => told.push(id))
    await settle()
    expect(locks.held()).toEqual(['lock:k:message:o'])
    world.connection.clearOutbox()
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('getItem')) call.answer()
    await settle()
    expect([told, locks.held(), [...storage.entries]]).toEqual([[], [], []])
  })
})

describe('what cannot be stored, read or set aside', () => {
  test('what could not be stored is not deleted either: a storage would delete the entry `undefined` of somebody else', async () => {
    const storage = createStorage()
    storage.holds(0)
    const world = load(storage)
    sendAll(world, 'a')
    await opens(world)
    await settle()
    expect([posted(world), storage.operations.filter((name) => name === 'removeItem')]).toEqual([['a'], []])
  })

  test('I4: what could not be stored at first keeps its place before what was sent after it', async () => {
    const storage = createStorage()
    const world = load(storage, {}, SERVER_IS_SILENT)
    storage.holds(0)
    sendAll(world, 'a')
    storage.holds(Number.POSITIVE_INFINITY)
    sendAll(world, 'b')
    await opens(world)
    expect(posted(world)).toEqual(['a'])
    expect(pending(load(storage))).toEqual(['a', 'b'])
  })

  test.each(['at once', 'later'])(
    'where it cannot be read what was set aside before, that stays, and so does what is corrupt: a storage that answers %s',
    async (how) => {
      const storage = how === 'later' ? createAsyncStorage() : createStorage()
      storage.entries.set('k.corrupt', JSON.stringify([createWorld().clock.now(), 'k:message:o:0', 'x']))
      storage.entries.set('k:message:o:1', '{')
      const before = [...storage.entries]
      const getItem = storage.getItem as (key: string) => unknown
      storage.getItem = ((key: string) => {
        if (key === 'k.corrupt') throw new Error('not now')
        return getItem(key)
      }) as never
      load(storage)
      await settle()
      expect([...storage.entries]).toEqual(before)
    },
  )

  test.each(['at once', 'later'])(
    'a cursor of the first edition stays where it is until its new place is written: a storage that answers %s',
    async (how) => {
      const storage = how === 'later' ? createAsyncStorage() : createStorage()
      storage.entries.set('k:cursor:s:1', cursor('s:1', 5))
      storage.setItem = (() => {
        throw new Error('full')
      }) as never
      const world = load(storage)
      await settle()
      expect([world.connection.cursors, [...storage.entries.keys()]]).toEqual([
        [{ sessionId: 's:1', lastSeq: 5 }],
        ['k:cursor:s:1'],
      ])
    },
  )

  test('what another page deletes between the look at the keys and the read is no message, no cursor, and no error', async () => {
    const storage = createAsyncStorage(
      new Map([
        ['k:message:o:1', entry('a')],
        ['k:message:o:2', entry('b')],
        ['k:cursor:s1', cursor('s1', 7)],
      ]),
    )
    storage.when('getItem', 'waits')
    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id }) => told.push(id))
    await settle()
    for (const key of ['k:message:o:1', 'k:cursor:s1']) storage.entries.delete(key)
    for (const call of storage.callsOf('getItem')) call.answer()
    await settle()
    expect([told, world.connection.cursors, world.errors]).toEqual([['id-b'], [], []])
  })

  test('a corrupt entry is no message: nothing is told of it but the error', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', '{')
    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id }) => told.push(id))
    await settle()
    expect([told, world.connection.pending, world.errors]).toEqual([[], [], ['storage-corrupt']])
  })

  test('with nothing corrupt, a start looks once at what was set aside', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', entry('a')]]))
    load(storage)
    await settle()
    expect(storage.callsOf('getItem', 'k.corrupt').length).toBe(1)
  })

  test('an age that ends at the start of all clocks has passed, and is not corrupt', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', entry('a', { expiresAt: 0 }))
    const world = load(storage)
    const [a] = world.connection.pending
    await opens(world)
    expect([await a?.settled, world.errors]).toMatchObject([{ error: { code: 'expired' } }, []])
  })

  test('a restored message keeps its lane; a lane that none can have is left out', async () => {
    const storage = createStorage()
    for (const [index, lane] of ['x', 7, 'a\nb'].entries())
      storage.entries.set(`k:message:o:${index + 1}`, entry(`${index}`, { lane }))
    const world = load(storage)
    world.connection.connect()
    await world.opens({ features: ['lanes'] })
    await settle()
    expect(world.errors).toEqual([])
    const lanes = world.postsTo('send').map(({ headers }) => [headers.get('idempotency-key'), headers.get('x-lane')])
    expect(Object.fromEntries(lanes)).toEqual({ 'id-0': 'x', 'id-1': '', 'id-2': '' })
  })
})

describe('what waits, and what does not', () => {
  test('without locks, a line that opens again takes over nothing, and tells of nothing', async () => {
    const world = load(createStorage())
    const told: string[] = []
    world.connection.on('delivery', ({ id }) => told.push(id))
    for (let n = 0; n < 2; n++) {
      world.connection.reconnect()
      await opens(world)
    }
    expect([told, posted(world)]).toEqual([[], []])
  })

  test('a late storage lets go of the line only: nothing is told of messages that it has not read', async () => {
    const storage = createAsyncStorage()
    storage.rule(() => 'waits')
    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id }) => told.push(id))
    await world.clock.advance(2_000)
    await opens(world)
    expect([told, world.connection.pending]).toEqual([[], []])
  })

  test('once the first reads are through, no later read holds up a stream', async () => {
    const storage = createAsyncStorage()
    const world = load(storage, { locks: createLocks().page() })
    await opens(world)
    storage.when('getAllKeys', 'waits')
    for (const streams of [2, 3]) {
      world.connection.reconnect()
      await settle()
      expect(world.streams.length).toBe(streams)
      await opens(world)
    }
  })

  test('dispose while the lock is asked for: nothing is read any more, and no timer is left', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', entry('a')]]))
    const page = createLocks().page()
    const decide = page.answersLate()
    const world = load(storage, { locks: page })
    await settle()
    world.connection.dispose()
    await settle()
    expect(world.clock.pending).toBe(0)
    decide()
    await settle()
    expect([world.clock.pending, storage.callsOf('getItem', 'k:message:')]).toEqual([0, []])
  })

  test('dispose lets the lock go at once where nothing is being written, else after the last write', async () => {
    const storage = createAsyncStorage()
    const locks = createLocks()
    const one = load(storage, { locks: locks.page() })
    sendAll(one, 'a')
    await settle()
    expect(locks.held().length).toBe(1)
    one.connection.dispose()
    await settle()
    expect(locks.held()).toEqual([])

    const two = load(createAsyncStorage(), { locks: locks.page() })
    expect(two.connection.pending).toEqual([])
    const busy = createAsyncStorage()
    const three = load(busy, { locks: locks.page() })
    await settle()
    busy.when('setItem', 'waits')
    sendAll(three, 'ab')
    await settle()
    three.connection.dispose()
    const writes = busy.callsOf('setItem')
    for (const [index, write] of writes.entries()) {
      expect([index, locks.held().length]).toEqual([index, 1])
      write.answer()
      await settle()
    }
    expect([writes.length, locks.held()]).toEqual([2, []])
  })

  test('one lock is asked for, however many messages are stored', async () => {
    const locks = createLocks()
    const world = load(createStorage(), { locks: locks.page() }, SERVER_IS_SILENT)
    sendAll(world, 'abc')
    await world.clock.advance(2_000)
    expect([locks.held().length, world.errors]).toEqual([1, []])
  })

  test('C65: a lock that is granted after its time is given back, also while something of one’s own is stored', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', entry('old'))
    const locks = createLocks()
    const page = locks.page()
    const decide = page.answersLate()
    const world = load(storage, { locks: page }, SERVER_IS_SILENT)
    sendAll(world, 'a')
    await world.clock.advance(2_000)
    decide()
    await settle()
    expect([pending(world), locks.held()]).toEqual([['a'], []])
  })

  test('a carrier behind the wait is the same but for `open`', () => {
    const calls: unknown[][] = []
    const carrier: Carrier = {
      open: () => () => {},
      async post(...given) {
        calls.push(['post', ...given])
        return 'posted'
      },
      beacon(...given) {
        calls.push(['beacon', ...given])
        return true
      },
      check: () => void calls.push(['check']),
      maxInFlight: (features) => features.length + 2,
    }
    const reads = new Reads(fakeClock(), () => {})
    const gated = reads.gate(carrier)
    gated.check?.()
    expect([gated.beacon('send', '{}'), gated.maxInFlight?.(['receipts'])]).toEqual([true, 3])
    expect(calls).toEqual([['check'], ['beacon', 'send', '{}']])
    const { check: _check, maxInFlight: _maxInFlight, ...bare } = carrier
    const plain = reads.gate(bare)
    expect([plain.check?.(), plain.maxInFlight?.([])]).toEqual([undefined, 1])
  })
})

test('I4: after the last number that a clock can have, what is new stands behind it; after a greater one, it has a place at least', () => {
  const order = (number: string) => {
    const storage = createStorage()
    storage.entries.set(`k:message:o:${number}`, entry('old'))
    sendAll(load(storage, {}, SERVER_ACCEPTS), 'ab')
    return pending(load(storage))
  }
  expect([order('8640000000000000'), order('8640000000000001')]).toEqual([
    ['old', 'a', 'b'],
    ['a', 'b', 'old'],
  ])
})
