import type { ConnectionError, Cursor, Unwatch } from 'holdline'
import { describe, expect, test } from 'vitest'
import { createWorld, SERVER_IS_SILENT, seqs, settle, type World } from '../support/fakes'

const HEAD = 2 ** 53 - 1
const REPLAYS = { features: ['watch-replay'] } as const
const RESET = { ok: true, sessions: [{ sessionId: 's1', status: 'reset', from: HEAD, to: 40, epoch: 'e' }] }

const errorOf = (act: () => unknown): ConnectionError => {
  try {
    act()
  } catch (error) {
    return error as ConnectionError
  }
  throw new Error('it did not throw')
}
const bodiesTo = (world: World, endpoint: string) => world.postsTo(endpoint).map(({ body }) => body)
const posted = (world: World) => world.posts.map(({ endpoint }) => endpoint)

describe('C79: what `watch` returns takes that `watch` back', () => {
  test('two components follow one session: the session is untracked when both have left it', async () => {
    const world = createWorld()
    await world.opens(REPLAYS)
    const first = world.connection.watch('s1')
    const second = world.connection.watch('s1')
    await settle()
    first()
    world.stream.sends(world.event('s1', 1))
    await settle()
    expect([posted(world), seqs(world, 's1')]).toEqual([['watch'], [1]])
    second()
    world.stream.sends(world.event('s1', 2))
    await settle()
    expect([posted(world), seqs(world, 's1')]).toEqual([['watch', 'unwatch'], [1]])
    expect(world.connection.cursors).toEqual([])
  })

  test('each works once: called twice, it does not take another one back', () => {
    const { connection } = createWorld()
    const first = connection.watch('s1')
    connection.watch('s1')
    first()
    first()
    expect(connection.cursors).toHaveLength(1)
  })

  test('`unwatch` untracks the session however often it is watched', () => {
    const { connection } = createWorld()
    connection.watch('s1')
    connection.watch('s1')
    connection.unwatch('s1')
    expect(connection.cursors).toEqual([])
  })

  test.each<[string, (world: World) => unknown]>([
    ['unwatch', ({ connection }) => connection.unwatch('s1')],
    ...(['gone', 'forbidden'] as const).map((status): [string, (world: World) => unknown] => [
      status,
      (world) => world.post('reconnect').answers(200, { ok: true, sessions: [{ sessionId: 's1', status }] }),
    ]),
  ])('none works after `%s`: who watches the session anew keeps it', async (_, ends) => {
    const world = createWorld({}, SERVER_IS_SILENT)
    const old = world.connection.watch('s1')
    await world.opens()
    await ends(world)
    expect(world.connection.cursors).toEqual([])
    const current = world.connection.watch('s1')
    old()
    expect(world.connection.cursors).toHaveLength(1)
    current()
    expect(world.connection.cursors).toEqual([])
  })

  test('a session that its events have opened is untracked as well', async () => {
    const world = createWorld()
    await world.opens()
    world.stream.sends(world.event('s1', 5))
    world.connection.watch('s1')()
    expect(world.connection.cursors).toEqual([])
  })

  test('those from before a reset count on when the cursor is placed anew', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    const first = world.connection.watch('s1', { after: 90 })
    await world.opens()
    await world.post('reconnect').answers(200, RESET)
    const second = world.connection.watch('s1', { after: 7 })
    second()
    expect(world.connection.cursor('s1')).toMatchObject({ lastSeq: 7 })
    first()
    expect(world.connection.cursors).toEqual([])
  })

  test('it fits `using`, where that exists', () => {
    const { connection } = createWorld()
    {
      using _unwatch: Unwatch = connection.watch('s1')
      expect(connection.cursors).toHaveLength(1)
    }
    expect(connection.cursors).toEqual([])
  })

  test('after `dispose` it does nothing, and does not throw', async () => {
    const world = createWorld()
    await world.opens(REPLAYS)
    const unwatch = world.connection.watch('s1')
    await settle()
    world.connection.dispose()
    unwatch()
    await settle()
    expect(posted(world)).toEqual(['watch'])
  })
})

describe('`after` places the cursor', () => {
  test('of a session that is not tracked yet', () => {
    const { connection } = createWorld()
    connection.watch('s1', { after: 5 })
    expect(connection.cursors).toEqual([{ sessionId: 's1', lastSeq: 5 }])
  })

  test('with its epoch, if it is a cursor', async () => {
    const after: Cursor = { sessionId: 's1', lastSeq: 5, epoch: 'e' }
    const world = createWorld()
    await world.opens(REPLAYS)
    world.connection.watch('s1', { after })
    await settle()
    expect(bodiesTo(world, 'watch')).toEqual([{ type: 'watch', ...after }])
  })

  test.each<[string, (world: World) => unknown]>([
    ['a cursor', () => {}],
    ['`watch`', ({ connection }) => connection.watch('s1', { after: 8 })],
    ['an event', (world) => world.stream.sends(world.event('s1', 8))],
  ])('not of a session that %s has placed: nobody loses what another one has applied', async (how, places) => {
    const world = createWorld({ cursors: how === 'a cursor' ? [{ sessionId: 's1', lastSeq: 8 }] : [] })
    await world.opens()
    places(world)
    await settle()
    const { length } = world.posts
    for (const after of [0, 99, 'head'] as const) world.connection.watch('s1', { after })
    await settle()
    expect(world.connection.cursor('s1')?.lastSeq).toBe(8)
    expect(world.posts).toHaveLength(length)
  })

  test('once after a reset, when the app has reloaded the history', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 90 }] }, SERVER_IS_SILENT)
    await world.opens(REPLAYS)
    await world.post('reconnect').answers(200, RESET)
    expect(world.log).toContain('s1 reset 40-40')
    world.connection.watch('s1', { after: 12 })
    world.connection.watch('s1', { after: 3 })
    await settle()
    expect(bodiesTo(world, 'watch')).toEqual([{ type: 'watch', sessionId: 's1', lastSeq: 12, epoch: 'e' }])
  })

  test('where it stands already after a reset, nothing is posted, and it stays there', async () => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 90 }] }, SERVER_IS_SILENT)
    await world.opens(REPLAYS)
    await world.post('reconnect').answers(200, RESET)
    for (const after of [40, 3]) world.connection.watch('s1', { after })
    await settle()
    expect([world.connection.cursor('s1')?.lastSeq, bodiesTo(world, 'watch')]).toEqual([40, []])
  })

  test.each([
    [-1, /^after: -1 is not a whole number, 'head' or a cursor of this session$/],
    ['tail', /^after: tail is not/],
    [{ lastSeq: 3 }, /^after: object is not/],
    [{ sessionId: 's2', lastSeq: 3 }, /^after: object is not/],
    [{ sessionId: 's1', lastSeq: 3, epoch: 7 }, /^after: object is not/],
  ])('%j is none: it throws, and nothing is watched', (after, message) => {
    const { connection } = createWorld()
    const error = errorOf(() => connection.watch('s1', { after: after as never }))
    expect([error.code, error.message]).toEqual(['invalid-option', expect.stringMatching(message)])
    expect(connection.cursors).toEqual([])
  })
})

describe("`after: 'head'` follows from now on", () => {
  test.each([
    ['a watch', REPLAYS, 'watch'],
    ['a resume', {}, 'reconnect'],
  ] as const)('by %s the server is told 2^53−1, and the app is not told of its reset', async (_, opening, endpoint) => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(opening)
    world.connection.watch('s1', { after: 'head' })
    await settle()
    const [body] = bodiesTo(world, endpoint)
    expect(endpoint === 'watch' ? body : Object(body).sessions[0]).toMatchObject({ sessionId: 's1', lastSeq: HEAD })
    await world.post(endpoint).answers(200, RESET)
    expect(world.connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 40, epoch: 'e' })
    world.stream.sends(world.event('s1', 41, { epoch: 'e' }))
    expect(seqs(world, 's1')).toEqual([41])
    expect(world.log.filter((line) => line.startsWith('s1'))).toEqual([])
  })

  test('the next reset is told', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    world.connection.watch('s1', { after: 'head' })
    await world.opens()
    await world.post('reconnect').answers(200, RESET)
    world.stream.sends(world.event('s1', 1, { epoch: 'f' }))
    expect(world.log).toContain('s1 reset 0-0')
    expect(seqs(world, 's1')).toEqual([1])
  })

  test('a cursor at the head was not lost: `after` does not move it', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    world.connection.watch('s1', { after: 'head' })
    await world.opens()
    await world.post('reconnect').answers(200, RESET)
    world.connection.watch('s1', { after: 0 })
    expect(world.connection.cursor('s1')?.lastSeq).toBe(40)
  })

  test('an event that overtakes the answer is not lost: it is fetched', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(REPLAYS)
    world.connection.watch('s1', { after: 'head' })
    await settle()
    world.stream.sends(world.event('s1', 41, { epoch: 'e' }))
    await world.clock.advance(2_000)
    await world.post('watch').answers(200, RESET)
    expect(bodiesTo(world, 'reconnect')).toMatchObject([{ sessions: [{ sessionId: 's1', lastSeq: 40, epoch: 'e' }] }])
    world.stream.sends(world.event('s1', 41, { epoch: 'e' }))
    await world.post('reconnect').answers(200, { ok: true })
    expect([seqs(world, 's1'), world.errors]).toEqual([[41], []])
  })

  test('before the server has answered, the next stream is told the same', async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    world.connection.watch('s1', { after: 'head' })
    await world.opens()
    world.stream.fails()
    await world.retries()
    await world.opens()
    expect(bodiesTo(world, 'reconnect')).toMatchObject(
      Array(2).fill({ sessions: [{ sessionId: 's1', lastSeq: HEAD }] }),
    )
  })

  test('C74: a server that does not answer with a reset is found out, not waited for in silence', async () => {
    const world = createWorld()
    world.connection.watch('s1', { after: 'head' })
    await world.opens()
    world.stream.sends(world.event('s1', 41))
    await world.clock.advance(1_000)
    expect(world.errors).toEqual(['stale-events'])
  })
})

describe('a listener of one session', () => {
  test('hears the messages of that session only, sequenced or not', async () => {
    const world = createWorld()
    const heard: unknown[] = []
    const off = world.connection.on('message', { session: 's1' }, ({ type, seq }) => heard.push([type, seq]))
    await world.opens()
    world.stream.sends(world.event('s2', 1))
    world.stream.sends(world.event('s1', 1))
    world.stream.sends({ type: 'notice' })
    world.stream.sends({ type: 'typing', sessionId: 's1' })
    off()
    world.stream.sends(world.event('s1', 2))
    expect(heard).toEqual([
      ['token', 1],
      ['typing', undefined],
    ])
    expect(world.received).toHaveLength(5)
  })

  test('C32 C54: that throws is offered the message again, it alone, and other sessions flow', async () => {
    const world = createWorld()
    const heard: string[] = []
    let throws = 0
    world.connection.on('message', { session: 's1' }, ({ seq }) => {
      if (throws++ < 1) throw new Error('not now')
      heard.push(`s1 ${seq}`)
    })
    world.connection.on('message', { session: 's2' }, ({ seq }) => heard.push(`s2 ${seq}`))
    await world.opens()
    for (const [sessionId, seq] of [
      ['s1', 1],
      ['s1', 2],
      ['s2', 1],
    ] as const)
      world.stream.sends(world.event(sessionId, seq))
    expect(world.connection.cursor('s1')?.lastSeq).toBe(0)
    await world.clock.advance(100)
    expect(heard).toEqual(['s2 1', 's1 1', 's1 2'])
    expect(seqs(world, 's1')).toEqual([1, 2])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(2)
  })

  test('that unsubscribed another one, or itself, is obeyed at once, also by what is offered again', async () => {
    const world = createWorld()
    const heard: string[] = []
    const offs: (() => void)[] = []
    offs.push(
      world.connection.on('message', { session: 's1' }, () => {
        heard.push('first')
        offs[1]?.()
        throw new Error('and never again')
      }),
      world.connection.on('message', { session: 's1' }, () => heard.push('second')),
    )
    await world.opens()
    world.stream.sends(world.event('s1', 1))
    offs[0]?.()
    await world.clock.advance(2_000)
    expect(heard).toEqual(['first'])
    expect(world.connection.cursor('s1')?.lastSeq).toBe(1)
  })

  test.each<[string, unknown[], RegExp]>([
    ['no session', ['message', {}, () => {}], /^session: undefined is not a string/],
    ['a session that is no name', ['message', { session: '' }, () => {}], /^session: {2}is not a string/],
    ['another option', ['message', { sessionId: 's1' }, () => {}], /^session: undefined is not/],
    ['a scope that is none', ['message', 's1', () => {}], /^session: undefined is not/],
    ['a scope behind the listener', ['message', () => {}, { session: 's1' }], /^session: undefined is not/],
    ['no listener', ['message', { session: 's1' }], /^listener: object is not a function/],
    ['a listener that is none', ['message', { session: 's1' }, 'listener'], /^listener: listener is not a function/],
    ['another event', ['session', { session: 's1' }, () => {}], /^listener: object is not a function/],
  ])('with %s throws', (_, given, message) => {
    const { connection } = createWorld()
    const error = errorOf(() => connection.on(...(given as [never, never])))
    expect([error.code, error.message]).toEqual(['invalid-option', expect.stringMatching(message)])
  })
})

test('the event `rejected` of the first edition throws, and names `refused`', () => {
  const { connection } = createWorld()
  const error = errorOf(() => connection.on('rejected' as never, () => {}))
  expect([error.code, error.message]).toEqual(['invalid-option', 'event: rejected is called refused now'])
})
