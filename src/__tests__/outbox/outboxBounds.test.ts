import { persist } from 'holdline/storage'
import { describe, expect, test, vi } from 'vitest'
import type { ConnectionOptions, Delivery } from '../../index'
import {
  createWorld,
  type FakePost,
  type Opening,
  SERVER_ACCEPTS,
  SERVER_IS_SILENT,
  type ServerBehaviour,
  settle,
  type World,
} from '../support/fakes'
import { createStorage } from '../support/storage'

type Limits = NonNullable<ConnectionOptions['outbox']>

const prompt = (text: string) => ({ type: 'send', prompt: text })
const bytesOf = (text: string) => Buffer.byteLength(JSON.stringify(prompt(text)))
const prompts = (world: World) => world.postsTo('send').map(({ body }) => body.prompt)
const sendAll = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text)))
/** Each in a lane of its own. */
const sendApart = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text), { lane: text }))
const statuses = (deliveries: readonly Delivery[]) => deliveries.map(({ status }) => status)
const pending = (world: World) => world.connection.pending.map(({ message }) => message.prompt)
/** The POST that carries this. */
function postOf(world: World, text: string): FakePost {
  const post = world.postsTo('send').findLast(({ body }) => body.prompt === text)
  if (!post) throw new Error(`${text} was not posted`)
  return post
}

async function opened(outbox: Limits, behaviour: ServerBehaviour = SERVER_IS_SILENT, opening?: Opening) {
  const world = createWorld({ outbox }, behaviour)
  await world.opens(opening)
  return world
}

const FULL = { status: 'rejected', attempts: 0, error: { code: 'outbox-full', retryable: false } }

describe('C26: a full queue never drops silently', () => {
  test.each([
    ['reject', 'c', ['a', 'b']],
    ['drop-oldest', 'a', ['b', 'c']],
  ] as const)('I5: %s: %s is rejected and told, the others keep their place', async (overflow, victim, rest) => {
    for (const bound of [{ maxMessages: 2 }, { maxBytes: 2 * bytesOf('a') }]) {
      const world = createWorld({ outbox: { ...bound, overflow } })
      const told: string[] = []
      world.connection.on('delivery', ({ status, message }) => told.push(`${message.prompt} ${status}`))
      const dropped = sendAll(world, 'abc').find(({ message }) => message.prompt === victim)
      expect(await dropped?.settled).toMatchObject(FULL)
      expect(told).toEqual(['a queued', 'b queued', 'c queued', `${victim} rejected`])
      expect(pending(world)).toEqual(rest)
      expect(world.connection.getSnapshot().pendingCount).toBe(2)
      await world.opens()
      expect(prompts(world)).toEqual(rest)
    }
  })

  test('without a word from the app, the 1,001st message is rejected', () => {
    const world = createWorld()
    const deliveries = sendAll(world, Array(1_001).fill('a'))
    expect(statuses(deliveries)).toEqual([...Array(1_000).fill('queued'), 'rejected'])
  })

  test('maxBytes counts bytes of UTF-8, to the byte', () => {
    const text = '€'.repeat(100)
    const maxBytes = 2 * bytesOf(text)
    for (const [limit, expected] of [
      [maxBytes, ['queued', 'queued', 'rejected']],
      [maxBytes - 1, ['queued', 'rejected', 'rejected']],
    ] as const) {
      const world = createWorld({ outbox: { maxBytes: limit } })
      expect(statuses(sendAll(world, [text, text, text]))).toEqual(expected)
    }
  })

  test('by default there is room for 4 MiB', () => {
    const world = createWorld()
    const room = 4_194_304 - bytesOf('')
    expect(statuses(sendAll(world, ['x'.repeat(room + 1), 'x'.repeat(room), '']))).toEqual([
      'rejected',
      'queued',
      'rejected',
    ])
  })

  test('drop-oldest drops as many as it takes, and none for a message that is too large alone', () => {
    const world = createWorld({ outbox: { maxBytes: bytesOf('') + 100, overflow: 'drop-oldest' } })
    const deliveries = sendAll(world, ['a'.repeat(10), 'b'.repeat(10), 'x'.repeat(101), 'y'.repeat(100)])
    expect(statuses(deliveries)).toEqual(['rejected', 'rejected', 'rejected', 'queued'])
    expect(pending(world)).toEqual(['y'.repeat(100)])
    const other = createWorld({ outbox: { maxBytes: bytesOf('') + 100, overflow: 'drop-oldest' } })
    expect(statuses(sendAll(other, ['a', 'x'.repeat(101)]))).toEqual(['queued', 'rejected'])
  })

  test('drop-oldest drops nobody in vain: where even that makes no room, it is the new one alone', async () => {
    const world = await opened({ maxBytes: 3 * bytesOf('aaaa'), overflow: 'drop-oldest' })
    const deliveries = sendAll(world, ['aaaa', 'bbbb', 'cccc'])
    await settle()
    const [tooLarge] = sendAll(world, ['x'.repeat(2 * bytesOf('aaaa'))])
    expect([...statuses(deliveries), tooLarge?.status]).toEqual(['sending', 'queued', 'queued', 'rejected'])
  })

  test('drop-oldest never drops what was attempted, be it in flight or waiting to be repeated', async () => {
    const world = await opened({ maxMessages: 2, maxInFlight: 2, overflow: 'drop-oldest' })
    const first = sendApart(world, 'ab')
    await settle()
    const [c] = sendApart(world, 'c')
    expect([...statuses(first), c?.status]).toEqual(['sending', 'sending', 'rejected'])
    await postOf(world, 'a').answers(503)
    expect(statuses([...first, ...sendAll(world, 'd')])).toEqual(['queued', 'sending', 'rejected'])
    await postOf(world, 'b').answers(200)
    const later = sendAll(world, 'ef')
    expect(pending(world)).toEqual(['a', 'f'])
    expect(await later[0]?.settled).toMatchObject(FULL)
  })

  test('I3: what is dropped while the headers hook thinks is never posted', async () => {
    const hooks: ((headers: object) => void)[] = []
    const world = createWorld({
      outbox: { maxMessages: 1, overflow: 'drop-oldest' },
      headers: () => new Promise((resolve) => hooks.push(resolve as () => void)),
    })
    await world.opens()
    const [a, b] = sendAll(world, 'ab')
    for (const answer of hooks) answer({})
    expect(await a?.settled).toMatchObject(FULL)
    expect(await b?.settled).toMatchObject({ status: 'accepted', attempts: 1 })
    expect(prompts(world)).toEqual(['b'])
  })

  test.each<[string, (world: World, first: Delivery) => unknown]>([
    ['accepted', (world) => postOf(world, 'a').answers(200)],
    ['rejected', (world) => postOf(world, 'a').answers(422)],
    ['unknown', (_, first) => first.cancel()],
  ])('there is room again after a verdict: %s', async (status, ends) => {
    for (const bound of [{ maxMessages: 1 }, { maxBytes: bytesOf('a') }]) {
      const world = await opened(bound)
      const [first] = sendAll(world, 'a')
      await settle()
      expect(statuses(sendAll(world, 'b'))).toEqual(['rejected'])
      await ends(world, first as Delivery)
      expect(first?.status).toBe(status)
      expect(statuses(sendAll(world, 'cd'))).toEqual(['queued', 'rejected'])
    }
  })

  test('what can never be posted takes no room, and makes none', () => {
    const world = createWorld({ outbox: { maxMessages: 1, overflow: 'drop-oldest' } })
    const [a] = sendAll(world, 'a')
    for (const type of ['nowhere', 'batch']) world.connection.send({ type })
    expect(a?.status).toBe('queued')
    expect(pending(world)).toEqual(['a'])
  })

  test('1,000 drops behind an attempted head cost 1,000 times what one costs', async () => {
    const storage = createStorage()
    const encode = vi.spyOn(TextEncoder.prototype, 'encode')
    const cost = async (drops: number) => {
      const world = createWorld(
        { storage: persist(storage), outbox: { maxMessages: drops + 1, overflow: 'drop-oldest' } },
        SERVER_IS_SILENT,
      )
      await world.opens()
      const head = world.connection.send(prompt('head'))
      await settle()
      const early = sendAll(world, Array(drops).fill('early'))
      encode.mockClear()
      const before = storage.operations.length
      const late = sendAll(world, Array(drops).fill('late'))
      expect(statuses([head, ...early, ...late])).toEqual([
        'sending',
        ...Array(drops).fill('rejected'),
        ...Array(drops).fill('queued'),
      ])
      const operations = [storage.operations.length - before, encode.mock.calls.length]
      world.connection.clearOutbox()
      return operations
    }
    expect(await cost(1)).toEqual([2, 1])
    expect(await cost(1_000)).toEqual([2_000, 1_000])
    encode.mockRestore()
  })
})

test('outbox.maxAge is the age of a message that brings none, and a limit for what was never attempted only', async () => {
  const world = await opened({ maxAge: 1_000 })
  const [attempted, old] = sendAll(world, ['attempted', 'old'])
  const [young, short] = [5_000, 500].map((maxAge) => world.connection.send(prompt(String(maxAge)), { maxAge }))
  await settle()
  world.connection.disconnect()
  await world.clock.advance(1_000)
  world.server(SERVER_ACCEPTS)
  await world.opens()
  expect(prompts(world)).toEqual(['attempted', 'attempted', '5000'])
  expect(statuses([attempted, old, young, short] as Delivery[])).toEqual([
    'accepted',
    'rejected',
    'accepted',
    'rejected',
  ])
  expect(await old?.settled).toMatchObject({ attempts: 0, error: { code: 'expired' } })
})

describe('maxInFlight', () => {
  const THREE = { maxInFlight: 3 }

  test('as many lanes as allowed post at a time, the one that waited longest first; each end lets the next one start', async () => {
    const world = await opened(THREE)
    sendApart(world, 'abcdef')
    await settle()
    expect(prompts(world)).toEqual(['a', 'b', 'c'])
    await postOf(world, 'c').answers(200)
    await postOf(world, 'a').answers(403)
    expect(prompts(world)).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(pending(world)).toEqual(['b', 'd', 'e', 'f'])
  })

  test('Infinity: all at once, in order', async () => {
    const world = await opened({ maxInFlight: Number.POSITIVE_INFINITY })
    const texts = Array.from({ length: 500 }, (_, index) => `p${index}`)
    const deliveries = sendApart(world, texts)
    await settle()
    expect(prompts(world)).toEqual(texts)
    for (const post of world.posts.toReversed()) void post.answers(200)
    expect((await Promise.all(deliveries.map(({ settled }) => settled))).map(({ attempts }) => attempts)).toEqual(
      Array(500).fill(1),
    )
    expect(pending(world)).toEqual([])
  })

  test('C25 C61: one that fails pauses its lane; the others are not aborted, and another lane takes the place', async () => {
    const world = await opened(THREE, SERVER_IS_SILENT, { features: ['idempotency'] })
    const deliveries = sendApart(world, 'abcd')
    await settle()
    await postOf(world, 'b').answers(503)
    expect(statuses(deliveries)).toEqual(['sending', 'queued', 'sending', 'sending'])
    await postOf(world, 'c').answers(200)
    expect(world.posts.map(({ aborted }) => aborted)).toEqual([false, false, false, false])
    await world.clock.advance(249)
    expect(prompts(world)).toEqual(['a', 'b', 'c', 'd'])
    await world.clock.advance(1)
    expect(prompts(world)).toEqual(['a', 'b', 'c', 'd', 'b'])
    await world.clock.advance(2_000)
    expect(world.posts.some(({ aborted }) => aborted)).toBe(false)
    for (const post of world.posts) if (!post.answered) await post.answers(200)
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expect(verdicts.map(({ status, attempts }) => [status, attempts])).toEqual([1, 2, 1, 1].map((n) => ['accepted', n]))
  })

  test('C40 C64 I12: a wait that the server asked for outlives the stream, one of our own does not', async () => {
    const world = await opened(THREE)
    sendApart(world, 'ab')
    await settle()
    await postOf(world, 'a').answers(429, {}, { 'retry-after': '60' })
    await postOf(world, 'b').answers(500, { error: 'no' })
    world.connection.reconnect()
    await world.opens()
    expect(prompts(world)).toEqual(['a', 'b', 'b'])
    await world.clock.advance(59_999)
    expect(prompts(world).filter((text) => text === 'a')).toEqual(['a'])
    await world.clock.advance(30_001)
    expect(prompts(world).filter((text) => text === 'a')).toEqual(['a', 'a'])
  })

  test('C40: a second lane that is told to wait, and nothing taken between, pauses them all', async () => {
    const world = await opened(THREE)
    sendApart(world, 'abc')
    await settle()
    for (const text of 'ab') await postOf(world, text).answers(429, {}, { 'retry-after': '60' })
    await postOf(world, 'c').answers(200)
    sendApart(world, 'd')
    await world.clock.advance(59_999)
    expect(prompts(world)).toEqual([...'abc'])
    await world.clock.advance(30_001)
    expect(prompts(world).toSorted()).toEqual([...'aabbcd'])
  })

  test('C59: the grace of 1 s is for POSTs of an older stream only', async () => {
    const idempotent: Opening = { features: ['idempotency'] }
    const world = await opened(THREE, SERVER_IS_SILENT, idempotent)
    sendApart(world, 'ab')
    await settle()
    world.connection.reconnect()
    await world.opens(idempotent)
    sendApart(world, 'cd')
    await settle()
    expect(prompts(world)).toEqual(['a', 'b', 'c'])
    await world.clock.advance(999)
    expect(world.posts.some(({ aborted }) => aborted)).toBe(false)
    await world.clock.advance(1)
    expect(world.posts.map(({ aborted }) => aborted)).toEqual([true, true, false, false, false])
    expect(prompts(world)).toEqual(['a', 'b', 'c', 'd', 'a'])
    await world.clock.advance(2_000)
    expect(world.posts).toHaveLength(5)
  })

  test.each([404, 401])('I11: %i of an older stream says nothing about the new one', async (status) => {
    const world = await opened(THREE)
    const deliveries = sendApart(world, 'ab')
    await settle()
    world.connection.reconnect()
    await world.opens()
    await postOf(world, 'a').answers(status)
    expect([world.connection.phase, world.log, world.errors]).toEqual([
      'open',
      ['opened', 'closed reconnect', 'opened'],
      [],
    ])
    expect(prompts(world)).toEqual(['a', 'b', 'a'])
    expect(world.post('send').headers.get('x-connection-id')).toBe(world.connection.connectionId)
    for (const text of 'ab') await postOf(world, text).answers(200)
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted'])
  })

  test('disconnect aborts all; all stay queued, in order', async () => {
    const world = await opened(THREE)
    const deliveries = sendApart(world, 'abcd')
    await settle()
    world.connection.disconnect()
    expect(world.posts.map(({ aborted }) => aborted)).toEqual([true, true, true])
    expect(statuses(deliveries)).toEqual(Array(4).fill('queued'))
    world.server(SERVER_ACCEPTS)
    await world.opens()
    expect(prompts(world)).toEqual([...'abc', ...'abcd'])
    expect(pending(world)).toEqual([])
  })

  test('cancel of one of three aborts that one, which ends unknown, and makes room for the next', async () => {
    const world = await opened(THREE)
    const deliveries = sendApart(world, 'abcd')
    await settle()
    expect(deliveries[1]?.cancel()).toBe(true)
    expect(deliveries[1]?.cancel()).toBe(false)
    await settle()
    expect(world.posts.map(({ aborted }) => aborted)).toEqual([false, true, false, false])
    expect(prompts(world)).toEqual(['a', 'b', 'c', 'd'])
    for (const text of 'acd') await postOf(world, text).answers(200)
    expect(statuses(deliveries)).toEqual(['accepted', 'unknown', 'accepted', 'accepted'])
  })
})
