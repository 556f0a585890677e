import { describe, expect, test } from 'vitest'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, settle, type World } from '../support/fakes'
import { bytesInUse } from '../support/memory'
import { range } from '../support/server'

const WATCHES = { features: ['watch-replay'] } as const
const MINUTE = 60_000

const tracked = ({ connection }: World) => connection.cursors.map(({ sessionId }) => sessionId)
const bodies = (world: World, endpoint: string) => world.postsTo(endpoint).map(({ body }) => body.sessionId)

/**
 * How many bytes more a world holds after that work than before. The least of some rounds: what the
 * engine keeps beside differs.
 */
async function growth(prepare: () => Promise<World>, work: (world: World) => unknown) {
  const rounds: number[] = []
  for (const _ of range(1, 5)) {
    const world = await prepare()
    const before = bytesInUse()
    await work(world)
    await settle()
    rounds.push(bytesInUse() - before)
    world.connection.dispose()
  }
  return Math.min(...rounds)
}

describe('C119: sessions that were unwatched', () => {
  test('are dropped as long as their stream lives, and tracked anew if the next one brings them unasked', async () => {
    const world = createWorld()
    world.connection.watch('s1')
    await world.opens(WATCHES)
    world.connection.unwatch('s1')
    world.stream.sends(world.event('s1', 1))
    world.stream.welcomes({ connectionId: 'again', features: WATCHES.features })
    world.stream.sends(world.event('s1', 2))
    expect(world.received).toEqual([])
    world.stream.fails()
    await world.retries()
    await world.opens(WATCHES)
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 0 }])
    world.stream.sends(world.event('s1', 3))
    expect([world.received.length, tracked(world)]).toEqual([1, ['s1']])
  })

  test.each<[string, (world: World) => unknown]>([
    ['before the first stream', () => {}],
    ['after disconnect', (world) => world.opens().then(() => world.connection.disconnect())],
    ['after dispose', (world) => world.opens().then(() => world.connection.dispose())],
    ['in backoff', (world) => world.opens().then(() => world.stream.fails())],
  ])('are not remembered %s', async (_, leads) => {
    const prepare = async () => {
      const world = createWorld()
      await leads(world)
      await settle()
      return world
    }
    const held = await growth(prepare, ({ connection }) => {
      for (const n of range(1, 1_000)) connection.unwatch(`${n}-of-a-usual-length`)
    })
    // 60 to 99 bytes for each that is remembered.
    expect(held).toBeLessThan(30_000)
  })
})

describe('C120: POSTs that were queued for a stream', () => {
  const silent = async () => {
    const world = createWorld({}, SERVER_IS_SILENT)
    await world.opens(WATCHES)
    return world
  }
  const unwatch = ({ connection }: World, count: number) => {
    for (const n of range(1, count)) connection.unwatch(`s${n}`)
    return settle()
  }

  test('are no memory once it has ended', async () => {
    const held = await growth(silent, async (world) => {
      await unwatch(world, 3_000)
      world.stream.fails()
    })
    // 3.6 MB if they stayed: 1,200 bytes for each that waits. The sessions that are remembered, and
    // what the engine keeps beside, are 0.2.
    expect(held).toBeLessThan(600_000)
  })

  test('are not posted on the next one', async () => {
    const world = await silent()
    await unwatch(world, 3)
    world.stream.fails()
    world.server(SERVER_ACCEPTS)
    await world.retries()
    await world.opens(WATCHES)
    expect([world.connection.phase, bodies(world, 'unwatch')]).toEqual(['open', ['s1']])
  })

  test.each(['disconnect', 'dispose'] as const)('end with %s, also those of a listener that it tells', async (end) => {
    const world = await silent()
    await unwatch(world, 3)
    world.connection.on('closed', () => world.connection.unwatch('s4'))
    world.connection[end]()
    world.connection.unwatch('s5')
    world.server(SERVER_ACCEPTS)
    world.connection.connect()
    await settle()
    expect([bodies(world, 'unwatch'), world.post('unwatch').aborted]).toEqual([['s1'], true])
  })

  test('end with a second welcome, which names another stream', async () => {
    const world = await silent()
    await unwatch(world, 2)
    world.server(SERVER_ACCEPTS)
    world.stream.welcomes({ connectionId: 'another', features: WATCHES.features })
    await settle()
    expect([world.connection.phase, bodies(world, 'unwatch')]).toEqual(['open', ['s1']])
  })

  test('during a resume leave on that stream: the resume has attached what was unwatched since', async () => {
    const world = createWorld(
      { cursors: ['s1', 's2'].map((sessionId) => ({ sessionId, lastSeq: 1 })) },
      SERVER_IS_SILENT,
    )
    await world.opens(WATCHES)
    world.connection.unwatch('s1')
    world.server(SERVER_ACCEPTS)
    await world.post('reconnect').answers(200, { ok: true })
    await settle()
    expect([world.connection.phase, bodies(world, 'unwatch')]).toEqual(['open', ['s1']])
  })

  test('let a watch, and a message, overtake 3,000 that were unwatched', async () => {
    const world = await silent()
    await unwatch(world, 3_000)
    world.connection.watch('new')
    world.connection.send({ type: 'send', sessionId: 'new' })
    await settle()
    await world.post('unwatch').answers(200, { ok: true })
    expect(world.posts.map(({ endpoint, body }) => `${endpoint} ${body.sessionId}`)).toEqual([
      'unwatch s1',
      'send new',
      'watch new',
    ])
  })
})

describe('C121: a session that the app has not asked for', () => {
  /** One that a send has attached, on an open line. */
  async function attachedBySend(options: Parameters<typeof createWorld>[0] = {}, opening: object = WATCHES) {
    const world = createWorld(options)
    await world.opens(opening)
    world.connection.send({ type: 'send', sessionId: 's1' })
    await settle()
    world.stream.sends(world.event('s1', 1))
    return world
  }

  test('is released when no event came for 15 to 30 minutes: told, detached, and not resumed', async () => {
    const world = await attachedBySend()
    await world.clock.advance(15 * MINUTE)
    expect(tracked(world)).toEqual(['s1'])
    await world.clock.advance(15 * MINUTE)
    expect([tracked(world), world.log, bodies(world, 'unwatch')]).toEqual([[], ['opened', 's1 released 1-1'], ['s1']])
    world.stream.fails()
    await world.retries()
    await world.opens(WATCHES)
    expect(world.postsTo('reconnect')).toEqual([])
  })

  test('is tracked anew by an event that comes all the same, and resumed if it was detached meanwhile', async () => {
    const world = await attachedBySend()
    world.server(SERVER_IS_SILENT)
    await world.clock.advance(30 * MINUTE)
    world.stream.sends(world.event('s1', 2))
    expect([tracked(world), world.received.length]).toEqual([['s1'], 2])
    await world.post('unwatch').answers(200, { ok: true })
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 2 }])
  })

  test('is not detached where the server did not announce that it knows how', async () => {
    const world = await attachedBySend({}, {})
    await world.clock.advance(30 * MINUTE)
    expect([tracked(world), world.postsTo('unwatch')]).toEqual([[], []])
  })

  test.each<[string, (world: World) => unknown]>([
    ['had an event', (world) => world.stream.sends(world.event('s1', 2))],
    ['was sent a message', (world) => world.connection.send({ type: 'send', sessionId: 's1' })],
    ['was watched', (world) => world.connection.watch('s1')],
  ])('stays if it %s within that time', async (_, does) => {
    const world = await attachedBySend()
    await world.clock.advance(20 * MINUTE)
    does(world)
    await world.clock.advance(20 * MINUTE)
    expect([tracked(world), world.postsTo('unwatch')]).toEqual([['s1'], []])
  })

  test('stays as long as a message to it has no verdict, and for the time after', async () => {
    const world = await attachedBySend({ timeouts: { send: 200 * MINUTE } })
    world.server(SERVER_IS_SILENT)
    world.connection.send({ type: 'send', sessionId: 's1' })
    await world.clock.advance(70 * MINUTE)
    expect(tracked(world)).toEqual(['s1'])
    await world.post('send').answers(200, { ok: true })
    await world.clock.advance(15 * MINUTE)
    expect(tracked(world)).toEqual(['s1'])
    await world.clock.advance(30 * MINUTE)
    expect(tracked(world)).toEqual([])
  })

  test('stays where the time was no time on an open line: an outage, a sleep of the device', async () => {
    const world = await attachedBySend({ backoff: { base: 40 * MINUTE, cap: 300 * MINUTE } })
    await world.clock.advance(10 * MINUTE)
    world.stream.fails()
    await world.clock.advance(20 * MINUTE)
    expect([world.connection.phase, tracked(world)]).toEqual(['connecting', ['s1']])
    world.connection.reconnect()
    await world.opens(WATCHES)
    expect(world.post('reconnect').body.sessions).toEqual([{ sessionId: 's1', lastSeq: 1 }])
    world.clock.jump(600 * MINUTE)
    await world.clock.advance(0)
    expect([world.connection.phase, tracked(world)]).toEqual(['open', ['s1']])
  })

  test('is not one that was watched, or given as a cursor', async () => {
    const world = createWorld({ cursors: [{ sessionId: 'given', lastSeq: 1 }] })
    world.connection.watch('watched')
    await world.opens(WATCHES)
    for (const sessionId of ['given', 'watched']) world.stream.sends(world.event(sessionId, 2))
    await world.clock.advance(90 * MINUTE)
    expect(tracked(world)).toEqual(['given', 'watched'])
  })

  test('leaves no timer in idle, and is asked about again on the next line', async () => {
    const world = await attachedBySend()
    world.connection.disconnect()
    await settle()
    expect(world.clock.pending).toBe(0)
    await world.clock.advance(90 * MINUTE)
    await world.opens(WATCHES)
    expect(tracked(world)).toEqual(['s1'])
    await world.clock.advance(30 * MINUTE)
    expect(tracked(world)).toEqual([])
  })

  test('3,000 of them leave none that is resumed', async () => {
    const world = createWorld({ outbox: { maxMessages: 5_000 } })
    await world.opens(WATCHES)
    for (const n of range(1, 3_000)) world.connection.send({ type: 'send', sessionId: `s${n}` })
    await settle()
    for (const n of range(1, 3_000)) world.stream.sends(world.event(`s${n}`, 1))
    expect(world.connection.cursors).toHaveLength(1_000)
    await world.clock.advance(30 * MINUTE)
    expect([world.connection.cursors, bodies(world, 'unwatch').length]).toEqual([[], 1_000])
  })
})

describe('C121: a session that is one too many for its stream', () => {
  const verdict = { sessionId: 's1', status: 'forbidden', from: 0, to: 0, error: 'too-many-sessions' }

  test.each<[string, (world: World) => unknown]>([
    ['in a frame, after a command', (world) => world.stream.sends({ type: 'unattached', sessions: [verdict] })],
    [
      'in the answer to a resume',
      async (world) => {
        world.server((post) => post.answers(200, { ok: true, sessions: [verdict] }))
        world.connection.watch('s1')
        await settle()
      },
    ],
  ])('is told by the server %s: one error, one session event, and no longer tracked', async (_, tells) => {
    const world = createWorld()
    const errors: string[] = []
    world.connection.on('error', ({ error }) => errors.push(`${error.code}: ${error.message}`))
    await world.opens()
    await tells(world)
    expect(errors).toEqual([expect.stringMatching(/^too-many-sessions: no events of session s1: .* unwatch\(\) some/)])
    expect(world.log).toContain('s1 forbidden 0-0')
    expect([tracked(world), world.received, world.connection.phase]).toEqual([[], [], 'open'])
  })

  test.each<[string, object]>([
    ['no list', {}],
    ['no verdict', { sessions: [null, { sessionId: 1 }] }],
    [
      'a verdict that is none',
      {
        sessions: [
          { ...verdict, status: 'reset', to: 9 },
          { ...verdict, status: 'resumed' },
        ],
      },
    ],
  ])('is nothing that a frame with %s says', async (_, more) => {
    const world = createWorld({ cursors: [{ sessionId: 's1', lastSeq: 4 }] })
    await world.opens()
    const log = [...world.log]
    world.stream.sends({ type: 'unattached', ...more })
    expect([world.connection.cursor('s1'), world.log, world.errors]).toEqual([{ sessionId: 's1', lastSeq: 4 }, log, []])
  })
})
