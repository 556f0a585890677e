import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import type { EventSourceLike } from 'holdline/adapters'
import { ALPHABET, createWorld, type Environment, explore, type Letter, ODDITIES, replay } from 'holdline/testing'
import { describe, expect, test, vi } from 'vitest'
import { createShowingApp, SUSPENDING } from '../../../tools/shared/explorations'
import { FEATURES } from '../../protocol'
import { fingerprint } from '../../testing/explore/fingerprint'

/** From the second stream on, nothing comes down. */
const NEVER_COMES_BACK = (environment: Environment) => {
  let streams = 0
  return createConnection({
    ...environment,
    createEventSource(...args) {
      const source = environment.createEventSource(...args) as EventSourceLike
      return ++streams === 1 ? source : { ...source, addEventListener() {} }
    },
  })
}

/** Requests go on, whatever happens. */
const REQUESTS_STAY = (environment: Environment) =>
  createConnection({
    ...environment,
    fetch: (url, init) => environment.fetch(url, { ...init, signal: null }),
  })

/** Runs the source text of a test. */
function run(source: string, given: Readonly<Record<string, unknown>> = {}): Promise<void> {
  let body: () => Promise<void> = () => Promise.reject(new Error('there is no test'))
  const names = { ...given, replay, test: (_: string, run: () => Promise<void>) => (body = run) }
  new Function(...Object.keys(names), source.replace(/^import .*$/gm, ''))(...Object.values(names))
  return body()
}

/** The field tests go to five, `npm run explore` to six and seven. */
describe('no sequence of three letters breaks an invariant, and each leads back to an open line', () => {
  test.each([
    { name: 'no feature', options: { features: [] }, edges: 200 },
    {
      name: 'some features',
      options: { features: ['contiguous-seq', 'receipts', 'idempotency'] as const },
      edges: 200,
    },
    { name: 'all features and a heartbeat', options: { heartbeat: 20_000 }, edges: 250 },
  ])(
    '$name',
    async ({ options, edges }) => {
      const exploration = await explore({ ...options, depth: 3 })
      expect(exploration).toMatchObject({ depth: 3, violations: [] })
      expect(exploration.edges).toBeGreaterThan(edges)
      expect(exploration.states).toBeGreaterThan(edges / 5)
    },
    120_000,
  )
})

test.each(SUSPENDING)(
  'C71 I14: no sequence around a suspend breaks an invariant, with a server that detaches, and %s',
  async (_, options) => {
    const { violations, edges } = await explore({ ...options, depth: 3 })
    expect(violations).toEqual([])
    expect(edges).toBeGreaterThan(80)
  },
  120_000,
)

describe('an app whose server loses what it had', () => {
  test.each([
    ['no feature', { features: [] }],
    ['all features and a heartbeat', { heartbeat: 20_000 }],
  ])(
    'is none that breaks an invariant, with %s',
    async (_, options) => {
      const { violations, edges } = await explore({ ...createShowingApp(), ...options, depth: 3 })
      expect(violations).toEqual([])
      expect(edges).toBeGreaterThan(200)
    },
    120_000,
  )

  test('is told of it: each letter leads where it says', async () => {
    for (const features of [[], FEATURES]) {
      const options = { ...createShowingApp(), features }
      const reset = await replay(['event', 'connect', 'stream welcomed', 'resume reset'], options)
      expect(reset.harness.messages).toEqual([])
      expect(reset.connection.cursor('s1')?.lastSeq).toBe(1)
      // There is nothing to replay.
      expect(reset.live()?.sent.get('s1')).toBe(1)
      await reset.heals()
      const gone = await replay(['connect', 'stream welcomed', 'resume gone'], options)
      expect(gone.connection.cursors).toEqual([])
      expect(gone.live()?.sent.has('s1')).toBe(false)
      await gone.heals()
    }
  })

  test('and that forgets to do something about it is found out', async () => {
    const app = createShowingApp({ forgets: true })
    const { violations } = await explore({ ...app, features: [], depth: 4 })
    expect(violations).toMatchObject([
      {
        invariant: 'app',
        message: 'Error: 1 events are shown, of which 0 are of this history',
        path: ['connect', 'stream welcomed', 'event', 'resume reset'],
      },
    ])
    const source = String(violations[0]?.test)
    expect(source).toContain(
      '// To be in scope here, under these names, as they were given to explore(): create, alphabet, onStep',
    )
    await expect(run(source, app)).rejects.toThrow('1 events are shown')
    await run(source, createShowingApp())
  }, 120_000)
})

test.each<[string, Partial<ConnectionOptions>]>([
  ['messages that may expire', { outbox: { maxAge: 60_000 } }],
  ['a line that gives up at once', { backoff: { maxAttempts: 0 } }],
  ['a line that gives up after a second try', { backoff: { maxAttempts: 1 } }],
])(
  'nothing is wrong with %s',
  async (_, options) => {
    const create = (environment: Environment) => createConnection({ ...environment, ...options })
    const { violations, edges } = await explore({ create, depth: 4, heartbeat: 20_000 })
    expect(violations.map(({ invariant, message, path }) => [invariant, message, path])).toEqual([])
    expect(edges).toBeGreaterThan(600)
  },
  120_000,
)

describe('what is odd', () => {
  const alphabet = { ...ALPHABET, ...ODDITIES }
  // The letters without which none of the odd ones can happen, and what may come between.
  const few = ['connect', 'disconnect', 'wake', 'send', 'watch s1', 'unwatch s1', 'stream welcomed', 'stream failed']
  const more = ['event', 'replayed', 'resume ok', 'send ok', 'watch ok', 'time passes']
  const letters = Object.fromEntries(
    [...few, ...more, ...Object.keys(ODDITIES)].map((name) => [name, alphabet[name] as Letter]),
  )

  test.each([
    ['no feature', { features: [] }, 5],
    ['all features and a heartbeat', { heartbeat: 20_000 }, 5],
  ])(
    'breaks no invariant, with %s',
    async (_, options, depth) => {
      const { violations, edges } = await explore({ ...options, alphabet: letters, depth })
      expect(violations.map(({ message, path }) => [message, path])).toEqual([])
      expect(edges).toBeGreaterThan(500)
    },
    120_000,
  )

  test.each([
    ['batch mixed', ['connect', 'send', 'send', 'stream welcomed', 'batch mixed']],
    ['batch shuffled', ['connect', 'send', 'send', 'stream welcomed', 'batch shuffled']],
    ['late probe answer', ['connect', 'stream welcomed', 'wake', 'late probe answer']],
    ['event after unwatch', ['connect', 'stream welcomed', 'watch s1', 'unwatch s1', 'event after unwatch']],
    ['listener throws thrice', ['watch s1', 'connect', 'stream welcomed', 'resume ok', 'listener throws thrice']],
  ])('%s: can happen, and a healthy network ends it well', async (_, path) => {
    const world = await replay(path, { alphabet: letters })
    await world.heals()
  })

  test('a listener of a session that it has left is found out', async () => {
    const create = (environment: Environment) => {
      const connection = createConnection(environment)
      const { watch } = connection
      return Object.assign(connection, { unwatch: (id: string) => watch(id, { after: 0 }) })
    }
    const { violations } = await explore({ create, alphabet: letters, features: [], depth: 5 })
    expect(violations.map(({ message }) => message)).toContain('a message of s1, which the app has left')
  })
})

describe('a violation', () => {
  test('is told as the shortest sequence, and as a test that fails until the fault is gone', async () => {
    const { violations, depth } = await explore({ create: REQUESTS_STAY, features: [], depth: 6 })
    expect(depth).toBe(4)
    const found = violations.find(({ invariant }) => invariant === 'I8')
    expect(found?.path).toEqual(['connect', 'send', 'stream welcomed', 'disconnect'])
    await expect(run(String(found?.test), { create: REQUESTS_STAY })).rejects.toThrow('I8 (')
    await run(String(found?.test), { create: createConnection })
  })

  test('is one that only a healthy network shows, too', async () => {
    const { violations } = await explore({ create: NEVER_COMES_BACK, features: [], depth: 3 })
    const [first] = violations
    expect(first).toMatchObject({ invariant: 'I9', path: ['connect', 'disconnect'] })
    expect(first?.message).toContain('a healthy network is of no use: the phase is')
    await expect(run(String(first?.test), { create: NEVER_COMES_BACK })).rejects.toThrow('I9 (')
    await run(String(first?.test), { create: createConnection })
  })

  test('is what a listener of the app throws, and what the app checks after each letter', async () => {
    const throws = (environment: Environment) => {
      const connection = createConnection(environment)
      connection.on('message', () => {
        throw new Error('no such message')
      })
      return connection
    }
    const thrown = await explore({ create: throws, features: [], depth: 3 })
    expect(thrown.violations[0]).toMatchObject({
      invariant: 'app',
      message: 'message listener threw: Error: no such message',
    })

    const onStep = vi.fn(({ connection }: { connection: Connection }) => {
      if (connection.isOpen) throw new Error('it is open')
    })
    const seen = await explore({ onStep: onStep as never, features: [], depth: 3 })
    expect(seen.violations[0]).toMatchObject({
      invariant: 'app',
      message: 'Error: it is open',
      path: ['connect', 'stream welcomed'],
    })
    await expect(run(String(seen.violations[0]?.test), { onStep })).rejects.toThrow('it is open')
  })
})

test('the app may add letters, and leave some out', async () => {
  const { connect, disconnect } = ALPHABET as Required<typeof ALPHABET>
  const alphabet = {
    connect: connect as NonNullable<typeof connect>,
    disconnect: disconnect as NonNullable<typeof disconnect>,
    'log out': {
      isEnabled: ({ connection }: { connection: Connection }) => connection.phase !== 'idle',
      act: ({ connection }: { connection: Connection }) => connection.dispose(),
    },
  }
  const { states, edges, violations } = await explore({ alphabet, depth: 10, features: [] })
  // After a dispose nothing comes back, and that is what I9 says.
  expect(violations).toMatchObject([{ invariant: 'I9', path: ['connect', 'log out'] }])
  expect({ states, edges }).toEqual({ states: 4, edges: 5 })
})

test('every event looks as it was asked for, one that is repeated or comes too late as well', async () => {
  const event = { type: 'delta', text: 'a' }
  const world = createWorld({ event })
  const events: unknown[] = []
  world.harness.observe({
    onFrame(_, __, data = '{}') {
      const frame = JSON.parse(data)
      if (frame.seq) events.push(frame)
    },
  })
  const path = [
    'watch s1',
    'connect',
    'stream welcomed',
    'resume ok',
    'event',
    'event repeated',
    'disconnect',
    'late stream',
  ]
  for (const letter of path) {
    await ALPHABET[letter]?.act(world)
    await world.harness.settles()
  }
  expect(events).toEqual([1, 1, 2].map((seq) => ({ ...event, sessionId: 's1', seq })))
})

describe('a world', () => {
  const at = async (...path: readonly string[]) => fingerprint(await replay(path, { heartbeat: 20_000 }))

  test('is the same state whatever led to it', async () => {
    expect(await at('connect', 'reconnect', 'disconnect')).toBe(await at('connect', 'disconnect'))
    expect(
      await at('connect', 'stream failed', 'time passes', 'stream failed', 'ask lost', 'disconnect', 'connect'),
    ).toBe(await at('connect', 'disconnect', 'connect'))
  })

  test('is another state if what comes next may differ', async () => {
    const paths = [
      ['connect'],
      ['connect', 'stream opened'],
      ['connect', 'stream silent'],
      ['connect', 'stream failed'],
      ['connect', 'stream failed', 'time passes', 'stream failed'],
      ['connect', 'stream welcomed'],
      ['connect', 'stream welcomed', 'time passes'],
      ['connect', 'stream welcomed', 'send'],
      ['connect', 'stream welcomed', 'send', 'send lost before'],
      ['watch s1', 'connect', 'stream welcomed'],
      ['watch s1', 'connect', 'stream welcomed', 'resume ok'],
      ['watch s1', 'connect', 'stream welcomed', 'replayed'],
      ['watch s1', 'connect', 'stream welcomed', 'event'],
    ]
    const states = await Promise.all(paths.map((path) => at(...path)))
    expect(new Set(states).size).toBe(paths.length)
  })

  test('refuses what cannot happen in it', async () => {
    await expect(replay(['connect', 'resume ok'])).rejects.toThrow('"resume ok" cannot happen here')
    await expect(replay(['fly'])).rejects.toThrow('"fly" cannot happen here')
  })
})

test('an exploration tells how far it is, and ends where it was told to', async () => {
  const onProgress = vi.fn()
  const { edges, states, rate, depth } = await explore({ depth: 20, maxEdges: 400, features: [], onProgress })
  expect(edges).toBeGreaterThanOrEqual(400)
  expect(edges).toBeLessThan(450)
  expect(states).toBeGreaterThan(100)
  expect(rate).toBeGreaterThan(0)
  expect(depth).toBe(4)
})
