import type { ConnectionOptions, Feature } from 'holdline'
import { describe, expect, test, vi } from 'vitest'
import {
  createClock,
  createWorld,
  type FakePost,
  SERVER_ACCEPTS,
  SERVER_IS_SILENT,
  type ServerBehaviour,
  settle,
  type World,
} from '../support/fakes'

const prompt = (text: string, sessionId?: string) => ({ type: 'send', prompt: text, ...(sessionId && { sessionId }) })
const texts = (world: World) => world.posts.map(({ endpoint, body }) => (endpoint === 'send' ? body.prompt : endpoint))
function postOf(world: World, text: string): FakePost {
  const post = world.posts.findLast(({ body }) => body.prompt === text)
  if (!post) throw new Error(`${text} was not posted`)
  return post
}
/** Answers what carries these texts so; accepts all else. */
const poisoned =
  (bad: readonly string[], behaviour: ServerBehaviour): ServerBehaviour =>
  (post) =>
    bad.includes(String(post.body.prompt)) ? behaviour(post) : SERVER_ACCEPTS(post)
const INTERNAL: ServerBehaviour = (post) => post.answers(500, { error: 'internal' })

async function opened(
  behaviour: ServerBehaviour = SERVER_IS_SILENT,
  { features = [], ...options }: Partial<ConnectionOptions> & { features?: readonly Feature[] } = {},
) {
  const world = createWorld(options, behaviour)
  await world.opens({ features })
  return world
}

describe('lanes', () => {
  test('I13 C61: a message that is always answered 500 holds up no other session', async () => {
    const world = await opened(poisoned(['bad'], INTERNAL))
    world.connection.send(prompt('bad', 's1'))
    await settle()
    const other = world.connection.send(prompt('good', 's2'))
    await settle()
    expect(other.status).toBe('accepted')
  })

  test('I4: messages of one session stay in order, one at a time; two sessions do not wait for each other', async () => {
    const world = await opened()
    for (const text of ['a1', 'a2', 'b1', 'b2']) world.connection.send(prompt(text, text[0]))
    await settle()
    expect(texts(world)).toEqual(['a1', 'b1'])
    await postOf(world, 'b1').answers(200)
    expect(texts(world)).toEqual(['a1', 'b1', 'b2'])
  })

  test('messages without a session share a lane, `switch_session` has its own, and `lane` names another', async () => {
    const world = await opened(SERVER_IS_SILENT, { outbox: { maxInFlight: 9 } })
    world.connection.send(prompt('x'))
    world.connection.send(prompt('y'))
    world.connection.send({ type: 'switch_session', sessionId: 's1' })
    world.connection.send(prompt('z'), { lane: 'z' })
    await settle()
    expect(texts(world)).toEqual(['x', 'switch', 'z'])
  })

  test.each(['', 'x'.repeat(201), 'a\nb', '\ud800', 7])('a name that servers refuse is refused at once: %j', (lane) => {
    const { connection } = createWorld()
    expect(() => connection.send(prompt('a'), { lane: lane as string })).toThrow(
      /^lane: .* is not 1-200 characters, none of them for control$/s,
    )
  })

  test('the lane "s1" is not that of the session s1', async () => {
    const world = await opened()
    world.connection.send(prompt('session', 's1'))
    world.connection.send(prompt('lane'), { lane: 's1' })
    await settle()
    expect(texts(world)).toEqual(['session', 'lane'])
  })

  test.each([
    [[] as Feature[], null],
    [['lanes'] as Feature[], 'session%3As%201'],
  ])('with the features %j a POST carries the lane %s', async (features, lane) => {
    const world = await opened(SERVER_ACCEPTS, { features })
    await world.connection.send(prompt('a', 's 1')).settled
    expect(world.post('send').headers.get('x-lane')).toBe(lane)
  })

  test('a wait of one lane is told by the delivery, and by the snapshot while others flow', async () => {
    const world = await opened(poisoned(['bad'], INTERNAL))
    const bad = world.connection.send(prompt('bad', 's1'))
    await settle()
    const retryAt = world.clock.now() + 250
    expect([bad.status, bad.attempts, bad.error?.status, bad.retryAt]).toEqual(['queued', 1, 500, retryAt])
    expect(world.connection.getSnapshot().outbox).toEqual({ state: 'pausing', retryAt })
    world.server(SERVER_IS_SILENT)
    world.connection.send(prompt('slow', 's2'))
    await settle()
    expect(world.connection.getSnapshot().outbox).toEqual({ state: 'flowing', retryAt })
  })

  test('I15 C64: a new stream starts fresh; no wait of our own outlives it', async () => {
    const world = await opened(INTERNAL)
    const { connection } = world
    connection.send(prompt('a', 's1'))
    await world.clock.advance(20_000)
    expect(connection.getSnapshot().outbox.state).toBe('pausing')
    world.server(SERVER_ACCEPTS)
    connection.reconnect()
    expect(connection.getSnapshot().outbox.state).toBe('held')
    await world.opens()
    expect([connection.pending, connection.getSnapshot().outbox]).toEqual([[], { state: 'flowing', retryAt: null }])
  })

  test('the abort of its signal gives a message up', async () => {
    const world = await opened()
    const abort = new AbortController()
    const first = world.connection.send(prompt('a'))
    const second = world.connection.send(prompt('b'), { signal: abort.signal })
    abort.abort()
    expect(await second.settled).toMatchObject({ status: 'rejected', error: { code: 'cancelled' } })
    expect(world.connection.send(prompt('c'), { signal: abort.signal }).status).toBe('rejected')
    expect(first.status).toBe('sending')
    expect(() => world.connection.send(prompt('d'), { signal: {} as AbortSignal })).toThrow('signal: ')
  })

  test('a signal that outlives its message forgets it', async () => {
    const world = await opened(SERVER_ACCEPTS)
    const { signal } = new AbortController()
    const listeners = new Set<unknown>()
    vi.spyOn(signal, 'addEventListener').mockImplementation((_, listener) => void listeners.add(listener))
    vi.spyOn(signal, 'removeEventListener').mockImplementation((_, listener) => void listeners.delete(listener))
    const { settled } = world.connection.send(prompt('a'), { signal })
    expect(listeners.size).toBe(1)
    await settled
    await settle()
    expect(listeners.size).toBe(0)
  })
})

describe('I13: on an open line no message holds up another session', () => {
  const DOWN: readonly (readonly [string, ServerBehaviour])[] = [
    ['400', (post) => post.answers(400)],
    ['403', (post) => post.answers(403)],
    ['408', (post) => post.answers(408)],
    ['425', (post) => post.answers(425)],
    ['429 with Retry-After', (post) => post.answers(429, {}, { 'retry-after': '60' })],
    ['500 of a server of ours', INTERNAL],
    ['502 of a proxy', (post) => post.answersText(502, 'Bad Gateway')],
    ['503 with Retry-After', (post) => post.answers(503, { error: 'busy' }, { 'retry-after': '60' })],
    ['a login page', (post) => post.answersText(200, '<html>', 'text/html')],
    ['no network', (post) => post.fails()],
    ['no answer', SERVER_IS_SILENT],
  ]
  test.each(DOWN)('%s', async (_, behaviour) => {
    for (const features of [[], ['batch'], ['batch', 'lanes', 'idempotency']] as Feature[][]) {
      const answersAll: ServerBehaviour = (post) => {
        if (post.endpoint !== 'batch') return poisoned(['bad'], behaviour)(post)
        const carried = post.body.messages as { id: string; body: { prompt: string } }[]
        if (carried.some(({ body }) => body.prompt === 'bad')) return behaviour(post)
        return post.answers(200, { results: carried.map(({ id }) => ({ id, status: 200, receipt: null })) })
      }
      const world = await opened(answersAll, { features })
      world.connection.send(prompt('bad', 's1'))
      await settle()
      const others = ['s2', 's2', 's3', 's4'].map((id, index) => world.connection.send(prompt(`${index}`, id)))
      await settle()
      expect(others.map(({ status }) => status)).toEqual(Array(4).fill('accepted'))
    }
  })

  test('a slow batch takes the place of one lane, not of each that it carries', async () => {
    const behaviour: ServerBehaviour = (post) => (post.endpoint === 'batch' ? undefined : SERVER_ACCEPTS(post))
    const world = createWorld({}, behaviour)
    for (let lane = 0; lane < 10; lane++) world.connection.send(prompt(`${lane}`, `s${lane}`))
    await world.opens({ features: ['batch', 'lanes'] })
    expect(texts(world)).toEqual(['batch'])
    expect((await world.connection.send(prompt('late', 'late')).settled).status).toBe('accepted')
  })
})

describe('a wait', () => {
  test('ends with the message that caused it', async () => {
    const world = await opened(poisoned(['bad'], INTERNAL))
    const bad = world.connection.send(prompt('bad', 's1'))
    const next = world.connection.send(prompt('next', 's1'))
    await world.clock.advance(20_000)
    expect([bad.status, next.status]).toEqual(['queued', 'queued'])
    bad.cancel()
    await settle()
    expect([bad.status, next.status]).toEqual(['unknown', 'accepted'])
    expect(world.connection.getSnapshot().outbox).toEqual({ state: 'flowing', retryAt: null })
  })

  test('C40: that the server asked for holds for what is sent next in that lane, too', async () => {
    const world = await opened((post) => post.answers(429, {}, { 'retry-after': '60' }))
    world.connection.send(prompt('first', 's1'))
    await settle()
    world.connection.clearOutbox()
    world.server(SERVER_ACCEPTS)
    const second = world.connection.send(prompt('second', 's1'))
    await world.clock.advance(59_999)
    expect(second.status).toBe('queued')
    await world.clock.advance(31_000)
    expect(second.status).toBe('accepted')
  })

  test('is in the snapshot as the same reference, also where the clock was set back; it takes as long as it was to', async () => {
    const clock = createClock()
    let skew = 0
    const world = createWorld({ clock: { ...clock, now: () => clock.now() + skew } }, INTERNAL)
    await world.opens()
    const deliveries = ['s1', 's2', 's3'].map((id) => world.connection.send(prompt('a', id)))
    await settle()
    world.server(SERVER_ACCEPTS)
    skew = -86_400_000
    const snapshot = world.connection.getSnapshot()
    await clock.advance(100)
    expect(world.connection.getSnapshot()).toBe(snapshot)
    await clock.advance(150)
    expect(deliveries.map(({ status }) => status)).toEqual(Array(3).fill('accepted'))
  })
})

describe('no message blocks for ever', () => {
  test('C61: after 12 failures a message is given up, once the server has taken another one', async () => {
    const world = await opened(poisoned(['bad'], INTERNAL))
    const bad = world.connection.send(prompt('bad', 's1'))
    const next = world.connection.send(prompt('next', 's1'))
    await settle()
    await world.connection.send(prompt('good', 's2')).settled
    await world.clock.advance(300_000)
    expect(await bad.settled).toMatchObject({ status: 'unknown', attempts: 12, error: { code: 'exhausted' } })
    expect(next.status).toBe('accepted')
  })

  test('C61: without that proof, the next message of its lane is tried in its place, and is the proof', async () => {
    const world = await opened(poisoned(['bad'], INTERNAL))
    const bad = world.connection.send(prompt('bad', 's1'))
    const next = world.connection.send(prompt('next', 's1'))
    await world.clock.advance(300_000)
    expect([next.status, bad.status]).toEqual(['accepted', 'unknown'])
    expect(world.posts.filter(({ body }) => body.prompt === 'bad')).toHaveLength(13)
  })

  test('C61: inside a batch too', async () => {
    const behaviour: ServerBehaviour = (post) => {
      if (post.endpoint !== 'batch') return poisoned(['bad'], INTERNAL)(post)
      const results: unknown[] = []
      for (const { id, body } of post.body.messages as { id: string; body: { prompt: string } }[]) {
        if (body.prompt === 'bad') {
          results.push({ id, status: 500, error: 'internal' })
          break
        }
        results.push({ id, status: 200, receipt: null })
      }
      return post.answers(200, { results })
    }
    const world = createWorld({}, behaviour)
    const [bad, ...others] = ['bad', 'b', 'c', 'd'].map((text) => world.connection.send(prompt(text, 's1')))
    await world.opens({ features: ['batch'] })
    await world.clock.advance(300_000)
    expect([bad?.status, ...others.map(({ status }) => status)]).toEqual([
      'unknown',
      'accepted',
      'accepted',
      'accepted',
    ])
  })

  test('C61: a batch that is answered 413 or 500 as a whole, because of one of them, is halved until that one stands alone', async () => {
    const behaviour: ServerBehaviour = (post) => {
      const carried = (post.body.messages ?? []) as { id: string; body: { prompt: string } }[]
      const isBad = [post.body, ...carried.map(({ body }) => body)].some((body) => body.prompt === '7')
      if (isBad) return post.answers(500, { error: 'internal' })
      if (post.endpoint !== 'batch') return SERVER_ACCEPTS(post)
      return post.answers(200, { results: carried.map(({ id }) => ({ id, status: 200, receipt: null })) })
    }
    const world = createWorld({}, behaviour)
    const deliveries = Array.from({ length: 20 }, (_, index) => world.connection.send(prompt(`${index}`, 's1')))
    await world.opens({ features: ['batch'] })
    await world.clock.advance(600_000)
    expect(deliveries.map(({ status }) => status)).toEqual(
      deliveries.map((_, index) => (index === 7 ? 'unknown' : 'accepted')),
    )
  })

  test.each([425, 429])(
    'a batch that is answered %i as a whole is repeated as it is: that is about none of them',
    async (status) => {
      let times = 0
      const world = createWorld({}, (post) => {
        if (post.endpoint !== 'batch' || times++ > 0) return SERVER_ACCEPTS(post)
        return post.answers(status, { error: 'later' })
      })
      for (const text of ['a', 'b', 'c', 'd']) world.connection.send(prompt(text, 's1'))
      await world.opens({ features: ['batch'] })
      await world.clock.advance(60_000)
      const sizes = world.posts
        .filter(({ endpoint }) => endpoint === 'batch')
        .map(({ body }) => Object(body.messages).length)
      expect(sizes).toEqual([4, 4])
    },
  )

  test.each([3 * 60_000, 3 * 3_600_000])(
    'an outage of everything for %i ms, with the stream up, loses nothing',
    async (ms) => {
      const world = await opened(INTERNAL)
      const alone = world.connection.send(prompt('alone', 's0'))
      const queue = Array.from({ length: 20 }, (_, index) =>
        world.connection.send(prompt(`${index}`, `s${(index % 3) + 1}`)),
      )
      await world.clock.advance(ms)
      expect([alone, ...queue].filter(({ status }) => status !== 'queued' && status !== 'sending')).toEqual([])
      world.server(SERVER_ACCEPTS)
      await world.clock.advance(60_000)
      expect([alone, ...queue].map(({ status }) => status)).toEqual(Array(21).fill('accepted'))
    },
  )

  test('a last message that fails while the server answers other POSTs ends after giveUpAfter of open line', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] }, poisoned(['bad'], INTERNAL))
    await world.opens()
    const bad = world.connection.send(prompt('bad', 's1'))
    await world.clock.advance(400_000)
    expect(bad.status).toBe('queued')
    world.connection.reconnect()
    await world.clock.advance(60_000)
    await world.opens()
    await world.clock.advance(180_000)
    expect(bad.status).toBe('queued')
    await world.clock.advance(90_000)
    expect(await bad.settled).toMatchObject({ status: 'unknown', error: { code: 'exhausted' } })
  })

  test('a prompt whose stream drops whenever it is posted is given up after 24 times in a row', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    const killer = world.connection.send(prompt('kills its server', 's1'))
    for (let drops = 0; drops < 24; drops++) {
      expect(killer.status).toMatch(/queued|sending/)
      await world.opens({ features: ['idempotency'] })
      await settle()
      world.stream.fails()
      await world.retries()
      await world.opens({ features: ['idempotency'] })
      await world.clock.advance(1_000)
    }
    expect(await killer.settled).toMatchObject({ status: 'unknown', error: { code: 'exhausted' } })
  })

  test('what was attempted before `receiptAge` ran out is not posted again', async () => {
    const world = createWorld({}, INTERNAL)
    world.connection.connect()
    world.stream.opens()
    world.stream.welcomes({ connectionId: 'c1', features: ['idempotency'], receiptAge: 60_000 })
    const old = world.connection.send(prompt('old', 's1'))
    await world.clock.advance(90_000)
    expect(await old.settled).toMatchObject({ status: 'unknown', error: { code: 'expired' } })
    const last = world.posts.at(-1)?.at ?? 0
    expect(last - (world.posts[0]?.at ?? 0)).toBeLessThanOrEqual(60_000)
  })

  test('`receiptAge` says nothing where the server would not recognise a repeat in any case', async () => {
    const world = createWorld({}, INTERNAL)
    world.connection.connect()
    world.stream.opens()
    world.stream.welcomes({ connectionId: 'c1', receiptAge: 1_000 })
    const old = world.connection.send(prompt('old', 's1'))
    await world.clock.advance(90_000)
    expect(old.status).toBe('queued')
  })
})

describe('a batch', () => {
  test('whose answer says nothing of its messages may have run them', async () => {
    const behaviour: ServerBehaviour = (post) => (post.endpoint === 'batch' ? post.answers(200, {}) : post.answers(400))
    const world = createWorld({}, behaviour)
    const deliveries = ['a', 'b'].map((text) => world.connection.send(prompt(text, 's1')))
    await world.opens({ features: ['batch'] })
    expect(deliveries.map(({ status }) => status)).toEqual(['unknown', 'unknown'])
  })

  test('that fails as a whole has one wait for all its lanes', async () => {
    let random = 0.9
    const world = createWorld({ random: () => (random -= 0.1) }, (post) => post.answers(503, { error: 'busy' }))
    const deliveries = ['s1', 's2', 's3'].map((id) => world.connection.send(prompt('a', id)))
    await world.opens({ features: ['batch', 'lanes'] })
    expect(new Set(deliveries.map(({ retryAt }) => retryAt)).size).toBe(1)
  })

  test('that worked once is not taken for missing', async () => {
    const behaviour: ServerBehaviour = (post) => {
      if (post.endpoint !== 'batch') return SERVER_ACCEPTS(post)
      const carried = post.body.messages as { id: string }[]
      return post.answers(200, { results: carried.map(({ id }) => ({ id, status: 200, receipt: null })) })
    }
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] }, behaviour)
    const sendTwo = () => {
      world.connection.disconnect()
      return ['a', 'b'].map((text) => world.connection.send(prompt(text, 's1')))
    }
    sendTwo()
    await world.opens({ features: ['batch'] })
    world.server((post) => (post.endpoint === 'batch' ? post.answers(404, {}) : SERVER_ACCEPTS(post)))
    const deliveries = sendTwo()
    for (let streams = 0; streams < 5; streams++) {
      await settle()
      if (world.connection.phase === 'backoff') await world.retries()
      await world.opens({ features: ['batch'] })
    }
    expect(deliveries.map(({ status }) => status)).toEqual(['queued', 'queued'])
  })
})

describe('C62: 404', () => {
  test('about the stream, where its JSON says so, however often: nothing is rejected', async () => {
    const world = createWorld({}, (post) => post.answers(404, { error: 'unknown-stream' }))
    const delivery = world.connection.send(prompt('a', 's1'))
    for (let streams = 0; streams < 10; streams++) {
      await world.opens()
      if (world.connection.phase === 'backoff') await world.retries()
    }
    expect(delivery.status).toBe('queued')
  })

  test('is about the endpoint, once three fresh streams had each answered another POST', async () => {
    const behaviour: ServerBehaviour = (post) =>
      post.endpoint === 'send' ? post.answers(404, {}) : SERVER_ACCEPTS(post)
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] }, behaviour)
    const delivery = world.connection.send(prompt('a', 's1'))
    for (let streams = 1; streams <= 3; streams++) {
      expect(delivery.status).toBe('queued')
      await world.opens()
      if (world.connection.phase === 'backoff') await world.retries()
    }
    expect(await delivery.settled).toMatchObject({
      status: 'rejected',
      attempts: 3,
      error: { code: 'unknown-endpoint' },
    })
    expect(world.connection.phase).toBe('open')
  })

  test('without sessions to resume, the probe is the proof that the stream is known', async () => {
    const world = createWorld({}, (post) => {
      if (post.endpoint === 'send') return post.answers(404, {})
      if (post.endpoint === 'probe') world.stream.sends({ type: 'probe', nonce: post.body.nonce })
      return SERVER_ACCEPTS(post)
    })
    const delivery = world.connection.send(prompt('a', 's1'))
    for (let streams = 1; streams <= 6 && delivery.status === 'queued'; streams++) {
      await world.opens({ features: ['probe'] })
      if (world.connection.phase === 'backoff') await world.retries()
    }
    expect(await delivery.settled).toMatchObject({ status: 'rejected', error: { code: 'unknown-endpoint' } })
  })

  test('of an endpoint that has answered 2xx before is about the endpoint after thirty streams, and not before', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] })
    await world.opens()
    await world.connection.send(prompt('known', 's1')).settled
    world.server((post) => (post.endpoint === 'send' ? post.answers(404, {}) : SERVER_ACCEPTS(post)))
    const delivery = world.connection.send(prompt('a', 's1'))
    for (let streams = 1; streams < 30; streams++) {
      await settle()
      expect([streams, delivery.status]).toEqual([streams, 'queued'])
      if (world.connection.phase === 'backoff') await world.retries()
      await world.opens()
    }
    expect(await delivery.settled).toMatchObject({ status: 'rejected', error: { code: 'unknown-endpoint' } })
  })

  test('of an endpoint that was reached in a batch only: it is about the endpoint, after three streams', async () => {
    let takesBatches = true
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] }, (post) => {
      if (post.endpoint === 'send') return post.answers(404, {})
      if (post.endpoint === 'batch') {
        if (!takesBatches) return post.answers(400, {})
        const messages = post.body.messages as { id: string }[]
        return post.answers(200, { results: messages.map(({ id }) => ({ id, status: 200, receipt: {} })) })
      }
      return SERVER_ACCEPTS(post)
    })
    const first = ['a', 'b'].map((text) => world.connection.send(prompt(text, 's1')))
    await world.opens({ features: ['batch', 'idempotency', 'receipts'] })
    for (const delivery of first) expect((await delivery.settled).status).toBe('accepted')
    takesBatches = false
    const alone = world.connection.send(prompt('alone', 's1'))
    for (let streams = 1; streams <= 4 && alone.status === 'queued'; streams++) {
      await settle()
      if (world.connection.phase === 'backoff') await world.retries()
      await world.opens({ features: ['batch', 'idempotency', 'receipts'] })
    }
    expect(await alone.settled).toMatchObject({ status: 'rejected', error: { code: 'unknown-endpoint' } })
  })
})

describe('C75: doubt', () => {
  const badGateway: ServerBehaviour = (post) => post.answersText(502, 'Bad Gateway')

  test('two POSTs in a row that no server of ours answered: nothing is posted until the probe is answered', async () => {
    const world = await opened(badGateway, { features: ['probe'] })
    for (const text of 'ab') world.connection.send(prompt(text, text))
    await settle()
    expect(texts(world)).toEqual(['a', 'b', 'probe'])
    world.server(SERVER_ACCEPTS)
    const third = world.connection.send(prompt('c', 'c'))
    await world.clock.advance(1_000)
    expect(third.status).toBe('queued')
    world.stream.sends({ type: 'probe', nonce: world.post('probe').body.nonce })
    await world.clock.advance(1_000)
    expect([third.status, world.log]).toEqual(['accepted', ['opened']])
  })

  test('a probe that doubt began and that nobody answers leads to backoff, and counts', async () => {
    const world = await opened(badGateway, { features: ['probe'] })
    for (const text of 'ab') world.connection.send(prompt(text, text))
    await world.clock.advance(2_000)
    expect([world.connection.phase, world.connection.attempt]).toEqual(['backoff', 1])
    expect(world.log).toEqual(['opened', 'closed probe-timeout'])
  })

  test('after that, time alone does not reset the attempts, but a POST that succeeds', async () => {
    const world = await opened(badGateway, { features: ['probe'] })
    for (const text of 'ab') world.connection.send(prompt(text, text))
    await world.clock.advance(2_000)
    world.server(SERVER_IS_SILENT)
    await world.retries()
    await world.opens({ features: ['probe'] })
    await world.clock.advance(6_000)
    expect([world.connection.phase, world.connection.attempt]).toEqual(['open', 1])
    await postOf(world, 'a').answers(200)
    await world.clock.advance(5_000)
    expect(world.connection.attempt).toBe(0)
  })

  test('a resume that succeeds is such a POST', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 0 }] })
    await world.opens({ features: ['probe'] })
    world.server(badGateway)
    for (const text of 'ab') world.connection.send(prompt(text, text))
    await world.clock.advance(2_000)
    expect([world.connection.phase, world.connection.attempt]).toEqual(['backoff', 1])
    world.connection.clearOutbox()
    world.server(SERVER_ACCEPTS)
    await world.retries()
    await world.opens({ features: ['probe'] })
    await world.clock.advance(5_000)
    expect([world.connection.phase, world.connection.attempt]).toEqual(['open', 0])
  })

  test('an answer of a server of ours is no reason to doubt the line', async () => {
    const world = await opened(INTERNAL, { features: ['probe'] })
    for (const text of 'abc') world.connection.send(prompt(text, text))
    await world.clock.advance(5_000)
    expect(world.posts.some(({ endpoint }) => endpoint === 'probe')).toBe(false)
  })
})

describe('stop', () => {
  const stop = { type: 'stop', sessionId: 's1' }

  test('does not wait behind the prompt that it stops, and names it', async () => {
    const world = await opened(SERVER_IS_SILENT, { features: ['cancels'] })
    const first = world.connection.send(prompt('first', 's1'))
    await settle()
    world.connection.send(stop)
    await settle()
    expect(texts(world)).toEqual(['first', 'stop'])
    expect(world.post('stop').body).toEqual({ ...stop, cancels: [first.id] })
  })

  test('takes back what was never posted; another session keeps its prompts', async () => {
    const world = createWorld()
    const prompts = ['s1', 's2'].map((id) => world.connection.send(prompt('a', id)))
    const stopping = world.connection.send(stop)
    expect(prompts.map(({ status }) => status)).toEqual(['rejected', 'queued'])
    expect(await prompts[0]?.settled).toMatchObject({ error: { code: 'cancelled' } })
    await world.opens()
    expect((await stopping.settled).status).toBe('accepted')
    expect(world.post('stop').body).toEqual(stop)
  })

  test('a prompt that waits for its repeat is answered `cancelled` by a server that knows, and posted no more for another', async () => {
    for (const features of [['cancels'], []] as Feature[][]) {
      const world = await opened(poisoned(['first'], INTERNAL), { features })
      const first = world.connection.send(prompt('first', 's1'))
      await settle()
      world.connection.send(stop)
      await settle()
      expect(texts(world)).toEqual(['first', 'stop'])
      world.server((post) => post.answers(409, { error: 'cancelled' }))
      await world.clock.advance(10_000)
      const status = features.length ? 'rejected' : 'unknown'
      expect(await first.settled).toMatchObject({ status, error: { code: 'cancelled' } })
      expect(texts(world)).toEqual(features.length ? ['first', 'stop', 'first'] : ['first', 'stop'])
    }
  })

  test('a prompt whose repeat waits for its headers lets the stop go first', async () => {
    let answer: (() => void) | undefined
    const headers = () => (answer ? new Promise<object>((resolve) => (answer = () => resolve({}))) : {})
    const world = await opened(poisoned(['first'], INTERNAL), { features: ['cancels'], headers: headers as never })
    world.connection.send(prompt('first', 's1'))
    await settle()
    answer = () => {}
    await world.clock.advance(10_000)
    const repeat = answer as () => void
    answer = undefined
    world.connection.send(stop)
    world.server((post) => post.endpoint !== 'stop' && SERVER_ACCEPTS(post))
    repeat()
    await settle()
    expect(texts(world)).toEqual(['first', 'stop'])
  })

  test('I4: the prompt after it does not overtake it', async () => {
    const world = await opened()
    world.connection.send(prompt('first', 's1'))
    await settle()
    world.connection.send(stop)
    world.connection.send(prompt('second', 's1'))
    await settle()
    expect(texts(world)).toEqual(['first', 'stop'])
    await world.post('stop').answers(200)
    expect(texts(world)).toEqual(['first', 'stop'])
    await postOf(world, 'first').answers(200)
    expect(texts(world)).toEqual(['first', 'stop', 'second'])
  })

  test('I4: inside a batch it does not, either', async () => {
    const world = await opened((post) => post.endpoint === 'mode' && INTERNAL(post), {
      features: ['batch', 'cancels'],
    })
    world.connection.send({ type: 'set_mode', sessionId: 's1' })
    await settle()
    world.server((post) => post.endpoint !== 'stop' && SERVER_ACCEPTS(post))
    world.connection.send(stop)
    world.connection.send(prompt('second', 's1'))
    await world.clock.advance(1_000)
    expect(texts(world)).toEqual(['mode', 'stop', 'mode'])
  })

  test('one that is never taken blocks its session no longer than any message', async () => {
    const world = await opened((post) => (post.endpoint === 'stop' ? INTERNAL(post) : SERVER_ACCEPTS(post)))
    const stopping = world.connection.send(stop)
    const next = world.connection.send(prompt('next', 's1'))
    await world.clock.advance(300_000)
    expect([next.status, stopping.status]).toEqual(['accepted', 'unknown'])
    expect(await stopping.settled).toMatchObject({ error: { code: 'exhausted' } })
  })

  test('names the newest 1,000 at most, as servers take no more', async () => {
    const outbox = { maxMessages: 2_000, maxInFlight: Infinity }
    const world = await opened(SERVER_IS_SILENT, { features: ['cancels'], outbox })
    const ids = Array.from({ length: 1_001 }, (_, n) => `m${n}`)
    for (const id of ids) world.connection.send(prompt(id, 's1'), { id, lane: id })
    await settle()
    world.connection.send(stop)
    await settle()
    expect(Object(world.post('stop').body).cancels).toEqual(ids.slice(1))
  })

  test('a repeat of it carries the same list', async () => {
    const world = await opened((post) => post.endpoint === 'stop' && post.answers(503, { error: 'no' }), {
      features: ['cancels'],
    })
    world.server((post) => (post.endpoint === 'stop' ? post.answers(503, { error: 'no' }) : undefined))
    world.connection.send(prompt('first', 's1'))
    world.connection.send(prompt('other', 's1'), { lane: 'other' })
    await settle()
    world.connection.send(stop)
    await settle()
    await postOf(world, 'first').answers(200)
    await world.clock.advance(2_000)
    const bodies = world.postsTo('stop').map(({ body }) => JSON.stringify(body))
    expect(bodies.length).toBeGreaterThan(1)
    expect(new Set(bodies).size).toBe(1)
  })
})
