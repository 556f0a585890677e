import { describe, expect, test } from 'vitest'
import { partsOf } from '../../connection/publicConnection'
import { createWorld, SERVER_ACCEPTS, type ServerBehaviour, settle, type World } from '../support/fakes'
import { createAsyncStorage, load } from '../support/storage'

// Which sessions are tracked, by whom, and how many.

const AT_5 = [{ sessionId: 's1', lastSeq: 5 }]
const tracked = ({ connection }: World) => connection.cursors.map(({ sessionId }) => sessionId)
const bounded = (maxSessions: number, more = {}) => createWorld({ inbound: { maxSessions }, ...more })
/** An event of each. */
const sends = (world: World, ...sessionIds: string[]) => {
  for (const sessionId of sessionIds) world.stream.sends(world.event(sessionId, 1))
}
const verdict =
  (session: object): ServerBehaviour =>
  (post) =>
    post.endpoint === 'reconnect'
      ? post.answers(200, { ok: true, sessions: [{ sessionId: 's1', ...session }] })
      : SERVER_ACCEPTS(post)
const RESET = verdict({ status: 'reset', epoch: 'b', from: 0, to: 8 })

describe('sessions that the server opens are bounded by `inbound.maxSessions`', () => {
  test('one too many is not tracked, and that is told once, until there was room again', async () => {
    const world = bounded(1)
    const told: unknown[] = []
    world.connection.on('error', ({ error }) => told.push([error.code, error.message]))
    const dropped = (sessionId: string) => [
      'too-many-sessions',
      `events of new sessions like ${sessionId} are dropped: watch() it, or raise inbound.maxSessions`,
    ]
    await world.opens()
    sends(world, 'a', 'b', 'c')
    expect([tracked(world), told]).toEqual([['a'], [dropped('b')]])
    world.connection.watch('a')
    sends(world, 'b', 'c', 'd')
    expect([tracked(world), told]).toEqual([
      ['a', 'b'],
      [dropped('b'), dropped('c')],
    ])
    world.connection.unwatch('b')
    sends(world, 'c', 'd')
    expect([tracked(world), told.length]).toEqual([['a', 'c'], 3])
  })

  test('those that the app asks for do not count: by a cursor, a watch, a skip, a watch of one that is tracked', async () => {
    const world = bounded(1, { cursors: AT_5 })
    await world.opens()
    world.connection.watch('mine')
    partsOf(world.connection).inbox.skip('skipped', 4)
    sends(world, 'a')
    for (let n = 0; n < 3; n++) world.connection.watch('a')
    sends(world, 'b', 'c', 'd')
    expect([tracked(world), world.errors]).toEqual([['s1', 'mine', 'skipped', 'a', 'b'], ['too-many-sessions']])
  })

  test('one that was reset and is placed anew by the app counts no more', async () => {
    const world = bounded(1)
    await world.opens()
    sends(world, 's1')
    world.server(RESET)
    world.stream.fails()
    await world.retries()
    await world.opens()
    expect(world.connection.cursor('s1')?.lastSeq).toBe(8)
    world.connection.watch('s1', { after: 0 })
    sends(world, 'a', 'b')
    expect([tracked(world), world.errors]).toEqual([['s1', 'a'], ['too-many-sessions']])
  })

  test('as many are remembered as untracked: events of one that was left before them track it anew', async () => {
    const world = bounded(2)
    await world.opens()
    for (const sessionId of ['a', 'b', 'c']) world.connection.unwatch(sessionId)
    sends(world, 'c', 'b', 'a')
    expect(tracked(world)).toEqual(['a'])
  })

  test('a server that says that a session is gone is told of as that, and as no error', async () => {
    const world = createWorld({ cursors: AT_5 }, verdict({ status: 'gone', from: 5, to: 5 }))
    await world.opens()
    expect([tracked(world), world.log, world.errors]).toEqual([[], ['s1 gone 5-5', 'opened'], []])
  })
})

describe('a watch of a session that was reset moves its cursor, once', () => {
  async function reset() {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 5, epoch: 'a' }] }, RESET)
    await world.opens()
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 8, epoch: 'b' })
    world.server(SERVER_ACCEPTS)
    return world
  }

  test('also after a watch that names no place', async () => {
    const world = await reset()
    world.connection.watch('s1')
    world.connection.watch('s1', { after: 3 })
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 3, epoch: 'b' })
    world.connection.watch('s1', { after: 1 })
    expect(world.connection.cursor('s1')?.lastSeq).toBe(3)
  })

  test('to the same number in another epoch', async () => {
    const world = await reset()
    const after = { sessionId: 's1', lastSeq: 8, epoch: 'c' }
    world.connection.watch('s1', { after })
    expect(world.connection.cursor('s1')).toEqual(after)
  })

  test('to the head, which is in no epoch that is known', async () => {
    const world = await reset()
    world.connection.watch('s1', { after: 'head' })
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: Number.MAX_SAFE_INTEGER })
  })

  test('in a listener of it: another listener, which throws at that message, is not offered it again', async () => {
    const world = await reset()
    let calls = 0
    world.connection.on('message', () => {
      if (calls === 0) world.connection.watch('s1', { after: 3 })
    })
    world.connection.on('message', () => {
      calls++
      throw new Error('reducer')
    })
    world.stream.sends(world.event('s1', 9, { epoch: 'b' }))
    await world.clock.advance(10_000)
    expect([calls, world.connection.cursor('s1')?.lastSeq]).toEqual([1, 3])
  })
})

describe('what a listener of `session` does counts at once', () => {
  test('a session that is left because it was reset gets not even the event that has reset it', async () => {
    const world = createWorld({ cursors: AT_5 })
    const hole = () => world.stream.sends(world.event('s1', 9))
    const marker = () => world.stream.sends({ type: 'reconnected', resumeId: world.post('reconnect').body.resumeId })
    const opening = { features: ['contiguous-seq', 'replay-marker'] } as const
    world.connection.on('session', ({ sessionId }) => world.connection.unwatch(sessionId))
    await world.opens(opening)
    marker()
    hole()
    await settle()
    for (let n = 0; n < 2; n++) {
      hole()
      marker()
      await settle()
    }
    await world.retries()
    await world.opens(opening)
    hole()
    marker()
    expect([world.log.includes('s1 reset 8-8'), world.received, tracked(world)]).toEqual([true, [], []])
  })
})

test('C33: an event that is dropped as old after the verdict makes no resume of its session necessary when the epoch turns', async () => {
  const world = createWorld(
    { cursors: [{ sessionId: 's1', lastSeq: 5, epoch: 'a' }] },
    verdict({ status: 'resumed', epoch: 'a', from: 5, to: 5 }),
  )
  await world.opens()
  world.stream.sends(world.event('s1', 4, { epoch: 'a' }))
  world.stream.sends(world.event('s1', 2, { epoch: 'b' }))
  world.connection.watch('s2')
  await settle()
  expect(world.postsTo('reconnect').at(-1)?.body.sessions).toEqual([{ sessionId: 's2', lastSeq: 0 }])
})

describe('timers', () => {
  test('only a session that the server has opened is looked at, and only as long as there is one', async () => {
    const mine = createWorld({ cursors: AT_5 })
    const none = createWorld()
    for (const world of [mine, none]) await world.opens()
    expect(mine.clock.pending).toBe(none.clock.pending)
    sends(mine, 'a')
    expect(mine.clock.pending).toBe(none.clock.pending + 1)
    mine.connection.unwatch('a')
    await mine.clock.advance(900_000)
    await none.clock.advance(900_000)
    expect(mine.clock.pending).toBe(none.clock.pending)
  })
})

describe('signs of life', () => {
  test('are frames of any sort, and whatever else the transport hears; only events of sessions count as those', async () => {
    const world = createWorld()
    const { inbox } = partsOf(world.connection)
    await world.opens()
    const grows = (act: () => void) => {
      const before = [inbox.signs(), inbox.events()]
      act()
      return [inbox.signs() !== before[0], inbox.events() !== before[1]]
    }
    expect([
      grows(() => world.stream.sends(world.event('s1', 1))),
      grows(() => world.stream.sends({ type: 'notice' })),
      grows(() => inbox.sign()),
    ]).toEqual([
      [true, true],
      [true, false],
      [true, false],
    ])
  })
})

describe('cursors of a storage', () => {
  const withCursors = (...cursors: readonly object[]) =>
    createAsyncStorage(
      new Map(cursors.map((cursor) => [`k:cursor:${Object(cursor).sessionId}`, JSON.stringify(cursor)])),
    )

  test('that are read before the app connects are resumed then, and no state refuses anything', async () => {
    const world = load(withCursors({ sessionId: 's1', lastSeq: 7 }))
    const refused: unknown[] = []
    world.connection.on('refused', ({ event }) => refused.push(event))
    await settle()
    expect([refused, world.connection.phase]).toEqual([[], 'idle'])
    world.connection.connect()
    await world.opens()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 7 }])
  })

  test.each([
    ['that the app gives at 0', { sessionId: 's1', lastSeq: 0 }],
    ['that the app gives at 0 with an epoch', { sessionId: 's1', lastSeq: 0, epoch: 'a' }],
    ['that the app gives', { sessionId: 's1', lastSeq: 2 }],
  ])('are not those %s', async (_, given) => {
    const storage = withCursors({ sessionId: 's1', lastSeq: 7, epoch: 'z' }, { sessionId: 's2', lastSeq: 3 })
    storage.when('setItem', 'waits')
    const world = load(storage, { cursors: [given] })
    await settle()
    expect(world.connection.cursors).toEqual([given, { sessionId: 's2', lastSeq: 3 }])
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('setItem')) call.answer()
    await settle()
    expect(storage.stored('k:cursor:')).toEqual([given, { sessionId: 's2', lastSeq: 3 }])
  })

  test('do not move a session that was resumed, in an epoch of its own, before they were read', async () => {
    const storage = withCursors({ sessionId: 's1', lastSeq: 7, epoch: 'z' })
    storage.when('getAllKeys', 'waits')
    const world = load(storage, {}, verdict({ status: 'resumed', epoch: 'a', from: 0, to: 0 }))
    world.connection.watch('s1')
    world.connection.connect()
    await world.clock.advance(2_000)
    await world.opens()
    storage.rule(() => 'answers')
    for (const call of storage.callsOf('getAllKeys')) call.answer()
    await settle()
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 0, epoch: 'a' })
  })

  test('count for `inbound.maxSessions`, unless the app has watched them before they were read', async () => {
    const storage = withCursors({ sessionId: 's1', lastSeq: 7 }, { sessionId: 's2', lastSeq: 3 })
    const world = load(storage, { inbound: { maxSessions: 2 } })
    world.connection.watch('s1')
    await settle()
    world.connection.connect()
    await world.opens()
    sends(world, 'a', 'b')
    expect([tracked(world), world.errors]).toEqual([['s1', 's2', 'a'], ['too-many-sessions']])
  })

  test('a session that the app skips ahead in is tracked from there, and stored', async () => {
    const storage = createAsyncStorage()
    const world = load(storage)
    await settle()
    const { inbox } = partsOf(world.connection)
    inbox.skip('s1', 4)
    inbox.skip('s1', 3)
    await settle()
    expect(storage.stored('k:cursor:')).toEqual([{ sessionId: 's1', lastSeq: 4 }])
    world.connection.connect()
    await world.opens()
    world.connection.unwatch('s2')
    inbox.skip('s2', 2)
    world.stream.sends(world.event('s2', 3))
    await settle()
    expect(storage.stored('k:cursor:')).toEqual([
      { sessionId: 's1', lastSeq: 4 },
      { sessionId: 's2', lastSeq: 3 },
    ])
  })
})

describe('a resume counts as one that the server has made necessary', () => {
  const GAP = [7, 9]
  test.each<[string, { seqs?: readonly number[]; isWanted?: boolean }, boolean, number]>([
    ['not if nothing is to be resumed', { seqs: [6, 7] }, false, 0],
    ['not if only the app wants one', { isWanted: true }, false, 1],
    ['if the server has left out events', { seqs: GAP }, true, 1],
    ['not if the app wants one anyway of the session with the gap', { seqs: GAP, isWanted: true }, false, 1],
  ])('%s', async (_, { seqs = [], isWanted }, isByServer, leftOvers) => {
    const world = createWorld({ cursors: [...AT_5, { sessionId: 's2', lastSeq: 1 }] })
    await world.opens({ features: ['contiguous-seq'] })
    const { inbox } = partsOf(world.connection)
    for (const seq of seqs) inbox.receive(JSON.stringify(world.event('s1', seq)))
    if (isWanted) inbox.want('s1')
    expect([inbox.hasHole(), inbox.leftOvers().length]).toEqual([isByServer, leftOvers])
  })
})
