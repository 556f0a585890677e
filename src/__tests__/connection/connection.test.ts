import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Cursor, PageSignal } from '../../index'
import {
  createWorld,
  type FakePost,
  RESUME_NEVER_ANSWERED,
  resumeAnswers,
  SERVER_ACCEPTS,
  SERVER_IS_SILENT,
  type ServerBehaviour,
  seqs,
  settle,
} from '../support/fakes'

afterEach(() => void vi.unstubAllGlobals())

const CURSORS = [{ sessionId: 's1', lastSeq: 7 }]
const prompt = (text: string) => ({ type: 'send', sessionId: 's1', prompt: text })

describe('nothing leaves before the session is back', () => {
  test('C01: a welcome is not enough: nothing is posted and nothing opens before the resume has succeeded', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    world.connection.send(prompt('hi'))
    await world.opens()
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.postsTo('send')).toHaveLength(0)
    expect(world.log).toEqual([])

    await world.post('reconnect').answers(200, { ok: true })
    expect(world.log).toEqual(['opened'])
    expect(world.postsTo('send')).toHaveLength(1)
  })

  test('C02: there is one gate, the phase: isOpen is false from the welcome to the end of the resume', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens()
    expect(world.connection.isOpen).toBe(false)
    world.connection.send(prompt('early'))
    await settle()
    expect(world.postsTo('send')).toHaveLength(0)
    await world.post('reconnect').answers(200)
    expect(world.connection.isOpen).toBe(true)
  })

  test('with a replay marker announced, the answer to the resume alone does not open the line', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens({ features: ['replay-marker'] })
    expect(world.connection.phase).toBe('reconnecting')
    world.stream.sends({ type: 'reconnected', resumeId: world.post('reconnect').body.resumeId, sessions: [] })
    expect(world.connection.phase).toBe('open')
  })

  test('the marker may come before the answer', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens({ features: ['replay-marker'] })
    world.stream.sends({ type: 'reconnected', resumeId: world.post('reconnect').body.resumeId, sessions: [] })
    expect(world.connection.phase).toBe('reconnecting')
    await world.post('reconnect').answers(200)
    expect(world.connection.phase).toBe('open')
  })

  test('C12: without sessions no resume is sent and the line opens at the welcome', async () => {
    const world = createWorld()
    await world.opens()
    expect(world.connection.phase).toBe('open')
    expect(world.posts).toHaveLength(0)
  })

  test('C18: restored cursors are resumed on the first welcome too', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens()
    expect(world.post('reconnect').body).toEqual({ type: 'reconnect', resumeId: 'r1', sessions: CURSORS })
    expect(world.post('reconnect').headers.get('x-connection-id')).toBe('c1')
  })

  test('C15: the stream URL never carries cursors', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens()
    expect(world.stream.url).toBe('http://test/api/chat/events')
  })
})

describe('what comes late changes nothing', () => {
  test('C03: disconnect aborts the resume in flight, and its late answer opens nothing', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens()
    world.connection.disconnect()
    expect(world.post('reconnect').aborted).toBe(true)
    await world.post('reconnect').answers(200)
    expect(world.connection.phase).toBe('idle')
    expect(world.log).toEqual([])
  })

  test('C04: of two welcomes in a row the first resume is aborted, and the line opens once', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens()
    world.stream.welcomes({ connectionId: 'c1' })
    await settle()
    const [first, second] = world.postsTo('reconnect')
    expect(first?.aborted).toBe(true)
    expect(second?.aborted).toBe(false)
    await first?.answers(200)
    expect(world.connection.phase).toBe('reconnecting')
    await second?.answers(200)
    expect(world.log).toEqual(['opened'])
  })

  test('C09: after a forced reconnect the answer of the old resume has no receiver', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens()
    const stale = world.post('reconnect')
    world.connection.reconnect()
    await stale.answers(200)
    expect(world.connection.phase).toBe('connecting')
    expect(world.live).toHaveLength(1)
  })

  test('C21: late callbacks of a replaced EventSource are not heard', async () => {
    const world = createWorld()
    await world.opens()
    const [old] = world.streams
    world.connection.reconnect()
    old?.welcomes({ connectionId: 'ghost' })
    old?.sends(world.event('s1', 1))
    old?.fails()
    await settle()
    expect(world.connection.phase).toBe('connecting')
    expect(world.connection.connectionId).toBeNull()
    expect(world.received).toEqual([])
  })

  test('C56: a replay marker of an earlier resume confirms nothing, on the same stream too', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens({ features: ['replay-marker'] })
    world.stream.welcomes({ connectionId: 'c1', features: ['replay-marker'] })
    await settle()
    expect(world.postsTo('reconnect').map(({ body }) => body.resumeId)).toEqual(['r1', 'r2'])
    world.stream.sends({ type: 'reconnected', resumeId: 'r1', sessions: [] })
    world.stream.sends({ type: 'reconnected', sessions: [] })
    expect(world.connection.phase).toBe('reconnecting')
    world.stream.sends({ type: 'reconnected', resumeId: 'r2', sessions: [] })
    expect(world.connection.phase).toBe('open')
  })

  test('a marker without a resumeId counts where the stream has seen a single resume', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens({ features: ['replay-marker'] })
    world.stream.sends({ type: 'reconnected' })
    expect(world.connection.phase).toBe('open')
  })

  test('a POST of an earlier stream that is answered 404 or 401 does not touch the new one', async () => {
    for (const status of [404, 401]) {
      const world = createWorld({}, SERVER_IS_SILENT)
      await world.opens()
      world.connection.send(prompt('hi'))
      await settle()
      const old = world.post('send')
      world.connection.reconnect()
      await world.opens()
      await old.answers(status)
      expect(world.connection.phase).toBe('open')
    }
  })
})

describe('a resume that fails', () => {
  test('C05: a failed resume (500, network) does not open and flushes nothing', async () => {
    for (const fail of [resumeAnswers(500), (post: Parameters<typeof SERVER_ACCEPTS>[0]) => post.fails()]) {
      const world = createWorld({ cursors: CURSORS }, fail)
      world.connection.send(prompt('hi'))
      await world.opens()
      expect(world.connection.phase).toBe('backoff')
      expect(world.log).toEqual([])
      expect(world.postsTo('send')).toHaveLength(0)
    }
  })

  test('C06: after a failed resume on a healthy stream a fresh stream follows, and then the line opens', async () => {
    const world = createWorld({ cursors: CURSORS }, resumeAnswers(500))
    await world.opens()
    expect(world.live).toHaveLength(0)
    world.server(SERVER_ACCEPTS)
    await world.retries()
    await world.opens()
    expect(world.connection.phase).toBe('open')
    expect(world.streams).toHaveLength(2)
  })

  test('C07: a persistent 500 is met with growing delays, not with a tight loop', async () => {
    const world = createWorld({ cursors: CURSORS }, resumeAnswers(500))
    const delays: number[] = []
    world.connection.connect()
    for (let attempt = 0; attempt < 9; attempt++) {
      await world.opens()
      delays.push((world.connection.retryAt ?? 0) - world.clock.now())
      await world.retries()
    }
    expect(delays).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000])
  })

  test('C08: a line that never opened is never closed', async () => {
    const world = createWorld({ cursors: CURSORS }, resumeAnswers(500))
    await world.opens()
    await world.retries()
    world.stream.fails()
    world.connection.disconnect()
    await settle()
    expect(world.log).toEqual([])
  })

  test('C11: what is queued survives a failed resume, and leaves after the next one, in order, once', async () => {
    const world = createWorld({ cursors: CURSORS }, resumeAnswers(500))
    const sent = ['a', 'b', 'c'].map((text) => world.connection.send(prompt(text)))
    await world.opens()
    world.server(SERVER_ACCEPTS)
    await world.retries()
    await world.opens()
    expect(world.postsTo('send').map(({ body }) => body.prompt)).toEqual(['a', 'b', 'c'])
    expect(await Promise.all(sent.map(async ({ settled }) => (await settled).status))).toEqual(
      Array(3).fill('accepted'),
    )
  })

  test('C14: a resume error leaves a trace: lastError while it lasts, the reason in `stopped` when it is final', async () => {
    const world = createWorld({ cursors: CURSORS }, resumeAnswers(503))
    await world.opens()
    expect(world.connection.lastError).toMatchObject({ code: 'http', status: 503, retryable: true })

    const refused = createWorld({ cursors: CURSORS }, resumeAnswers(403))
    await refused.opens()
    expect(refused.connection.phase).toBe('idle')
    expect(refused.log).toEqual(['stopped forbidden'])
    expect(refused.connection.lastError).toMatchObject({ code: 'forbidden', status: 403 })
    expect(refused.connection.cursors).toEqual(CURSORS)
  })

  test('a resume is fatal for a 4xx, but not for 404, 408, 410, 425 and 429', async () => {
    for (const [status, phase] of [
      [400, 'idle'],
      [403, 'idle'],
      [409, 'idle'],
      [422, 'idle'],
      [404, 'backoff'],
      [408, 'backoff'],
      [410, 'backoff'],
      [425, 'backoff'],
      [429, 'backoff'],
      [500, 'backoff'],
    ] as const) {
      const world = createWorld({ cursors: CURSORS }, resumeAnswers(status))
      await world.opens()
      expect([status, world.connection.phase]).toEqual([status, phase])
    }
  })

  test('C20: a resume without an answer, or with half of one, times out', async () => {
    for (const behaviour of [
      RESUME_NEVER_ANSWERED,
      (post: Parameters<typeof SERVER_ACCEPTS>[0]) => post.answersHalf(),
    ]) {
      const world = createWorld({ cursors: CURSORS }, behaviour)
      await world.opens()
      await world.clock.advance(14_999)
      expect(world.connection.phase).toBe('reconnecting')
      await world.clock.advance(1)
      expect(world.connection.phase).toBe('backoff')
      expect(world.connection.lastError?.code).toBe('timeout')
    }
  })

  test('C60: a long replay is not cut short while it makes progress, but a stalled one is', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens({ features: ['replay-marker'] })
    for (let seq = 8; seq < 20; seq++) {
      await world.clock.advance(10_000)
      world.stream.sends(world.event('s1', seq))
    }
    expect(world.connection.phase).toBe('reconnecting')
    await world.clock.advance(14_999)
    expect(world.connection.phase).toBe('reconnecting')
    await world.clock.advance(1 + 15_000 / 8)
    expect(world.connection.lastError).toMatchObject({
      code: 'timeout',
      message: 'the replay stalled for 15000 ms (timeouts.resume)',
    })
  })

  test('HTML or {ok:false} in answer to a resume is no success', async () => {
    const world = createWorld({ cursors: CURSORS }, (post) => post.answersText(200, '<html>', 'text/html'))
    await world.opens()
    expect(world.connection.lastError?.code).toBe('bad-response')
    const other = createWorld({ cursors: CURSORS }, (post) => post.answers(200, { ok: false }))
    await other.opens()
    expect(other.connection.phase).toBe('backoff')
  })
})

describe('the data plane is open from the first byte', () => {
  test('C10: replayed messages arrive while the resume is in flight, and before the welcome', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    world.connection.connect()
    world.stream.opens()
    world.stream.sends({ type: 'notice', text: 'early' })
    world.stream.welcomes({ connectionId: 'c1' })
    world.stream.sends(world.event('s1', 8))
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.received).toHaveLength(2)
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 8 })
  })

  test('C36: a second drop before any event resumes from the same cursor', async () => {
    const world = createWorld({ cursors: CURSORS })
    await world.opens()
    world.stream.fails()
    await world.retries()
    await world.opens()
    world.stream.fails()
    await world.retries()
    await world.opens()
    expect(world.postsTo('reconnect').map(({ body }) => body.sessions)).toEqual([CURSORS, CURSORS, CURSORS])
  })

  test('a welcome may come without an open before it', async () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.welcomes({ connectionId: 'c1' })
    expect(world.connection.phase).toBe('open')
  })
})

describe('the stream', () => {
  test('C16: an EventSource is closed at its first error, in every phase, and never used again', async () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.fails()
    expect(world.stream.closed).toBe(true)
    expect(world.connection.phase).toBe('backoff')
    await world.retries()
    expect(world.streams).toHaveLength(2)
    await world.opens()
    world.stream.fails()
    expect(world.live).toHaveLength(0)
  })

  test('a stream that never opens, or never welcomes, is given up after its timeout', async () => {
    const world = createWorld()
    world.connection.connect()
    await world.clock.advance(15_000)
    expect(world.connection.phase).toBe('backoff')
    await world.retries()
    world.stream.opens()
    await world.clock.advance(10_000)
    expect(world.connection.phase).toBe('backoff')
    expect(world.live).toHaveLength(0)
  })

  test('a welcome that is malformed or of another version is reported by name, and tried again', async () => {
    for (const frame of [{}, { connectionId: 7 }, { connectionId: '' }, { connectionId: 'c', protocolVersion: 3 }]) {
      const world = createWorld()
      world.connection.connect()
      world.stream.welcomes(frame)
      expect(world.connection.lastError?.code).toBe('bad-welcome')
      expect(world.connection.phase).toBe('backoff')
      expect(world.live).toHaveLength(0)
    }
  })

  test('C31: a 401 on the stream, where the status is known, is a terminal stop', async () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.fails(401)
    await settle()
    expect(world.connection.phase).toBe('idle')
    expect(world.log).toEqual(['stopped unauthorized'])
    expect(world.clock.pending).toBe(0)
  })

  test('an EventSource that cannot be made is a failure with a reason, not a crash', async () => {
    const world = createWorld({
      createEventSource() {
        throw new Error('no sockets today')
      },
    })
    world.connection.connect()
    expect(world.connection.phase).toBe('backoff')
    expect(world.connection.lastError?.message).toContain('no sockets today')
  })

  test('C22 C23: silence for twice the heartbeat ends the stream; a ping message is a sign of life', async () => {
    const world = createWorld()
    await world.opens({ heartbeat: 10_000 })
    for (let i = 0; i < 5; i++) {
      await world.clock.advance(15_000)
      world.stream.sends({ type: 'ping' })
    }
    expect(world.connection.phase).toBe('open')
    await world.clock.advance(19_999)
    expect(world.connection.phase).toBe('open')
    // Signs are counted eight times per limit, so silence is noticed an eighth late at most.
    await world.clock.advance(2_501)
    expect(world.log).toEqual(['opened', 'closed silent'])
  })

  test('C23: where no heartbeat is announced or given, silence is no failure', async () => {
    const world = createWorld()
    await world.opens()
    await world.clock.advance(3_600_000)
    expect(world.connection.phase).toBe('open')
    const given = createWorld({ heartbeat: 1_000 })
    await given.opens()
    await given.clock.advance(2_000)
    expect(given.log).toEqual(['opened', 'closed silent'])
  })

  test('C24: a sleep is noticed at the first timer that fires, by the wall clock', async () => {
    const world = createWorld()
    await world.opens({ heartbeat: 10_000 })
    await world.clock.advance(12_000)
    world.stream.sends({ type: 'ping' })
    await world.clock.advance(3_000)
    world.clock.jump(600_000)
    await world.clock.advance(0)
    expect(world.log).toEqual(['opened', 'closed silent'])
  })

  test('goodbye: the wait that the server asks for is a floor, with jitter of its own, used once', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends({ type: 'goodbye', retryAfter: 20_000, spread: 10_000 })
    expect((world.connection.retryAt ?? 0) - world.clock.now()).toBe(25_000)
    expect(world.log).toEqual(['opened', 'closed goodbye'])
    await world.retries()
    world.stream.fails()
    await settle()
    expect((world.connection.retryAt ?? 0) - world.clock.now()).toBe(500)
  })

  test('C40: Retry-After of a failed resume is obeyed, in seconds or as a date, but not for longer than 5 min', async () => {
    for (const [header, expected] of [
      ['20', 25_000],
      ['86400', 375_000],
      [new Date(1_700_000_020_000).toUTCString(), 25_000],
      ['soon', 250],
    ] as const) {
      const world = createWorld({ cursors: CURSORS }, resumeAnswers(503, { 'retry-after': header }))
      await world.opens()
      expect([header, (world.connection.retryAt ?? 0) - world.clock.now()]).toEqual([header, expected])
    }
  })
})

describe('pacing', () => {
  test('C38: short openings do not reset the attempt count, 5 s of open do', async () => {
    const world = createWorld()
    await world.opens()
    for (let i = 0; i < 4; i++) {
      await world.clock.advance(4_999)
      world.stream.fails()
      await world.retries()
      await world.opens()
    }
    expect(world.connection.attempt).toBe(4)
    await world.clock.advance(5_000)
    expect(world.connection.attempt).toBe(0)
  })

  test('C39: clients that fail together do not come back together, at the cap either', async () => {
    const waits = [0.1, 0.5, 0.9].map((chance) => {
      const world = createWorld({ random: () => chance, backoff: { base: 100_000, cap: 30_000 } })
      world.connection.connect()
      world.stream.fails()
      return (world.connection.retryAt ?? 0) - world.clock.now()
    })
    expect(waits).toEqual([3_000, 15_000, 27_000])
  })

  test('C41: a disconnect in backoff leaves no timer behind', async () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.fails()
    expect(world.clock.pending).toBe(1)
    world.connection.disconnect()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(60_000)
    expect(world.streams).toHaveLength(1)
  })

  test('after a disconnect there is no lastError: the line was not stopped, it was left', () => {
    const world = createWorld()
    world.connection.connect()
    world.stream.fails()
    expect(world.connection.getSnapshot()).toMatchObject({ phase: 'backoff', lastError: { code: 'stream-failed' } })
    world.connection.disconnect()
    expect(world.connection.getSnapshot()).toMatchObject({ phase: 'idle', lastError: null })
  })

  test('C57: a server that welcomes and disowns again and again is met at a growing distance', async () => {
    const world = createWorld({}, (post) => post.answers(404))
    world.connection.send(prompt('hi'))
    const waits: number[] = []
    world.connection.connect()
    for (let i = 0; i < 6; i++) {
      await world.opens()
      waits.push((world.connection.retryAt ?? world.clock.now()) - world.clock.now())
      await world.retries()
    }
    expect(waits).toEqual([0, 500, 1_000, 2_000, 4_000, 8_000])
    expect(world.connection.pending).toHaveLength(1)
  })

  test('gives up after maxAttempts, keeps what is queued, and starts again on connect', async () => {
    const world = createWorld({ backoff: { maxAttempts: 2 } })
    const delivery = world.connection.send(prompt('hi'))
    world.connection.connect()
    for (let i = 0; i < 2; i++) {
      world.stream.fails()
      await world.retries()
    }
    world.stream.fails()
    await settle()
    expect(world.log).toEqual(['stopped gave-up'])
    expect(world.connection.phase).toBe('idle')
    expect(world.clock.pending).toBe(0)
    await world.opens()
    expect((await delivery.settled).status).toBe('accepted')
  })
})

describe('the page', () => {
  const paged = (
    features: Parameters<ReturnType<typeof createWorld>['opens']>[0] = {},
    cursors: readonly Cursor[] = CURSORS,
  ) => {
    let signal: (signal: PageSignal) => void = () => {}
    let subscribed = 0
    const world = createWorld({
      cursors,
      pageLifecycle: {
        subscribe(listener) {
          signal = listener
          subscribed++
          return () => {
            subscribed--
          }
        },
      },
    })
    return { world, tell: (what: PageSignal) => signal(what), count: () => subscribed, ready: world.opens(features) }
  }

  test('C22: after a wake the stream has to prove itself: an answer over HTTP alone does not do', async () => {
    const { world, tell, ready } = paged({ features: ['probe'] })
    await ready
    tell({ type: 'wake', awayFor: 5 })
    await settle()
    expect(world.post('probe').body).toMatchObject({ type: 'probe' })
    expect(world.post('probe').answered).toBe(true)
    await world.clock.advance(2_000)
    expect(world.log).toEqual(['opened', 'closed probe-timeout'])
    expect(world.connection.phase).toBe('connecting')
  })

  test('C22: a probe that comes back on the stream keeps the line open, one with another nonce does not', async () => {
    const { world, tell, ready } = paged({ features: ['probe'] })
    await ready
    tell({ type: 'wake', awayFor: 5 })
    await settle()
    world.stream.sends({ type: 'probe', nonce: 'forged' })
    world.stream.sends({ type: 'probe', nonce: world.post('probe').body.nonce })
    await world.clock.advance(10_000)
    expect(world.log).toEqual(['opened'])
  })

  test('without probes a long absence leads to a fresh stream, a short one to nothing', async () => {
    const { world, tell, ready } = paged({ heartbeat: 4_000 })
    await ready
    tell({ type: 'wake', awayFor: 8_000 })
    expect(world.connection.phase).toBe('open')
    tell({ type: 'wake', awayFor: 8_001 })
    await settle()
    expect(world.log).toEqual(['opened', 'closed wake'])
  })

  test('C42: hide and show during the retry wait opens one stream, at once', async () => {
    const { world, tell, ready } = paged()
    await ready
    world.stream.fails()
    tell({ type: 'suspend' })
    tell({ type: 'wake', awayFor: 100 })
    tell({ type: 'wake', awayFor: 100 })
    expect(world.live).toHaveLength(1)
    await world.clock.advance(14_000)
    expect(world.streams).toHaveLength(2)
  })

  test('back from the back/forward cache: whatever was open is dead, a fresh stream follows', async () => {
    const { world, tell, ready } = paged()
    await ready
    tell({ type: 'reconnect' })
    expect(world.connection.phase).toBe('connecting')
    expect(world.live).toHaveLength(1)
  })

  test('a page that may be frozen tells the server its cursors, with a POST that outlives it', async () => {
    const { world, tell, ready } = paged()
    await ready
    tell({ type: 'suspend' })
    await settle()
    expect(world.post('suspend').body).toEqual({
      type: 'session_suspend',
      connectionId: 'c1',
      resumeId: 'r1',
      sessions: CURSORS,
    })
    expect(world.post('suspend').keepalive).toBe(true)
    expect(world.post('suspend').headers.get('x-connection-id')).toBe('c1')
  })

  describe('C70: the farewell of a page', () => {
    const quota = 65_536
    const bytes = (post: FakePost) => new TextEncoder().encode(JSON.stringify(post.body)).length

    async function leaving(cursors: readonly Cursor[], behaviour: ServerBehaviour = SERVER_ACCEPTS) {
      const { world, tell, ready } = paged({}, cursors)
      await ready
      world.server(behaviour)
      tell({ type: 'suspend' })
      await settle()
      return { world, tell }
    }
    const sessions = (count: number, characters: number) =>
      Array.from({ length: count }, (_, index) => ({ sessionId: `${index}`.padEnd(characters, 'é'), lastSeq: 1 }))

    test('is shortened to what leaves room for other requests that outlive the page', async () => {
      const { world } = await leaving(sessions(100, 800))
      const post = world.post('suspend')
      expect(bytes(post)).toBeLessThan(quota / 2 + 100)
      expect(post.body.sessions).toEqual(sessions(100, 800).slice(0, (post.body.sessions as []).length))
      expect(post.body.sessions).not.toEqual([])
    })

    test('leaves out a session that is too large by itself, and no other', async () => {
      const [large, small] = [...sessions(1, quota), ...sessions(1, 1)] as [Cursor, Cursor]
      const { world } = await leaving([small, large])
      expect(world.post('suspend').body.sessions).toEqual([small])
    })

    test('leaves without `keepalive` while the page lives, where that was refused', async () => {
      // [spec] Fetch: over the quota it is a network error.
      const { world } = await leaving(CURSORS, (post) => (post.keepalive ? post.fails() : SERVER_ACCEPTS(post)))
      expect(world.postsTo('suspend').map(({ keepalive, body }) => [keepalive, body.sessions])).toEqual([
        [true, CURSORS],
        [false, CURSORS],
      ])
    })

    test('is not repeated where a server has answered, nor on another stream', async () => {
      const refused = await leaving(CURSORS, (post) => post.answers(500))
      expect(refused.world.postsTo('suspend')).toHaveLength(1)
      const { world } = await leaving(CURSORS, SERVER_IS_SILENT)
      world.connection.reconnect()
      await world.opens()
      await world.post('suspend').fails()
      expect(world.postsTo('suspend')).toHaveLength(1)
    })

    test.each([
      ['there is no Request at all', undefined, {}],
      ['Request knows no keepalive, and there is no sendBeacon', class {}, {}],
      ['Request knows no keepalive, and there is no navigator', class {}, undefined],
      ['sendBeacon refuses it', class {}, { sendBeacon: () => false }],
    ])('is a plain POST where %s', async (_, Request, navigator) => {
      vi.stubGlobal('Request', Request)
      vi.stubGlobal('navigator', navigator)
      const { world } = await leaving(CURSORS)
      expect(world.postsTo('suspend').map(({ keepalive, body }) => [keepalive, body.sessions])).toEqual([
        [false, CURSORS],
      ])
    })

    test('is a beacon, and nothing else, where that is taken', async () => {
      const sendBeacon = vi.fn(() => true)
      vi.stubGlobal('Request', class {})
      vi.stubGlobal('navigator', { sendBeacon })
      const { world } = await leaving(CURSORS)
      expect([sendBeacon.mock.calls.length, world.postsTo('suspend').length]).toEqual([1, 0])
    })
  })

  test('C112: a wake of unknown length proves the stream, or replaces it where that cannot be done', async () => {
    const { world, tell, ready } = paged({ heartbeat: 15_000 })
    await ready
    tell({ type: 'wake', awayFor: Number.POSITIVE_INFINITY })
    await settle()
    expect([world.log, world.live.length]).toEqual([['opened', 'closed wake'], 1])
    await world.opens({ features: ['probe'] })
    tell({ type: 'wake', awayFor: Number.POSITIVE_INFINITY })
    await settle()
    expect([world.connection.phase, world.postsTo('probe').length]).toEqual(['open', 1])
  })

  test('C76: a wake finds a stream that has ended without an event, whatever the phase', async () => {
    for (const phase of ['connecting', 'awaitingWelcome', 'open']) {
      const { world, tell, ready } = paged()
      await ready
      world.connection.reconnect()
      if (phase === 'awaitingWelcome') world.stream.opens()
      if (phase === 'open') await world.opens()
      expect(world.connection.phase).toBe(phase)
      Object.assign(world.stream, { readyState: 2 })
      tell({ type: 'wake', awayFor: 0 })
      await settle()
      expect([world.connection.phase, world.streams.length, world.live.length]).toEqual(['connecting', 3, 1])
    }
  })

  test('C114: the farewell of a page whose stream is gone names the last one', async () => {
    const { world, tell, ready } = paged()
    await ready
    world.stream.fails()
    tell({ type: 'suspend' })
    await settle()
    const { body, headers, keepalive } = world.post('suspend')
    expect(body).toEqual({ type: 'session_suspend', connectionId: 'c1', resumeId: 'r1', sessions: CURSORS })
    expect([headers.get('x-connection-id'), keepalive]).toEqual([null, true])
  })

  test('C114: there is none before the first stream, nor after a disconnect', async () => {
    const { world, tell } = paged()
    world.connection.connect()
    tell({ type: 'suspend' })
    await world.opens()
    world.connection.disconnect()
    world.connection.suspend()
    await settle()
    expect(world.postsTo('suspend')).toEqual([])
  })

  test('I8: in idle no page listener is left; connect subscribes again', async () => {
    const { world, count, ready } = paged()
    await ready
    expect(count()).toBe(1)
    world.connection.disconnect()
    expect(count()).toBe(0)
    world.connection.connect()
    expect(count()).toBe(1)
  })
})

describe('the public object', () => {
  test('opened and closed alternate, and phase comes first, with the snapshot already new', async () => {
    const world = createWorld({ cursors: CURSORS })
    const order: string[] = []
    const at = () => world.connection.getSnapshot().phase
    world.connection.on('closed', ({ reason }) => order.push(`closed ${reason} in ${at()}`))
    world.connection.on('opened', ({ connectionId, sessions }) =>
      order.push(`opened ${connectionId} ${sessions} in ${at()}`),
    )
    world.connection.on('phase', ({ phase, previous }) => order.push(`${previous}→${phase}`))
    await world.opens()
    world.stream.welcomes({ connectionId: 'c1' })
    await settle()
    world.connection.disconnect()
    await settle()
    expect(order).toEqual([
      'idle→connecting',
      'connecting→awaitingWelcome',
      'awaitingWelcome→reconnecting',
      'reconnecting→open',
      'opened c1 s1 in open',
      'open→reconnecting',
      'closed welcome in reconnecting',
      'reconnecting→open',
      'opened c1 s1 in open',
      'open→idle',
      'closed disconnect in idle',
    ])
  })

  test('an event that the state refuses is told, and changes nothing', async () => {
    const world = createWorld()
    const refused: string[] = []
    world.connection.on('refused', ({ event, phase }) => refused.push(`${event} in ${phase}`))
    world.connection.disconnect()
    world.connection.connect()
    world.connection.connect()
    await world.opens()
    world.connection.wake()
    expect(refused).toEqual(['disconnect in idle', 'connect in connecting', 'wake in open'])
  })

  test('C43: a listener that throws harms neither the line nor another listener, and is reported', async () => {
    const world = createWorld()
    const heard: string[] = []
    for (const name of ['phase', 'opened', 'closed', 'delivery', 'refused'] as const) {
      world.connection.on(name, () => {
        throw new Error(name)
      })
      world.connection.on(name, () => heard.push(name))
    }
    world.connection.subscribe(() => {
      throw new Error('subscriber')
    })
    await world.opens()
    world.connection.connect()
    const delivery = world.connection.send(prompt('hi'))
    expect((await delivery.settled).status).toBe('accepted')
    world.connection.disconnect()
    await settle()
    expect(new Set(heard)).toEqual(new Set(['phase', 'opened', 'closed', 'delivery', 'refused']))
    expect(new Set(world.errors)).toEqual(new Set(['listener-failed']))
    expect(world.connection.phase).toBe('idle')
  })

  test('C43: an inspector that throws does not stop the machine; without an error listener it is warned of once', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const world = createWorld({
      inspect() {
        throw new Error('inspector')
      },
    })
    await world.opens()
    expect(world.connection.phase).toBe('open')
    expect(world.errors).toContain('listener-failed')
    expect(warn).toHaveBeenCalledTimes(1)
    warn.mockRestore()
  })

  test('C44: mounted twice, as in strict mode, two connections do not share anything, and a disposed one is silent', async () => {
    const world = createWorld()
    await world.opens()
    const delivery = world.connection.send(prompt('hi'))
    await delivery.settled
    world.connection.dispose()
    world.connection.dispose()
    world.connection.connect()
    world.connection.reconnect()
    world.connection.watch('s2')
    expect(world.live).toHaveLength(0)
    expect(world.clock.pending).toBe(0)
    expect(world.connection.phase).toBe('idle')
    expect(await world.connection.send(prompt('late')).settled).toMatchObject({
      status: 'rejected',
      error: { code: 'disposed' },
    })
    await settle()
    expect(world.log).toEqual(['opened', 'closed disconnect'])
  })

  test('the snapshot is the same reference until something changes', async () => {
    const world = createWorld()
    const { connection } = world
    const seen: unknown[] = []
    const unsubscribe = connection.subscribe((snapshot) => seen.push(snapshot))
    expect(seen).toEqual([
      {
        phase: 'idle',
        connectionId: null,
        attempt: 0,
        retryAt: null,
        pendingCount: 0,
        outbox: { state: 'held', retryAt: null },
        lastError: null,
      },
    ])
    expect(connection.getSnapshot()).toBe(connection.getSnapshot())
    await world.opens()
    const before = connection.getSnapshot()
    connection.connect()
    expect(connection.getSnapshot()).toBe(before)
    connection.send(prompt('hi'))
    expect(connection.getSnapshot()).toMatchObject({ pendingCount: 1 })
    await settle()
    expect(connection.getSnapshot()).toMatchObject({ pendingCount: 0, phase: 'open' })
    const count = seen.length
    unsubscribe()
    connection.disconnect()
    expect(seen).toHaveLength(count)
  })

  test('a listener may command the connection; what follows is told after it, in order', async () => {
    const world = createWorld()
    const order: string[] = []
    world.connection.on('opened', () => {
      order.push('opened')
      world.connection.disconnect()
      order.push('asked')
    })
    world.connection.on('closed', () => order.push('closed'))
    await world.opens()
    expect(order).toEqual(['opened', 'asked', 'closed'])
    expect(world.connection.phase).toBe('idle')
  })

  test('I8: in idle no timer, request or stream is left, whatever was under way', async () => {
    const world = createWorld({ cursors: CURSORS }, SERVER_IS_SILENT)
    await world.opens({ heartbeat: 1_000, features: ['replay-marker', 'probe', 'watch-replay'] })
    await world.post('reconnect').answers(200)
    world.stream.sends({ type: 'reconnected', resumeId: 'r1' })
    const off = world.connection.on('message', () => {
      throw new Error('parked')
    })
    world.stream.sends(world.event('s1', 8))
    world.connection.send(prompt('hi'))
    world.connection.watch('s2')
    world.connection.wake({ awayFor: 1 })
    world.connection.suspend()
    await settle()
    expect(world.clock.pending).toBeGreaterThan(2)
    world.connection.disconnect()
    off()
    await settle()
    expect(world.clock.pending).toBe(0)
    expect(world.live).toHaveLength(0)
    expect(world.posts.filter(({ answered, aborted }) => !answered && !aborted)).toEqual([])
    expect(seqs(world, 's1')).toEqual([8])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(7)
  })
})
