import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { persist } from 'holdline/storage'
import {
  answersAreLost,
  answersLate,
  answersWithHtml,
  type Behaviour,
  createHarness,
  type Environment,
  eventsAreLost,
  forgetsStreams,
  type Harness,
  type HarnessOptions,
  resumeFails,
  resumeNeverAnswered,
  saysGoodbye,
  seededRandom,
  sendFails,
  sendsAreLost,
  serverAccepts,
  serverIsSilent,
  sessionsAreGone,
  sessionsAreReset,
  streamDropsAfter,
  streamFails,
  streamGoesSilent,
  streamNeverOpens,
  wantsAuthorization,
  welcomeNeverComes,
  welcomesTwice,
} from 'holdline/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { StorageLike } from '../../environment'
import { FEATURES } from '../../protocol'

const PROMPT = { type: 'send', sessionId: 's1', prompt: 'hi' }
const TOKEN = { type: 'token' }

/** Watches a session of three events, sends a prompt, connects, and lets a minute pass. */
async function minute(server: Behaviour | readonly Behaviour[], options: HarnessOptions = {}) {
  const harness = createHarness({ server, ...options })
  const { connection, told, messages, posts } = harness
  connection.watch('s1')
  for (let n = 1; n <= 3; n++) harness.server.publish('s1', { ...TOKEN, n })
  const delivery = connection.send(PROMPT)
  connection.connect()
  await harness.passes(60_000)
  return Object.assign(harness, {
    delivery,
    phases: told.flatMap((one) => (one.name === 'phase' ? one.event.phase : [])),
    closings: told.flatMap((one) => (one.name === 'closed' ? one.event.reason : [])),
    errors: told.flatMap((one) => (one.name === 'error' ? one.event.error.code : [])),
    received: messages.map(({ n }) => n),
    postsTo: (endpoint: string) => posts.filter((post) => post.endpoint === endpoint).length,
  })
}

const HEALTHY = ['connecting', 'awaitingWelcome', 'reconnecting', 'open']
const FAILED = ['connecting', 'backoff']
const UNWELCOMED = ['connecting', 'awaitingWelcome', 'backoff']

describe('a behaviour', () => {
  test('serverAccepts: what a server does anyway', async () => {
    for (const server of [serverAccepts(), []]) {
      const { phases, received, delivery } = await minute(server)
      expect(phases).toEqual(HEALTHY)
      expect(received).toEqual([1, 2, 3])
      expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
    }
  })

  test('serverIsSilent: nothing is answered but by the test', async () => {
    const harness = await minute(serverIsSilent())
    expect(new Set(harness.phases)).toEqual(new Set(FAILED))
    expect(harness.posts).toEqual([])
    harness.connection.reconnect()
    harness.stream.opens()
    harness.stream.welcomes({ connectionId: 'mine' })
    await harness.settles()
    expect(harness.connection.phase).toBe('reconnecting')
    expect(harness.connection.connectionId).toBe('mine')
    harness.post('reconnect').answers(200, { ok: true })
    await harness.settles()
    expect(harness.connection.phase).toBe('open')
    expect(harness.post('send')).toMatchObject({ connectionId: 'mine', body: PROMPT })
  })

  test('streamNeverOpens: the attempt times out', async () => {
    const { phases, streams } = await minute(streamNeverOpens({ times: 2 }))
    expect(phases).toEqual([...FAILED, ...FAILED, ...HEALTHY])
    expect(Number(streams[1]?.at) - Number(streams[0]?.at)).toBeGreaterThanOrEqual(15_000)
  })

  test('streamFails: before it opens; a status is told where there is one', async () => {
    expect((await minute(streamFails({ times: 2 }))).phases).toEqual([...FAILED, ...FAILED, ...HEALTHY])
    const { phases, connection } = await minute(streamFails({ status: 401 }))
    expect(phases).toEqual(['connecting', 'idle'])
    expect(connection.lastError?.code).toBe('unauthorized')
  })

  test('welcomeNeverComes: the stream opens, and that is all', async () => {
    const { phases } = await minute(welcomeNeverComes({ times: 2 }))
    expect(phases).toEqual([...UNWELCOMED, ...UNWELCOMED, ...HEALTHY])
  })

  test('welcomesTwice: the second welcome is the first again, with all that it announced', async () => {
    const harness = await minute(welcomesTwice({ times: 1 }), { heartbeat: 20_000 })
    expect(harness.connection.actor.getSnapshot().context).toMatchObject({
      resumes: 2,
      features: harness.server.features,
      heartbeat: 20_000,
    })
    expect(harness.streams).toHaveLength(1)
  })

  test('streamGoesSilent: neither events nor pings arrive, and the watchdog notices', async () => {
    const { closings, received, phases } = await minute(streamGoesSilent({ times: 1 }), {
      features: [],
      heartbeat: 1_000,
    })
    expect(closings).toEqual(['silent'])
    expect(phases).toEqual([...HEALTHY, 'backoff', ...HEALTHY])
    expect(received).toEqual([1, 2, 3])
  })

  test('eventsAreLost: the hole is noticed and resumed', async () => {
    const harness = await minute([])
    harness.server.behaves(eventsAreLost({ times: 1 }))
    for (let n = 4; n <= 6; n++) harness.server.publish('s1', { ...TOKEN, n })
    await harness.settles()
    expect(harness.messages.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6])
    expect(harness.told).toContainEqual(expect.objectContaining({ event: { reason: 'gap' } }))
  })

  test('streamDropsAfter: each stream is cut in place of an event', async () => {
    const { received, streams, phases } = await minute(streamDropsAfter(1, { times: 2 }))
    expect(received).toEqual([1, 2, 3])
    expect(streams).toHaveLength(3)
    expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(2)
  })

  test('saysGoodbye: in place of an event, with a delay', async () => {
    const { connection, streams, received } = await minute(saysGoodbye({ retryAfter: 20_000, spread: 0 }))
    expect(received).toEqual([1, 2, 3])
    expect(streams).toHaveLength(2)
    expect(Number(streams[1]?.at) - Number(streams[0]?.at)).toBeGreaterThanOrEqual(20_000)
    expect(connection.phase).toBe('open')
  })

  test('resumeFails: with a status, and a Retry-After', async () => {
    const { phases, streams } = await minute(resumeFails({ status: 503, retryAfter: 10, times: 2 }))
    expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(2)
    expect(phases.at(-1)).toBe('open')
    expect(Number(streams[1]?.at) - Number(streams[0]?.at)).toBeGreaterThanOrEqual(10_000)
    expect((await minute(resumeFails({ status: 403 }))).phases.at(-1)).toBe('idle')
  })

  test('resumeNeverAnswered: the server has taken it; the attempt times out', async () => {
    const { phases, received, streams } = await minute(resumeNeverAnswered({ times: 1 }))
    expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(1)
    expect(streams).toHaveLength(2)
    expect(received).toEqual([1, 2, 3])
  })

  test('sendFails: nothing is applied until it ends', async () => {
    const { delivery, server } = await minute(sendFails({ status: 503, times: 2 }))
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 3 })
    expect(server.commands).toHaveLength(1)
    const refused = await minute(sendFails({ status: 422 }))
    expect(refused.delivery.status).toBe('rejected')
    expect(refused.server.commands).toEqual([])
  })

  test('sendsAreLost: nothing reaches the server, and each is repeated', async () => {
    const { delivery, server, errors } = await minute(sendsAreLost({ times: 2 }))
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 3 })
    expect(server.commands).toHaveLength(1)
    expect(errors).toEqual(['network', 'network'])
  })

  test('answersAreLost: the message is applied, and its repeat is answered from memory', async () => {
    const { delivery, server } = await minute(answersAreLost({ times: 2 }))
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 3 })
    expect(server.commands).toEqual([{ id: delivery.id, endpoint: 'send', message: PROMPT }])
  })

  test('answersAreLost: a server without idempotency applies the repeat again', async () => {
    const { server } = await minute(answersAreLost({ times: 2 }), { features: [] })
    expect(server.commands).toHaveLength(3)
  })

  test('answersLate: everything, or one endpoint, so many times', async () => {
    expect((await minute(answersLate(5_000))).told.find(({ name }) => name === 'opened')?.at).toBe(start + 5_000)
    const { told, delivery } = await minute(answersLate(5_000, { endpoint: 'send', times: 1 }))
    expect(told.find(({ name }) => name === 'opened')?.at).toBe(start)
    expect(told.findLast(({ name }) => name === 'delivery')?.at).toBe(start + 5_000)
    expect(await delivery.settled).toMatchObject({ attempts: 1 })
  })

  test('wantsAuthorization: 401 without it', async () => {
    const server = wantsAuthorization('Bearer good')
    const create = (token: string): HarnessOptions => ({
      create: (environment) => createConnection({ ...environment, headers: { Authorization: token } }),
    })
    expect((await minute(server, create('Bearer bad'))).connection.lastError?.code).toBe('unauthorized')
    expect((await minute(server, create('Bearer good'))).connection.phase).toBe('open')
  })

  test('answersWithHtml: a portal’s page is no answer', async () => {
    const { delivery, phases } = await minute(answersWithHtml({ times: 2 }))
    expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(2)
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 1 })
  })

  test('forgetsStreams: every POST meets a server that does not know its stream', async () => {
    const { streams, delivery } = await minute(forgetsStreams({ times: 2 }))
    expect(streams).toHaveLength(3)
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })
  })

  describe.each([
    ['with no feature', []],
    ['with all of them', FEATURES],
  ])('%s', (_, features) => {
    const news = ({ told }: Harness) => told.flatMap((one) => (one.name === 'session' ? one.event : []))

    test('sessionsAreReset: the history of what is resumed or watched is lost', async () => {
      const harness = await minute(sessionsAreReset({ times: 2 }), { features })
      expect(harness.received).toEqual([])
      harness.server.publish('s2', TOKEN)
      harness.connection.watch('s2')
      await harness.passes(1_000)
      expect(news(harness).map(({ sessionId, status, to }) => [sessionId, status, to])).toEqual(
        expect.arrayContaining([
          ['s1', 'reset', 3],
          ['s2', 'reset', 1],
        ]),
      )
      harness.server.publish('s1', { ...TOKEN, n: 4 })
      harness.stream.fails()
      await harness.passes(60_000)
      expect(harness.messages).toMatchObject([{ sessionId: 's1', n: 4 }])
    })

    test('sessionsAreGone: what is resumed or watched does not exist any more', async () => {
      const harness = await minute(sessionsAreGone({ times: 2 }), { features })
      harness.connection.watch('s2')
      await harness.passes(1_000)
      expect(news(harness).map(({ sessionId, status }) => [sessionId, status])).toEqual([
        ['s1', 'gone'],
        ['s2', 'gone'],
      ])
      expect(harness.connection.cursors).toEqual([])
      harness.connection.watch('s1')
      await harness.passes(1_000)
      expect(harness.messages.map(({ n }) => n)).toEqual([1, 2, 3])
    })
  })
})

const start = Date.UTC(2026, 0, 1)

describe('behaviours', () => {
  test('compose: each deals with what it is about, and leaves the rest to the next', async () => {
    const { phases, received, delivery, server } = await minute([
      welcomeNeverComes({ times: 1 }),
      resumeFails({ status: 500, times: 1 }),
      streamDropsAfter(1, { times: 1 }),
      answersAreLost({ times: 1 }),
    ])
    expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(3)
    expect(received).toEqual([1, 2, 3])
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
    expect(server.commands).toHaveLength(1)
  })

  test('have their precedence in their order', async () => {
    const outer = await minute([sendsAreLost({ times: 1 }), sendFails({ status: 503, times: 1 })])
    expect(outer.errors).toEqual(['network', 'http'])
    const inner = await minute([sendFails({ status: 503, times: 1 }), sendsAreLost({ times: 1 })])
    expect(inner.errors).toEqual(['http', 'network'])
  })

  test.each<[string, (times: number) => Behaviour]>([
    ['streamNeverOpens', (times) => streamNeverOpens({ times })],
    ['streamFails', (times) => streamFails({ times })],
    ['welcomeNeverComes', (times) => welcomeNeverComes({ times })],
    ['streamDropsAfter', (times) => streamDropsAfter(0, { times })],
    ['saysGoodbye', (times) => saysGoodbye({}, { times })],
    ['resumeFails', (times) => resumeFails({ status: 500, times })],
    ['resumeNeverAnswered', (times) => resumeNeverAnswered({ times })],
    ['answersWithHtml', (times) => answersWithHtml({ times })],
    ['forgetsStreams', (times) => forgetsStreams({ times })],
  ])('%s: times are counted', async (_, behaviour) => {
    for (const times of [0, 1, 3]) {
      const { phases, received } = await minute(behaviour(times), { seed: 3 })
      expect(phases.filter((phase) => phase === 'backoff')).toHaveLength(times)
      expect(phases.at(-1)).toBe('open')
      expect(received).toEqual([1, 2, 3])
    }
  })

  test('may come later, and then come first', async () => {
    const harness = createHarness({ server: sendsAreLost({ times: 1 }) })
    const codes: string[] = []
    harness.connection.on('error', ({ error }) => codes.push(error.code))
    harness.server.behaves(sendFails({ status: 503, times: 1 }))
    const delivery = harness.connection.send(PROMPT)
    await harness.opens()
    await harness.passes(10_000)
    expect(await delivery.settled).toMatchObject({ attempts: 3 })
    expect(codes).toEqual(['http', 'network'])
  })

  test('may be the user’s own', async () => {
    const teapot: Behaviour = {
      post: (post, next) => (post.endpoint === 'send' ? post.answers(418, { error: 'short' }) : next()),
    }
    const { delivery } = await minute([serverAccepts(), teapot])
    expect(await delivery.settled).toMatchObject({ status: 'rejected', error: { status: 418, cause: 'short' } })
  })
})

describe('the server', () => {
  test('announces what it is told to, and pings as often as it has announced', async () => {
    const { connection, closings } = await minute([], { features: ['probe'], heartbeat: 3_000 })
    expect(connection.actor.getSnapshot().context).toMatchObject({ features: ['probe'], heartbeat: 3_000 })
    expect(closings).toEqual([])
  })

  test('answers probes on the stream', async () => {
    const harness = await minute([])
    harness.page.shows()
    await harness.passes(10_000)
    expect(harness.postsTo('probe')).toBe(1)
    expect(harness.streams).toHaveLength(1)
  })

  test('sends a session’s events to the streams that are attached to it', async () => {
    const harness = await minute([])
    harness.server.publish('s2', TOKEN)
    harness.server.publish('s1', { ...TOKEN, n: 4 })
    expect(harness.messages.at(-1)).toMatchObject({ sessionId: 's1', seq: 4, n: 4 })
    harness.connection.unwatch('s1')
    await harness.settles()
    harness.connection.watch('s2')
    await harness.settles()
    expect(harness.messages.at(-1)).toMatchObject({ sessionId: 's2', seq: 1 })
  })

  test('sends any frame, on every live stream', async () => {
    const harness = await minute([])
    harness.server.sends({ type: 'notice' })
    expect(harness.messages.at(-1)).toEqual({ type: 'notice' })
  })

  test('that restarts has lost its logs: the session is reset', async () => {
    const harness = await minute([])
    harness.server.restarts()
    for (let n = 1; n <= 5; n++) harness.server.publish('s1', { ...TOKEN, n })
    await harness.reaches('open')
    await harness.settles()
    expect(harness.told).toContainEqual(
      expect.objectContaining({ name: 'session', event: expect.objectContaining({ status: 'reset' }) }),
    )
  })

  test('takes batches', async () => {
    const harness = createHarness()
    for (let n = 1; n <= 3; n++) harness.connection.send({ ...PROMPT, n })
    await harness.opens()
    await harness.settles()
    expect(harness.posts.map(({ endpoint }) => endpoint)).toEqual(['batch'])
    expect(harness.server.commands.map(({ message }) => message.n)).toEqual([1, 2, 3])
  })
})

describe('the harness', () => {
  test('opens() connects, once, and lets as much time pass as that takes', async () => {
    const harness = createHarness({ server: answersLate(3_000) })
    harness.connection.watch('s1')
    await harness.opens()
    expect(harness.connection.isOpen).toBe(true)
    expect(harness.time.clock.now()).toBe(start + 3_000)
    await harness.opens()
    expect(harness.streams).toHaveLength(1)
  })

  test('reaches() goes from timer to timer, and says what happened if the phase never comes', async () => {
    const harness = createHarness({ server: streamNeverOpens() })
    harness.connection.connect()
    await harness.reaches('backoff')
    expect(harness.time.clock.now()).toBe(start + 15_000)
    await expect(harness.reaches('open')).rejects.toThrow(
      /open was not reached, it is \w+: timeout, .*\n {2}phase .*"connecting"/,
    )
  })

  test('reaches() and opens() say what the last error was, and what caused it', async () => {
    const fetch = () => Promise.reject(new Error('the certificate has expired'))
    const harness = createHarness({ create: (environment) => createConnection({ ...environment, fetch }) })
    harness.connection.watch('s1')
    const error = await harness.opens().catch((error) => error)
    expect(error.message).toMatch(/open was not reached, it is \w+: network, .*, Error: the certificate has expired\n/)
    expect(error.cause).toBe(harness.connection.lastError)
  })

  test('a transport that reads its streams with fetch is told that there is nothing to read', async () => {
    const harness = createHarness({
      create: (environment) => createConnection({ ...environment, transport: fetchStreamTransport }),
    })
    await expect(harness.opens()).rejects.toThrow('nothing answers GET http://harness.test/api/chat/events')
  })

  test('reaches() gives up at once where no timer is left', async () => {
    await expect(createHarness().reaches('open')).rejects.toThrow('open was not reached, it is idle')
  })

  test('settles() takes no time; passes() takes as much as it is told, chained timers included', async () => {
    const harness = createHarness({ server: serverIsSilent() })
    harness.connection.connect()
    await harness.settles()
    expect(harness.time.clock.now()).toBe(start)
    const fired: number[] = []
    const again = () => {
      fired.push(harness.time.clock.now() - start)
      harness.time.outside.setTimeout(again, 300)
    }
    again()
    await harness.passes(1_000)
    expect(fired).toEqual([0, 300, 600, 900])
    expect(harness.time.clock.now()).toBe(start + 1_000)
    expect(harness.time.next).toBe(start + 1_200)
  })

  test('stream and post() are the latest; without one they say so', async () => {
    const harness = createHarness()
    expect(() => harness.stream).toThrow('no stream was opened')
    expect(() => harness.post('send')).toThrow('nothing was posted to send')
    await harness.opens()
    harness.connection.reconnect()
    await harness.settles()
    expect(harness.streams).toHaveLength(2)
    expect(harness.stream).toBe(harness.streams[1])
    for (const prompt of ['1', '2']) {
      harness.connection.send({ ...PROMPT, prompt })
      await harness.settles()
    }
    expect(harness.posts).toHaveLength(2)
    expect(harness.post('send')).toBe(harness.posts[1])
  })

  test('told has every public event with its time, messages what the listeners were given', async () => {
    const { told, messages } = await minute([])
    expect(new Set(told.map(({ name }) => name))).toEqual(
      new Set(['phase', 'message', 'session', 'opened', 'delivery']),
    )
    expect(told.every(({ at }) => at === start)).toBe(true)
    expect(told.flatMap((one) => (one.name === 'message' ? one.event : []))).toEqual(messages)
  })

  test('page: each of its events is what a browser’s page tells', async () => {
    const harness = await minute([], { features: [] })
    const { page, time } = harness
    page.freezes()
    await harness.settles()
    expect(harness.postsTo('suspend')).toBe(1)
    page.shows()
    await harness.settles()
    page.hides()
    await harness.settles()
    expect(harness.postsTo('suspend')).toBe(2)
    page.shows()
    await harness.settles()

    page.goesOffline()
    time.jumps(60_000)
    page.comesOnline()
    await harness.reaches('open')
    expect(harness.streams).toHaveLength(2)
    page.leaves()
    page.returns()
    await harness.reaches('open')
    expect(harness.streams).toHaveLength(3)

    expect(page.listeners).toBeGreaterThan(0)
    harness.connection.disconnect()
    expect(page.listeners).toBe(0)
    expect(time.clock.pending).toBe(0)
  })

  test('the same seed is the same jitter, another seed is another', async () => {
    const times = async (seed: number) =>
      (await minute(streamFails({ times: 4 }), { seed })).streams.map(({ at }) => at)
    expect(await times(1)).toEqual(await times(1))
    expect(await times(1)).not.toEqual(await times(2))
    const draws = Array.from({ length: 1_000 }, seededRandom(7))
    expect(draws.every((value) => value >= 0 && value < 1)).toBe(true)
    expect(new Set(draws).size).toBe(1_000)
  })

  test('late frames and answers change nothing', async () => {
    const harness = await minute(answersLate(5_000, { endpoint: 'send' }))
    harness.connection.disconnect()
    const count = harness.told.length
    harness.stream.sends({ ...TOKEN, sessionId: 's1', seq: 9 })
    harness.stream.welcomes()
    harness.stream.fails()
    harness.post('send').answers(404)
    harness.post('reconnect').fails()
    await harness.settles()
    expect(harness.told).toHaveLength(count)
    expect(harness.stream.isClosed).toBe(true)
  })
})

describe('reloads()', () => {
  const create = (environment: Environment, storage: StorageLike) =>
    createConnection({ ...environment, storage: persist(storage, { key: 'reload', cursors: true }) })
  beforeEach(() => void vi.spyOn(console, 'warn').mockImplementation(() => {}))
  afterEach(() => {
    // The page before is gone, so its storage key is not in use.
    expect(console.warn).not.toHaveBeenCalled()
    vi.restoreAllMocks()
  })

  test('the next page has the storage, the server and the time of the one before, and nothing else', async () => {
    const harness = createHarness({ create, heartbeat: 1_000 })
    const first = harness.connection
    first.watch('s1')
    await harness.opens()
    harness.server.publish('s1', TOKEN)
    await harness.settles()
    const { stream } = harness
    const { length } = harness.told
    const second = harness.reloads()
    expect(second).toBe(harness.connection)
    expect(second).not.toBe(first)
    expect(stream.isClosed).toBe(true)
    expect(harness.time.clock.pending).toBe(0)
    expect(harness.page.listeners).toBe(0)
    expect(second.cursors).toMatchObject([{ sessionId: 's1', lastSeq: 1 }])
    // As in a crash: the page before is told nothing of it, nor of what comes later.
    harness.server.publish('s1', TOKEN)
    stream.fails()
    await harness.passes(60_000)
    expect(harness.told).toHaveLength(length)
    expect(first.phase).toBe('open')
    await harness.opens()
    expect(harness.messages).toMatchObject([{ seq: 1 }, { seq: 2 }])
  })

  test('what was under way is not answered; what was not answered goes out again, under the same id', async () => {
    const harness = createHarness({ create, server: answersLate(5_000, { endpoint: 'send', times: 1 }) })
    await harness.opens()
    const { id } = harness.connection.send(PROMPT)
    await harness.settles()
    const post = harness.post('send')
    harness.reloads()
    expect([post.isAborted, post.isAnswered]).toEqual([true, false])
    await harness.opens()
    await harness.passes(10_000)
    expect(harness.connection.pending).toEqual([])
    expect(harness.server.commands).toMatchObject([{ id }])
  })

  test('an app that keeps its cursors and not its state begins in the middle: the harness can tell', async () => {
    let said = ''
    const harness = createHarness({
      create(environment, storage) {
        const connection = create(environment, storage)
        said = ''
        connection.on('message', ({ text }) => {
          said += text
        })
        connection.watch('s1')
        return connection
      },
    })
    await harness.opens()
    harness.server.publish('s1', { ...TOKEN, text: 'a' })
    await harness.settles()
    harness.reloads()
    await harness.opens()
    harness.server.publish('s1', { ...TOKEN, text: 'b' })
    await harness.settles()
    // `holdline/sessions`, and with it the hooks, do not.
    expect(said).toBe('b')
  })
})

describe('the user', () => {
  afterEach(() => void vi.useRealTimers())

  test('may have a factory, options and listeners of their own', async () => {
    const seen: unknown[] = []
    const create: HarnessOptions['create'] = (environment) => {
      const connection = createConnection<{ type: 'token'; n: number }, { type: 'ask'; text: string }>({
        ...environment,
        url: '/own',
        backoff: { base: 1_000, maxAttempts: 1 },
        protocol: { endpoints: { ask: 'ask' } },
      })
      connection.on('message', ({ n }) => seen.push(n))
      connection.watch('s1')
      connection.send({ type: 'ask', text: 'why?' })
      return connection
    }
    vi.stubGlobal('location', { href: 'https://app.test/page' })
    const harness = createHarness({ create })
    vi.unstubAllGlobals()
    harness.server.publish('s1', { ...TOKEN, n: 1 })
    await harness.opens()
    await harness.settles()
    expect(seen).toEqual([1])
    expect(harness.stream.url).toBe('https://app.test/own/events')
    expect(harness.server.commands).toMatchObject([{ endpoint: 'ask', message: { text: 'why?' } }])
    harness.server.behaves(streamFails())
    harness.stream.fails()
    await harness.reaches('idle')
    expect(harness.connection.lastError?.code).toBe('gave-up')
  })

  test('may have fake timers installed: nothing waits for them', async () => {
    vi.useFakeTimers()
    const { phases, received, delivery } = await minute([
      streamFails({ times: 1 }),
      resumeNeverAnswered({ times: 1 }),
      sendFails({ status: 503, times: 1 }),
    ])
    expect(phases.at(-1)).toBe('open')
    expect(received).toEqual([1, 2, 3])
    expect(delivery.status).toBe('accepted')
    expect(vi.getTimerCount()).toBe(0)
  })
})
