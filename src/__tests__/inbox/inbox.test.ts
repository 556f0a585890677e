import fc from 'fast-check'
import type { ConnectionError, ConnectionOptions, Cursor } from 'holdline'
import { describe, expect, test } from 'vitest'
import { createWorld, RESUME_NEVER_ANSWERED, SERVER_ACCEPTS, SERVER_IS_SILENT, seqs, settle } from '../support/fakes'

const AT_5 = [{ sessionId: 's1', lastSeq: 5 }]
const CONTIGUOUS = { features: ['contiguous-seq'] } as const

describe('a message reaches the app once, in rising order', () => {
  test('C35: what arrives live and again in the replay is delivered once, and counted', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens()
    for (const seq of [6, 7, 6, 7, 8, 5, 8]) world.stream.sends(world.event('s1', seq))
    expect(seqs(world, 's1')).toEqual([6, 7, 8])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(8)
  })

  test('C33: the cursor never moves backwards', async () => {
    const world = createWorld({ cursors: AT_5, dedupe: false })
    await world.opens()
    for (const seq of [6, 3, 7, 1]) world.stream.sends(world.event('s1', seq))
    expect(seqs(world, 's1')).toEqual([6, 3, 7, 1])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(7)
  })

  test('C32: the cursor moves after the listeners returned, so a listener sees the cursor before its message', async () => {
    const world = createWorld({ cursors: AT_5 })
    const cursors: unknown[] = []
    world.connection.on('message', () => cursors.push(world.connection.cursor('s1')?.lastSeq))
    await world.opens()
    world.stream.sends(world.event('s1', 6))
    world.stream.sends(world.event('s1', 7))
    expect(cursors).toEqual([5, 6])
  })

  test('a session is tracked from its first sequenced message on, and then resumed', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends(world.event('new', 41))
    world.stream.fails()
    await world.retries()
    await world.opens()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 'new', lastSeq: 41 }])
  })

  test('messages without a session or a seq are delivered as they are', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends({ type: 'notice' })
    world.stream.sends({ type: 'typing', sessionId: 's1' })
    world.stream.sends({ type: 'load', seq: 3 })
    expect(world.received).toEqual([{ type: 'notice' }, { type: 'typing', sessionId: 's1' }, { type: 'load', seq: 3 }])
    expect(world.connection.cursors).toEqual([])
    expect(world.errors).toEqual([])
  })

  test('what speaks to the library is not for the app', async () => {
    const world = createWorld()
    await world.opens()
    const frames = ['ping', 'probe', 'reconnected', 'goodbye'].map((type) => ({ type }))
    for (const frame of frames) world.stream.sends(frame)
    expect(world.received).toEqual([])
  })

  test('a session that a stream has brought needs no resume on it', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends(world.event('s1', 1))
    world.connection.watch('s2')
    await settle()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's2', lastSeq: 0 }])
  })

  test('I6: whatever the order and repetition on the wire, each session rises strictly', async () => {
    const frame = fc.record({ sessionId: fc.constantFrom('a', 'b'), seq: fc.integer({ min: 0, max: 12 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 60 }), fc.boolean(), async (frames, isContiguous) => {
        const world = createWorld({ cursors: [{ sessionId: 'a', lastSeq: 3 }] }, SERVER_IS_SILENT)
        await world.opens(isContiguous ? CONTIGUOUS : {})
        for (const { sessionId, seq } of frames) world.stream.sends(world.event(sessionId, seq))
        for (const sessionId of ['a', 'b']) {
          const got = seqs(world, sessionId) as number[]
          for (const [index, seq] of got.entries()) {
            const before = got[index - 1] ?? (sessionId === 'a' ? 3 : seq - 1)
            if (isContiguous) expect(seq).toBe(before + 1)
            else expect(seq).toBeGreaterThan(before)
          }
        }
        world.connection.dispose()
      }),
      { numRuns: 200 },
    )
  })
})

test('C43: a message listener that throws starves no other: each of them hears a message at once', async () => {
  const world = createWorld({ cursors: AT_5 })
  const heard: unknown[] = []
  world.connection.on('message', () => {
    throw new Error('broken')
  })
  world.connection.on('message', ({ seq }) => heard.push(seq))
  await world.opens()
  world.stream.sends(world.event('s1', 6))
  world.stream.sends({ type: 'notice' })
  expect(heard).toEqual([6, undefined])
})

describe('holes', () => {
  test('C34: nothing is delivered over a hole; a resume from the cursor fills it', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens(CONTIGUOUS)
    world.server(RESUME_NEVER_ANSWERED)
    world.stream.sends(world.event('s1', 7))
    world.stream.sends(world.event('s1', 8))
    await settle()
    expect(seqs(world, 's1')).toEqual([])
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.post('reconnect').body.sessions).toEqual(AT_5)
    for (const seq of [6, 7, 8]) world.stream.sends(world.event('s1', seq))
    await world.post('reconnect').answers(200)
    expect(seqs(world, 's1')).toEqual([6, 7, 8])
    expect(world.log).toEqual(['opened', 'closed gap', 'opened'])
    expect(world.postsTo('reconnect')).toHaveLength(2)
  })

  test('prevSeq tells a hole from numbers that were never used', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens()
    world.stream.sends(world.event('s1', 9, { prevSeq: 5 }))
    expect(seqs(world, 's1')).toEqual([9])
    world.stream.sends(world.event('s1', 20, { prevSeq: 11 }))
    expect(seqs(world, 's1')).toEqual([9])
    expect(world.connection.phase).toBe('reconnecting')
  })

  test('before the welcome nobody has promised contiguous numbers', async () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.opens()
    for (const seq of [1, 5]) world.stream.sends(world.event('s1', seq))
    expect(seqs(world, 's1')).toEqual([1, 5])
  })

  test.each([
    ['from the start', { sessionId: 's1', status: 'resumed', from: 1, to: 1 }],
    ['after a reset', { sessionId: 's1', status: 'reset', from: 9, to: 1 }],
  ])('C34: a hole at 1 has its three resumes as well, %s', async (_, verdict) => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: verdict.from }] }, SERVER_IS_SILENT)
    await world.opens(CONTIGUOUS)
    await world.post('reconnect').answers(200, { ok: true, sessions: [verdict] })
    for (let resumes = 1; resumes <= 3; resumes++) {
      world.stream.sends(world.event('s1', 9))
      await settle()
      expect(world.log.at(-1)).toBe('closed gap')
      world.stream.fails()
      await world.retries()
      await world.opens(CONTIGUOUS)
      await world.post('reconnect').answers(200, { ok: true })
    }
    world.stream.sends(world.event('s1', 9))
    expect(world.log.at(-1)).toBe('s1 reset 8-8')
  })

  test('without the promise of contiguous numbers a jump is no hole', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens()
    world.stream.sends(world.event('s1', 50))
    expect(seqs(world, 's1')).toEqual([50])
  })

  test('C34: a hole that three resumes did not close makes the session reset, once, and it goes on', async () => {
    const world = createWorld({ cursors: AT_5 })
    const hole = () => world.stream.sends(world.event('s1', 9))
    const marker = () => world.stream.sends({ type: 'reconnected', resumeId: world.post('reconnect').body.resumeId })
    const features = { features: ['contiguous-seq', 'replay-marker'] } as const
    await world.opens(features)
    marker()
    hole()
    await settle()
    hole()
    marker()
    await settle()
    expect(world.connection.phase).toBe('reconnecting')
    hole()
    marker()
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError?.code).toBe('no-progress')
    await world.retries()
    await world.opens(features)
    hole()
    marker()
    expect(world.connection.phase).toBe('open')
    expect(seqs(world, 's1')).toEqual([9])
    expect(world.log).toEqual(['opened', 'closed gap', 's1 reset 8-8', 'opened'])
  })

  test('C19: a hole and a watch during a resume belong to the same barrier: nothing is sent before they are resumed', async () => {
    const world = createWorld({ cursors: AT_5 }, SERVER_IS_SILENT)
    world.connection.send({ type: 'send' })
    await world.opens(CONTIGUOUS)
    world.connection.watch('s2')
    world.stream.sends(world.event('s1', 8))
    await world.post('reconnect').answers(200)
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.postsTo('send')).toHaveLength(0)
    expect(world.post('reconnect').body).toEqual({
      type: 'reconnect',
      resumeId: 'r2',
      sessions: [
        { sessionId: 's1', lastSeq: 5 },
        { sessionId: 's2', lastSeq: 0 },
      ],
    })
    for (const seq of [6, 7, 8]) world.stream.sends(world.event('s1', seq))
    await world.post('reconnect').answers(200)
    expect(world.connection.phase).toBe('open')
    expect(world.postsTo('send')).toHaveLength(1)
    expect(world.postsTo('reconnect')).toHaveLength(2)
  })

  test('more than 100 sessions are resumed in turns, behind one barrier', async () => {
    const cursors = Array.from({ length: 230 }, (_, index) => ({ sessionId: `s${index}`, lastSeq: index }))
    const world = createWorld({ cursors })
    await world.opens()
    const resumed = world.postsTo('reconnect').map(({ body }) => body.sessions as object[])
    expect(resumed.map(({ length }) => length)).toEqual([100, 100, 30])
    expect(resumed.flat()).toEqual(cursors)
    expect(world.log).toEqual(['opened'])
  })
})

describe('the server has the last word on a session', () => {
  const verdicts = (...sessions: unknown[]) => ({ ok: true, sessions })

  test('C33: a cursor beyond the head is reset: the app is told, and what follows counts from there', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 100, epoch: 'a' }] }, SERVER_IS_SILENT)
    await world.opens(CONTIGUOUS)
    const reset = { sessionId: 's1', status: 'reset', from: 100, to: 2, epoch: 'b' }
    await world.post('reconnect').answers(200, verdicts(reset))
    world.stream.sends(world.event('s1', 3, { epoch: 'b' }))
    expect(world.log).toEqual(['s1 reset 2-2', 'opened'])
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 3, epoch: 'b' })
  })

  test.each([
    ['as the server says', { from: 4, to: 9 }, 's1 reset 4-9'],
    ['never after the new cursor: there a server tells the old one', { from: 100, to: 9 }, 's1 reset 9-9'],
    ['after the new cursor, where the server does not say', { to: 9 }, 's1 reset 9-9'],
  ])('C33: what is left of a session that was reset begins %s', async (_, range, told) => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 100 }] }, SERVER_IS_SILENT)
    await world.opens()
    await world.post('reconnect').answers(200, verdicts({ sessionId: 's1', status: 'reset', ...range }))
    expect(world.log).toEqual([told, 'opened'])
  })

  test('a verdict that comes with the answer and again with the marker counts once', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 100 }] }, SERVER_IS_SILENT)
    await world.opens({ features: ['replay-marker'] })
    const reset = { sessionId: 's1', status: 'reset', from: 100, to: 2 }
    await world.post('reconnect').answers(200, verdicts(reset))
    world.stream.sends(world.event('s1', 3))
    world.stream.sends({ type: 'reconnected', resumeId: 'r1', sessions: [reset] })
    expect(world.log).toEqual(['s1 reset 2-2', 'opened'])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(3)
  })

  test('C33: a session that is watched anew during a resume is not judged by it: a reset may reload from 0', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 100 }] }, SERVER_IS_SILENT)
    world.connection.on('session', ({ status }) => {
      if (status === 'reset') world.connection.watch('s1', { after: 0 })
    })
    await world.opens({ features: ['replay-marker'] })
    const reset = { sessionId: 's1', status: 'reset', from: 100, to: 9 }
    await world.post('reconnect').answers(200, verdicts(reset))
    world.stream.sends({ type: 'reconnected', resumeId: 'r1', sessions: [reset] })
    await settle()
    expect(world.post('reconnect').body).toMatchObject({ resumeId: 'r2', sessions: [{ sessionId: 's1', lastSeq: 0 }] })
  })

  test('… also the verdict that all is well', async () => {
    const world = createWorld({ cursors: AT_5 }, SERVER_IS_SILENT)
    await world.opens({ features: ['replay-marker'] })
    const resumed = { sessionId: 's1', status: 'resumed', from: 5, to: 5 }
    await world.post('reconnect').answers(200, verdicts(resumed))
    world.stream.sends({ type: 'reconnected', resumeId: 'r1', sessions: [resumed] })
    expect(world.log).toEqual(['s1 resumed 5-5', 'opened'])
  })

  test('C33: a reset that tells no epoch leaves none: the first one that comes then is no second reset', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 5, epoch: 'a' }] }, SERVER_IS_SILENT)
    await world.opens(CONTIGUOUS)
    const reset = { sessionId: 's1', status: 'reset', from: 5, to: 0 }
    await world.post('reconnect').answers(200, verdicts(reset))
    world.stream.sends(world.event('s1', 1, { epoch: 'b' }))
    expect(world.log).toEqual(['s1 reset 0-0', 'opened'])
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 1, epoch: 'b' })
  })

  test('the first epoch that a session hears of is no reset', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens(CONTIGUOUS)
    world.stream.sends(world.event('s1', 6, { epoch: 'a' }))
    expect(world.log).toEqual(['opened'])
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 6, epoch: 'a' })
  })

  test('a cursor without an epoch has none, not even an empty one', async () => {
    const { connection } = createWorld({ cursors: AT_5 })
    expect(connection.cursors).toStrictEqual(AT_5)
  })

  describe('C33: a reset that is behind what has already come is resumed from; one that is not costs no POST', () => {
    /**
     * What came before the verdict, of a session at `lastSeq` whose first message is refused by its
     * listener.
     */
    const resetTo = async (to: number, lastSeq: number, came: readonly number[]) => {
      const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq }] }, SERVER_IS_SILENT)
      world.connection.on('message', () => {
        throw new Error('reducer')
      })
      await world.opens()
      for (const seq of came) world.stream.sends(world.event('s1', seq))
      world.server(SERVER_ACCEPTS)
      const reset = { sessionId: 's1', status: 'reset', from: lastSeq, to }
      await world.post('reconnect').answers(200, verdicts(reset))
      await settle()
      expect(world.connection.phase).toBe('open')
      return world
        .postsTo('reconnect')
        .slice(1)
        .map(({ body }) => body.sessions)
    }
    const FULL = Array.from({ length: 258 }, (_, index) => index + 1)

    test.each([
      ['was dropped as old', 4, 100, [2, 4]],
      ['waits behind another', 3, 0, [1, 2, 3]],
      ['found no room behind another', 258, 0, FULL],
    ])('what %s', async (_, last, lastSeq, came) => {
      expect(await resetTo(last, lastSeq, came)).toEqual([])
      expect(await resetTo(last - 1, lastSeq, came)).toEqual([[{ sessionId: 's1', lastSeq: last - 1 }]])
    })
  })

  test('the verdicts of an earlier resume are nobody’s', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens({ features: ['replay-marker'] })
    const gone = { sessionId: 's1', status: 'gone', from: 5, to: 5 }
    world.stream.sends({ type: 'reconnected', resumeId: 'r0', sessions: [gone] })
    expect(world.connection.cursors).toEqual(AT_5)
  })

  test('C33: seq restarts in another epoch: the session is reset at its first event, nothing is dropped as old', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 100, epoch: 'a' }] })
    await world.opens(CONTIGUOUS)
    world.stream.sends(world.event('s1', 1, { epoch: 'b' }))
    world.stream.sends(world.event('s1', 2, { epoch: 'b' }))
    expect(seqs(world, 's1')).toEqual([1, 2])
    expect(world.log).toEqual(['opened', 's1 reset 0-0'])
  })

  test('C37: a session that is gone or forbidden is told once, no longer resumed, and harms no other', async () => {
    const world = createWorld({ cursors: ['a', 'b', 'c'].map((sessionId) => ({ sessionId, lastSeq: 1 })) }, (post) =>
      post.answers(
        200,
        verdicts(
          { sessionId: 'a', status: 'gone', from: 1, to: 1 },
          { sessionId: 'b', status: 'forbidden', from: 1, to: 1 },
          { sessionId: 'c', status: 'resumed', from: 1, to: 4, epoch: 'e' },
          { sessionId: 7, status: 'gone' },
          'nonsense',
        ),
      ),
    )
    await world.opens()
    world.stream.sends(world.event('a', 2))
    expect(world.log).toEqual(['a gone 1-1', 'b forbidden 1-1', 'c resumed 1-4', 'opened'])
    expect(world.received).toEqual([])
    expect(world.connection.cursors).toEqual([{ sessionId: 'c', lastSeq: 1, epoch: 'e' }])
    world.stream.fails()
    await world.retries()
    await world.opens()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 'c', lastSeq: 1, epoch: 'e' }])
  })
})

describe('watch and unwatch', () => {
  test('a server that replays on watch is told once per tick and session, and answers with a verdict', async () => {
    const world = createWorld()
    await world.opens({ features: ['watch-replay'] })
    world.connection.watch('s1', { after: 4 })
    world.connection.watch('s1', { after: 4 })
    world.connection.watch('s2')
    world.connection.unwatch('s2')
    await settle()
    expect(world.posts.map(({ endpoint, body }) => [endpoint, body])).toEqual([
      ['watch', { type: 'watch', sessionId: 's1', lastSeq: 4 }],
      ['unwatch', { type: 'unwatch', sessionId: 's2' }],
    ])
    world.stream.sends(world.event('s1', 5))
    world.connection.watch('s1')
    await settle()
    expect(world.postsTo('watch')).toHaveLength(1)
    expect(seqs(world, 's1')).toEqual([5])
  })

  test('for other servers a watched session is resumed by a reconnect POST of its own', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens()
    world.connection.watch('s2', { after: 9 })
    await settle()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's2', lastSeq: 9 }])
    expect(world.log).toEqual(['opened', 'closed gap', 'opened'])
  })

  test('a watch that the server could not be told is resumed instead', async () => {
    const world = createWorld({}, (post) => (post.endpoint === 'watch' ? post.answers(503) : SERVER_ACCEPTS(post)))
    await world.opens({ features: ['watch-replay'] })
    world.connection.watch('s1')
    await settle()
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 0 }])
    expect(world.connection.phase).toBe('open')
  })

  test('its answer confirms nothing on another stream, where the session still waits for its resume', async () => {
    const full = Array.from({ length: 100 }, (_, index) => ({ sessionId: `s${index}`, lastSeq: 1 }))
    const world = createWorld({ cursors: full })
    await world.opens({ features: ['watch-replay'] })
    world.server(SERVER_IS_SILENT)
    world.connection.watch('late')
    await settle()
    world.stream.fails()
    await world.retries()
    await world.opens({ features: ['watch-replay'] })
    await world.post('watch').answers(200, { ok: true })
    await world.post('reconnect').answers(200, { ok: true })
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 'late', lastSeq: 0 }])
  })

  test('watch and unwatch are posted one at a time, in order, and wait for no message', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens({ features: ['watch-replay'] })
    for (const sessionId of ['a', 'b', 'c', 'd']) world.connection.send({ type: 'send', sessionId })
    await settle()
    world.connection.watch('s1')
    world.connection.watch('s2')
    await settle()
    world.connection.unwatch('s1')
    await settle()
    expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['send', 'send', 'send', 'watch'])
    await world.post('watch').answers(200)
    await world.post('watch').answers(200)
    expect(world.posts.slice(3).map(({ endpoint, body }) => `${endpoint} ${body.sessionId}`)).toEqual([
      'watch s1',
      'watch s2',
      'unwatch s1',
    ])
  })

  test('after unwatch its messages are dropped and it is not resumed, until it is watched again', async () => {
    const world = createWorld({ cursors: AT_5 })
    await world.opens({ features: ['watch-replay'] })
    world.connection.unwatch('s1')
    world.stream.sends(world.event('s1', 6))
    expect(world.received).toEqual([])
    expect(world.connection.cursors).toEqual([])
    world.connection.watch('s1', { after: 5 })
    world.stream.sends(world.event('s1', 6))
    expect(seqs(world, 's1')).toEqual([6])
  })

  test('watch before connect is part of the first resume', async () => {
    const world = createWorld()
    world.connection.watch('s1')
    await world.opens({ features: ['watch-replay'] })
    expect(world.posts.map(({ endpoint, body }) => [endpoint, body.sessions])).toEqual([
      ['reconnect', [{ sessionId: 's1', lastSeq: 0 }]],
    ])
  })
})

describe('a listener that throws', () => {
  const throwing = (seq: number, times = Number.POSITIVE_INFINITY) => {
    const world = createWorld({ cursors: AT_5 })
    const calls: number[] = []
    let left = times
    world.connection.on('message', (message) => {
      if (message.seq !== seq) return
      calls.push(world.clock.now())
      if (left-- > 0) throw new Error('reducer')
    })
    return { world, calls }
  }

  test('C32 C54: the message is offered again, to that listener only, while its session waits and others flow', async () => {
    const { world, calls } = throwing(6, 1)
    await world.opens(CONTIGUOUS)
    for (const seq of [6, 7, 8]) world.stream.sends(world.event('s1', seq))
    world.stream.sends(world.event('s2', 1))
    expect(seqs(world, 's1')).toEqual([6])
    expect(seqs(world, 's2')).toEqual([1])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(5)
    await world.clock.advance(100)
    expect(calls).toHaveLength(2)
    expect(seqs(world, 's1')).toEqual([6, 7, 8])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(8)
    expect(world.postsTo('reconnect')).toHaveLength(1)
  })

  test('C54: after the third throw the message is skipped as poison, and no resume is spent on it', async () => {
    const { world, calls } = throwing(6)
    await world.opens(CONTIGUOUS)
    const start = world.clock.now()
    for (const seq of [6, 7]) world.stream.sends(world.event('s1', seq))
    await world.clock.advance(10_000)
    expect(calls.map((at) => at - start)).toEqual([0, 100, 1_100])
    expect(world.errors).toEqual(['listener-failed', 'listener-failed', 'listener-failed', 'poison-message'])
    expect(seqs(world, 's1')).toEqual([6, 7])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(7)
    expect(world.postsTo('reconnect')).toHaveLength(1)
  })

  test('what waits is bounded: the rest becomes a hole and is fetched again', async () => {
    const { world } = throwing(6, 1)
    await world.opens(CONTIGUOUS)
    for (let seq = 6; seq <= 400; seq++) world.stream.sends(world.event('s1', seq))
    world.server(RESUME_NEVER_ANSWERED)
    await world.clock.advance(100)
    expect(world.connection.cursor('s1')?.lastSeq).toBe(262)
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 262 }])
  })

  test('what waits is bounded in characters, too: 2 MiB of it, and no more', async () => {
    for (const [more, last] of [
      [0, 8],
      [1, 7],
    ] as const) {
      const { world } = throwing(6, 1)
      await world.opens(CONTIGUOUS)
      world.stream.sends(world.event('s1', 6))
      for (const seq of [7, 8]) {
        const frame = JSON.stringify(world.event('s1', seq))
        world.stream.sends(frame + ' '.repeat(1_048_576 - frame.length + (seq === 8 ? more : 0)))
      }
      world.server(RESUME_NEVER_ANSWERED)
      await world.clock.advance(100)
      expect(world.connection.cursor('s1')?.lastSeq).toBe(last)
      expect(world.postsTo('reconnect')).toHaveLength(1 + more)
    }
  })

  test('what comes again takes no room behind it', async () => {
    const { world } = throwing(6, 1)
    await world.opens(CONTIGUOUS)
    for (let count = 0; count < 300; count++) world.stream.sends(world.event('s1', 6))
    world.stream.sends(world.event('s1', 7))
    await world.clock.advance(100)
    expect(seqs(world, 's1')).toEqual([6, 7])
    expect(world.postsTo('reconnect')).toHaveLength(1)
  })

  test('is offered the message at the same times if the line drops and comes back meanwhile', async () => {
    const { world, calls } = throwing(6)
    await world.opens()
    const start = world.clock.now()
    world.stream.sends(world.event('s1', 6))
    await world.clock.advance(50)
    world.connection.reconnect()
    await world.opens()
    await world.clock.advance(10_000)
    expect(calls.map((at) => at - start)).toEqual([0, 100, 1_100])
  })

  test('I8: is offered nothing in idle, and the message again after the next welcome', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's0', lastSeq: 1 }, ...AT_5] })
    let calls = 0
    world.connection.on('message', () => {
      if (++calls === 1) throw new Error('reducer')
    })
    await world.opens()
    world.stream.sends(world.event('s1', 6))
    world.connection.disconnect()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(10_000)
    await world.opens()
    expect(calls).toBe(1)
    await world.clock.advance(100)
    expect([calls, world.connection.cursor('s1')?.lastSeq]).toEqual([2, 6])
  })

  test('before the welcome is offered the message again all the same', async () => {
    const { world, calls } = throwing(6, 1)
    world.connection.connect()
    world.stream.opens()
    world.stream.sends(world.event('s1', 6))
    await world.clock.advance(100)
    expect(calls).toHaveLength(2)
  })

  test('is offered nothing of a session that is no longer watched', async () => {
    const { world, calls } = throwing(6)
    await world.opens()
    const timers = world.clock.pending
    world.stream.sends(world.event('s1', 6))
    world.connection.unwatch('s1')
    await settle()
    expect(world.clock.pending).toBe(timers)
    await world.clock.advance(10_000)
    expect(calls).toHaveLength(1)
  })

  test('… nor of one that it stops watching when it is offered again', async () => {
    const { world, calls } = throwing(6)
    await world.opens()
    world.stream.sends(world.event('s1', 6))
    world.connection.on('message', () => world.connection.unwatch('s1'))
    world.connection.on('error', () => world.connection.unwatch('s1'))
    await world.clock.advance(10_000)
    expect(calls).toHaveLength(2)
  })

  test.each([
    ['leaves the line', 'disconnect'],
    ['no longer watches the session', 'unwatch'],
  ] as const)('who %s in the middle of what waited gets no more of it', async (_, way) => {
    const { world } = throwing(6, 1)
    await world.opens(CONTIGUOUS)
    for (const seq of [6, 7, 8, 9]) world.stream.sends(world.event('s1', seq))
    world.connection.on('message', ({ seq }) => {
      if (seq === 8) world.connection[way]('s1')
    })
    await world.clock.advance(100)
    expect(seqs(world, 's1')).toEqual([6, 7, 8])
  })

  test('while one message waits, the next drop resumes from before it', async () => {
    const { world } = throwing(6)
    await world.opens()
    world.stream.sends(world.event('s1', 6))
    world.stream.fails()
    await world.clock.advance(90)
    world.connection.reconnect()
    await world.opens()
    expect(world.post('reconnect').body.sessions).toEqual(AT_5)
  })
})

describe('hostile frames', () => {
  test('a report says what to look for, without the words of the app', async () => {
    const world = createWorld({ cursors: AT_5 })
    const messages: string[] = []
    const causes: unknown[] = []
    world.connection.on('error', ({ error }) => {
      messages.push(error.message)
      if (error.code === 'listener-failed') causes.push(error.cause)
    })
    world.connection.on('message', ({ text }) => {
      if (text === 'secret') throw new Error('reducer')
    })
    await world.opens()
    world.stream.sends('"secret"')
    world.stream.sends({ sessionId: 's1', seq: -1, text: 'secret' })
    world.stream.sends(world.event('s1', 6, { text: 'secret' }))
    await world.clock.advance(1_100)
    const thrown = 'message listener threw'
    expect(messages).toEqual([
      'no JSON object, but 8 characters',
      'malformed seq (number): the event is dropped',
      ...[thrown, thrown, thrown],
      'a listener threw three times at message 6 of session s1: it is skipped',
    ])
    expect(causes).toEqual([1, 2, 3].map(() => new Error('reducer')))
  })

  test('no JSON, no object, malformed fields: reported by name, dropped, and the line goes on', async () => {
    const world = createWorld()
    await world.opens()
    const bad = [
      '{',
      'null',
      '[]',
      '"x"',
      '7',
      { sessionId: 7, seq: 1 },
      { sessionId: '', seq: 1 },
      { sessionId: 's1', seq: -1 },
      { sessionId: 's1', seq: 1.5 },
      { sessionId: 's1', seq: '1' },
      { sessionId: 's1', seq: 2 ** 53 },
      { sessionId: 's1', seq: 1, prevSeq: 'x' },
    ]
    for (const frame of bad) world.stream.sends(frame)
    expect(world.errors).toEqual(bad.map(() => 'bad-message'))
    expect(world.received).toEqual([])
    world.stream.sends(world.event('s1', 1))
    expect(seqs(world, 's1')).toEqual([1])
    expect(world.connection.phase).toBe('open')
  })

  test('frames that look like machine events are messages like any other, and stop nothing', async () => {
    const world = createWorld()
    await world.opens()
    const frames = ['xstate.stop', 'xstate.init', 'xstate.done.actor.resume', 'disconnect', 'stream.failed', '*'].map(
      (type) => ({ type }),
    )
    for (const frame of [...frames, {}]) world.stream.sends(frame)
    expect(world.received).toEqual([...frames, {}])
    expect(world.connection.phase).toBe('open')
    world.stream.sends('{"type":"token","sessionId":"__proto__","seq":1}')
    world.stream.sends('{"type":"token","sessionId":"constructor","seq":1}')
    expect(world.connection.cursors.map(({ sessionId }) => sessionId)).toEqual(['__proto__', 'constructor'])
  })

  test('control frames with malformed fields change nothing', async () => {
    const world = createWorld({ cursors: AT_5 }, SERVER_IS_SILENT)
    await world.opens({ features: ['replay-marker'] })
    world.stream.sends({ type: 'reconnected', resumeId: { a: 1 }, sessions: 'all' })
    world.stream.sends({
      type: 'reconnected',
      resumeId: 'r9',
      sessions: [null, { sessionId: 's1', status: 'deleted' }],
    })
    world.stream.sends({ type: 'probe', nonce: {} })
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.connection.cursors).toEqual(AT_5)
    world.stream.sends({ type: 'goodbye', retryAfter: '9e99', spread: -4 })
    expect(world.connection.phase).toBe('backoff')
    expect((world.connection.retryAt ?? 0) - world.clock.now()).toBe(250)
  })

  test('a frame of 10 MB is one message, and the next one follows', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends(world.event('s1', 1, { text: 'x'.repeat(10 * 1024 * 1024) }))
    world.stream.sends(world.event('s1', 2))
    expect(seqs(world, 's1')).toEqual([1, 2])
  })

  test('C54: whatever is thrown at and whenever the line drops, every event comes once and in order', async () => {
    const act = fc.oneof(
      { weight: 5, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 300 }) }) },
      { weight: 3, arbitrary: fc.record({ wait: fc.constantFrom(50, 100, 1_000) }) },
      { weight: 1, arbitrary: fc.constant({ drop: true as const }) },
    )
    const moods = fc.array(
      fc.record({ seq: fc.integer({ min: 1, max: 900 }), throws: fc.integer({ min: 1, max: 2 }) }),
      {
        maxLength: 8,
      },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 12 }), moods, fc.boolean(), async (acts, given, isContiguous) => {
        const opening = isContiguous ? CONTIGUOUS : {}
        let head = 0
        const publishes = (from: number, to: number) => {
          for (let seq = from; seq <= to; seq++) world.stream.sends(world.event('s1', seq))
        }
        const world = createWorld({ random: () => 0 }, (post) => {
          if (post.endpoint !== 'reconnect') return SERVER_ACCEPTS(post)
          const [cursor] = post.body.sessions as { lastSeq: number }[]
          publishes((cursor?.lastSeq ?? 0) + 1, head)
          return post.answers(200, { ok: true })
        })
        const left = new Map(given.map(({ seq, throws }) => [seq, throws]))
        const heard: unknown[] = []
        world.connection.on('error', () => {})
        world.connection.on('message', ({ seq }) => {
          const throws = left.get(seq as number) ?? 0
          left.set(seq as number, throws - 1)
          if (throws > 0) throw new Error('not now')
          heard.push(seq)
        })
        world.connection.watch('s1')
        await world.opens(opening)
        for (const one of acts) {
          if ('publish' in one) {
            head += one.publish
            publishes(head - one.publish + 1, head)
          } else if ('wait' in one) await world.clock.advance(one.wait)
          else {
            world.stream.fails()
            await world.clock.advance(0)
            await world.opens(opening)
          }
        }
        await world.clock.advance(10_000)
        expect(heard).toEqual(Array.from({ length: head }, (_, index) => index + 1))
      }),
      { numRuns: 100 },
    )
  })

  test('anything at all on the wire throws nowhere', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.json(), fc.string()), { maxLength: 20 }), async (frames) => {
        const world = createWorld({ cursors: AT_5 })
        await world.opens({ features: ['replay-marker', 'contiguous-seq', 'probe'] })
        for (const frame of frames) world.stream.sends(frame)
        for (const frame of frames) world.stream.dispatch('welcome', { data: frame })
        await settle()
        world.connection.dispose()
        await settle()
        expect(world.clock.pending).toBe(0)
      }),
      { numRuns: 200 },
    )
  })
})

describe('C74: a log that starts over without an epoch', () => {
  const AT_99 = [{ sessionId: 's1', lastSeq: 99 }]
  /** The errors that were told, in full. */
  async function resumed(cursors: readonly Cursor[] = AT_99, options: Partial<ConnectionOptions> = {}) {
    const world = createWorld({ cursors, ...options })
    const told: ConnectionError[] = []
    world.connection.on('error', ({ error }) => told.push(error))
    await world.opens()
    const sends = (...events: readonly (readonly [sessionId: string, seq: number])[]) => {
      for (const [sessionId, seq] of events) world.stream.sends(world.event(sessionId, seq))
    }
    return { world, told, sends }
  }
  const range = (from: number, to: number, sessionId = 's1') =>
    Array.from({ length: to - from + 1 }, (_, index) => [sessionId, from + index] as const)

  test('is told a second after the first event that was dropped, once per resume, with counts', async () => {
    const { world, told, sends } = await resumed()
    sends(...range(1, 4))
    await world.clock.advance(999)
    expect(told).toEqual([])
    await world.clock.advance(1)
    expect(told).toMatchObject([
      { code: 'stale-events', message: expect.stringMatching(/^4 events of session s1 .*99/) },
    ])
    sends(...range(5, 8))
    await world.clock.advance(60_000)
    expect(told).toHaveLength(1)
    world.stream.fails()
    await world.retries()
    await world.opens()
    sends(...range(1, 2))
    await world.clock.advance(1_000)
    expect(told).toMatchObject([{}, { message: expect.stringMatching(/^2 events/) }])
    expect(seqs(world, 's1')).toEqual([])
  })

  test('is told of a session that was watched from there on', async () => {
    const { world, told, sends } = await resumed([])
    world.connection.watch('s1', { after: 99 })
    await settle()
    sends(...range(1, 4))
    await world.clock.advance(1_000)
    expect(told).toMatchObject([{ code: 'stale-events' }])
  })

  test('is told of each session for itself', async () => {
    const { world, told, sends } = await resumed([
      ...AT_99,
      { sessionId: 's2', lastSeq: 7 },
      { sessionId: 's3', lastSeq: 3 },
    ])
    sends(...range(1, 4), ...range(1, 3, 's2'), ...range(4, 5, 's3'))
    await world.clock.advance(1_000)
    expect(told.map(({ message }) => message.slice(0, 24))).toEqual([
      '4 events of session s1 w',
      '3 events of session s2 w',
    ])
  })

  test.each<[string, readonly (readonly [string, number])[]]>([
    ['a replay that overlaps with what came live', [...range(100, 103), ...range(100, 104)]],
    ['a server that repeats its whole log, up to the cursor', range(1, 99)],
    ['a server that repeats its whole log, and more', range(1, 101)],
    ['a live event before an old replay', [...range(100, 100), ...range(1, 99)]],
    ['the last event again', [['s1', 99]]],
    ['nothing', []],
  ])('is not: %s', async (_, events) => {
    const { world, told, sends } = await resumed()
    sends(...events)
    await world.clock.advance(60_000)
    expect(told).toEqual([])
  })

  test('is not: events that are repeated where no resume asked for anything', async () => {
    const { world, told, sends } = await resumed([])
    sends(...range(1, 5), ...range(2, 4))
    await world.clock.advance(60_000)
    expect(told).toEqual([])
  })

  test('is not: events that a verdict explains', async () => {
    const { world, told, sends } = await resumed()
    sends(...range(1, 4))
    world.stream.sends({
      type: 'reconnected',
      sessions: [{ sessionId: 's1', status: 'reset', from: 0, to: 4 }],
    })
    await world.clock.advance(60_000)
    expect([told, world.log.at(-1)]).toEqual([[], 's1 reset 0-4'])
  })

  test('I8: is forgotten in idle', async () => {
    const { world, told, sends } = await resumed()
    sends(...range(1, 4))
    world.connection.disconnect()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(60_000)
    expect(told).toEqual([])
  })
})
