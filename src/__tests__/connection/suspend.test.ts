import { createConnection } from 'holdline'
import { type Behaviour, createHarness, type Environment, type HarnessOptions, watchInvariants } from 'holdline/testing'
import { expect, test } from 'vitest'
import { FEATURES, type Feature } from '../../protocol'

const DETACHES = FEATURES.filter((feature) => feature !== 'suspend-keeps')
const PROMPT = { type: 'send', sessionId: 's1', prompt: 'hi' }
const SECOND = 1_000

/** Headers that are asked for while they are held come when they are given. */
function holdHeaders() {
  const held = { isHeld: false, give: () => {} }
  const come = () => new Promise<object>((resolve) => (held.give = () => resolve({})))
  const create = (environment: Environment) =>
    createConnection({ ...environment, headers: () => (held.isHeld ? come() : {}) as Record<string, string> })
  return { held, create }
}

/**
 * A page that watches a session on an open line. Default: a server that detaches at a suspend, and
 * promises all else.
 */
async function open({ features = DETACHES, ...options }: HarnessOptions = {}) {
  const harness = createHarness({ features, ...options })
  const oracle = watchInvariants(harness)
  harness.connection.watch('s1')
  await harness.opens()
  await harness.settles()
  const { connection, posts, told, page, server } = harness
  const postsTo = (endpoint: string) => posts.filter((post) => post.endpoint === endpoint)
  return {
    ...harness,
    oracle,
    postsTo,
    resumes: () => postsTo('reconnect').length,
    closings: () => told.flatMap(({ name, event }) => (name === 'closed' ? [event.reason] : [])),
    seqs: () => harness.messages.map(({ seq }) => seq),
    publish: () => server.publish('s1', { type: 'token' }),
    isSuspended: () =>
      connection.actor.getSnapshot().matches({ active: { streaming: { open: 'suspended' } } } as never),
    async hides() {
      page.hides()
      await harness.settles()
    },
    async shows() {
      page.shows()
      await harness.settles()
    },
    get streams() {
      return harness.streams
    },
  }
}

test('C71: a page that comes back resumes the stream that it left, and has what was published meanwhile', async () => {
  const world = await open()
  world.publish()
  await world.hides()
  world.publish()
  await world.settles()
  expect([world.connection.isOpen, world.connection.getSnapshot().outbox.state]).toEqual([true, 'held'])
  expect([world.seqs(), world.closings(), world.resumes()]).toEqual([[1], [], 1])
  await world.shows()
  expect([world.seqs(), world.closings(), world.resumes()]).toEqual([[1, 2], ['wake'], 2])
  expect(world.post('reconnect').body).toMatchObject({ resumeId: 'r2', sessions: [{ sessionId: 's1', lastSeq: 1 }] })
  expect([world.connection.phase, world.streams.length]).toEqual(['open', 1])
  world.oracle.check()
})

test('C71: a server that keeps the sessions costs nothing: no resume, no closed, and messages leave at once', async () => {
  const world = await open({ features: FEATURES })
  await world.hides()
  world.publish()
  const delivery = world.connection.send(PROMPT)
  await world.settles()
  expect([delivery.status, world.seqs(), world.isSuspended()]).toEqual(['accepted', [1], false])
  await world.shows()
  expect([world.closings(), world.resumes(), world.postsTo('suspend').length]).toEqual([[], 1, 1])
})

test.each([
  ['detaches', DETACHES, { suspends: 30, resumes: 30, closings: 30 }],
  ['keeps the sessions', FEATURES, { suspends: 30, resumes: 0, closings: 0 }],
  ['promises nothing', [], { suspends: 30, resumes: 30, closings: 30 }],
] as const)(
  'C71: hidden and shown every second for a minute, with a server that %s: one resume in a second at most',
  async (_, features, expected) => {
    const world = await open({ features, heartbeat: 15_000 })
    const before = world.resumes()
    for (let second = 0; second < 60; second++) {
      await (second % 2 ? world.shows() : world.hides())
      world.publish()
      await world.passes(SECOND)
    }
    expect({
      suspends: world.postsTo('suspend').length,
      resumes: world.resumes() - before,
      closings: world.closings().length,
    }).toEqual(expected)
    const times = world.postsTo('reconnect').map(({ at }) => at)
    expect(times.slice(1).every((at, index) => at - (times[index] ?? 0) >= SECOND)).toBe(true)
    expect(world.seqs()).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
    expect([world.connection.phase, world.streams.length]).toEqual(['open', 1])
    world.oracle.check()
  },
)

test('C71: without a session nothing is suspended', async () => {
  const world = await open()
  world.connection.unwatch('s1')
  await world.settles()
  await world.hides()
  expect([world.postsTo('suspend'), world.isSuspended()]).toEqual([[], false])
})

test('I14: what is sent while suspended leaves after a resume, which it does not have to be shown for', async () => {
  const world = await open()
  await world.hides()
  const delivery = world.connection.send(PROMPT)
  await world.settles()
  expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect', 'suspend', 'reconnect', 'send'])
  expect([delivery.status, world.closings()]).toEqual(['accepted', ['wake']])
  world.oracle.check()
})

test('I14: a message whose headers came after the page was hidden waits for the resume', async () => {
  const { held, create } = holdHeaders()
  const world = await open({ create })
  held.isHeld = true
  const delivery = world.connection.send(PROMPT)
  await world.settles()
  const giveToSend = held.give
  held.isHeld = false
  await world.hides()
  giveToSend()
  await world.settles()
  expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['reconnect', 'suspend', 'reconnect', 'send'])
  expect([delivery.status, delivery.attempts]).toEqual(['accepted', 1])
  world.oracle.check()
})

test('I14: a message behind one that is under way, or that waits to be tried again, asks when it is its turn', async () => {
  let answer: (status: number) => void = () => {}
  const world = await open({
    server: {
      post(post, next) {
        if (post.endpoint !== 'send' || world.posts.length > 2) return next()
        answer = (status) => post.answers(status, {}, { 'retry-after': '30' })
      },
    },
  })
  const first = world.connection.send(PROMPT)
  const second = world.connection.send(PROMPT)
  await world.settles()
  await world.hides()
  expect([world.isSuspended(), world.resumes()]).toEqual([true, 1])
  answer(429)
  await world.settles()
  expect([world.isSuspended(), first.retryAt]).toEqual([true, expect.any(Number)])
  expect(world.connection.getSnapshot().outbox).toEqual({ state: 'held', retryAt: first.retryAt })
  await world.passes(60_000)
  expect([first.status, second.status, world.resumes()]).toEqual(['accepted', 'accepted', 2])
  world.oracle.check()
})

test('C71: a session that is watched while suspended is resumed with all the others', async () => {
  for (const features of [DETACHES, []]) {
    const world = await open({ features })
    await world.hides()
    world.connection.watch('s2')
    await world.settles()
    const { sessions } = world.post('reconnect').body as { sessions: { sessionId: string }[] }
    expect(sessions.map(({ sessionId }) => sessionId)).toEqual(['s1', 's2'])
    expect([world.resumes(), world.postsTo('watch'), world.connection.phase]).toEqual([2, [], 'open'])
    world.oracle.check()
  }
})

test('C71: the answer to a watch that was under way says nothing of what the suspend has detached', async () => {
  let answer: () => void = () => {}
  const world = await open({
    server: {
      post(post, next) {
        if (post.endpoint !== 'watch') return next()
        answer = () => next()
      },
    },
  })
  world.connection.watch('s2')
  await world.settles()
  await world.hides()
  answer()
  await world.settles()
  world.connection.watch('s3')
  await world.settles()
  const { sessions } = world.post('reconnect').body as { sessions: { sessionId: string }[] }
  expect(sessions.map(({ sessionId }) => sessionId)).toEqual(['s1', 's2', 's3'])
})

test('C71: after more than two heartbeats a fresh stream takes the place of a suspended one', async () => {
  for (const [away, streams] of [
    [30_000, 1],
    [30_001, 2],
  ] as const) {
    const world = await open({ heartbeat: 15_000 })
    await world.hides()
    world.time.jumps(away)
    await world.shows()
    await world.reaches('open')
    expect([away, world.streams.length]).toEqual([away, streams])
  }
})

/** Nothing comes down any more, and nobody says so. */
const GOES_DEAD = (isDead: () => boolean): Behaviour => ({
  stream(stream, next) {
    const { sends } = stream
    next(Object.assign(Object.create(stream), { sends: (frame: object) => isDead() || sends(frame) }))
  },
})

test.each<[string, readonly Feature[], number]>([
  ['marks the end of a replay', DETACHES, 1],
  ['answers probes', ['probe'], 2],
])(
  'C71: a suspended stream that gives no sign within timeouts.probe is replaced, where a server %s',
  async (_, features, opened) => {
    let isDead = false
    const world = await open({ features, server: GOES_DEAD(() => isDead) })
    await world.hides()
    isDead = true
    await world.shows()
    await world.passes(1_999)
    expect(world.streams).toHaveLength(1)
    isDead = false
    await world.passes(1)
    await world.reaches('open')
    expect([world.streams.length, world.told.filter(({ name }) => name === 'opened').length]).toEqual([2, opened + 1])
    world.oracle.check()
  },
)

test('C71: a server that has nothing to say on the stream is not asked for a sign', async () => {
  const world = await open({ features: [] })
  await world.hides()
  await world.shows()
  await world.passes(10_000)
  expect([world.streams.length, world.connection.phase]).toEqual([1, 'open'])
})

test('C71: a suspended stream that the server has forgotten is replaced at once', async () => {
  const world = await open()
  await world.hides()
  world.server.behaves({
    post: (post, next) =>
      post.endpoint === 'reconnect' && world.streams.length === 1 ? post.answers(404, {}) : next(),
  })
  const before = world.time.clock.now()
  await world.shows()
  await world.reaches('open')
  expect([world.streams.length, world.time.clock.now() - before]).toEqual([2, 0])
  world.oracle.check()
})

/** It has not heard of `resumeId`, and of a suspend only after a while. */
async function openSlow() {
  let takeSuspend: (() => void) | undefined
  const world = await open({
    server: {
      post(post, next) {
        if (post.endpoint !== 'suspend') return next()
        takeSuspend = () => next(Object.assign(Object.create(post), { body: { ...post.body, resumeId: resumeId() } }))
      },
    },
  })
  const resumeId = () => world.post('reconnect').body.resumeId
  return { ...world, takesSuspend: () => takeSuspend?.(), streams: world.streams }
}

test('C71: the resume waits for the suspend that is under way: a server may take them in any order', async () => {
  const world = await openSlow()
  await world.hides()
  await world.shows()
  expect([world.connection.phase, world.resumes()]).toEqual(['reconnecting', 1])
  world.takesSuspend()
  await world.settles()
  world.publish()
  await world.settles()
  expect([world.connection.phase, world.resumes(), world.seqs()]).toEqual(['open', 2, [1]])
})

test('C71: a suspend that is not answered within timeouts.probe costs the stream, not the events', async () => {
  const world = await openSlow()
  await world.hides()
  await world.shows()
  await world.passes(2_000)
  await world.reaches('open')
  world.takesSuspend()
  world.publish()
  await world.settles()
  expect([world.streams.length, world.seqs()]).toEqual([2, [1]])
})

test('C71: a suspend names the last resume, and does not leave once there is another', async () => {
  const { held, create } = holdHeaders()
  const world = await open({ create })
  await world.hides()
  expect(world.post('suspend').body.resumeId).toBe('r1')
  await world.shows()
  held.isHeld = true
  await world.hides()
  held.isHeld = false
  await world.shows()
  held.give()
  await world.settles()
  expect([world.postsTo('suspend').length, world.resumes(), world.connection.phase]).toEqual([1, 3, 'open'])
  world.oracle.check()
})

test.each([
  ['detaches', DETACHES, 0],
  ['keeps', FEATURES, 1],
] as const)('C71: while a resume is under way a server that %s is told of %i suspends', async (_, features, told) => {
  const world = await open({ features })
  world.server.behaves({ post: ({ endpoint }, next) => endpoint === 'reconnect' || next() })
  world.connection.reconnect()
  await world.settles()
  expect(world.connection.phase).toBe('reconnecting')
  await world.hides()
  expect(world.postsTo('suspend').length).toBe(told)
})

test('C71: more sessions than a resume carries are all resumed', async () => {
  const world = await open()
  for (let n = 0; n < 150; n++) world.connection.watch(`t${n}`)
  await world.settles()
  const before = world.resumes()
  await world.hides()
  await world.shows()
  const resumed = world.postsTo('reconnect').slice(before)
  const ids = resumed.flatMap(({ body }) => (body.sessions as { sessionId: string }[]).map((one) => one.sessionId))
  expect([resumed.length, new Set(ids).size, world.connection.phase]).toEqual([2, 151, 'open'])
})

test('I14: an unwatch that waited for its headers does not leave on a suspended stream, nor on a lost line', async () => {
  const { held, create } = holdHeaders()
  const world = await open({ create })
  world.connection.watch('s2')
  await world.settles()
  held.isHeld = true
  world.connection.unwatch('s2')
  await world.settles()
  held.isHeld = false
  await world.hides()
  held.give()
  await world.settles()
  expect([world.isSuspended(), world.postsTo('unwatch')]).toEqual([true, []])
  await world.shows()
  expect(world.postsTo('unwatch')).toHaveLength(1)
  world.oracle.check()
})

test('I11: an unwatch that waited for its headers until its stream was replaced is not posted on the next one', async () => {
  const { held, create } = holdHeaders()
  const world = await open({ create })
  world.connection.watch('s2')
  await world.settles()
  held.isHeld = true
  world.connection.unwatch('s2')
  await world.settles()
  held.isHeld = false
  world.connection.reconnect()
  await world.opens()
  held.give()
  await world.settles()
  expect([world.connection.phase, world.postsTo('unwatch')]).toEqual(['open', []])
  world.oracle.check()
})
