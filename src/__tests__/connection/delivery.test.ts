import type { ConnectionOptions, Feature } from 'holdline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createChatServer } from '../../server'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, seqs, settle, type World } from '../support/fakes'
import { createTestServer } from '../support/server'
import { createLocks, createStorage, load } from '../support/storage'

const prompt = (text: string, sessionId = 's1') => ({ type: 'send', sessionId, prompt: text })
const prompts = (world: World) =>
  world.posts.flatMap(({ endpoint, body }) =>
    endpoint === 'send'
      ? [body.prompt]
      : endpoint === 'batch'
        ? [(body.messages as { body: { prompt: string } }[]).map((message) => message.body.prompt).join('+')]
        : [],
  )

describe('pacing', () => {
  test('C07: a headers hook that fails for minutes is asked at a growing distance', async () => {
    let calls = 0
    const world = createWorld({
      headers({ reason }) {
        if (reason !== 'post') return {}
        calls++
        throw new Error('the token endpoint is down')
      },
    })
    await world.opens()
    world.connection.send(prompt('a'))
    await world.clock.advance(600_000)
    // base 500, cap 30 s, random 0.5: about 45 in 10 min
    expect(calls).toBeLessThan(100)
  })
})

describe('a delivery that ended', () => {
  test('says why, as its verdict does: refused, never posted, given up, and none if it was accepted', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens()
    const { connection } = world
    const deliveries = [
      connection.send(prompt('refused')),
      connection.send({ type: 'none' }),
      connection.send(prompt('given up', 's2')),
      connection.send(prompt('accepted', 's3')),
    ]
    await settle()
    const [refused, , accepted] = world.posts.filter(({ endpoint }) => endpoint === 'send')
    await refused?.answers(422, { error: 'busy' })
    await accepted?.answers(200, {})
    deliveries[2]?.cancel()
    await settle()
    expect(deliveries.map(({ status, error }) => [status, error?.code, error?.cause])).toEqual([
      ['rejected', 'http', 'busy'],
      ['rejected', 'unknown-type', undefined],
      ['unknown', 'cancelled', undefined],
      ['accepted', undefined, undefined],
    ])
    for (const { settled, error } of deliveries) expect(Object(await settled).error ?? null).toBe(error)
  })
})

describe('storage', () => {
  const site = () => {
    const storage = createStorage()
    const locks = createLocks()
    return { storage, locks }
  }

  const leaves = async (
    storage: ReturnType<typeof createStorage>,
    page: ReturnType<ReturnType<typeof createLocks>['page']>,
  ) => {
    const old = load(storage, { locks: page, protocol: { endpoints: { upload: 'files' } } })
    old.connection.send({ type: 'upload' }, { id: 'u' })
    old.connection.send(prompt('a'), { id: 'a' })
    old.connection.send(prompt('b'), { id: 'b' })
    await settle()
    page.goes()
  }

  test('I5: one restored message that can never be posted does not give the lock of the others away', async () => {
    const { storage, locks } = site()
    await leaves(storage, locks.page())
    const one = load(storage, { locks: locks.page() }, SERVER_IS_SILENT)
    await settle()
    expect(one.connection.pending.map(({ id }) => id)).toEqual(['a', 'b'])
    const two = load(storage, { locks: locks.page() }, SERVER_IS_SILENT)
    await settle()
    await one.opens()
    await two.opens()
    await settle()
    expect([prompts(one), prompts(two)]).toEqual([['a'], []])
  })

  test('C29: … nor are the others deleted when the line opens', async () => {
    const { storage, locks } = site()
    await leaves(storage, locks.page())
    const page = locks.page()
    const one = load(storage, { locks: page }, SERVER_IS_SILENT)
    await settle()
    await one.opens()
    await settle()
    expect(storage.stored('k:message:').map(({ id }) => id)).toEqual(['a', 'b'])
    page.goes()
    const two = load(storage, { locks: locks.page() }, SERVER_IS_SILENT)
    await settle()
    expect(two.connection.pending.map(({ id }) => id)).toEqual(['a', 'b'])
  })

  test('verdict: what was posted before the reload, and has no endpoint any more, is not `rejected`', async () => {
    const storage = createStorage()
    const old = load(storage, { protocol: { endpoints: { upload: 'files' } } }, SERVER_IS_SILENT)
    old.connection.send({ type: 'upload' }, { id: 'u' })
    await old.opens()
    expect(old.postsTo('files')).toHaveLength(1)
    const world = load(storage)
    const told: string[] = []
    world.connection.on('delivery', ({ id, status }) => told.push(`${id} ${status}`))
    await settle()
    expect(told.at(-1)).toBe('u unknown')
  })

  test('I5: a page that lives is not robbed of what it sends between the lock and the look', async () => {
    const { storage, locks } = site()
    const one = load(storage, { locks: locks.page() }, (post) => post.body.prompt === 'a' && SERVER_ACCEPTS(post))
    const gone = locks.page()
    const dead = load(storage, { locks: gone })
    const a = one.connection.send(prompt('a'), { id: 'a' })
    dead.connection.send(prompt('d'), { id: 'd' })
    await settle()
    gone.goes()
    // The page that looks: the lock manager answers its two requests one after the other.
    const page = locks.page()
    const decisions: (() => void)[] = []
    const slow = {
      ...page,
      request: async (name: string, options: { ifAvailable?: boolean }, callback: (lock: unknown) => unknown) => {
        await new Promise<void>((resolve) => decisions.push(resolve))
        return page.request(name, options, callback)
      },
    }
    const two = load(storage, { locks: slow }, SERVER_IS_SILENT)
    await settle()
    expect(decisions).toHaveLength(2)
    a.cancel()
    await settle()
    decisions[0]?.()
    await settle()
    one.connection.send(prompt('b'), { id: 'b' })
    await settle()
    decisions[1]?.()
    await settle()
    await two.opens()
    await settle()
    expect(two.connection.pending.map(({ id }) => id)).toEqual(['d'])
  })

  test('I5: a storage that does not delete: in the same page nothing is posted after its verdict', async () => {
    const { storage, locks } = site()
    const gone = locks.page()
    const dead = load(storage, { locks: gone })
    dead.connection.send(prompt('d'), { id: 'd' })
    await settle()
    gone.goes()
    const broken = Object.create(storage, {
      removeItem: {
        value() {
          throw new Error('read-only')
        },
      },
    })
    const world = load(broken, { locks: locks.page() })
    await settle()
    await world.opens()
    await settle()
    world.connection.reconnect()
    await world.opens()
    await settle()
    expect(prompts(world)).toEqual(['d'])
  })
})

describe('verdicts', () => {
  test('C28: where receipts are promised, an empty 200 is no receipt', async () => {
    let answers = 0
    const world = createWorld({}, (post) => (answers++ === 0 ? post.answersText(200, '') : SERVER_ACCEPTS(post)))
    await world.opens({ features: ['receipts', 'idempotency'] })
    const delivery = world.connection.send(prompt('hi'))
    await world.clock.advance(1_000)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
  })

  test('without idempotency: applied, the answer lost, the repeat refused → not `rejected`', async () => {
    let answers = 0
    const world = createWorld({}, (post) =>
      post.endpoint !== 'close' ? SERVER_ACCEPTS(post) : answers++ === 0 ? post.fails() : post.answers(403),
    )
    await world.opens()
    const delivery = world.connection.send({ type: 'session_close', sessionId: 's1' })
    await world.clock.advance(10_000)
    expect((await delivery.settled).status).not.toBe('rejected')
  })

  test('batch without idempotency: what takes too long for two goes alone at last', async () => {
    const world = createWorld({}, (post) => {
      if (post.endpoint === 'batch') return // 2 × 10 s are more than timeouts.send
      world.clock.setTimeout(() => void post.answers(200, { ok: true }), 10_000)
    })
    const deliveries = ['a', 'b', 'c'].map((text) => world.connection.send(prompt(text)))
    await world.opens({ features: ['batch'] })
    await world.clock.advance(30 * 60_000)
    expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'accepted', 'accepted'])
  })
})

describe('many', () => {
  let crashes: unknown[] = []
  const onCrash = (error: unknown) => crashes.push(error)
  let others: NodeJS.UncaughtExceptionListener[] = []
  beforeEach(() => {
    crashes = []
    others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', onCrash)
  })
  afterEach(() => {
    process.removeAllListeners('uncaughtException')
    for (const other of others) process.on('uncaughtException', other)
  })
  test('150,000 messages in one tick are told, and do not throw', async () => {
    const world = createWorld({ outbox: { maxMessages: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY } })
    let told = 0
    world.connection.on('delivery', () => told++)
    for (let i = 0; i < 150_000; i++) world.connection.send({ type: 'send' }, { id: `m${i}` })
    await settle()
    await settle()
    expect(crashes.map(String)).toEqual([])
    expect(told).toBe(150_000)
  })
})

describe('watch and unwatch', () => {
  // A real server half behind a network that delivers the unwatch POST late.
  function late(maxInFlight: number, features?: readonly string[]) {
    const server = createChatServer({
      authenticate: () => ({ id: 'u' }),
      authorize: () => true,
      onCommand: () => null,
    })
    let releaseUnwatch = () => {}
    const delayed: string[] = []
    const fetch = (async (url: string, init: RequestInit) => {
      const endpoint = String(url).split('/').pop() as string
      delayed.push(endpoint)
      if (endpoint === 'unwatch') await new Promise<void>((resolve) => (releaseUnwatch = resolve))
      return server.fetch(new Request(url, init))
    }) as typeof globalThis.fetch
    const options: Partial<ConnectionOptions> = {
      fetch,
      outbox: { maxInFlight },
      createEventSource(url) {
        const listeners = new Map<string, (event: { data: string }) => void>()
        let reader: ReadableStreamDefaultReader<Uint8Array>
        void (async () => {
          const response = await server.fetch(new Request(url))
          listeners.get('open')?.({ data: '' })
          reader = (response.body as ReadableStream<Uint8Array>).getReader()
          for (;;) {
            const { done, value } = await reader.read()
            if (done) return
            for (const frame of new TextDecoder().decode(value).split('\n\n')) {
              const data = /^data: (.*)$/m.exec(frame)?.[1]
              const said = features
                ? data?.replace(/"features":\[[^\]]*\]/, `"features":${JSON.stringify(features)}`)
                : data
              if (said) listeners.get(/^event: welcome/m.test(frame) ? 'welcome' : 'message')?.({ data: said })
            }
          }
        })()
        return {
          addEventListener: (type, listener) => void listeners.set(type, listener as never),
          close: () => void reader?.cancel(),
        }
      },
    }
    const world = createWorld(options)
    return { server, world, delayed, releaseUnwatch: () => releaseUnwatch() }
  }
  const turns = async () => {
    for (let i = 0; i < 30; i++) await settle()
  }

  test.each<[string, number, readonly string[] | undefined]>([
    ['maxInFlight 4', 4, undefined],
    ['maxInFlight 1, no watch-replay', 1, ['contiguous-seq', 'idempotency', 'receipts']],
  ])('a session that is watched again while its unwatch is under way is not deaf: %s', async (_, max, features) => {
    const { server, world, delayed, releaseUnwatch } = late(max, features)
    const { connection } = world
    connection.connect()
    await turns()
    expect(connection.phase).toBe('open')
    connection.watch('s1')
    await turns()
    await server.publish('s1', { type: 'token' })
    await turns()
    connection.unwatch('s1')
    await turns()
    connection.watch('s1', { after: 1 })
    await turns()
    releaseUnwatch()
    await turns()
    await server.publish('s1', { type: 'token' })
    await turns()
    expect([delayed.includes('unwatch'), connection.phase]).toEqual([true, 'open'])
    expect(seqs(world, 's1')).toEqual([1, 2])
    connection.dispose()
  })

  test('unwatch in idle costs no POST: no stream carries the session', async () => {
    const world = createWorld()
    for (let i = 0; i < 100; i++) world.connection.watch(`s${i}`)
    for (let i = 0; i < 100; i++) world.connection.unwatch(`s${i}`)
    await settle()
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    expect(world.postsTo('unwatch')).toHaveLength(0)
  })
})

describe('the line', () => {
  test('C59: a POST that never started does not hold up the next stream', async () => {
    let hang = true
    const world = createWorld({
      headers: ({ reason }) => (reason === 'post' && hang ? new Promise(() => {}) : {}),
    })
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    hang = false
    world.stream.fails()
    await world.retries()
    await world.opens()
    await world.clock.advance(1_500)
    expect(prompts(world)).toEqual(['a'])
  })

  test('a 401 in one batch is not the end of all batches', async () => {
    let token = 'old'
    const world = createWorld(
      {
        headers({ reason }) {
          if (reason === 'unauthorized') token = 'new'
          return { authorization: token }
        },
      },
      (post) => {
        if (post.endpoint !== 'batch') return post.answers(post.headers.get('authorization') === 'new' ? 200 : 401, {})
        const { messages } = post.body as { messages: { id: string }[] }
        const isOk = post.headers.get('authorization') === 'new'
        return post.answers(200, {
          results: isOk ? messages.map(({ id }) => ({ id, status: 200 })) : [{ id: messages[0]?.id, status: 401 }],
        })
      },
    )
    for (let i = 0; i < 200; i++) world.connection.send(prompt(`${i}`))
    await world.opens({ features: ['batch'] })
    for (let i = 0; i < 600; i++) await settle()
    expect(world.connection.pending).toHaveLength(0)
    expect(world.posts.length).toBeLessThanOrEqual(10)
  })

  test('a message listener that another one has unsubscribed hears nothing more', async () => {
    const world = createWorld()
    const heard: string[] = []
    let off = () => {}
    world.connection.on('message', () => off())
    off = world.connection.on('message', () => heard.push('x'))
    await world.opens()
    world.stream.sends({ type: 'note' })
    expect(heard).toEqual([])
  })
})

describe('headers', () => {
  test.each([
    ['a hook', () => ({ 'Content-Type': 'application/json', Authorization: 'x' })],
    ['a map in lower case', { 'content-type': 'application/json', authorization: 'x' }],
  ])('%s that names a content type does not double it', async (_, headers) => {
    const world = createWorld({ headers: headers as never })
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    expect(world.post('send').headers.get('content-type')).toBe('application/json')
  })

  test('… end to end: the server half takes the message', async () => {
    const { server } = createTestServer()
    const stream = await server.fetch(
      new Request('http://chat.test/api/events', { headers: { Authorization: 'alice' } }),
    )
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader()
    const welcome = new TextDecoder().decode((await reader.read()).value)
    const id = /"connectionId":"([^"]+)"/.exec(welcome)?.[1] as string
    const world = createWorld({
      headers: () => ({ 'Content-Type': 'application/json', Authorization: 'alice' }),
      fetch: ((url: string, init: RequestInit) =>
        server.fetch(new Request(url.replace('http://test', 'http://chat.test'), init))) as typeof fetch,
    })
    await world.opens({ id })
    expect(await world.connection.send(prompt('a', 'alice1')).settled).toMatchObject({ status: 'accepted' })
    await reader.cancel()
  })

  test('a static Headers object is used, or refused: not silently dropped', async () => {
    let world: World | undefined
    try {
      world = createWorld({ headers: new Headers({ authorization: 'x' }) as never })
    } catch {
      return
    }
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    expect(world.post('send').headers.get('authorization')).toBe('x')
  })
})

describe('at the edges', () => {
  test('I4 maxInFlight 2: however long the headers of each take, they start in order', async () => {
    const answers: ((headers: object) => void)[] = []
    const world = createWorld({
      outbox: { maxInFlight: 2 },
      headers: ({ reason }) =>
        reason === 'post' ? new Promise((resolve) => answers.push(resolve as (headers: object) => void)) : {},
    })
    await world.opens()
    for (const text of ['a', 'b']) world.connection.send(prompt(text))
    for (let turn = 0; turn < 3; turn++) {
      await settle()
      // The last one that asked is the first to know.
      answers.pop()?.({})
    }
    await settle()
    expect(prompts(world)).toEqual(['a', 'b'])
  })

  test('I4 maxInFlight 2: a refused batch, and an error listener that sends', async () => {
    const world = createWorld({ outbox: { maxInFlight: 2 } }, (post) =>
      post.endpoint === 'batch' ? post.answers(400, {}) : SERVER_ACCEPTS(post),
    )
    let sent = false
    world.connection.on('error', () => {
      if (!sent) world.connection.send(prompt('late'))
      sent = true
    })
    for (const text of ['a', 'b']) world.connection.send(prompt(text))
    await world.opens({ features: ['batch'] })
    await settle()
    expect(world.postsTo('send').map(({ body }) => body.prompt)).toEqual(['a', 'b', 'late'])
  })

  test('without receipts a 2xx is success, also if its body is cut off', async () => {
    let applied = 0
    const world = createWorld({}, (post) => {
      if (post.endpoint !== 'send') return SERVER_ACCEPTS(post)
      applied++
      return applied === 1 ? post.answersHalf() : SERVER_ACCEPTS(post)
    })
    await world.opens()
    const delivery = world.connection.send(prompt('a'))
    await world.clock.advance(60_000)
    expect([delivery.status, applied]).toEqual(['accepted', 1])
  })

  test('watched anew in one listener: nothing is lost where numbers need not be contiguous', async () => {
    const world = createWorld({}, (post) => {
      if (post.endpoint !== 'reconnect') return SERVER_ACCEPTS(post)
      const [cursor] = post.body.sessions as { sessionId: string; lastSeq: number }[]
      for (let seq = (cursor?.lastSeq ?? 0) + 1; seq <= 12; seq++) world.stream.sends(world.event('s1', seq))
      return post.answers(200, { ok: true })
    })
    world.connection.on('opened', () => {
      if (world.connection.cursors.length) return
      world.connection.watch('s1', { after: 10 })
      world.connection.unwatch('s1')
      world.connection.watch('s1', { after: 0 })
    })
    await world.opens()
    await settle()
    await world.clock.advance(100)
    expect(seqs(world, 's1')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  })

  test.each([['contiguous-seq'], []] as Feature[][])(
    'C54: a replay of what waits behind a message takes no room from what is new (%s)',
    async (...features) => {
      const world = createWorld()
      let throws = 0
      const heard: unknown[] = []
      world.connection.on('message', ({ seq }) => {
        if (seq === 10 && throws++ < 2) throw new Error('not now')
        heard.push(seq)
      })
      const arrives = (from: number, to: number) => {
        for (let seq = from; seq <= to; seq++) world.stream.sends(world.event('s1', seq))
      }
      world.connection.watch('s1')
      await world.opens({ features })
      arrives(1, 140)
      world.stream.fails()
      await world.retries()
      await world.opens({ features })
      arrives(10, 160)
      await world.clock.advance(2_000)
      arrives(161, 161)
      await world.clock.advance(2_000)
      expect(heard).toEqual(Array.from({ length: 161 }, (_, index) => index + 1))
    },
  )

  test('C54: a hole that a replay has filled hides no later one', async () => {
    const head = 600
    const world = createWorld({}, (post) => {
      if (post.endpoint !== 'reconnect') return SERVER_ACCEPTS(post)
      const [cursor] = post.body.sessions as { lastSeq: number }[]
      for (let seq = (cursor?.lastSeq ?? 0) + 1; seq <= head; seq++) world.stream.sends(world.event('s1', seq))
      return post.answers(200, { ok: true })
    })
    const offers = new Map<unknown, number>()
    const heard: unknown[] = []
    world.connection.on('message', ({ seq }) => {
      offers.set(seq, (offers.get(seq) ?? 0) + 1)
      if ((seq === 1 || seq === 200) && offers.get(seq) === 1) throw new Error('not now')
      heard.push(seq)
    })
    world.connection.watch('s1')
    await world.opens()
    await world.clock.advance(5_000)
    expect(heard).toEqual(Array.from({ length: head }, (_, index) => index + 1))
  })

  test('a message that expires while its headers are waited for is not posted late', async () => {
    let give = (_: object) => {}
    const world = createWorld({
      headers: ({ reason }) => (reason === 'post' ? new Promise((resolve) => (give = resolve as never)) : {}),
    })
    await world.opens()
    const delivery = world.connection.send(prompt('a'), { maxAge: 1_000 })
    await world.clock.advance(10_000)
    give({})
    await settle()
    expect([world.postsTo('send').length, delivery.status]).toEqual([0, 'rejected'])
  })

  test('I4: what could not be stored at first keeps its place', async () => {
    const storage = createStorage()
    const world = load(storage, {}, SERVER_IS_SILENT)
    storage.throws(() => true)
    world.connection.send(prompt('a'), { id: 'a' })
    storage.throws(() => false)
    world.connection.send(prompt('b'), { id: 'b' })
    await world.opens()
    const next = load(storage)
    expect(next.connection.pending.map(({ id }) => id)).toEqual(['a', 'b'])
  })
})
