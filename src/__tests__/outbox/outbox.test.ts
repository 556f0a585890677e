import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { ConnectionError, type ConnectionOptions, type Feature } from '../../index'
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
import { createStorage, type FakeStorage } from '../support/storage'

const prompt = (text: string) => ({ type: 'send', sessionId: 's1', prompt: text })
const prompts = (world: World) => world.postsTo('send').map(({ body }) => body.prompt)
const onSend =
  (behaviour: ServerBehaviour): ServerBehaviour =>
  (post) =>
    post.endpoint === 'send' ? behaviour(post) : SERVER_ACCEPTS(post)

async function opened(behaviour: ServerBehaviour = SERVER_ACCEPTS, options: Partial<ConnectionOptions> = {}) {
  const world = createWorld(options, behaviour)
  await world.opens()
  return world
}

describe('a message ends in one verdict', () => {
  test('accepted: any 2xx, with the receipt that the server gave', async () => {
    const world = await opened(onSend((post) => post.answers(201, { messageId: 7 })))
    const delivery = world.connection.send(prompt('hi'))
    expect(delivery.status).toBe('queued')
    expect(await delivery.settled).toEqual({
      status: 'accepted',
      id: delivery.id,
      attempts: 1,
      receipt: { messageId: 7 },
    })
    expect(delivery.status).toBe('accepted')
    expect(world.connection.pending).toEqual([])
  })

  test('an empty 2xx is accepted without a receipt', async () => {
    const world = await opened(onSend((post) => post.answersText(202, '')))
    expect(await world.connection.send(prompt('hi')).settled).toMatchObject({ status: 'accepted', receipt: null })
  })

  test('the POST names its endpoint, its stream and its id; the id is the idempotency key of every repeat', async () => {
    let refusals = 2
    const world = await opened(onSend((post) => (refusals-- > 0 ? post.answers(503) : SERVER_ACCEPTS(post))))
    const delivery = world.connection.send(prompt('hi'))
    await world.clock.advance(60_000)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 3 })
    const sent = world.postsTo('send')
    expect(sent.map(({ headers }) => headers.get('idempotency-key'))).toEqual(Array(3).fill(delivery.id))
    expect(sent.map(({ headers }) => headers.get('x-connection-id'))).toEqual(['c1', 'c1', 'c1'])
    expect(sent[0]?.headers.get('content-type')).toBe('application/json')
    expect(sent[0]?.body).toEqual(prompt('hi'))
  })

  test('each type goes to its endpoint, the app’s own types too', async () => {
    const world = await opened(SERVER_ACCEPTS, { protocol: { endpoints: { upload: 'files', send: 'prompt' } } })
    for (const type of ['send', 'permission_response', 'set_mode', 'session_close', 'upload']) {
      await world.connection.send({ type }).settled
    }
    expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['prompt', 'permission', 'mode', 'close', 'files'])
  })

  test('C13: what belongs to the library, or has no endpoint, is refused and never posted', async () => {
    const world = await opened()
    for (const type of ['reconnect', 'probe', 'batch', 'welcome', 'toString', '__proto__', '']) {
      expect(await world.connection.send({ type }).settled).toMatchObject({
        status: 'rejected',
        attempts: 0,
        error: { code: 'unknown-type' },
      })
    }
    expect(world.posts).toEqual([])
  })

  test('what JSON cannot carry is rejected, not thrown', async () => {
    const world = await opened()
    const cyclic: Record<string, unknown> = { type: 'send' }
    cyclic.self = cyclic
    for (const message of [cyclic, { type: 'send', n: 1n }, null, undefined, 'send', 7, ['send']]) {
      const delivery = world.connection.send(message as { type: string })
      expect(await delivery.settled).toMatchObject({ status: 'rejected', error: { code: 'invalid-message' } })
    }
  })

  test('C58: a 4xx rejects that message only, and the next one goes on', async () => {
    const world = await opened(
      onSend((post) => (post.body.prompt === 'bad' ? post.answers(403) : SERVER_ACCEPTS(post))),
    )
    const [bad, good] = ['bad', 'good'].map((text) => world.connection.send(prompt(text)))
    expect(await bad?.settled).toMatchObject({ status: 'rejected', error: { code: 'forbidden', status: 403 } })
    expect(await good?.settled).toMatchObject({ status: 'accepted' })
    expect(world.connection.phase).toBe('open')
  })

  test.each(['is cut', 'never comes'])('C27: the status stands, also where the body of an error %s', async (how) => {
    const body = (signal: AbortSignal) =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"err'))
          if (how === 'is cut') controller.error(new Error('cut'))
          else signal.addEventListener('abort', () => controller.error(signal.reason))
        },
      })
    const headers = { 'content-type': 'application/json' }
    const world = await opened(SERVER_ACCEPTS, {
      fetch: async (_, init) => new Response(body(init?.signal as AbortSignal), { status: 403, headers }),
    })
    const delivery = world.connection.send(prompt('hi'))
    await world.clock.advance(15_000)
    expect(await delivery.settled).toMatchObject({ status: 'rejected', attempts: 1, error: { code: 'forbidden' } })
    expect(world.errors).toEqual([])
  })

  test('what the server says of its refusal reaches the app: the code of an id that was used, and the cause of all else', async () => {
    const world = await opened(
      onSend((post) =>
        post.answers(post.body.prompt === 'a' ? 409 : 422, {
          error: post.body.prompt === 'a' ? 'id-reused' : 'no-such-tool',
        }),
      ),
    )
    const [reused, refused] = ['a', 'b'].map((text) => world.connection.send(prompt(text)))
    expect(await reused?.settled).toMatchObject({ status: 'rejected', error: { code: 'id-reused', status: 409 } })
    expect(await refused?.settled).toMatchObject({
      status: 'rejected',
      error: {
        code: 'http',
        status: 422,
        cause: 'no-such-tool',
        message: expect.stringMatching(/ 422: no-such-tool$/),
      },
    })
  })

  test('C25: whatever may pass is repeated in place, in order, at a growing distance', async () => {
    const failures: ServerBehaviour[] = [
      (post) => post.answers(408),
      (post) => post.answers(425),
      (post) => post.answers(429),
      (post) => post.answers(500),
      (post) => post.fails(),
      SERVER_IS_SILENT,
      (post) => post.answersText(200, '<html>', 'text/html'),
    ]
    for (const failure of failures) {
      let first = true
      const world = await opened(
        onSend((post) => {
          if (!first) return SERVER_ACCEPTS(post)
          first = false
          return failure(post)
        }),
      )
      const both = ['a', 'b'].map((text) => world.connection.send(prompt(text)))
      await world.clock.advance(20_000)
      expect(prompts(world)).toEqual(['a', 'a', 'b'])
      expect((await Promise.all(both.map(({ settled }) => settled))).map(({ status }) => status)).toEqual([
        'accepted',
        'accepted',
      ])
      expect(world.log).toEqual(['opened'])
      expect(world.errors).toHaveLength(1)
    }
  })

  test('C28: where receipts are promised, a 2xx without a readable one is repeated', async () => {
    let answers = 0
    const world = createWorld({}, (post) => (answers++ === 0 ? post.answersText(200, 'OK') : SERVER_ACCEPTS(post)))
    await world.opens({ features: ['receipts'] })
    const delivery = world.connection.send(prompt('hi'))
    await world.clock.advance(1_000)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
    const plain = await opened((post) => post.answersText(200, 'OK'))
    expect(await plain.connection.send(prompt('hi')).settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })

  test('C40: Retry-After of a send is a floor', async () => {
    let first = true
    const world = await opened(
      onSend((post) => {
        if (!first) return SERVER_ACCEPTS(post)
        first = false
        return post.answers(429, {}, { 'retry-after': '7' })
      }),
    )
    world.connection.send(prompt('hi'))
    await world.clock.advance(7_000)
    expect(world.postsTo('send')).toHaveLength(1)
    await world.clock.advance(3_500)
    expect(world.postsTo('send')).toHaveLength(2)
  })
})

describe('C68: browsers repeat a POST on a reset socket by themselves, and tell nobody', () => {
  const answered = async (status: number, answer: object = {}, features: readonly Feature[] = []) => {
    const world = createWorld(
      {},
      onSend((post) => post.answers(status, answer)),
    )
    await world.opens({ features })
    return world.connection.send(prompt('hi')).settled
  }

  test.each([409, 410, 423])('%d may be the work of the first one: unknown', async (status) => {
    expect(await answered(status)).toMatchObject({ status: 'unknown', attempts: 1, error: { status } })
  })

  test.each([409, 410, 423])(
    '%d of a server with idempotency is what it said of the first: rejected',
    async (status) => {
      expect(await answered(status, {}, ['idempotency'])).toMatchObject({ status: 'rejected' })
    },
  )

  test('a 409 about another message under this id is not about this one: rejected', async () => {
    expect(await answered(409, { error: 'id-reused' })).toMatchObject({ status: 'rejected' })
  })

  test.each([400, 402, 403, 405, 413, 415, 422, 451])(
    '%d would have been said of the first too: rejected',
    async (status) => {
      expect(await answered(status)).toMatchObject({ status: 'rejected', attempts: 1 })
    },
  )

  test('in a batch as well', async () => {
    const world = createWorld({}, (post) =>
      post.endpoint === 'batch'
        ? post.answers(200, {
            results: (post.body.messages as { id: string }[]).map(({ id }, index) => ({
              id,
              status: index ? 422 : 409,
            })),
          })
        : SERVER_ACCEPTS(post),
    )
    const deliveries = ['a', 'b'].map((text) => world.connection.send(prompt(text)))
    await world.opens({ features: ['batch'] })
    const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
    expect(verdicts.map(({ status }) => status)).toEqual(['unknown', 'rejected'])
  })
})

describe('C67: maxAge is about the time that has passed', () => {
  const MINUTE = 60_000
  const HOUR = 3_600_000
  type Times = { wall: number; steady: number }

  /**
   * A world whose two clocks are the test's, with one message that must not be older than a minute.
   */
  function queued(storage: FakeStorage | null = null, times: Times = { wall: 1_700_000_000_000, steady: 0 }) {
    const clock = { ...createClock(), now: () => times.wall, elapsed: () => times.steady }
    const world = createWorld({ clock, ...(storage && { storage: persist(storage, { key: 'k' }) }) }, SERVER_ACCEPTS)
    const passes = (wall: number, steady = 0) =>
      Object.assign(times, { wall: times.wall + wall, steady: times.steady + steady })
    return { world, passes, times }
  }

  test.each([
    ['59 s pass', 59_000, 59_000, 'accepted'],
    ['a minute passes', MINUTE, MINUTE, 'rejected'],
    ['the clock is set back by an hour, and 59 s pass', 59_000 - HOUR, 59_000, 'accepted'],
    ['the clock is set back by an hour, and a minute passes', MINUTE - HOUR, MINUTE, 'rejected'],
    // [spec] High Resolution Time §7.1 has it tick in a sleep; only engines on Windows do that.
    ['the machine sleeps for an hour, and its steady clock with it', HOUR, 0, 'rejected'],
    ['the machine sleeps for an hour, and its steady clock does not', HOUR, HOUR, 'rejected'],
  ])('%s', async (_, wall, steady, status) => {
    const { world, passes } = queued()
    const delivery = world.connection.send(prompt('hi'), { maxAge: MINUTE })
    passes(wall, steady)
    await world.opens()
    expect(await delivery.settled).toMatchObject({
      status,
      ...(status === 'rejected' && { error: { code: 'expired' } }),
    })
  })

  test('what was posted in time is repeated, however long that takes', async () => {
    const { world, passes } = queued()
    world.server(SERVER_IS_SILENT)
    const delivery = world.connection.send(prompt('hi'), { maxAge: MINUTE })
    await world.opens()
    passes(HOUR, HOUR)
    await world.post('send').answers(503)
    world.server(SERVER_ACCEPTS)
    world.connection.reconnect()
    await world.opens()
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test.each([
    [MINUTE - 1, 'accepted'],
    [MINUTE, 'rejected'],
  ])('across a reload the wall clock tells: after %d ms it is %s', async (age, status) => {
    const storage = createStorage()
    const old = queued(storage)
    old.world.connection.send(prompt('hi'), { maxAge: MINUTE })
    const { world } = queued(storage, { wall: old.times.wall + age, steady: 5 })
    const [delivery] = world.connection.pending
    await world.opens()
    expect(await delivery?.settled).toMatchObject({ status })
  })
})

describe('order', () => {
  test('I4: messages are posted in the order of send(), one at a time', async () => {
    const world = await opened(SERVER_IS_SILENT)
    for (const text of ['a', 'b', 'c']) world.connection.send(prompt(text))
    await settle()
    expect(prompts(world)).toEqual(['a'])
    await world.post('send').answers(200)
    expect(prompts(world)).toEqual(['a', 'b'])
    await world.post('send').answers(200)
    await world.post('send').answers(200)
    expect(prompts(world)).toEqual(['a', 'b', 'c'])
    expect(world.connection.pending).toEqual([])
  })

  test('5,000 queued messages leave once each, in order', async () => {
    const world = createWorld({ outbox: { maxMessages: 5_000 } })
    for (let i = 0; i < 5_000; i++) world.connection.send({ type: 'send', i })
    await world.opens()
    await Promise.all(world.connection.pending.map(({ settled }) => settled))
    expect(world.postsTo('send').map(({ body }) => body.i)).toEqual(Array.from({ length: 5_000 }, (_, i) => i))
  })
})

describe('a POST and its stream', () => {
  test('I3 C55: the gate is asked again after an async headers hook: nothing leaves in backoff', async () => {
    let answer: (headers: Record<string, string>) => void = () => {}
    const world = await opened(SERVER_ACCEPTS, {
      headers: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    })
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    world.stream.fails()
    answer({})
    await settle()
    expect(world.connection.phase).toBe('backoff')
    expect(world.posts).toEqual([])
    expect(delivery.status).toBe('queued')
    await world.retries()
    await world.opens()
    answer({ authorization: 'fresh' })
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })

  test('a POST in flight outlives its stream, and its 2xx counts', async () => {
    const world = await opened(SERVER_IS_SILENT)
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    world.stream.fails()
    await world.post('send').answers(200, { ok: 1 })
    expect(world.connection.phase).toBe('backoff')
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })

  test('C59: back on the line, an idempotent server gets the message again after 1 s, with the same id', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens({ features: ['idempotency'] })
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    const dead = world.post('send')
    world.connection.reconnect()
    await world.opens({ features: ['idempotency'] })
    await world.clock.advance(999)
    expect(world.postsTo('send')).toHaveLength(1)
    await world.clock.advance(1)
    expect(dead.aborted).toBe(true)
    const [first, second] = world.postsTo('send')
    expect(second?.headers.get('idempotency-key')).toBe(first?.headers.get('idempotency-key'))
    await second?.answers(200)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test('C59: a server without idempotency is left its whole timeout', async () => {
    const world = await opened(SERVER_IS_SILENT)
    world.connection.send(prompt('hi'))
    await settle()
    world.connection.reconnect()
    await world.opens()
    await world.clock.advance(14_000)
    expect(world.postsTo('send')).toHaveLength(1)
    await world.post('send').answers(200)
    expect(world.connection.pending).toEqual([])
  })

  test('disconnect aborts the POST in flight; the message stays queued, as attempted', async () => {
    const world = await opened(SERVER_IS_SILENT)
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    expect(delivery.status).toBe('sending')
    world.connection.disconnect()
    expect(world.post('send').aborted).toBe(true)
    expect(delivery.status).toBe('queued')
    world.server(SERVER_ACCEPTS)
    await world.opens()
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test('404: the stream is unknown; the message stays and leaves on the next stream', async () => {
    let first = true
    const world = await opened(
      onSend((post) => {
        if (!first) return SERVER_ACCEPTS(post)
        first = false
        return post.answers(404)
      }),
    )
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    expect(world.log).toEqual(['opened', 'closed disowned'])
    expect(world.connection.phase).toBe('connecting')
    await world.opens()
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })
})

describe('C31: 401', () => {
  const world401 = (behaviour: ServerBehaviour, hook?: ConnectionOptions['headers']) =>
    opened(onSend(behaviour), hook ? { headers: hook } : {})

  test('without a hook the first one stops the line, and the queue is kept', async () => {
    const world = await world401((post) => post.answers(401))
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    expect(world.log).toEqual(['opened', 'closed unauthorized', 'stopped unauthorized'])
    expect(world.connection.phase).toBe('idle')
    expect(delivery.status).toBe('queued')
    world.server(SERVER_ACCEPTS)
    await world.opens()
    expect((await delivery.settled).status).toBe('accepted')
  })

  test('the hook is asked once more, with the reason, and the POST repeated', async () => {
    const reasons: string[] = []
    const world = await world401(
      (post) => (post.headers.get('authorization') === 'new' ? SERVER_ACCEPTS(post) : post.answers(401)),
      ({ reason }) => {
        reasons.push(reason)
        return { authorization: reason === 'unauthorized' ? 'new' : 'old' }
      },
    )
    expect((await world.connection.send(prompt('a')).settled).status).toBe('accepted')
    expect(reasons).toEqual(['post', 'unauthorized'])
    expect((await world.connection.send(prompt('b')).settled).status).toBe('accepted')
    expect(world.log).toEqual(['opened'])
  })

  test('a second 401 in a row is terminal', async () => {
    const world = await world401(
      (post) => post.answers(401),
      async () => ({ authorization: 'stale' }),
    )
    world.connection.send(prompt('hi'))
    await settle()
    expect(world.postsTo('send')).toHaveLength(2)
    expect(world.log).toEqual(['opened', 'closed unauthorized', 'stopped unauthorized'])
  })

  test('a hook that fails once after a 401 is asked again: its failure is no second 401', async () => {
    const reasons: string[] = []
    const world = await world401(
      (post) => (post.headers.get('authorization') === 'new' ? SERVER_ACCEPTS(post) : post.answers(401)),
      ({ reason }) => {
        reasons.push(reason)
        if (reasons.length === 2) throw new Error('the token endpoint hiccups')
        return { authorization: reason === 'unauthorized' ? 'new' : 'old' }
      },
    )
    const delivery = world.connection.send(prompt('a'))
    await world.clock.advance(2_000)
    expect((await delivery.settled).status).toBe('accepted')
    expect(reasons).toEqual(['post', 'unauthorized', 'post', 'unauthorized'])
  })

  test('a hook that throws is reported as what it is, and asked again later', async () => {
    let broken = true
    const world = await opened(SERVER_ACCEPTS, {
      headers() {
        if (broken) throw new Error('vault is locked')
        return {}
      },
    })
    const delivery = world.connection.send(prompt('hi'))
    await settle()
    expect(world.posts).toEqual([])
    expect(world.errors).toEqual(['hook-failed'])
    broken = false
    await world.clock.advance(500)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })
})

describe('giving up', () => {
  test('cancel: unattempted → rejected, attempted → unknown, and the line goes on', async () => {
    const world = await opened(SERVER_IS_SILENT)
    const [a, b, c] = ['a', 'b', 'c'].map((text) => world.connection.send(prompt(text)))
    await settle()
    b?.cancel()
    a?.cancel()
    expect(await a?.settled).toMatchObject({ status: 'unknown', attempts: 1, error: { code: 'cancelled' } })
    expect(await b?.settled).toMatchObject({ status: 'rejected', attempts: 0, error: { code: 'cancelled' } })
    await settle()
    expect(prompts(world)).toEqual(['a', 'c'])
    await world.post('send').answers(200)
    expect(await c?.settled).toMatchObject({ status: 'accepted' })
    a?.cancel()
    expect(a?.status).toBe('unknown')
  })

  test('C30: clearOutbox ends everything: nothing of it leaves under the next login', async () => {
    const world = await opened(SERVER_IS_SILENT)
    const all = ['a', 'b', 'c'].map((text) => world.connection.send(prompt(text)))
    await settle()
    world.connection.clearOutbox()
    expect((await Promise.all(all.map(({ settled }) => settled))).map(({ status }) => status)).toEqual([
      'unknown',
      'rejected',
      'rejected',
    ])
    await settle()
    expect(prompts(world)).toEqual(['a'])
    expect(world.connection.pending).toEqual([])
  })

  test('dispose ends every delivery: unknown where it was attempted, rejected where not', async () => {
    const world = await opened(SERVER_IS_SILENT)
    const [a, b] = ['a', 'b'].map((text) => world.connection.send(prompt(text)))
    await settle()
    world.connection[Symbol.dispose]()
    expect(await a?.settled).toMatchObject({ status: 'unknown' })
    expect(await b?.settled).toMatchObject({ status: 'rejected', error: { code: 'cancelled' } })
  })

  test('maxAge: what is too old before its first POST is rejected, what was attempted is not', async () => {
    const world = createWorld()
    const [old, young] = [100, 10_000].map((maxAge) => world.connection.send(prompt(String(maxAge)), { maxAge }))
    await world.clock.advance(200)
    await world.opens()
    expect(await old?.settled).toMatchObject({ status: 'rejected', error: { code: 'expired' } })
    expect(await young?.settled).toMatchObject({ status: 'accepted' })
  })

  test('an id is the caller’s if given, and two unsettled messages cannot share one', async () => {
    const world = createWorld()
    const first = world.connection.send(prompt('a'), { id: 'mine' })
    expect(first.id).toBe('mine')
    for (const options of [{ id: 'mine' }, { id: '' }, { id: 'a\nb' }, { id: 'x'.repeat(256) }, { maxAge: 0 }]) {
      expect(() => world.connection.send(prompt('b'), options)).toThrow(ConnectionError)
    }
    first.cancel()
    expect(world.connection.send(prompt('c'), { id: 'mine' }).status).toBe('queued')
    expect(world.connection.send(prompt('d')).id).toMatch(/^[0-9a-f]{32}$/)
  })
})

test('a delivery tells each of its states once', async () => {
  const world = createWorld({}, SERVER_IS_SILENT)
  const told: string[] = []
  world.connection.on('delivery', ({ status }) => told.push(status))
  world.connection.send(prompt('hi'))
  await world.opens()
  await world.post('send').answers(503)
  await world.clock.advance(1_000)
  const last = world.post('send') as FakePost
  await last.answers(200)
  expect(told).toEqual(['queued', 'sending', 'queued', 'sending', 'accepted'])
})
