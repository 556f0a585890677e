import fc from 'fast-check'
import { persist } from 'holdline/storage'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Delivery } from '../../index'
import { fakeClock } from '../../testing/harness/fakeClock'
import {
  createWorld,
  type FakePost,
  SERVER_ACCEPTS,
  SERVER_IS_SILENT,
  type ServerBehaviour,
  settle,
  type World,
} from '../support/fakes'
import { createLocks, createStorage, type FakePage, type FakeStorage, load } from '../support/storage'

const prompt = (text: string) => ({ type: 'send', prompt: text })
const posted = (world: World) => world.postsTo('send').map(({ body }) => body.prompt)
const pending = (world: World) => world.connection.pending.map(({ message }) => message.prompt)
const statuses = (deliveries: readonly Delivery[]) => deliveries.map(({ status }) => status)
const sendAll = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text), { id: `id-${text}` }))
const stored = (storage: FakeStorage) => storage.stored('k:message:').map(({ message }) => message.prompt)
/** As a page stores it. */
const entry = (text: string, more: object = {}) =>
  JSON.stringify({ id: `id-${text}`, message: prompt(text), attempts: 0, expiresAt: null, ...more })

// Node has Web Locks from 24 on.
beforeEach(() => void vi.stubGlobal('navigator', undefined))
afterEach(() => void vi.unstubAllGlobals())

describe('C29: a reload keeps what has no verdict', () => {
  test.each([
    ['a moment ago, by a clock with fractions', 900.5, { triedAt: -0.25 }, 'accepted'],
    ['too long ago for the server to know it', 900, { triedAt: -1_000 }, 'unknown'],
    ['by an older version, which did not say when', 900, {}, 'accepted'],
  ])('what was posted %s', async (_, receiptAge, { triedAt }: { triedAt?: number }, status) => {
    const storage = createStorage()
    const at = 1_700_000_000_000
    const more = { attempts: 1, ...(triedAt !== undefined && { triedAt: at + triedAt }) }
    storage.entries.set(`k:message:gone:${at}`, entry('a', more))
    const world = load(storage)
    await settle()
    const [delivery] = world.connection.pending
    world.connection.connect()
    world.stream.opens()
    world.stream.welcomes({ connectionId: 'c1', features: ['idempotency'], receiptAge })
    await settle()
    expect(delivery?.status).toBe(status)
  })

  test('I4 I5: with its id, attempts and order, before what is new; each is told, and then goes its way', async () => {
    const storage = createStorage()
    const old = load(storage, {}, SERVER_IS_SILENT)
    await old.opens()
    sendAll(old, 'ab')
    await settle()

    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    sendAll(world, 'c')
    expect(world.connection.pending.map(({ id, status, message }) => [id, status, message])).toEqual(
      [...'abc'].map((text) => [`id-${text}`, 'queued', prompt(text)]),
    )
    await settle()
    expect(told).toEqual(['id-a queued', 'id-b queued', 'id-c queued'])
    expect(world.connection.getSnapshot().pendingCount).toBe(3)
    const deliveries = world.connection.pending
    await world.opens()
    expect(world.postsTo('send').map(({ headers, body }) => [headers.get('idempotency-key'), body])).toEqual(
      [...'abc'].map((text) => [`id-${text}`, prompt(text)]),
    )
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expect(verdicts.map(({ status, attempts }) => [status, attempts])).toEqual([
      ['accepted', 2],
      ['accepted', 1],
      ['accepted', 1],
    ])
    expect([stored(storage), pending(load(storage))]).toEqual([[], []])
  })

  test('it is stored before send() returns, as attempted before fetch is called, and until its verdict', async () => {
    const storage = createStorage()
    const attempts = () => storage.stored('k:message:').map((stored) => stored.attempts)
    const seen: unknown[] = []
    const world = load(storage, {}, () => seen.push(attempts()))
    sendAll(world, 'ab')
    expect(attempts()).toEqual([0, 0])
    await world.opens()
    await world.post('send').answers(503)
    await world.clock.advance(250)
    expect(seen).toEqual([
      [1, 0],
      [2, 0],
    ])
    await world.post('send').answers(200)
    await world.post('send').answers(403)
    expect([seen[2], stored(storage)]).toEqual([[1], []])
  })

  test('what is repeated is what was posted, whatever the app has done to the object since', async () => {
    const storage = createStorage()
    const world = load(storage, {}, SERVER_IS_SILENT)
    const message = { type: 'send', prompt: 'a', when: new Date(0) }
    world.connection.send(message)
    message.prompt = 'changed'
    await world.opens()
    const repeat = load(storage)
    await repeat.opens()
    expect(repeat.post('send').body).toEqual(world.post('send').body)
  })

  test('its age counts from when it was sent; one without an age never gets too old', async () => {
    const storage = createStorage()
    const old = load(storage)
    const deliveries = [1_000, 5_000, Infinity].map((maxAge) => old.connection.send(prompt(`${maxAge}`), { maxAge }))
    expect(statuses(deliveries)).toEqual(Array(3).fill('queued'))
    const world = load(storage)
    const [first] = world.connection.pending
    await world.clock.advance(1_000)
    await world.opens()
    expect(posted(world)).toEqual(['5000', 'Infinity'])
    expect([await first?.settled, stored(storage)]).toMatchObject([{ error: { code: 'expired' } }, []])
  })

  test('a message whose type has no endpoint any more is rejected, told and removed', async () => {
    const storage = createStorage()
    load(storage, { protocol: { endpoints: { upload: 'files' } } }).connection.send({ type: 'upload' }, { id: 'u' })
    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    await settle()
    expect(told).toEqual(['u queued', 'u rejected'])
    expect([storage.stored('k:message:'), world.errors]).toEqual([[], []])
  })

  test('what was attempted before the reload is in doubt after it: given up, it ends unknown', async () => {
    const storage = createStorage()
    const old = load(storage, {}, SERVER_IS_SILENT)
    await old.opens()
    sendAll(old, 'ab')
    await settle()
    const deliveries = load(storage).connection.pending
    for (const { cancel } of deliveries) cancel()
    expect(statuses(deliveries)).toEqual(['unknown', 'rejected'])
    expect(stored(storage)).toEqual([])
  })

  test('C26: what is restored is kept, over the bounds too, and takes room', async () => {
    const storage = createStorage()
    sendAll(load(storage), 'abc')
    const world = load(storage, { outbox: { maxMessages: 2 } })
    expect(statuses(sendAll(world, 'd'))).toEqual(['rejected'])
    expect(pending(world)).toEqual(['a', 'b', 'c'])
    expect(stored(storage)).toEqual(['a', 'b', 'c'])
  })

  test('I5: a stored id is in use', () => {
    const storage = createStorage()
    sendAll(load(storage), 'a')
    expect(() => sendAll(load(storage), 'a')).toThrow(expect.objectContaining({ code: 'invalid-option' }))
  })

  test('I4: what is restored stays before what is new, also where the clock was set back', () => {
    const storage = createStorage()
    sendAll(load(storage), 'ab')
    const second = load(storage)
    second.clock.jump(-60_000)
    sendAll(second, 'cd')
    expect(load(storage).connection.pending.map(({ id }) => id)).toEqual(['id-a', 'id-b', 'id-c', 'id-d'])
  })

  test('I4: what several pages have left goes in the order of its sending', async () => {
    const storage = createStorage()
    const pages = [load(storage), load(storage)]
    const texts = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k']
    for (const [index, text] of texts.entries()) {
      const page = pages[index % 4 ? 1 : 0] as World
      for (const { clock } of pages) clock.jump(1)
      sendAll(page, [text])
    }
    expect(pending(load(storage))).toEqual(texts)
  })
})

describe('what is stored under a key', () => {
  test('is that of one user: other keys are neither read nor touched', async () => {
    const storage = createStorage()
    const foreign = [
      ['k', 'mine'],
      ['k2:message:o:1', entry('x')],
      ['k:messages', 'x'],
      ['other', '{'],
    ] as const
    for (const [key, value] of foreign) storage.entries.set(key, value)
    sendAll(load(storage), 'a')
    const other = load(storage, { storage: persist(storage, { key: 'K' }) })
    expect(pending(other)).toEqual([])
    const world = load(storage)
    await world.opens()
    world.connection.clearOutbox()
    expect([posted(world), world.errors, [...storage.entries]]).toEqual([['a'], [], foreign])
  })

  test('is by default that of the URL', () => {
    const storage = createStorage()
    sendAll(createWorld({ storage: persist(storage) }), 'a')
    expect([...storage.entries.keys()]).toEqual([expect.stringMatching(/^holdline:http:\/\/test\/api\/chat:message:/)])
    expect(pending(createWorld({ storage: persist(storage) }))).toEqual(['a'])
  })

  test.each([10, 1_000])('costs as much per message, whether there are 10 or 1,000 of them: %i', async (count) => {
    const storage = createStorage()
    const world = load(storage)
    const before = storage.operations.length
    sendAll(
      world,
      Array.from({ length: count }, (_, index) => `${index}`),
    )
    await world.opens()
    expect(world.connection.pending).toEqual([])
    const operations = storage.operations.slice(before)
    const counts = ['setItem', 'removeItem', 'getItem'].map(
      (name) => operations.filter((other) => other === name).length,
    )
    expect(counts).toEqual([2 * count, count, 0])
  })

  test('C30: is deleted by clearOutbox, whoever stored it; the cursors stay', async () => {
    const storage = createStorage()
    const cursors = [{ sessionId: 's1', lastSeq: 7 }]
    const world = load(storage, { cursors })
    sendAll(world, 'a')
    sendAll(load(storage), 'b')
    world.connection.clearOutbox()
    await settle()
    expect([stored(storage), storage.stored('k:cursor:')]).toEqual([[], cursors])
    expect(pending(load(storage))).toEqual([])
  })

  test('stays when the connection is disposed: it may go out later, and so ends unknown', async () => {
    const storage = createStorage()
    const world = load(storage)
    const [a] = sendAll(world, 'a')
    world.connection.dispose()
    expect(await a?.settled).toMatchObject({ status: 'unknown', attempts: 0, error: { code: 'cancelled' } })
    expect(statuses([world.connection.send(prompt('b'))])).toEqual(['rejected'])
    const next = load(storage)
    await next.opens()
    expect(posted(next)).toEqual(['a'])
  })
})

describe('cursors', () => {
  const CURSORS = [
    { sessionId: 's1', lastSeq: 3, epoch: 'e' },
    { sessionId: 's:2', lastSeq: 1 },
  ]
  async function received(storage: FakeStorage) {
    const world = load(storage)
    await world.opens()
    for (const seq of [1, 2, 3]) world.stream.sends(world.event('s1', seq, { epoch: 'e' }))
    world.stream.sends(world.event('s:2', 1))
    await settle()
    return world
  }

  test('survive, and are resumed on the first connection', async () => {
    const storage = createStorage()
    await received(storage)
    const world = load(storage)
    expect(world.connection.cursors).toEqual(CURSORS)
    await world.opens()
    expect(world.post('reconnect').body.sessions).toEqual(CURSORS)
  })

  test('are neither stored nor read unless the app asks for it: a page without its state would begin in the middle', async () => {
    const storage = createStorage()
    storage.entries.set('k:cursor:s2', JSON.stringify({ sessionId: 's2', lastSeq: 5 }))
    for (const kept of [{ key: 'k' }, { key: 'k', cursors: false }, { key: 'k', cursors: undefined }]) {
      const world = load(storage, { storage: persist(storage, kept) })
      await world.opens()
      world.connection.watch('s3')
      world.stream.sends(world.event('s1', 1))
      await settle()
      expect(world.connection.cursors.map(({ sessionId }) => sessionId)).toEqual(['s3', 's1'])
      world.connection.dispose()
    }
    expect([...storage.entries.keys()]).toEqual(['k:cursor:s2'])
  })

  test('that the app gives win', async () => {
    const storage = createStorage()
    await received(storage)
    const given = [{ sessionId: 's1', lastSeq: 2, epoch: 'e' }]
    expect(load(storage, { cursors: given }).connection.cursors).toEqual([...given, CURSORS[1]])
    await settle()
    expect(load(storage).connection.cursor('s1')).toEqual(given[0])
  })

  test.each(['unwatch', 'gone', 'forbidden'])('end with %s', async (end) => {
    const storage = createStorage()
    await received(storage)
    const world = load(storage, {}, (post) =>
      post.answers(200, { ok: true, sessions: end === 'unwatch' ? [] : [{ sessionId: 's1', status: end }] }),
    )
    await world.opens()
    if (end === 'unwatch') world.connection.unwatch('s1')
    await settle()
    expect(load(storage).connection.cursors).toEqual([CURSORS[1]])
  })

  test('take what a reset says', async () => {
    const storage = createStorage()
    await received(storage)
    const reset = { sessionId: 's1', status: 'reset', epoch: 'f', from: 0, to: 9 }
    const world = load(storage, {}, (post) => post.answers(200, { ok: true, sessions: [reset] }))
    await world.opens()
    expect(load(storage).connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 9, epoch: 'f' })
  })

  test('move only after the listeners returned', async () => {
    const storage = createStorage()
    const world = await received(storage)
    const lastSeq = () => storage.stored('k:cursor:s1').map((cursor) => cursor.lastSeq)
    let isBroken = true
    world.connection.on('message', () => {
      expect(lastSeq()).toEqual([3])
      if (isBroken) throw new Error('not yet')
    })
    world.stream.sends(world.event('s1', 4, { epoch: 'e' }))
    await settle()
    expect(lastSeq()).toEqual([3])
    isBroken = false
    await world.clock.advance(100)
    expect(lastSeq()).toEqual([4])
    expect(world.errors).toEqual(['listener-failed'])
  })

  test('cost one write for all events that come at once', async () => {
    const storage = createStorage()
    const world = await received(storage)
    const before = storage.operations.length
    for (let seq = 4; seq <= 500; seq++) world.stream.sends(world.event('s1', seq, { epoch: 'e' }))
    await settle()
    expect(storage.operations.slice(before)).toEqual(['setItem'])
  })
})

describe('C29: a storage that fails harms nothing but the reload', () => {
  /** A reload with something stored, two messages and an event. Returns what became of it. */
  async function scenario(storage: FakeStorage) {
    storage.entries.set('k:message:o:1', entry('old'))
    storage.entries.set('k:cursor:s0', JSON.stringify({ sessionId: 's0', lastSeq: 1 }))
    const world = load(storage)
    const deliveries = sendAll(world, 'ab')
    await world.opens()
    world.stream.sends(world.event('s1', 1))
    world.connection.unwatch('s0')
    await settle()
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted'])
    expect(posted(world).slice(-2)).toEqual(['a', 'b'])
    expect(world.connection.pending).toEqual([])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(1)
    // It was delivered, or it was not read and waits for the next reload.
    expect([posted(world).length, stored(storage)]).toEqual(
      posted(world)[0] === 'old' ? [3, expect.anything()] : [2, expect.arrayContaining(['old'])],
    )
    return { world, count: storage.operations.length }
  }

  test('whichever operation it throws at, once or from then on, that is reported once', async () => {
    const { count, world } = await scenario(createStorage())
    expect([count > 15, world.errors]).toEqual([true, []])
    for (let broken = 1; broken <= count; broken++) {
      for (const at of [(n: number) => n === broken, (n: number) => n >= broken]) {
        const storage = createStorage()
        storage.throws(at)
        const { world } = await scenario(storage)
        expect([broken, world.errors]).toEqual([broken, ['storage-failed']])
      }
    }
  })

  test.each<[string, object]>([
    [
      'whose every member throws',
      Object.defineProperties(
        {},
        Object.fromEntries(
          ['length', 'key', 'getItem', 'setItem', 'removeItem'].map((name) => [
            name,
            {
              get() {
                throw new DOMException('the document is sandboxed', 'SecurityError')
              },
            },
          ]),
        ),
      ),
    ],
    [
      'that throws when it is looked at in any way',
      new Proxy(
        {},
        {
          get() {
            throw new Error('not here')
          },
          has() {
            throw new Error('not here')
          },
        },
      ),
    ],
    [
      'that answers later: its length is a function',
      {
        length: async () => 0,
        key: async () => null,
        getItem: async () => null,
        setItem: async () => {},
        removeItem: async () => {},
      },
    ],
  ])('C80: one %s: one report, and the line works', async (_, broken) => {
    const world = createWorld({ storage: persist(broken as never) })
    const deliveries = sendAll(world, 'ab')
    await world.opens()
    expect([posted(world), statuses(deliveries), world.errors]).toEqual([
      ['a', 'b'],
      ['accepted', 'accepted'],
      ['storage-failed'],
    ])
  })

  test.each<[string, () => never]>([
    [
      'throws',
      () => {
        throw new DOMException('the document is sandboxed', 'SecurityError')
      },
    ],
    ['is not there', () => (globalThis as { noSuchStorage?: never }).noSuchStorage as never],
    ['is null', () => null as never],
  ])(
    'C80: persist(() => localStorage) where it %s: the line works, and what throws is reported once',
    async (how, give) => {
      const world = createWorld({ storage: persist(give) })
      const deliveries = sendAll(world, 'ab')
      await world.opens()
      expect([posted(world), statuses(deliveries), world.errors]).toEqual([
        ['a', 'b'],
        ['accepted', 'accepted'],
        how === 'throws' ? ['storage-failed'] : [],
      ])
    },
  )

  test('C80: persist(() => localStorage) where there is one is as good as persist(localStorage)', async () => {
    const storage = createStorage()
    const kept = persist(() => storage, { key: 'k' })
    sendAll(createWorld({ storage: kept }), 'a')
    expect(pending(createWorld({ storage: kept }))).toEqual(['a'])
  })

  test('full: memory goes on, and there is one report, which names the cause', async () => {
    const storage = createStorage()
    const world = load(storage)
    const causes: unknown[] = []
    world.connection.on('error', ({ error }) => causes.push([error.code, error.retryable, error.cause]))
    sendAll(world, 'a')
    storage.holds([...storage.entries].flat().join('').length)
    const deliveries = sendAll(world, 'bc')
    expect(stored(storage)).toEqual(['a'])
    await world.opens()
    expect(posted(world)).toEqual(['a', 'b', 'c'])
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted'])
    expect(causes).toEqual([['storage-failed', false, new Error('full')]])
  })

  test('what could not be stored does not end unknown when the connection is disposed', () => {
    const storage = createStorage()
    storage.holds(0)
    const world = load(storage)
    const deliveries = sendAll(world, 'a')
    world.connection.dispose()
    expect(statuses(deliveries)).toEqual(['rejected'])
  })
})

describe('C29: what is corrupt is reported and set aside', () => {
  /** What is set aside, without the time. */
  const lines = (storage: FakeStorage) =>
    (storage.entries.get('k.corrupt') ?? '')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line).slice(1))

  test.each<[string, string]>([
    ['nothing', ''],
    ['no JSON', '{"id":'],
    ['huge, and no JSON', '{'.repeat(1_000_000)],
    ['null', 'null'],
    ['a list', '[]'],
    ['a number', '7'],
    ['no fields', '{}'],
    ['fields by inheritance', `{"__proto__":${entry('x')}}`],
    ['no id', entry('x', { id: undefined })],
    ['an id that is no text', entry('x', { id: 7 })],
    ['an empty id', entry('x', { id: '' })],
    ['an id that is too long', entry('x', { id: 'x'.repeat(256) })],
    ['an id that would break a header', entry('x', { id: 'x\r\nAuthorization: me' })],
    ['no message', entry('x', { message: undefined })],
    ['a message that is a list', entry('x', { message: [prompt('x')] })],
    ['a message that is text', entry('x', { message: 'send' })],
    ['no attempts', entry('x', { attempts: undefined })],
    ['attempts below 0', entry('x', { attempts: -1 })],
    ['attempts that are text', entry('x', { attempts: '1' })],
    ['an end that is text', entry('x', { expiresAt: 'soon' })],
    ['an end that is no number when it is made one', entry('x', { expiresAt: { toString: 1 } })],
    ['an end before all time', entry('x', { expiresAt: -1 })],
  ])('%s; the rest is restored', async (_, text) => {
    const storage = createStorage()
    storage.entries.set('k:message:o:3', entry('c'))
    storage.entries.set('k:message:o:2', text)
    storage.entries.set('k:message:o:1', entry('a'))
    const world = load(storage)
    await world.opens()
    expect([posted(world), world.errors]).toEqual([['a', 'c'], ['storage-corrupt']])
    expect([...storage.entries.keys()]).toEqual(['k.corrupt'])
    if (text.length < 2_000) expect(lines(storage)).toEqual([['k:message:o:2', text]])
    const next = load(storage)
    await settle()
    expect(next.errors).toEqual([])
  })

  test.each(['k:message:', 'k:message:o', 'k:message:o:x', 'k:message:o:', 'k:message:o:-1', 'k:message:o:0'])(
    'the place %s; the rest is restored in order',
    async (place) => {
      const storage = createStorage()
      storage.entries.set('k:message:o:3', entry('c'))
      storage.entries.set(place, entry('x'))
      storage.entries.set('k:message:o:1', entry('a'))
      const world = load(storage)
      await settle()
      expect([pending(world), world.errors, lines(storage)]).toEqual([
        ['a', 'c'],
        ['storage-corrupt'],
        [[place, entry('x')]],
      ])
    },
  )

  test.each<[string, string]>([
    ['no JSON', 'x'],
    ['null', 'null'],
    ['no sessionId', '{"lastSeq":1}'],
    ['no lastSeq', '{"sessionId":"s1"}'],
    ['lastSeq below 0', '{"sessionId":"s1","lastSeq":-1}'],
    ['an epoch that is no text', '{"sessionId":"s1","lastSeq":1,"epoch":7}'],
    ['the cursor of another session', '{"sessionId":"s2","lastSeq":1}'],
  ])('a cursor: %s; the rest is restored', async (_, text) => {
    const storage = createStorage()
    storage.entries.set('k:cursor:s1', text)
    storage.entries.set('k:cursor:s2', '{"sessionId":"s2","lastSeq":5}')
    const world = load(storage)
    await settle()
    expect(world.connection.cursors).toEqual([{ sessionId: 's2', lastSeq: 5 }])
    expect([world.errors, lines(storage)]).toEqual([['storage-corrupt'], [['k:cursor:s1', text]]])
  })

  test.each<[string, object]>([
    ['a type that is no text', { message: { type: { toString: 1 } } }],
    ['no type', { message: {} }],
    ['a type of Object.prototype', { message: { type: 'constructor' } }],
  ])('a message with %s is as good as one without an endpoint: rejected', async (_, more) => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', entry('x', more))
    storage.entries.set('k:message:o:2', entry('b'))
    const world = load(storage)
    await world.opens()
    expect([posted(world), world.errors, [...storage.entries]]).toEqual([['b'], [], []])
  })

  test('what is set aside is added to, and what finds no room there stays where it is', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', 'x')
    storage.entries.set('k:message:o:2', 'y')
    const world = load(storage)
    await settle()
    expect([world.errors, lines(storage)]).toEqual([
      ['storage-corrupt', 'storage-corrupt'],
      [
        ['k:message:o:1', 'x'],
        ['k:message:o:2', 'y'],
      ],
    ])
    storage.entries.set('k:message:o:3', 'z')
    storage.holds([...storage.entries].flat().join('').length)
    const full = load(storage)
    await settle()
    expect([full.errors, storage.entries.get('k:message:o:3')]).toEqual([['storage-corrupt', 'storage-failed'], 'z'])
  })
})

describe('C108: a storage of an origin that is shared', () => {
  const WEEK = 604_800_000
  const keyed = (storage: FakeStorage, key: string, options = {}) =>
    createWorld({ storage: persist(Object.create(storage), { key, cursors: true }), ...options })

  test.each([
    ['a:message:x', 'a'],
    ['a', 'a:message:x'],
    ['a:b', 'a'],
    ['a:cursor', 'a'],
    ['a%3Amessage%3Ax', 'a:message:x'],
    ['holdline:http://x/a', 'holdline:http'],
  ])('what key %s has stored, key %s neither takes, reports, sets aside nor deletes', async (writer, reader) => {
    const storage = createStorage()
    const cursors = [{ sessionId: 's1', lastSeq: 7 }]
    sendAll(keyed(storage, writer, { cursors }), 'a')
    await settle()
    const world = keyed(storage, reader)
    await settle()
    expect([pending(world), world.connection.cursors, world.errors]).toEqual([[], [], []])
    world.connection.clearOutbox()
    const next = keyed(storage, writer)
    expect([pending(next), next.connection.cursors]).toEqual([['a'], cursors])
  })

  test('a session id with a colon or a percent sign is that of one session of one key', async () => {
    const storage = createStorage()
    const cursors = ['s1', 'x:cursor:s1', 's:2', 's%3A2', 's%'].map((sessionId, lastSeq) => ({ sessionId, lastSeq }))
    keyed(storage, 'a', { cursors })
    keyed(storage, 'a:cursor:x', { cursors: [{ sessionId: 's1', lastSeq: 99 }] })
    await settle()
    expect(keyed(storage, 'a').connection.cursors).toEqual(cursors)
    expect(keyed(storage, 'a:cursor:x').connection.cursors).toEqual([{ sessionId: 's1', lastSeq: 99 }])
  })

  test('what the first edition wrote is read once, and has its new place then', async () => {
    const storage = createStorage()
    const cursors = ['s:1', 's%2', 's%3A3'].map((sessionId) => ({ sessionId, lastSeq: 5 }))
    for (const cursor of cursors) storage.entries.set(`k:cursor:${cursor.sessionId}`, JSON.stringify(cursor))
    storage.entries.set('k:message:o:1', entry('a'))
    for (let visit = 0; visit < 2; visit++) {
      const world = load(storage)
      await settle()
      expect([pending(world), world.connection.cursors, world.errors]).toEqual([['a'], cursors, []])
    }
    expect([...storage.entries.keys()].sort()).toEqual(
      ['k:cursor:s%253A3', 'k:cursor:s%252', 'k:cursor:s%3A1', 'k:message:o:1'].sort(),
    )
  })

  test.each(['Infinity', '1e308', '1e999', '9007199254740993', '-1', '0x10', ' 7', '1.5e3', '1.', '01', '٣'])(
    'a place with the number %s is corrupt, and what comes after it has places of its own',
    async (number) => {
      const storage = createStorage()
      storage.entries.set(`k:message:o:${number}`, entry('old'))
      const world = load(storage)
      sendAll(world, 'abc')
      await settle()
      expect([stored(storage), world.errors]).toEqual([['a', 'b', 'c'], ['storage-corrupt']])
    },
  )

  test('a clock that tells fractions is no reason to lose what the first edition has stored by it', () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1000.75', entry('b'))
    storage.entries.set('k:message:o:1000.5', entry('a'))
    const clock = fakeClock()
    const world = load(storage, { clock: { ...clock, now: () => clock.now() + 0.25 } })
    sendAll(world, 'c')
    expect([pending(load(storage)), [...storage.entries.keys()].at(-1)]).toEqual([
      ['a', 'b', 'c'],
      expect.stringMatching(/:[0-9]+$/),
    ])
  })

  test.each(['8640000000000000', '9007199254740991'])(
    'after the number %s each message has a place still',
    (number) => {
      const storage = createStorage()
      storage.entries.set(`k:message:o:${number}`, entry('old'))
      sendAll(load(storage), 'abc')
      expect(pending(load(storage)).sort()).toEqual(['a', 'b', 'c', 'old'])
    },
  )

  test('what is set aside is at most 64 Ki characters: the newest', async () => {
    const storage = createStorage()
    for (let n = 1; n <= 200; n++) storage.entries.set(`k:message:o:${n}`, `${n} ${'\0'.repeat(5_000)}`)
    storage.entries.set(`k:cursor:${'x'.repeat(100_000)}`, '\0'.repeat(100_000))
    load(storage)
    await settle()
    const aside = storage.entries.get('k.corrupt') ?? ''
    expect(aside.length).toBeLessThanOrEqual(65_536)
    expect(aside.length).toBeGreaterThan(30_000)
    expect(aside.split('\n').map((line) => /o:([0-9]+)/.exec(line)?.[1])).toEqual(
      Array.from({ length: 32 }, (_, n) => `${n + 169}`),
    )
    expect([...storage.entries.keys()]).toEqual(['k.corrupt'])
  })

  test('it is gone a week later, not a ms before', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', 'x')
    const { clock } = load(storage)
    const at = clock.now()
    const aside = (now: number) => {
      load(storage, { clock: { ...clock, now: () => now } })
      return storage.entries.get('k.corrupt')
    }
    expect(aside(at + WEEK - 1)).toContain('k:message:o:1')
    expect(aside(at + WEEK)).toBeUndefined()
  })

  test('it goes with clearOutbox(): it may hold prompts', async () => {
    const storage = createStorage()
    storage.entries.set('k:message:o:1', '{"prompt":"secret')
    const world = load(storage)
    await settle()
    expect(storage.entries.get('k.corrupt')).toContain('secret')
    world.connection.clearOutbox()
    expect([...storage.entries]).toEqual([])
  })

  test('what the first edition set aside, without a time, is gone with the next page', () => {
    const storage = createStorage()
    storage.entries.set('k.corrupt', '["k:message:o:1","secret"]\n{"toString":1}\nnull\n')
    load(storage)
    expect([...storage.entries]).toEqual([])
  })
})

describe('pages that share a key', () => {
  function site() {
    const storage = createStorage()
    const locks = createLocks()
    const visit = (page: FakePage = locks.page(), behaviour = SERVER_ACCEPTS) =>
      load(storage, { locks: page }, behaviour)
    return { storage, locks, visit }
  }

  test('I5: never post each other’s messages as long as both live', async () => {
    const { storage, locks, visit } = site()
    const [one, two] = [visit(), visit()]
    sendAll(one, 'ab')
    sendAll(two, 'c')
    const three = visit()
    for (const world of [one, three, two]) await world.opens()
    expect([one, two, three].map(posted)).toEqual([['a', 'b'], ['c'], []])
    await settle()
    expect([stored(storage), locks.held()]).toEqual([[], []])
  })

  test.each(['at once', 'when it is told the verdict'])(
    'I5: what is sent right after the last verdict is as safe as what came before it: %s',
    async (when) => {
      const { visit } = site()
      const one = visit(undefined, (post) => post.body.prompt === 'a' && SERVER_ACCEPTS(post))
      const [a] = sendAll(one, 'a')
      const again = a?.settled.then(() => sendAll(one, 'b'))
      if (when === 'at once') {
        a?.cancel()
        sendAll(one, 'c')
      }
      await one.opens()
      await again
      const other = await settled(visit())
      expect([pending(one).length > 0, pending(other)]).toEqual([true, []])
    },
  )

  test('C29: what a page that is gone has left is taken over by the next page, at its start', async () => {
    const { storage, locks, visit } = site()
    const page = locks.page()
    sendAll(visit(page), 'ab')
    await settle()
    page.goes()
    const world = visit()
    sendAll(world, 'c')
    await settle()
    expect(pending(world)).toEqual(['a', 'b', 'c'])
    const other = visit()
    await other.opens()
    await world.opens()
    expect([posted(world), posted(other), stored(storage)]).toEqual([['a', 'b', 'c'], [], []])
  })

  test('C29: and by a page that lives, when its line opens', async () => {
    const { locks, visit } = site()
    const page = locks.page()
    sendAll(visit(page), 'a')
    await settle()
    const world = visit()
    sendAll(world, 'b')
    await settle()
    expect(pending(world)).toEqual(['b'])
    page.goes()
    await world.opens()
    expect(posted(world)).toEqual(['a', 'b'])
    expect(world.connection.pending).toEqual([])
  })

  test('C29: what was taken over is left behind again when that page goes too', async () => {
    const { locks, visit } = site()
    const pages = [locks.page(), locks.page(), locks.page()]
    for (const [index, page] of pages.entries()) {
      sendAll(visit(page), `${index}`)
      await settle()
      page.goes()
    }
    const world = visit()
    await world.opens()
    expect(posted(world)).toEqual(['0', '1', '2'])
  })

  test('the lock is held from the first message to the last verdict, and no longer than to dispose', async () => {
    const { locks, visit } = site()
    const world = visit(locks.page(), SERVER_IS_SILENT)
    await world.opens()
    await settle()
    expect(locks.held()).toEqual([])
    sendAll(world, 'ab')
    await settle()
    expect(locks.held()).toEqual([expect.stringMatching(/^lock:k:message:[0-9a-f]{32}$/)])
    await world.post('send').answers(200)
    expect(locks.held()).toHaveLength(1)
    await world.post('send').answers(200)
    expect(locks.held()).toEqual([])
    sendAll(world, 'c')
    await settle()
    expect(locks.held()).toHaveLength(1)
    world.connection.dispose()
    await settle()
    expect(locks.held()).toEqual([])
    expect(pending(await settled(visit()))).toEqual(['c'])
  })

  test('I4: what is restored goes first, however late the lock answers; nothing is posted before', async () => {
    const { locks, visit } = site()
    const gone = locks.page()
    sendAll(visit(gone), 'ab')
    await settle()
    gone.goes()
    const page = locks.page()
    const decide = page.answersLate()
    const world = visit(page)
    const [c] = sendAll(world, 'cd')
    await world.opens()
    c?.cancel()
    expect(posted(world)).toEqual([])
    decide()
    await settle()
    expect(posted(world)).toEqual(['a', 'b', 'd'])
  })

  test('I5: what is being taken over stays ours, though all that was ours ends meanwhile', async () => {
    const { locks, visit } = site()
    const gone = locks.page()
    sendAll(visit(gone), 'a')
    await settle()
    gone.goes()
    const page = locks.page()
    const decide = page.answersLate()
    const world = visit(page)
    sendAll(world, 'b')[0]?.cancel()
    decide()
    await settle()
    const other = visit()
    await other.opens()
    await world.opens()
    expect([posted(world), posted(other)]).toEqual([['a'], []])
  })

  test.each(['dispose', 'clearOutbox'] as const)('%s while the lock is asked for takes nothing over', async (end) => {
    const { storage, locks, visit } = site()
    const gone = locks.page()
    sendAll(visit(gone), 'a')
    await settle()
    gone.goes()
    const page = locks.page()
    const decide = page.answersLate()
    const world = visit(page)
    world.connection[end]()
    decide()
    await settle()
    expect([pending(world), stored(storage), locks.held()]).toEqual([[], end === 'dispose' ? ['a'] : [], []])
  })

  test('I5: an id that is sent again before its stored message is restored is one message', async () => {
    const { storage, locks, visit } = site()
    const gone = locks.page()
    sendAll(visit(gone), 'a')
    await settle()
    gone.goes()
    const world = visit()
    sendAll(world, 'a')
    await settle()
    expect([pending(world), stored(storage)]).toEqual([['a'], ['a']])
    await world.opens()
    expect([posted(world), stored(storage)]).toEqual([['a'], []])
  })

  const never = () => new Promise<void>(() => {})
  const LOCKS_THAT_FAIL: [string, FakePage['request']][] = [
    ['rejects', () => Promise.reject(new Error('not here'))],
    ['rejects late', () => settle().then(() => Promise.reject(new Error('not here')))],
    [
      'throws',
      () => {
        throw new Error('not here')
      },
    ],
    ['resolves without calling back', async () => {}],
    ['never calls back', never],
  ]

  test.each(LOCKS_THAT_FAIL)(
    'C65: a lock manager that %s: one report, nothing is taken over, and one’s own messages flow',
    async (_, request) => {
      const { storage, locks, visit } = site()
      storage.entries.set('k:message:o:1', entry('old'))
      storage.entries.set('k:message:p:1', entry('old too'))
      const world = visit({ ...locks.page(), request })
      const deliveries = sendAll(world, 'ab')
      await world.opens()
      await world.clock.advance(2_000)
      world.connection.reconnect()
      await world.opens()
      expect([posted(world), statuses(deliveries), stored(storage)]).toEqual([
        ['a', 'b'],
        ['accepted', 'accepted'],
        ['old', 'old too'],
      ])
      expect(world.errors).toEqual(['storage-failed'])
      world.connection.dispose()
      await settle()
      expect(world.clock.pending).toBe(0)
    },
  )

  test.each(LOCKS_THAT_FAIL)(
    'C65: a lock manager that %s when there is nothing to take over is reported too',
    async (_, request) => {
      const { locks, visit } = site()
      const world = visit({ ...locks.page(), request }, SERVER_IS_SILENT)
      sendAll(world, 'a')
      await world.clock.advance(2_000)
      sendAll(world, 'b')
      // Two seconds for the lock; five until the console is told that nobody has called `connect`.
      await world.clock.advance(5_000)
      expect([world.errors, world.clock.pending]).toEqual([['storage-failed'], 0])
    },
  )

  test.each<[string, readonly (object | null)[], readonly string[]]>([
    ['twice with it', [{}, {}], ['old', 'a']],
    ['without it, then with it', [null, {}], ['a']],
    ['with it, then without it', [{}, null], ['old', 'a']],
  ])('C65: a lock manager that calls back %s: the first word counts', async (_, words, expected) => {
    const { storage, locks, visit } = site()
    storage.entries.set('k:message:o:1', entry('old'))
    const request: FakePage['request'] = async (_name, _options, callback) => {
      await Promise.all(words.map(callback))
    }
    const world = visit({ ...locks.page(), request })
    sendAll(world, 'a')
    await world.opens()
    expect([posted(world), world.errors]).toEqual([expected, []])
  })

  test('C65: a lock that is granted after its time is given back: the messages are left to a page that asks in time', async () => {
    const { storage, locks, visit } = site()
    storage.entries.set('k:message:o:1', entry('old'))
    const page = locks.page()
    const decide = page.answersLate()
    const world = visit(page)
    await world.clock.advance(2_000)
    decide()
    await world.opens()
    expect([posted(world), locks.held()]).toEqual([[], []])
    const other = await settled(visit())
    expect(pending(other)).toEqual(['old'])
  })

  test('C65: a lock that is broken while it is held changes nothing, and ends nobody’s process', async () => {
    const { storage, locks, visit } = site()
    storage.entries.set('k:message:o:1', entry('old'))
    const request: FakePage['request'] = async (_name, _options, callback) => {
      void callback({})
      await settle()
      throw new DOMException('stolen', 'AbortError')
    }
    const world = visit({ ...locks.page(), request })
    await world.opens()
    await settle()
    expect([posted(world), world.errors]).toEqual([['old'], []])
  })

  test('C65: a lock manager that never lets go: the next lock of one’s own is waited for in vain, and that is reported', async () => {
    const { locks, visit } = site()
    const page = locks.page()
    const world = visit({
      ...page,
      request: (name, options, callback) =>
        page.request(name, options, (lock) => {
          void callback(lock)
          return never()
        }),
    })
    const [a] = sendAll(world, 'a')
    await settle()
    a?.cancel()
    sendAll(world, 'b')
    await world.clock.advance(2_000)
    expect([world.errors, pending(world)]).toEqual([['storage-failed'], ['b']])
  })

  test('a lock that another page has: nothing is taken over, and nothing reported', async () => {
    const { storage, locks, visit } = site()
    storage.entries.set('k:message:o:1', entry('old'))
    const request: FakePage['request'] = async (_name, _options, callback) => callback(null)
    const world = visit({ ...locks.page(), request })
    sendAll(world, 'a')
    await world.opens()
    expect([posted(world), stored(storage), world.errors]).toEqual([['a'], ['old'], []])
  })

  test('the default are the Web Locks of the platform', async () => {
    const { storage, locks } = site()
    vi.stubGlobal('navigator', { locks: locks.page() })
    sendAll(load(storage), 'a')
    await settle()
    expect([locks.held().length, pending(load(storage))]).toEqual([1, []])
  })

  test('without locks nobody can tell who is gone: both may post it, under the same id', async () => {
    const storage = createStorage()
    const one = load(storage)
    sendAll(one, 'a')
    const two = load(storage)
    for (const world of [one, two]) await world.opens()
    expect([one, two].map((world) => world.post('send').headers.get('idempotency-key'))).toEqual(['id-a', 'id-a'])
    expect(stored(storage)).toEqual([])
    one.connection.disconnect()
    sendAll(one, 'b')
    two.connection.reconnect()
    await two.opens()
    expect(posted(two)).toEqual(['a'])
  })

  test('I4 I5: whichever pages come and go, no message is lost, or posted by two that live, or after its verdict', async () => {
    const step = fc.record({
      act: fc.constantFrom('visits', 'sends', 'sends', 'opens', 'accepts', 'refuses', 'breaks', 'disposes', 'goes'),
      which: fc.nat({ max: 2 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, batches) => {
        const { storage, locks, visit } = site()
        const opening = { features: batches ? (['batch', 'idempotency'] as const) : [] }
        const open = ({ connection, opens }: World) => {
          connection.reconnect()
          return opens(opening)
        }
        const idsOf = (post: FakePost) =>
          post.endpoint === 'batch'
            ? (post.body.messages as Delivery[]).map(({ id }) => id)
            : [post.headers.get('idempotency-key') ?? '']
        const inHand = (world: World) => world.posts.filter(({ aborted, answered }) => !aborted && !answered)
        const accepted = new Set<string>()
        const accept = (post: FakePost) => {
          for (const id of idsOf(post)) accepted.add(id)
          return post.answers(200, { results: idsOf(post).map((id) => ({ id, status: 200 })) })
        }
        const sent: string[][] = []
        const live: { readonly world: World; readonly page: FakePage; readonly own: string[] }[] = []
        const started = new Set<string>()
        const wrong: string[] = []
        const arrive = (behaviour: ServerBehaviour = SERVER_IS_SILENT) => {
          const page = locks.page()
          const own: string[] = []
          const world = visit(page, (post) => {
            const others = live.flatMap((other) => (other.page === page ? [] : inHand(other.world).flatMap(idsOf)))
            for (const id of idsOf(post)) {
              if (accepted.has(id) || others.includes(id)) wrong.push(id)
              started.add(id)
            }
            return behaviour(post)
          })
          sent.push(own)
          live.push({ world, page, own })
          return world
        }

        for (const { act, which } of steps) {
          if (act === 'visits' && live.length < 3) arrive()
          const visitor = live[which]
          if (!visitor) continue
          const { world, page, own } = visitor
          const [post] = inHand(world)
          if (act === 'sends') own.push(world.connection.send(prompt('x')).id)
          if (act === 'opens') await open(world)
          if (act === 'accepts' && post) await accept(post)
          if (act === 'refuses') await post?.answers(503)
          if (act === 'breaks') world.streams.at(-1)?.fails()
          if (act === 'disposes') world.connection.dispose()
          if (act === 'disposes' || act === 'goes') {
            page.goes()
            live.splice(which, 1)
          }
          await settle()
        }
        for (const { page } of live.splice(0)) page.goes()
        const last = arrive(accept)
        await open(last)
        await settle()
        expect(wrong).toEqual([])
        expect(sent.flatMap((ids) => ids.filter((id) => !accepted.has(id)))).toEqual([])
        for (const ids of sent) expect([...started].filter((id) => ids.includes(id))).toEqual(ids)
        expect([storage.entries.size, locks.held(), last.errors]).toEqual([0, [], []])
      }),
      { numRuns: 200 },
    )
  })
})

async function settled(world: World) {
  await settle()
  return world
}
