import { createHarness, type TestPost } from 'holdline/testing'
import { describe, expect, test } from 'vitest'
import { ConnectionError } from '../../errors'
import {
  createClock,
  createWorld,
  SERVER_ACCEPTS,
  SERVER_IS_SILENT,
  type ServerBehaviour,
  seqs,
  settle,
} from '../support/fakes'

/**
 * What an attacker found in the first whole version. Each went through the tests that there were.
 */

const AT_7 = [{ sessionId: 's1', lastSeq: 7 }]
const CONTIGUOUS = { features: ['contiguous-seq'] } as const
const prompt = (text: string) => ({ type: 'send', prompt: text })

describe('the data plane', () => {
  test('C34: a hole that its own resume filled does not make the session deaf to the next one', async () => {
    const world = createWorld({ cursors: AT_7 }, SERVER_IS_SILENT)
    await world.opens(CONTIGUOUS)
    for (const seq of [9, 8, 9]) world.stream.sends(world.event('s1', seq))
    await world.post('reconnect').answers(200, { ok: true })
    world.stream.sends(world.event('s1', 11))
    await settle()
    expect(world.postsTo('reconnect')).toHaveLength(2)
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 9 }])
  })

  test('C33: an event that overtakes the verdict which resets its cursor is fetched again, behind the same barrier', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 120 }] }, SERVER_IS_SILENT)
    await world.opens()
    world.stream.sends(world.event('s1', 51))
    const reset = { sessionId: 's1', status: 'reset', from: 120, to: 50 }
    await world.post('reconnect').answers(200, { ok: true, sessions: [reset] })
    expect(world.connection.phase).toBe('reconnecting')
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 50 }])
  })

  test('seq 0 is malformed: 0 is the cursor before the first event', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends(world.event('s1', 0))
    expect(world.errors).toEqual(['bad-message'])
    expect(world.connection.cursors).toEqual([])
  })

  test('C56: the verdicts of a marker without a resumeId count only where the stream has seen one resume', async () => {
    const world = createWorld({ cursors: AT_7 })
    await world.opens({ features: ['replay-marker'] })
    world.stream.welcomes({ connectionId: 'c1', features: ['replay-marker'] })
    await settle()
    world.stream.sends({ type: 'reconnected', sessions: [{ sessionId: 's1', status: 'gone', from: 7, to: 7 }] })
    expect(world.connection.cursors).toEqual(AT_7)
  })

  test('the same function, listening twice, hears twice, and unsubscribes once at a time', async () => {
    const world = createWorld()
    let heard = 0
    const listener = () => {
      heard++
    }
    const off = world.connection.on('message', listener)
    world.connection.on('message', listener)
    await world.opens()
    off()
    world.stream.sends({ type: 'x' })
    expect(heard).toBe(1)
  })

  test('C60: pings alone do not keep a stalled replay alive', async () => {
    const world = createWorld({ cursors: AT_7 })
    await world.opens({ features: ['replay-marker'] })
    for (let i = 0; i < 5; i++) {
      await world.clock.advance(5_000)
      world.stream.sends({ type: 'ping' })
    }
    expect(world.connection.lastError?.code).toBe('timeout')
  })
})

describe('a listener that throws', () => {
  test('I6 I8: waits across a disconnect without a timer, and only who failed hears the message again', async () => {
    const world = createWorld({ cursors: AT_7 })
    let broken = true
    world.connection.on('message', () => {
      if (broken) throw new Error('reducer')
    })
    await world.opens()
    world.stream.sends(world.event('s1', 8))
    world.connection.disconnect()
    await settle()
    expect(world.clock.pending).toBe(0)
    broken = false
    await world.opens()
    world.stream.sends(world.event('s1', 8))
    world.stream.sends(world.event('s1', 9))
    await world.clock.advance(1_000)
    expect(seqs(world, 's1')).toEqual([8, 9])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(9)
  })

  test.each(['disconnect', 'dispose'] as const)('I8: and that asks to %s leaves no timer', async (command) => {
    const world = createWorld({ cursors: AT_7 })
    let calls = 0
    world.connection.on('message', () => {
      calls++
      world.connection[command]()
      throw new Error('and out')
    })
    await world.opens()
    world.stream.sends(world.event('s1', 8))
    await settle()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(10_000)
    expect(calls).toBe(1)
  })

  test('I8: beside one that unwatches the session leaves no timer', async () => {
    const world = createWorld({ cursors: AT_7 })
    world.connection.on('message', () => world.connection.unwatch('s1'))
    world.connection.on('message', () => {
      throw new Error('reducer')
    })
    await world.opens()
    world.stream.sends(world.event('s1', 8))
    world.connection.disconnect()
    await settle()
    expect(world.clock.pending).toBe(0)
  })

  test('I6: a session unwatched in answer to its reset gets nothing more', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 7, epoch: 'a' }] })
    world.connection.on('session', () => world.connection.unwatch('s1'))
    await world.opens()
    world.stream.sends(world.event('s1', 1, { epoch: 'b' }))
    expect(world.received).toEqual([])
  })
})

describe('headers that take their time', () => {
  const hook = () => {
    const asked: { reason: string; answer: (headers: Record<string, string>) => void }[] = []
    const headers = ({ reason }: { reason: string }) =>
      reason === 'post' && asked.length === 0
        ? { authorization: 'old' }
        : new Promise<Record<string, string>>((answer) => asked.push({ reason, answer }))
    return { asked, headers }
  }
  const strict: ServerBehaviour = (post) =>
    post.headers.get('authorization') === 'new' ? SERVER_ACCEPTS(post) : post.answers(401)

  test('C31: a POST that gets its 401 while the renewal is under way waits for it, and stops nothing', async () => {
    let renew: (headers: Record<string, string>) => void = () => {}
    const headers = ({ reason }: { reason: string }) =>
      reason === 'unauthorized'
        ? new Promise<Record<string, string>>((resolve) => {
            renew = resolve
          })
        : { authorization: 'old' }
    const world = createWorld({ headers }, strict)
    await world.opens({ features: ['probe'] })
    const delivery = world.connection.send(prompt('a'))
    await settle()
    world.connection.wake()
    await settle()
    expect(world.connection.phase).toBe('open')
    renew({ authorization: 'new' })
    expect(await delivery.settled).toMatchObject({ status: 'accepted', attempts: 2 })
    expect(world.log).toEqual(['opened'])
  })

  test('C27 I8: a hook that never answers ends with the POST’s timeout, and leaves nothing in idle', async () => {
    let calls = 0
    const world = createWorld({ headers: () => (calls++ ? {} : new Promise(() => {})) })
    await world.opens()
    const delivery = world.connection.send(prompt('a'))
    await world.clock.advance(17_000)
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })

    const { asked, headers } = hook()
    asked.push({ reason: 'none', answer: () => {} })
    const other = createWorld({ headers })
    await other.opens()
    other.connection.send(prompt('a'))
    await settle()
    other.connection.disconnect()
    await settle()
    expect(other.clock.pending).toBe(0)
  })

  test('a Headers object, or a list of pairs, is as good as a map', async () => {
    for (const given of [new Headers({ 'x-a': '1' }), [['x-a', '1']]]) {
      const world = createWorld({ headers: () => given as never })
      await world.opens()
      await world.connection.send(prompt('a')).settled
      expect(world.post('send').headers.get('x-a')).toBe('1')
    }
  })
})

describe('pacing', () => {
  test('C40 I12: what a send was told to wait survives a gate that closes and opens', async () => {
    const world = createWorld({ cursors: AT_7 }, (post) =>
      post.endpoint === 'send' ? post.answers(429, {}, { 'retry-after': '60' }) : SERVER_ACCEPTS(post),
    )
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    world.stream.welcomes({ connectionId: 'c1' })
    await settle()
    world.connection.reconnect()
    await world.opens()
    await world.clock.advance(59_000)
    expect(world.postsTo('send')).toHaveLength(1)
    await world.clock.advance(31_000)
    expect(world.postsTo('send')).toHaveLength(2)
  })

  test('a heartbeat of weeks does not overflow a timer', async () => {
    const world = createWorld()
    await world.opens({ heartbeat: 1_900_000_000 })
    await world.clock.advance(60_000)
    expect(world.connection.phase).toBe('open')
  })
})

describe('watch', () => {
  const features = { features: ['watch-replay'] } as const

  test('I11: the answer to an older watch does not confirm a newer one', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(features)
    world.connection.watch('s1', { after: 9 })
    await settle()
    world.connection.unwatch('s1')
    world.connection.watch('s1', { after: 0 })
    await world.post('watch').answers(200, { ok: true })
    expect(world.postsTo('watch').map(({ body }) => body.lastSeq)).toEqual([9, 0])
  })

  test('I11: nor does one of another stream move a cursor', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(features)
    world.connection.watch('s1', { after: 60 })
    await settle()
    const old = world.post('watch')
    world.connection.reconnect()
    await world.opens(features)
    await world.post('reconnect').answers(200, { ok: true })
    world.stream.sends(world.event('s1', 61))
    await old.answers(200, { ok: true, sessions: [{ sessionId: 's1', status: 'reset', from: 60, to: 50 }] })
    expect(world.connection.cursor('s1')?.lastSeq).toBe(61)
    expect(world.log).toEqual(['opened', 'closed reconnect', 'opened'])
  })

  test('C12: a watch that failed, and was resumed since, asks for no empty resume', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(features)
    world.connection.watch('s1')
    await settle()
    const old = world.post('watch')
    world.connection.reconnect()
    await world.opens(features)
    await world.post('reconnect').answers(200, { ok: true })
    await old.answers(503)
    expect(world.postsTo('reconnect')).toHaveLength(1)
    expect(world.connection.phase).toBe('open')
  })

  test('watching and unwatching in a storm costs one POST of each kind at most', async () => {
    const world = createWorld()
    await world.opens(features)
    for (let i = 0; i < 200; i++) {
      world.connection.watch('s1')
      world.connection.unwatch('s1')
    }
    await settle()
    expect(world.posts.map(({ endpoint }) => endpoint)).toEqual(['unwatch'])
  })

  test('what cannot be a session or a cursor throws at once, and is not remembered', () => {
    const world = createWorld()
    for (const sessionId of ['', undefined, {}]) {
      expect(() => world.connection.watch(sessionId as string)).toThrow(/^sessionId:/)
    }
    for (const after of [-1, 1.5, Number.NaN, '3']) {
      expect(() => world.connection.watch('s1', { after: after as number })).toThrow(/^after:/)
    }
    expect(world.connection.cursors).toEqual([])
  })
})

describe('dispose and suspend', () => {
  test.each(['phase', 'opened', 'delivery'] as const)(
    'I7: dispose in a %s listener ends the line, and says so',
    async (name) => {
      const world = createWorld()
      world.connection.send(prompt('a'))
      world.connection.on(name, () => {
        if (world.connection.phase === 'open') world.connection.dispose()
      })
      await world.opens()
      await settle()
      expect(world.connection.phase).toBe('idle')
      expect(world.log).toEqual(['opened', 'closed disconnect'])
      expect([world.clock.pending, world.live.length]).toEqual([0, 0])
    },
  )

  test('I11: a suspend that is late does not put the next stream to sleep', async () => {
    let answer: (headers: Record<string, string>) => void = () => {}
    const world = createWorld({
      cursors: AT_7,
      headers: ({ attempt }) =>
        attempt === 0 && world.connection?.isOpen
          ? new Promise((resolve) => {
              answer = resolve
            })
          : {},
    })
    await world.opens()
    world.connection.suspend()
    await settle()
    world.connection.reconnect()
    await world.opens()
    answer({})
    await settle()
    expect(world.postsTo('suspend')).toEqual([])
  })

  test('a suspend names 100 sessions at most, as every POST', async () => {
    const cursors = Array.from({ length: 150 }, (_, index) => ({ sessionId: `s${index}`, lastSeq: 1 }))
    const world = createWorld({ cursors })
    await world.opens()
    world.connection.suspend()
    await settle()
    expect(world.post('suspend').body.sessions).toHaveLength(100)
  })
})

describe('a second attack, on the fixes of the first', () => {
  test('I9: a clock that is set back a day does not keep a send waiting for a day', async () => {
    const clock = createClock()
    let skew = 0
    const world = createWorld({ clock: { ...clock, now: () => clock.now() + skew } }, (post) => post.answers(503))
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    world.server(SERVER_ACCEPTS)
    skew = -86_400_000
    await clock.advance(60_000)
    expect(world.connection.pending).toEqual([])
  })

  test('C40: what a POST was told to wait counts if its stream has been replaced meanwhile, too', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens()
    world.connection.send(prompt('a'))
    await settle()
    const first = world.post('send')
    world.connection.reconnect()
    await world.opens()
    await first.answers(429, {}, { 'retry-after': '60' })
    await world.clock.advance(59_000)
    expect(world.postsTo('send')).toHaveLength(1)
    await world.clock.advance(31_000)
    expect(world.postsTo('send')).toHaveLength(2)
  })

  test('C33 C54: a reset does not lose what waited behind a message that a listener threw on', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 10, epoch: 'a' }] }, SERVER_IS_SILENT)
    world.connection.on('message', () => {
      throw new Error('reducer')
    })
    await world.opens()
    world.stream.sends(world.event('s1', 11, { epoch: 'a' }))
    for (const seq of [4, 5]) world.stream.sends(world.event('s1', seq, { epoch: 'b' }))
    const reset = { sessionId: 's1', status: 'reset', from: 10, to: 3, epoch: 'b' }
    await world.post('reconnect').answers(200, { ok: true, sessions: [reset] })
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 3, epoch: 'b' }])
  })

  test('C33: events that overtake the reset in the answer to a watch are fetched again', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens({ features: ['watch-replay'] })
    world.connection.watch('s1', { after: 100 })
    await settle()
    for (const seq of [4, 5]) world.stream.sends(world.event('s1', seq))
    const reset = { sessionId: 's1', status: 'reset', from: 100, to: 3 }
    await world.post('watch').answers(200, { ok: true, sessions: [reset] })
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 3 }])
  })

  test.each(['disconnect', 'dispose'] as const)('I8: %s in a session listener leaves no timer', async (command) => {
    const world = createWorld({ cursors: AT_7 }, SERVER_IS_SILENT)
    world.connection.on('session', () => world.connection[command]())
    await world.opens({ features: ['replay-marker'] })
    const resumed = { sessionId: 's1', status: 'resumed', from: 7, to: 9 }
    await world.post('reconnect').answers(200, { ok: true, sessions: [resumed] })
    expect([world.connection.phase, world.clock.pending]).toEqual(['idle', 0])
  })

  test('I8: a disposed connection does not come back, whoever asks', async () => {
    const world = createWorld()
    world.connection.on('closed', () => world.connection.connect())
    world.connection.on('opened', () => {
      world.connection.dispose()
      world.connection.connect()
    })
    await world.opens()
    await settle()
    expect([world.connection.phase, world.streams.length]).toEqual(['idle', 1])
  })

  test('I9: a renewal that hangs once is asked for again after the timeout', async () => {
    let renewals = 0
    const headers = ({ reason }: { reason: string }) => {
      if (reason !== 'unauthorized') return { authorization: 'old' }
      return renewals++ === 0 ? new Promise<Record<string, string>>(() => {}) : { authorization: 'new' }
    }
    const world = createWorld({ headers }, (post) =>
      post.headers.get('authorization') === 'new' ? SERVER_ACCEPTS(post) : post.answers(401),
    )
    await world.opens()
    const delivery = world.connection.send(prompt('a'))
    await world.clock.advance(20_000)
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })
    expect(renewals).toBe(2)
  })

  test('C31: connect after a terminal 401 begins with a new allowance', async () => {
    let token = 'stale'
    const headers = ({ reason }: { reason: string }) => ({
      authorization: reason === 'unauthorized' ? token : 'cached',
    })
    const world = createWorld({ headers }, (post) =>
      post.headers.get('authorization') === 'fresh' ? SERVER_ACCEPTS(post) : post.answers(401),
    )
    await world.opens()
    const delivery = world.connection.send(prompt('a'))
    await settle()
    expect(world.log.at(-1)).toBe('stopped unauthorized')
    token = 'fresh'
    await world.opens()
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })
  })

  test('many suspends leave no listeners behind', async () => {
    const warnings: string[] = []
    const onWarning = ({ name }: Error) => warnings.push(name)
    process.on('warning', onWarning)
    const world = createWorld({ cursors: AT_7 })
    await world.opens()
    for (let i = 0; i < 30; i++) {
      world.connection.suspend()
      await settle()
    }
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  test('C59: a watch POST of a dead stream does not hold up the sends on the next one', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens({ features: ['watch-replay'] })
    world.connection.watch('s1')
    await settle()
    world.connection.reconnect()
    await world.opens({ features: ['watch-replay'] })
    await world.post('reconnect').answers(200, { ok: true })
    world.connection.send(prompt('a'))
    await settle()
    expect(world.postsTo('send')).toHaveLength(1)
  })

  test('C34: what there was no room for is a hole, whatever the server promises', async () => {
    const world = createWorld({ cursors: AT_7 })
    let broken = true
    world.connection.on('message', () => {
      if (broken) throw new Error('reducer')
    })
    await world.opens()
    for (let seq = 8; seq <= 300; seq++) world.stream.sends(world.event('s1', seq))
    broken = false
    world.server(SERVER_IS_SILENT)
    await world.clock.advance(100)
    const { lastSeq } = world.connection.cursor('s1') ?? { lastSeq: 0 }
    world.stream.sends(world.event('s1', 301))
    expect(world.connection.cursor('s1')?.lastSeq).toBe(lastSeq)
    for (let seq = lastSeq + 1; seq <= 301; seq++) world.stream.sends(world.event('s1', seq))
    expect(seqs(world, 's1')).toEqual(Array.from({ length: 294 }, (_, index) => index + 8))
  })
})

describe('a suspend that nobody answers', () => {
  const isPending = ({ isAborted, isAnswered }: TestPost) => !isAborted && !isAnswered
  async function createSuspending() {
    const harness = createHarness({ server: { post: ({ endpoint }, next) => endpoint === 'suspend' || next() } })
    harness.connection.watch('s1')
    await harness.opens()
    harness.page.hides()
    await harness.settles()
    expect(harness.posts.filter(isPending)).toHaveLength(1)
    return harness
  }

  test('is given up like a send', async () => {
    const { posts, passes } = await createSuspending()
    await passes(14_999)
    expect(posts.filter(isPending)).toHaveLength(1)
    await passes(1)
    expect(posts.filter(isPending)).toEqual([])
  })

  test('is given up for the next one, which is made whatever became of those before it', async () => {
    const { connection, posts, passes, settles } = await createSuspending()
    connection.suspend()
    await settles()
    expect(posts.filter(isPending)).toHaveLength(1)
    await passes(60_000)
    connection.suspend()
    await settles()
    expect(posts.filter(isPending)).toEqual([posts.at(-1)])
    expect(posts.filter(({ endpoint }) => endpoint === 'suspend')).toHaveLength(3)
  })

  test('ends with the line', async () => {
    const { connection, posts, settles } = await createSuspending()
    connection.disconnect()
    await settles()
    expect(posts.filter(isPending)).toEqual([])
  })
})

test('an error survives a structured clone field by field: so it can be posted from a worker', () => {
  const error = new ConnectionError('http', 'the server answered 503', { status: 503, retryAfter: 5, retryable: true })
  expect(structuredClone(error)).not.toHaveProperty('code')
  const fields = structuredClone({ ...error, message: error.message })
  expect({ ...new ConnectionError(fields.code, fields.message, fields) }).toEqual({ ...error })
})
