import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
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

interface Carried {
  readonly id: string
  readonly endpoint: string
  readonly body: Record<string, unknown>
}

const BATCH: Opening = { features: ['batch', 'idempotency'] }
const prompt = (text: string) => ({ type: 'send', prompt: text })
const messagesOf = (post: FakePost) => post.body.messages as readonly Carried[]
const idsOf = (post: FakePost) =>
  post.endpoint === 'batch' ? messagesOf(post).map(({ id }) => id) : [post.headers.get('idempotency-key')]
/** Endpoint and contents of each POST. */
const traffic = (world: World) =>
  world.posts.map((post) => {
    const bodies = post.endpoint === 'batch' ? messagesOf(post).map(({ body }) => body) : [post.body]
    return `${post.endpoint} ${bodies.map((body) => body.prompt ?? '').join('')}`.trimEnd()
  })
const statuses = (deliveries: readonly Delivery[]) => deliveries.map(({ status }) => status)
const sendAll = ({ connection }: World, texts: Iterable<string>) =>
  Array.from(texts, (text) => connection.send(prompt(text), { id: `id-${text}` }))

/** A result each, as far as given: of a status, or whatever else. */
const answersEach = (post: FakePost, outcomes: readonly unknown[]) =>
  post.answers(200, {
    results: outcomes.map((outcome, index) => {
      if (typeof outcome !== 'number') return outcome
      const { id, body } = messagesOf(post)[index] as Carried
      return { id, status: outcome, ...(outcome < 300 ? { receipt: { of: body.prompt } } : { error: 'no' }) }
    }),
  })
const SERVER_BATCHES: ServerBehaviour = (post) =>
  post.endpoint === 'batch'
    ? answersEach(
        post,
        messagesOf(post).map(() => 200),
      )
    : SERVER_ACCEPTS(post)

/** The first batch is answered so, everything else is accepted. */
const first = (behaviour: ServerBehaviour): ServerBehaviour => {
  let isFirst = true
  return (post) => {
    if (!isFirst || post.endpoint !== 'batch') return SERVER_BATCHES(post)
    isFirst = false
    return behaviour(post)
  }
}

/** All of it was sent before the line opened. */
async function queued(
  texts: Iterable<string>,
  behaviour = SERVER_BATCHES,
  { opening = BATCH, ...options }: Partial<ConnectionOptions> & { readonly opening?: Opening } = {},
) {
  const world = createWorld(options, behaviour)
  const deliveries = sendAll(world, texts)
  await world.opens(opening)
  return { world, deliveries }
}

describe('what is queued goes in one POST', () => {
  test('that carries each message under its id, as it would be posted alone', async () => {
    const world = createWorld({}, SERVER_BATCHES)
    world.connection.send(prompt('a'), { id: '"a\\' })
    world.connection.send({ type: 'permission_response', allow: true }, { id: 'b' })
    await world.opens(BATCH)
    expect(traffic(world)).toEqual(['batch a'])
    const [post] = world.posts as [FakePost]
    expect(post.body).toEqual({
      messages: [
        { id: '"a\\', endpoint: 'send', body: prompt('a') },
        { id: 'b', endpoint: 'permission', body: { type: 'permission_response', allow: true } },
      ],
    })
    expect(post.headers.get('x-connection-id')).toBe('c1')
    expect(post.headers.has('idempotency-key')).toBe(false)
    expect(world.connection.pending).toEqual([])
  })

  test('only where the server announced it, and never for a single message', async () => {
    const { world } = await queued('abc', SERVER_BATCHES, { opening: { features: ['idempotency'] } })
    expect(traffic(world)).toEqual(['send a', 'send b', 'send c'])
    const { world: single } = await queued('a')
    expect(traffic(single)).toEqual(['send a'])
    expect(idsOf(single.post('send'))).toEqual(['id-a'])
  })

  test('I4: of at most 50 messages: a queue of 200 drains in 4 round trips, in order', async () => {
    const texts = Array.from({ length: 200 }, (_, index) => `p${index}`)
    const { world, deliveries } = await queued(texts)
    expect(world.posts.map((post) => messagesOf(post).length)).toEqual([50, 50, 50, 50])
    expect(world.posts.flatMap(idsOf)).toEqual(texts.map((text) => `id-${text}`))
    expect(new Set(statuses(deliveries))).toEqual(new Set(['accepted']))
  })

  test('of at most 256 KiB of UTF-8; a message that is larger alone goes alone, in its place', async () => {
    const sizes = [87_380, 87_380, 87_380, 300_000, 10, 10, 262_000, 200]
    const texts = sizes.map((size, index) => String(index).padEnd(Math.floor(size / 3), '€'))
    const world = createWorld({}, SERVER_BATCHES)
    const longest = (index: number) => String(index).padStart(255, '"')
    texts.forEach((text, index) => {
      world.connection.send(prompt(text), { id: longest(index) })
    })
    await world.opens(BATCH)
    expect(world.posts.map(idsOf)).toEqual([[0, 1], [2], [3], [4, 5], [6], [7]].map((indexes) => indexes.map(longest)))
  })

  test.each([4_660, 4_690, 4_720])('of at most 256 KiB with all that is around the messages: %i', async (size) => {
    const world = createWorld({}, SERVER_BATCHES)
    for (let id = 0; id < 50; id++) {
      world.connection.send(prompt('x'.repeat(size)), { id: String(id).padStart(255, '"') })
    }
    await world.opens(BATCH)
    for (const { body } of world.posts) expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThanOrEqual(262_144)
    expect(messagesOf(world.posts[0] as FakePost).length).toBeGreaterThan(45)
  })

  test('each has a verdict of its own: one that is rejected in the middle does not stop the rest', async () => {
    const { world, deliveries } = await queued('abcd', (post) =>
      answersEach(post, [201, 403, { id: 'id-c', status: 409, error: 'id-reused' }, 200]),
    )
    const [a, b, c, d] = await Promise.all(deliveries.map(({ settled }) => settled))
    expect(a).toEqual({ status: 'accepted', id: 'id-a', attempts: 1, receipt: { of: 'a' } })
    expect(b).toMatchObject({
      status: 'rejected',
      id: 'id-b',
      attempts: 1,
      error: { code: 'forbidden', status: 403, reason: 'no' },
    })
    expect(c).toMatchObject({ status: 'rejected', id: 'id-c', error: { code: 'id-reused', status: 409 } })
    expect(d).toMatchObject({ status: 'accepted', receipt: { of: 'd' } })
    expect([traffic(world), world.errors]).toEqual([['batch abcd'], []])
  })

  test('what came to be too old does not go', async () => {
    const world = createWorld({}, SERVER_BATCHES)
    const deliveries = [Infinity, Infinity, 10, Infinity, Infinity].map((maxAge, index) =>
      world.connection.send(prompt(String(index)), { maxAge }),
    )
    await world.clock.advance(10)
    await world.opens(BATCH)
    expect(traffic(world)).toEqual(['batch 01', 'batch 34'])
    expect(deliveries[2]?.status).toBe('rejected')
  })

  test('a POST of the library’s own has a lane of its own, and parts no batch', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens({ features: ['batch', 'watch-replay'] })
    sendAll(world, 'abc')
    world.connection.watch('s1')
    sendAll(world, 'de')
    await settle()
    world.server(SERVER_BATCHES)
    await world.post('send').answers(200)
    expect(traffic(world)).toEqual(['send a', 'watch', 'batch bcde'])
  })

  test.each(['watch', 'unwatch', 'session_suspend'])(
    'a message that the server itself acts on goes alone, in its place: %s',
    async (type) => {
      const world = createWorld({}, SERVER_BATCHES)
      sendAll(world, 'ab')
      world.connection.send({ type })
      sendAll(world, 'cd')
      await world.opens(BATCH)
      expect(traffic(world)).toEqual(['batch ab', type.replace('session_', ''), 'batch cd'])
    },
  )

  test('I4 C61: a batch carries one lane, and each lane has one under way; the grace is for those of an older stream', async () => {
    const world = createWorld({ outbox: { maxInFlight: 2 } }, SERVER_IS_SILENT)
    const texts = Array.from({ length: 60 }, (_, index) => `${index}`)
    for (const lane of 'xyz') for (const text of texts) world.connection.send(prompt(text), { id: lane + text, lane })
    const ids = (lane: string) => texts.slice(0, 50).map((text) => lane + text)
    await world.opens(BATCH)
    expect(world.posts.map(idsOf)).toEqual([ids('x'), ids('y')])
    await answersEach(world.posts[1] as FakePost, Array(50).fill(200))
    expect(world.posts.map(idsOf)).toEqual([ids('x'), ids('y'), ids('z')])
    world.connection.reconnect()
    await world.opens(BATCH)
    await world.clock.advance(1_000)
    expect(world.posts.map(({ aborted }) => aborted)).toEqual([true, false, true, false, false])
    expect(world.posts.slice(3).map(idsOf)).toEqual([ids('x'), texts.slice(50).map((text) => `y${text}`)])
  })
})

describe('C25: what may pass is repeated', () => {
  test.each([408, 425, 429, 500, 503])(
    'I4: %i ends the results: what is left stays in order, and follows after a pause',
    async (status) => {
      const { world, deliveries } = await queued(
        'abcd',
        first((post) => answersEach(post, [200, status])),
      )
      expect(statuses(deliveries)).toEqual(['accepted', 'queued', 'queued', 'queued'])
      await world.clock.advance(249)
      expect(traffic(world)).toEqual(['batch abcd'])
      await world.clock.advance(1)
      expect(traffic(world)).toEqual(['batch abcd', 'batch bcd'])
      expect((await deliveries[3]?.settled)?.attempts).toBe(2)
      expect(world.errors).toEqual(['http'])
    },
  )

  test.each<[string, ServerBehaviour, code: string]>([
    ['500', (post) => post.answers(500), 'http'],
    ['network', (post) => post.fails(), 'network'],
    ['timeout', SERVER_IS_SILENT, 'timeout'],
    ['half an answer', (post) => post.answersHalf(), 'timeout'],
    ['HTML', (post) => post.answersText(200, '<html>', 'text/html'), 'bad-response'],
  ])(
    'C27: %s for the whole: all of it again in smaller parts, after a backoff, under the same ids',
    async (_, failure, code) => {
      const { world, deliveries } = await queued('abc', first(failure))
      expect(traffic(world)).toEqual(['batch abc'])
      await world.clock.advance(15_000)
      await world.clock.advance(250)
      const [one, two, three] = world.posts as [FakePost, FakePost, FakePost]
      expect(traffic(world)).toEqual(['batch abc', 'send a', 'batch bc'])
      expect([...idsOf(two), ...idsOf(three)]).toEqual(idsOf(one))
      expect(two.at - one.at).toBeGreaterThanOrEqual(250)
      expect(statuses(deliveries)).toEqual(['accepted', 'accepted', 'accepted'])
      expect(world.errors).toEqual([code])
    },
  )

  test('C27: a quota is about none of them: the same batch again', async () => {
    const { world } = await queued(
      'abc',
      first((post) => post.answers(429)),
    )
    await world.clock.advance(250)
    expect(traffic(world)).toEqual(['batch abc', 'batch abc'])
  })

  test.each<[string, ServerBehaviour, again: string]>([
    ['the whole', (post) => post.answers(503, {}, { 'retry-after': '7' }), 'send a'],
    [
      'a result',
      (post) => answersEach(post, [{ id: 'id-a', status: 429, error: 'no', retryAfter: 7_000 }]),
      'batch ab',
    ],
  ])('C40: the wait that is asked for by %s is a floor', async (_, busy, again) => {
    const { world } = await queued('ab', first(busy))
    await world.clock.advance(7_000)
    expect(world.posts).toHaveLength(1)
    await world.clock.advance(3_500)
    expect(traffic(world).slice(0, 2)).toEqual(['batch ab', again])
  })

  test('a batch that took too long is halved; each answer doubles the next', async () => {
    const { world } = await queued(
      Array.from({ length: 200 }, (_, index) => `${index}`),
      first(SERVER_IS_SILENT),
    )
    await world.clock.advance(16_000)
    expect(world.posts.map((post) => messagesOf(post).length)).toEqual([50, 25, 50, 50, 50, 25])
  })

  test.each([
    ['404 for the whole', 'disowned', 'connecting', 0, (post: FakePost) => post.answers(404)],
    ['404 for one result', 'disowned', 'connecting', 1, (post: FakePost) => answersEach(post, [200, 404])],
    ['401 for the whole', 'unauthorized', 'idle', 0, (post: FakePost) => post.answers(401)],
  ] as const)('%s is a fact of the stream; nothing is lost', async (_, reason, phase, accepted, answer) => {
    const { world, deliveries } = await queued('abc', first(answer))
    expect(world.log.slice(0, 2)).toEqual(['opened', `closed ${reason}`])
    const verdicts = ['accepted', 'accepted', 'accepted'].map((status, n) => (n < accepted ? status : 'queued'))
    expect([world.connection.phase, statuses(deliveries)]).toEqual([phase, verdicts])
    await world.opens(BATCH)
    expect(statuses(deliveries)).toEqual(Array(3).fill('accepted'))
    expect(traffic(world)).toEqual(['batch abc', accepted ? 'batch bc' : 'batch abc'])
  })

  test('C31: 401 for one result: it goes alone, and the hook is asked once more', async () => {
    const reasons: string[] = []
    const headers = ({ reason }: { reason: string }) => {
      reasons.push(reason)
      return { authorization: reason === 'unauthorized' ? 'new' : 'old' }
    }
    const { world, deliveries } = await queued(
      'abc',
      (post) => {
        if (post.endpoint === 'batch') return answersEach(post, [200, 401])
        return post.headers.get('authorization') === 'new' ? post.answers(200) : post.answers(401)
      },
      { headers },
    )
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(traffic(world).slice(0, 4)).toEqual(['batch abc', 'send b', 'send b', 'send c'])
    expect([reasons.includes('unauthorized'), world.log]).toEqual([true, ['opened']])
  })

  test('C31: 401 for the whole: the hook is asked once more, and the batch repeated', async () => {
    const { world, deliveries } = await queued(
      'ab',
      first((post) => post.answers(401)),
      { headers: () => ({}) },
    )
    expect([traffic(world), world.log]).toEqual([['batch ab', 'batch ab'], ['opened']])
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted'])
  })

  test('C28: where receipts are promised, a result without one is repeated', async () => {
    const missing = first((post) =>
      answersEach(post, [
        { id: 'id-a', status: 200 },
        { id: 'id-b', status: 200, receipt: null },
      ]),
    )
    const { world, deliveries } = await queued('ab', missing, { opening: { features: ['batch', 'receipts'] } })
    expect([statuses(deliveries), world.errors]).toEqual([['queued', 'accepted'], ['bad-response']])
    await world.clock.advance(250)
    expect(traffic(world)).toEqual(['batch ab', 'send a'])
    const { deliveries: plain } = await queued('ab', missing)
    expect(await plain[0]?.settled).toMatchObject({ status: 'accepted', receipt: { of: 'a' } })
  })
})

describe('a server that does not keep to it', () => {
  test.each([400, 403, 410, 413, 422])(
    '%i for the whole: one by one from then on, reported once, and no verdict for anything',
    async (status) => {
      const { world, deliveries } = await queued('abc', (post) =>
        post.endpoint === 'batch' ? post.answers(status) : SERVER_ACCEPTS(post),
      )
      expect(statuses(deliveries)).toEqual(['accepted', 'accepted', 'accepted'])
      world.connection.disconnect()
      sendAll(world, 'de')
      await world.opens(BATCH)
      expect(traffic(world)).toEqual(['batch abc', 'send a', 'send b', 'send c', 'send d', 'send e'])
      expect(world.errors).toHaveLength(1)
    },
  )

  test('batches under way when it became clear are no second report, and nothing goes back to batches', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    const texts = Array.from({ length: 50 }, (_, index) => `${index}`)
    for (const lane of 'xyz') for (const text of texts) world.connection.send(prompt(text), { lane })
    await world.opens(BATCH)
    for (const index of [0, 1]) await world.posts[index]?.answers(400)
    await world.clock.advance(15_000)
    expect(world.errors).toEqual(['http', ...Array(3).fill('timeout')])
    world.server(SERVER_ACCEPTS)
    await world.clock.advance(15_000)
    expect(world.postsTo('batch')).toHaveLength(3)
    expect(world.connection.pending).toEqual([])
  })

  const ok = (text: string, status: unknown = 200) => ({ id: `id-${text}`, status, receipt: { of: text } })
  test.each<[string, unknown, accepted: string, next: string]>([
    ['null', null, '', 'send a'],
    ['no results', {}, '', 'send a'],
    ['results that are no array', { results: { 0: ok('a'), length: 1 } }, '', 'send a'],
    ['no result', { results: [] }, '', 'send a'],
    ['results of null', { results: [null, null, null] }, '', 'send a'],
    ['a wrong id', { results: [ok('x'), ok('b'), ok('c')] }, '', 'send a'],
    ['a wrong order', { results: [ok('b'), ok('a'), ok('c')] }, '', 'send a'],
    ['a doubled id', { results: [ok('a'), ok('a'), ok('c')] }, 'a', 'batch bc'],
    ['a gap', { results: [ok('a'), ok('c')] }, 'a', 'batch bc'],
    ['null in the middle', { results: [ok('a'), null, ok('c')] }, 'a', 'batch bc'],
    ['fewer results than messages', { results: [ok('a'), ok('b')] }, 'ab', 'send c'],
    ['more results than messages', { results: [ok('a'), ok('b'), ok('c'), ok('d'), null] }, 'abc', ''],
    ...['200', null, [200], 2.5, -200, 0, 2, 20, 199, 600, 2_000].map((status): [string, unknown, string, string] => [
      `the status ${JSON.stringify(status)}`,
      { results: [ok('a'), ok('b', status), ok('c')] },
      'a',
      'batch bc',
    ]),
  ])('C28: %s: no false verdict, nothing is lost, and it goes on at once', async (_, json, accepted, next) => {
    const { world, deliveries } = await queued('abc', SERVER_IS_SILENT)
    const told: unknown[] = []
    world.connection.on('delivery', ({ status, message }) => {
      if (!/queued|sending/.test(status)) told.push(message.prompt)
    })
    await world.posts[0]?.answers(200, json)
    expect([told.join(''), traffic(world)[1] ?? '']).toEqual([accepted, next])
    world.server(SERVER_BATCHES)
    if (next) await SERVER_BATCHES(world.posts[1] as FakePost)
    expect(statuses(deliveries)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(told).toEqual(['a', 'b', 'c'])
  })

  test('I5: whatever it answers, each message ends once, in what was said of it; I4: they start in order', async () => {
    const status = fc.constantFrom(200, 200, 201, 400, 401, 403, 404, 408, 409, 410, 425, 429, 500, 503)
    const results = fc.array(fc.oneof({ weight: 4, arbitrary: status }, fc.constantFrom('x', null)), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          count: fc.integer({ min: 2, max: 5 }),
          maxInFlight: fc.constantFrom(1, 2),
          // For the whole, or for each; 0 is a network error. After these all is well.
          answers: fc.array(fc.oneof(status, fc.constant(0), results), { maxLength: 6 }),
          cancels: fc.array(fc.record({ message: fc.nat({ max: 4 }), post: fc.nat({ max: 3 }) }), { maxLength: 2 }),
        }),
        async ({ count, maxInFlight, answers, cancels }) => {
          const said = new Set<string>()
          const told: string[] = []
          const started = new Set<string>()
          const late: string[] = []
          const say = (id: string, status: unknown) => {
            if (/^2/.test(`${status}`)) said.add(`${id} accepted`)
            else if (/^4(?!01|04|08|25|29)/.test(`${status}`)) said.add(`${id} rejected`)
          }
          const world = createWorld({ outbox: { maxInFlight } }, (post) => {
            const ids = idsOf(post) as string[]
            for (const id of ids) {
              started.add(id)
              if (!/queued|sending/.test(deliveries.find((delivery) => delivery.id === id)?.status ?? '')) late.push(id)
            }
            for (const { message, post } of cancels) if (world.posts.length === post + 1) deliveries[message]?.cancel()
            const answer = answers.shift() ?? ids.map(() => 200)
            if (answer === 0) return post.fails()
            if (post.endpoint !== 'batch') {
              const status = Number([answer].flat()[0]) || 200
              say(ids[0] as string, status)
              return post.answers(status)
            }
            if (typeof answer === 'number') return post.answers(answer)
            const sound = answer.findIndex((outcome) => typeof outcome !== 'number')
            for (const [index, status] of answer.slice(0, sound < 0 ? ids.length : sound).entries())
              say(ids[index] ?? '', status)
            return post.answers(200, {
              results: answer.map((outcome, index) => {
                if (typeof outcome === 'number') return { id: ids[index] ?? 'nobody', status: outcome, receipt: 1 }
                return outcome && { id: outcome, status: 200 }
              }),
            })
          })
          world.connection.on('delivery', ({ id, status }) => {
            if (!/queued|sending/.test(status)) told.push(id)
          })
          const deliveries = sendAll(world, 'abcde'.slice(0, count))
          for (let round = 0; round < 20 && world.connection.pending.length; round++) {
            if (!world.connection.isOpen) {
              world.connection.reconnect()
              await world.opens(BATCH)
            }
            await world.clock.advance(60_000)
          }
          expect(told.sort()).toEqual(deliveries.map(({ id }) => id))
          expect([...started]).toEqual([...started].sort())
          expect(late).toEqual([])
          for (const { settled } of deliveries) {
            const verdict = await settled
            const isCancelled = verdict.status !== 'accepted' && verdict.error.code === 'cancelled'
            if (!isCancelled) expect([...said]).toContain(`${verdict.id} ${verdict.status}`)
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('giving up one of a batch', () => {
  /** Its headers come when the test says so. */
  async function thinking() {
    const hooks: (() => void)[] = []
    const headers = () => new Promise<Record<string, string>>((resolve) => hooks.push(() => resolve({})))
    const { world, deliveries } = await queued('abc', SERVER_BATCHES, { headers })
    const answer = async () => {
      for (const hook of hooks.splice(0)) hook()
      await settle()
    }
    return { world, deliveries, answer }
  }

  test('I3: while the headers hook thinks: it is not carried, and was never attempted', async () => {
    const { world, deliveries, answer } = await thinking()
    deliveries[1]?.cancel()
    await settle()
    await answer()
    expect(traffic(world)).toEqual(['batch ac'])
    expect(await deliveries[1]?.settled).toMatchObject({ status: 'rejected', attempts: 0 })
    expect(await deliveries[2]?.settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })

  test('I3 C55: nothing of it leaves when the gate closed while the hook thought', async () => {
    const { world, deliveries, answer } = await thinking()
    world.stream.fails()
    await answer()
    expect([world.connection.phase, world.posts, statuses(deliveries)]).toEqual([
      'backoff',
      [],
      Array(3).fill('queued'),
    ])
    await world.retries()
    await world.opens(BATCH)
    await answer()
    expect(traffic(world)).toEqual(['batch abc'])
  })

  test('C30: under way: it ends unknown, once; its late result changes nothing, and the others are not hurt', async () => {
    const { world, deliveries } = await queued('abc', SERVER_IS_SILENT)
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    deliveries[1]?.cancel()
    expect(world.posts[0]?.aborted).toBe(false)
    await answersEach(world.posts[0] as FakePost, [200, 200, 200])
    expect(told).toEqual(['id-b unknown', 'id-a accepted', 'id-c accepted'])
    expect(await deliveries[1]?.settled).toMatchObject({ status: 'unknown', attempts: 1, error: { code: 'cancelled' } })
    expect([world.posts.length, world.errors]).toEqual([1, []])
  })

  test('a result that stops the line stops nothing, once the message was given up', async () => {
    const { world, deliveries } = await queued('abc', SERVER_IS_SILENT)
    deliveries[1]?.cancel()
    await answersEach(world.posts[0] as FakePost, [200, 503])
    expect([traffic(world), world.errors]).toEqual([['batch abc', 'send c'], []])
  })

  test('I5: under way, and the whole is answered 401: what was given up is not carried by the repeat', async () => {
    const { world, deliveries } = await queued('abcd', SERVER_IS_SILENT, { headers: () => ({}) })
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    deliveries[1]?.cancel()
    await settle()
    world.server(SERVER_BATCHES)
    await world.posts[0]?.answers(401)
    expect(traffic(world)).toEqual(['batch abcd', 'batch acd'])
    expect(told.filter((event) => event.startsWith('id-b'))).toEqual(['id-b unknown'])
    expect(statuses(deliveries)).toEqual(['accepted', 'unknown', 'accepted', 'accepted'])
  })

  test('all of a batch under way: the POST is aborted, and the line goes on', async () => {
    const { world, deliveries } = await queued('ab', SERVER_IS_SILENT)
    sendAll(world, 'c')
    for (const { cancel } of deliveries) cancel()
    await settle()
    expect(world.posts[0]?.aborted).toBe(true)
    expect(traffic(world)).toEqual(['batch ab', 'send c'])
  })

  test('disconnect aborts it; all stay queued, as attempted', async () => {
    const { world, deliveries } = await queued('ab', SERVER_IS_SILENT)
    world.connection.disconnect()
    expect([world.posts[0]?.aborted, ...statuses(deliveries)]).toEqual([true, 'queued', 'queued'])
    world.server(SERVER_BATCHES)
    await world.opens(BATCH)
    expect(await deliveries[1]?.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })
})
