import fc from 'fast-check'
import { createConnection } from 'holdline'
import { persist } from 'holdline/storage'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Carrier, eventSourceTransport, type Transport } from '../../adapters/transport'
import { partsOf } from '../../connection/publicConnection'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, settle, type World } from '../support/fakes'
import { createAsyncStorage, createLocks, type FakePage, load, type StorageCall } from '../support/storage'

// A storage that answers later: React Native's AsyncStorage, IndexedDB behind the same four
// members.

const prompt = (text: string) => ({ type: 'send', prompt: text })
const sendAll = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text), { id: `id-${text}` }))
const posted = (world: World) => world.postsTo('send').map(({ body }) => body.prompt)
const pending = (world: World) => world.connection.pending.map(({ message }) => message.prompt)
const stored = (storage: ReturnType<typeof createAsyncStorage>) =>
  storage.stored('k:message:').map(({ message }) => message.prompt)
const entry = (text: string, more: object = {}) =>
  JSON.stringify({ id: `id-${text}`, message: prompt(text), attempts: 0, expiresAt: null, ...more })
const cursor = (sessionId: string, lastSeq: number) => JSON.stringify({ sessionId, lastSeq })

async function opens(world: World) {
  if (world.connection.phase === 'idle') world.connection.connect()
  await settle()
  await world.opens()
}

/** What the last page has left. */
function left(texts: string, more: object = {}) {
  const storage = createAsyncStorage()
  for (const [index, text] of [...texts].entries()) storage.entries.set(`k:message:o:${index + 1}`, entry(text, more))
  return storage
}

// Node has Web Locks from 24 on.
beforeEach(() => void vi.stubGlobal('navigator', undefined))
afterEach(() => void vi.unstubAllGlobals())

describe('C29: a reload keeps what has no verdict, also in a storage that answers later', () => {
  test('I4 I5: restored before what is new, told, posted under the same ids, and gone with the verdicts', async () => {
    const storage = createAsyncStorage()
    const old = load(storage, {}, SERVER_IS_SILENT)
    sendAll(old, 'ab')
    await settle()
    expect(stored(storage)).toEqual(['a', 'b'])

    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    sendAll(world, 'c')
    expect(pending(world)).toEqual(['c'])
    await settle()
    expect(pending(world)).toEqual(['a', 'b', 'c'])
    expect(told).toEqual(['id-c queued', 'id-a queued', 'id-b queued'])
    await opens(world)
    expect(world.postsTo('send').map(({ headers }) => headers.get('idempotency-key'))).toEqual(['id-a', 'id-b', 'id-c'])
    await settle()
    expect([[...storage.entries], world.errors]).toEqual([[], []])
  })

  test('what is restored counts as attempted: its write may have been slower than its POST', async () => {
    const world = load(left('a'))
    await settle()
    const [delivery] = world.connection.pending
    expect(delivery?.attempts).toBe(1)
    world.connection.clearOutbox()
    expect(await delivery?.settled).toMatchObject({ status: 'unknown', error: { code: 'cancelled' } })
  })

  test('C29: what may never have been posted still expires by its age, and then nobody knows; what was posted does not', async () => {
    const at = createWorld().clock.now()
    const storage = createAsyncStorage()
    storage.entries.set(`k:message:o:${at - 9_000}`, entry('old', { expiresAt: at - 1 }))
    storage.entries.set(`k:message:o:${at - 8_000}`, entry('posted', { expiresAt: at - 1, attempts: 1 }))
    storage.entries.set(`k:message:o:${at - 7_000}`, entry('young', { expiresAt: at + 60_000 }))
    const world = load(storage)
    await settle()
    const [old] = world.connection.pending
    await opens(world)
    expect(await old?.settled).toMatchObject({ status: 'unknown', error: { code: 'expired' } })
    expect([posted(world), [...storage.entries]]).toEqual([['posted', 'young'], []])
  })

  test('I5: what may have been posted longer ago than the server remembers is not posted again', async () => {
    const storage = createAsyncStorage()
    const at = createWorld().clock.now()
    storage.entries.set(`k:message:o:${at - 901}`, entry('old'))
    const world = load(storage)
    await settle()
    const [old] = world.connection.pending
    world.connection.connect()
    await settle()
    world.stream.opens()
    world.stream.welcomes({ connectionId: 'c1', features: ['idempotency'], receiptAge: 900 })
    await settle()
    expect([old?.status, posted(world)]).toEqual(['unknown', []])
  })

  test('no stream opens, and nothing is posted, before the first read is through', async () => {
    const storage = left('a')
    storage.when('getItem', 'waits')
    const world = load(storage)
    sendAll(world, 'b')
    world.connection.connect()
    await world.clock.advance(1_999)
    expect([world.connection.phase, world.streams]).toEqual(['connecting', []])
    for (const call of storage.callsOf('getItem')) call.answer()
    await opens(world)
    expect([posted(world), world.errors]).toEqual([['a', 'b'], []])
  })

  test('an id that is sent again before it is restored is one message', async () => {
    const storage = left('a')
    const world = load(storage)
    sendAll(world, 'a')
    await opens(world)
    await settle()
    expect([posted(world), [...storage.entries]]).toEqual([['a'], []])
  })

  test('what is corrupt is reported and set aside, all of it', async () => {
    const storage = left('ab')
    for (const key of ['k:message:o:3', 'k:message:o:x', 'k:cursor:s1']) storage.entries.set(key, '{')
    const world = load(storage)
    await settle()
    expect([pending(world), world.errors]).toEqual([['a', 'b'], Array(3).fill('storage-corrupt')])
    const lines = storage.entries.get('k.corrupt')?.split('\n') ?? []
    expect(lines.map((line) => JSON.parse(line)[1]).sort()).toEqual(['k:cursor:s1', 'k:message:o:3', 'k:message:o:x'])
    expect([...storage.entries.keys()].sort()).toEqual(['k.corrupt', 'k:message:o:1', 'k:message:o:2'])
  })

  test('what cannot be set aside stays where it is', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:1', '{']]))
    storage.when('setItem', 'fails')
    const world = load(storage)
    await settle()
    expect([world.errors, [...storage.entries.keys()]]).toEqual([
      ['storage-corrupt', 'storage-failed'],
      ['k:message:o:1'],
    ])
  })
})

describe('a storage that is late', () => {
  test.each<[string, StorageCall['name']]>([
    ['its keys', 'getAllKeys'],
    ['its entries', 'getItem'],
  ])(
    'with %s: after 2 s the stream opens and what is new is posted, with one report; late, it is taken',
    async (_, name) => {
      const storage = left('a')
      storage.entries.set('k:cursor:s1', cursor('s1', 7))
      storage.when(name, 'waits')
      const world = load(storage)
      sendAll(world, 'b')
      world.connection.connect()
      await world.clock.advance(2_000)
      await opens(world)
      expect([posted(world), world.errors]).toEqual([['b'], ['storage-failed']])
      storage.rule(() => 'answers')
      for (const call of storage.callsOf(name)) call.answer()
      await settle()
      expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 7 }])
      expect([posted(world), world.errors, world.connection.phase]).toEqual([['b', 'a'], ['storage-failed'], 'open'])
    },
  )

  test('a read that is never answered: one report, whatever comes, and no timer is left', async () => {
    const storage = left('a')
    storage.rule(() => 'waits')
    const world = load(storage)
    world.connection.connect()
    await world.clock.advance(2_000)
    await opens(world)
    const deliveries = sendAll(world, 'bcd')
    await settle()
    expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'accepted', 'accepted'])
    await world.clock.advance(60_000)
    world.connection.reconnect()
    await opens(world)
    sendAll(world, 'e')
    await settle()
    expect([posted(world), world.errors]).toEqual([['b', 'c', 'd', 'e'], ['storage-failed']])
    world.connection.dispose()
    await settle()
    expect(world.clock.pending).toBe(0)
  })

  test('the 2 s are counted once: they end for a stream whose own timeout is shorter too', async () => {
    const storage = left('a')
    storage.rule(() => 'waits')
    const world = load(storage, { timeouts: { connect: 300 }, backoff: { base: 1 } })
    world.connection.connect()
    await world.clock.advance(2_500)
    expect(world.streams.length).toBeGreaterThan(0)
  })

  test.each(['disconnect', 'dispose'] as const)('%s while the stream waits for it: none opens', async (end) => {
    const storage = left('a')
    storage.when('getAllKeys', 'waits')
    const world = load(storage)
    world.connection.connect()
    world.connection[end]()
    if (end === 'dispose') expect(world.clock.pending).toBe(0)
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await world.clock.advance(5_000)
    expect([world.streams, world.connection.phase, pending(world)]).toEqual([
      [],
      'idle',
      end === 'dispose' ? [] : ['a'],
    ])
    expect(world.clock.pending).toBe(0)
  })

  test('disposed, it is told of nothing', async () => {
    const storage = left('a')
    storage.rule(() => 'waits')
    const world = load(storage)
    sendAll(world, 'b')
    world.connection.dispose()
    await world.clock.advance(5_000)
    for (const call of storage.calls) call.fail()
    await settle()
    expect(world.errors).toEqual([])
  })
})

describe('posting never waits for a write', () => {
  test('the writes of one message are made one after the other, and the last one is its removal', async () => {
    const storage = createAsyncStorage()
    const world = load(storage)
    await opens(world)
    storage.when('setItem', 'waits')
    const [a] = sendAll(world, 'a')
    await settle()
    expect(a?.status).toBe('accepted')
    const [write] = storage.callsOf('setItem', 'k:message:')
    expect(storage.calls.filter(({ key }) => key === write?.key)).toEqual([write])
    write?.answer()
    await settle()
    expect(storage.calls.filter(({ key }) => key === write?.key).map(({ name }) => name)).toEqual([
      'setItem',
      'removeItem',
    ])
    expect([...storage.entries]).toEqual([])
  })

  test('of the writes that wait, only the last is made: the attempts are those of now', async () => {
    const storage = createAsyncStorage()
    const world = load(storage, {}, SERVER_IS_SILENT)
    await opens(world)
    storage.when('setItem', 'waits')
    const [a] = sendAll(world, 'a')
    await settle()
    for (let attempt = 1; attempt <= 3; attempt++) {
      await world.post('send').answers(503)
      await world.clock.advance(30_000)
    }
    const writes = storage.callsOf('setItem', 'k:message:')
    expect(writes.length).toBe(1)
    storage.rule(() => 'answers')
    writes[0]?.answer()
    await settle()
    expect(a?.attempts).toBeGreaterThan(2)
    expect(storage.stored('k:message:').map(({ attempts }) => attempts)).toEqual([a?.attempts])
  })

  test('one that hangs is given no more than 16 entries at a time, and no list of what is over grows behind them', async () => {
    const storage = createAsyncStorage()
    const world = load(storage)
    await opens(world)
    storage.when('setItem', 'waits')
    const deliveries = sendAll(
      world,
      Array.from({ length: 100 }, (_, n) => `${n}`),
    )
    await world.clock.advance(2_000)
    expect(deliveries.filter(({ status }) => status === 'accepted').length).toBe(100)
    expect([storage.callsOf('setItem').length, world.errors]).toEqual([16, ['storage-failed']])
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect([storage.callsOf('setItem').length, storage.callsOf('removeItem').length]).toEqual([16, 16])
    expect([...storage.entries]).toEqual([])
  })

  test.each<StorageCall['name']>(['getAllKeys', 'getItem', 'setItem', 'removeItem'])(
    '%s that fails, by a rejection or a throw: one report, and the line works',
    async (name) => {
      for (const how of ['rejects', 'throws'] as const) {
        const storage = left('a')
        storage.entries.set('k:cursor:s1', cursor('s1', 1))
        storage.when(name, 'fails')
        if (how === 'throws')
          storage[name] = () => {
            throw new Error('not here')
          }
        const world = load(storage, {}, SERVER_ACCEPTS)
        const deliveries = sendAll(world, 'bc')
        await opens(world)
        world.stream.sends(world.event('s1', 2))
        await settle()
        expect([how, posted(world).slice(-2), world.errors]).toEqual([how, ['b', 'c'], ['storage-failed']])
        expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'accepted'])
      }
    },
  )

  test('getAllKeys that gives no list is reported, with what was expected', async () => {
    const world = load({ ...createAsyncStorage(), getAllKeys: async () => null as never })
    const told: string[] = []
    world.connection.on('error', ({ error }) => told.push(error.message))
    await opens(world)
    expect([told, world.connection.phase]).toEqual([['storage: getAllKeys gave no list'], 'open'])
  })

  test('I5: whatever is answered when, in the end there is stored what is pending, and nothing that has a verdict', async () => {
    const step = fc.record({
      act: fc.constantFrom('sends', 'sends', 'accepts', 'refuses', 'cancels', 'stores', 'stores', 'fails', 'clears'),
      which: fc.nat({ max: 20 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const storage = createAsyncStorage()
        const world = load(storage, {}, SERVER_IS_SILENT)
        await opens(world)
        storage.rule(() => 'waits')
        const open = new Set<StorageCall>()
        const unanswered = () => {
          for (const call of storage.calls.slice(known)) open.add(call)
          known = storage.calls.length
          return [...open]
        }
        let known = storage.calls.length
        let hasFailed = false
        for (const { act, which } of steps) {
          const post = world.posts.find(({ aborted, answered }) => !aborted && !answered)
          const waiting = unanswered()
          const call = waiting[which % waiting.length]
          if (act === 'sends') world.connection.send(prompt('x'))
          if (act === 'accepts') await post?.answers(200, {})
          if (act === 'refuses') await post?.answers(503)
          if (act === 'cancels') world.connection.pending[which]?.cancel()
          if (act === 'clears' && which > 15) world.connection.clearOutbox()
          if (act === 'stores' || act === 'fails') {
            if (call) open.delete(call)
            if (act === 'stores') call?.answer()
            else call?.fail()
            hasFailed ||= act === 'fails' && !!call
          }
          await settle()
        }
        storage.rule(() => 'answers')
        for (const call of unanswered()) call.answer()
        await settle()
        const ids = new Set(world.connection.pending.map(({ id }) => id))
        const kept = storage.stored('k:message:').map(({ id }) => id)
        // What a failed write or removal has left is what the storage did; without one they are the
        // same.
        if (!hasFailed) expect(new Set(kept)).toEqual(ids)
        expect(kept.length).toBe(new Set(kept).size)
        world.connection.dispose()
        await settle()
        expect(world.clock.pending).toBe(0)
      }),
      { numRuns: 150 },
    )
  })
})

describe('clearOutbox and dispose', () => {
  test('C30: clearOutbox deletes all that is stored, whoever stored it, but not what is sent after it', async () => {
    const storage = left('ab')
    storage.entries.set('k:message:o:9', '{"prompt":"secret')
    storage.entries.set('k2:message:o:1', 'x')
    const world = load(storage)
    await settle()
    expect(storage.entries.get('k.corrupt')).toContain('secret')
    sendAll(world, 'c')
    world.connection.clearOutbox()
    sendAll(world, 'd')
    await settle()
    expect([stored(storage), pending(world)]).toEqual([['d'], ['d']])
    expect([...storage.entries.keys()].filter((key) => !/^k:message:[0-9a-f]{32}:/.test(key))).toEqual([
      'k2:message:o:1',
    ])
  })

  test.each<StorageCall['name']>(['getAllKeys', 'getItem'])(
    'C30: clearOutbox while %s is waited for takes nothing over, and leaves nothing',
    async (name) => {
      const storage = left('a')
      storage.entries.set('k:message:o:9', '{"prompt":"secret')
      storage.when(name, 'waits')
      const world = load(storage)
      await settle()
      world.connection.clearOutbox()
      storage.rule(() => 'answers')
      for (const call of storage.callsOf(name)) call.answer()
      await opens(world)
      await settle()
      expect([pending(world), posted(world), [...storage.entries], world.errors]).toEqual([[], [], [], []])
    },
  )

  test('C30: what is sent after clearOutbox stays, also where it is stored before the storage has said what there is', async () => {
    const storage = left('a')
    const world = load(storage)
    await settle()
    storage.when('getAllKeys', 'waits')
    world.connection.clearOutbox()
    sendAll(world, 'b')
    await settle()
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await settle()
    expect([stored(storage), pending(world)]).toEqual([['b'], ['b']])
  })

  test('C30: clearOutbox while something is being set aside: nothing of it is kept', async () => {
    const storage = createAsyncStorage(new Map([['k:message:o:9', '{"prompt":"secret']]))
    storage.rule(({ name, key }) => (name === 'getItem' && key === 'k.corrupt' ? 'waits' : 'answers'))
    const world = load(storage)
    await settle()
    expect(world.errors).toEqual(['storage-corrupt'])
    world.connection.clearOutbox()
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('getItem', 'k.corrupt')) call.answer()
    await settle()
    expect([...storage.entries]).toEqual([])
  })

  test('dispose leaves what is stored, also what is being written: it may go out later, and so ends unknown', async () => {
    const storage = createAsyncStorage()
    const world = load(storage)
    const deliveries = sendAll(
      world,
      Array.from({ length: 40 }, (_, n) => `${n}`),
    )
    world.connection.dispose()
    expect(new Set(deliveries.map(({ status }) => status))).toEqual(new Set(['unknown']))
    await settle()
    expect(stored(storage).length).toBe(40)
    const next = load(storage)
    await opens(next)
    await settle()
    expect(posted(next).length).toBe(40)
  })
})

describe('cursors', () => {
  const withCursors = (...cursors: readonly (readonly [string, number])[]) =>
    createAsyncStorage(new Map(cursors.map(([id, seq]) => [`k:cursor:${id}`, cursor(id, seq)])))

  test('are resumed on the first connection, which waits for them', async () => {
    const storage = withCursors(['s1', 7], ['s2', 3])
    const world = load(storage)
    await opens(world)
    expect(world.post('reconnect').body.sessions).toEqual([
      { sessionId: 's1', lastSeq: 7 },
      { sessionId: 's2', lastSeq: 3 },
    ])
    world.stream.sends(world.event('s1', 8))
    await settle()
    expect(storage.stored('k:cursor:')).toEqual([
      { sessionId: 's1', lastSeq: 8 },
      { sessionId: 's2', lastSeq: 3 },
    ])
    // What was restored is not written again.
    expect(storage.callsOf('setItem').length).toBe(1)
  })

  test('a session that is watched without a place before they are read has the stored one', async () => {
    const storage = withCursors(['s1', 7])
    const world = load(storage)
    world.connection.watch('s1')
    world.connection.watch('new')
    await opens(world)
    expect(world.connection.cursors).toEqual([
      { sessionId: 's1', lastSeq: 7 },
      { sessionId: 'new', lastSeq: 0 },
    ])
    expect(storage.stored('k:cursor:')).toEqual(world.connection.cursors)
  })

  test.each<[string, (world: World) => void, number | undefined]>([
    ['a place that the app gives', ({ connection }) => connection.watch('s1', { after: 0 }), 0],
    ['unwatch', ({ connection }) => connection.unwatch('s1'), undefined],
    ['forgetting it', ({ connection }) => partsOf(connection).inbox.forget('s1'), undefined],
    [
      'watching it anew after that',
      ({ connection }) => {
        connection.unwatch('s1')
        connection.watch('s1')
      },
      0,
    ],
  ])('%s wins over what is read later, though it is not written by then', async (_, act, expected) => {
    const storage = withCursors(['s1', 7])
    storage.rule(({ name }) => (name === 'setItem' || name === 'removeItem' ? 'waits' : 'answers'))
    const world = load(storage)
    act(world)
    await opens(world)
    await settle()
    expect(world.connection.cursor('s1')?.lastSeq).toBe(expected)
  })

  test('a place that the app gives after it has watched without moves nothing: the session is tracked by then', async () => {
    const world = load(withCursors(['s1', 7]))
    world.connection.watch('s1')
    world.connection.watch('s1', { after: 0 })
    await opens(world)
    await settle()
    expect(world.connection.cursor('s1')?.lastSeq).toBe(7)
  })

  test('that the app gives win', async () => {
    const storage = withCursors(['s1', 7])
    const world = load(storage, { cursors: [{ sessionId: 's1', lastSeq: 2 }] })
    await opens(world)
    await settle()
    expect([world.connection.cursor('s1')?.lastSeq, storage.stored('k:cursor:')]).toEqual([
      2,
      [{ sessionId: 's1', lastSeq: 2 }],
    ])
  })

  test('I6: an event that came before a late storage answered is not offered again', async () => {
    const storage = withCursors(['s1', 7])
    storage.when('getAllKeys', 'waits')
    const world = load(storage)
    world.connection.watch('s1')
    world.connection.connect()
    await world.clock.advance(2_000)
    await opens(world)
    world.stream.sends(world.event('s1', 1))
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await settle()
    expect([world.connection.cursor('s1')?.lastSeq, storage.stored('k:cursor:')]).toEqual([
      1,
      [{ sessionId: 's1', lastSeq: 1 }],
    ])
  })

  test('of the first edition are read once, and have their new place then', async () => {
    const storage = withCursors(['s:1', 5])
    for (let visit = 0; visit < 2; visit++) {
      const world = load(storage)
      await settle()
      expect(world.connection.cursors).toEqual([{ sessionId: 's:1', lastSeq: 5 }])
    }
    expect([...storage.entries.keys()]).toEqual(['k:cursor:s%3A1'])
  })

  test('a storage that hangs makes no list of sessions that come and go', async () => {
    const storage = createAsyncStorage()
    const world = load(storage)
    await opens(world)
    storage.when('setItem', 'waits')
    for (let n = 0; n < 100; n++) {
      world.connection.watch(`s${n}`)
      await settle()
      world.connection.unwatch(`s${n}`)
      await settle()
    }
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect(storage.callsOf('removeItem').length).toBeLessThanOrEqual(16)
    expect([...storage.entries]).toEqual([])
  })
})

describe('pages that share a key, and have Web Locks', () => {
  function site() {
    const storage = createAsyncStorage()
    const locks = createLocks()
    const visit = (page: FakePage = locks.page(), behaviour = SERVER_ACCEPTS) =>
      load(storage, { locks: page }, behaviour)
    return { storage, locks, visit }
  }

  test('I5: never post each other’s messages as long as both live, and take over what one has left', async () => {
    const { storage, locks, visit } = site()
    const pages = [locks.page(), locks.page()] as const
    const [one, two] = pages.map((page) => visit(page, SERVER_IS_SILENT)) as [World, World]
    sendAll(one, 'ab')
    sendAll(two, 'c')
    await settle()
    for (const world of [one, two]) await opens(world)
    expect([posted(one), posted(two)]).toEqual([['a'], ['c']])
    pages[0].goes()
    two.connection.reconnect()
    await opens(two)
    expect(pending(two)).toEqual(['a', 'b', 'c'])
    two.server(SERVER_ACCEPTS)
    await two.post('send').answers(200)
    await settle()
    expect([[...storage.entries], locks.held()]).toEqual([[], []])
  })

  test('I5: a lock is not let go before the last verdict’s entry is deleted: another page would post it again', async () => {
    const { storage, locks, visit } = site()
    const one = visit()
    await opens(one)
    storage.when('removeItem', 'waits')
    sendAll(one, 'a')
    await settle()
    expect([posted(one), locks.held().length]).toEqual([['a'], 1])
    const two = visit()
    await opens(two)
    expect(pending(two)).toEqual([])
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('removeItem')) call.answer()
    await settle()
    expect([[...storage.entries], locks.held()]).toEqual([[], []])
  })

  test('I5: what comes while the entries are deleted is as safe', async () => {
    const { storage, locks, visit } = site()
    const one = visit()
    await opens(one)
    storage.when('removeItem', 'waits')
    sendAll(one, 'a')
    await settle()
    one.server(SERVER_IS_SILENT)
    sendAll(one, 'b')
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('removeItem')) call.answer()
    await settle()
    expect(locks.held().length).toBe(1)
    const two = visit()
    await opens(two)
    expect(pending(two)).toEqual([])
  })

  test('I5: what is read late is ours from the time its lock was', async () => {
    const { storage, locks, visit } = site()
    storage.entries.set('k:message:o:1', entry('old'))
    storage.when('getItem', 'waits')
    const one = visit()
    one.connection.connect()
    await one.clock.advance(2_000)
    await opens(one)
    storage.rule(() => 'answers')
    const two = visit()
    await opens(two)
    expect([pending(two), locks.held()]).toEqual([[], ['lock:k:message:o']])
    for (const call of storage.callsOf('getItem', 'k:message:')) call.answer()
    await settle()
    expect([posted(one), posted(two), [...storage.entries]]).toEqual([['old'], [], []])
  })

  test('dispose lets the lock go once what is queued is written', async () => {
    const { storage, locks, visit } = site()
    const one = visit()
    await settle()
    storage.when('setItem', 'waits')
    sendAll(one, 'a')
    await settle()
    one.connection.dispose()
    await settle()
    expect(locks.held().length).toBe(1)
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect(locks.held()).toEqual([])
    const two = visit()
    await opens(two)
    expect(posted(two)).toEqual(['a'])
  })
})

test('a transport that is a class of its own works behind the wait', async () => {
  class Own implements Carrier {
    readonly #carrier: Carrier
    constructor(setup: Parameters<Transport>[0]) {
      this.#carrier = eventSourceTransport(setup)
    }
    open(...given: Parameters<Carrier['open']>) {
      return this.#carrier.open(...given)
    }
    post(...given: Parameters<Carrier['post']>) {
      return this.#carrier.post(...given)
    }
    beacon(...given: Parameters<Carrier['beacon']>) {
      return this.#carrier.beacon(...given)
    }
  }
  const world = load(left('a'), { transport: (setup) => new Own(setup) })
  await opens(world)
  world.connection.wake()
  expect(posted(world)).toEqual(['a'])
})

test('a transport that throws when it opens a stream is retried with backoff', async () => {
  let opened = 0
  const world = load(left('a'), {
    transport: (setup) => ({
      ...eventSourceTransport(setup),
      open() {
        opened++
        throw new Error('not here')
      },
    }),
  })
  world.connection.connect()
  await settle()
  expect([opened, world.connection.phase, world.connection.lastError?.code]).toEqual([1, 'backoff', 'internal'])
})

test('a stream that fails while it is being opened is closed', async () => {
  const closed: number[] = []
  let opened = 0
  const world = load(left('a'), {
    transport: (setup) => ({
      ...eventSourceTransport(setup),
      open(handlers) {
        const own = opened++
        handlers.error(new (class extends Error {})('cut') as never)
        return () => closed.push(own)
      },
    }),
  })
  world.connection.connect()
  await settle()
  expect([opened, closed, world.connection.phase]).toEqual([1, [0], 'backoff'])
})

test('C77: two connections of one app on one async storage and key are told of each other', () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  const storage = createAsyncStorage()
  const one = createWorld({ storage: persist(storage, { key: 'k' }) })
  createConnection({ url: 'http://test/a', storage: persist(storage, { key: 'k' }), pageLifecycle: false })
  expect(warn).toHaveBeenCalledTimes(1)
  one.connection.dispose()
  warn.mockRestore()
})
