import { ConnectionError, type ConnectionOptions, createConnection } from 'holdline'
import { persist } from 'holdline/storage'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { createWorld, SERVER_ACCEPTS, settle } from '../support/fakes'
import { createStorage } from '../support/storage'

const warn = vi.spyOn(console, 'warn')
beforeEach(() => {
  warn.mockReset()
})
/** All that the console was told, each as one text. */
const told = () => warn.mock.calls.map((words) => words.map(String).join(' '))
const refuses = (status: number, json: object) => (post: Parameters<typeof SERVER_ACCEPTS>[0]) =>
  post.endpoint === 'reconnect' ? post.answers(status, json) : SERVER_ACCEPTS(post)
/** Without a listener for `stopped` and `error`. */
const deaf = (options: Partial<ConnectionOptions> = {}) => createWorld(options, SERVER_ACCEPTS, false)
const cursors = [{ sessionId: 's1', lastSeq: 1 }]

test('a terminal stop without a `stopped` listener is told on the console, with what the server said; once', async () => {
  const world = deaf({ cursors })
  const { connection } = world
  world.server(refuses(403, { error: 'origin', message: 'Origin http://a is not http://b' }))
  for (let time = 0; time < 3; time++) {
    connection.connect()
    await world.opens()
    await settle()
    expect(connection.phase).toBe('idle')
  }
  expect(told()).toEqual([
    expect.stringMatching(
      /^holdline: stopped until connect\(\) ConnectionError: .*the server answered 403: origin: Origin http:\/\/a is not http:\/\/b/,
    ),
  ])
})

test('a POST that is repeated is told in one line, once: a stack says nothing of what passes by itself', async () => {
  const world = deaf()
  const { connection } = world
  let failures = 2
  world.server((post) => (post.endpoint === 'send' && failures-- > 0 ? post.answers(503, {}) : SERVER_ACCEPTS(post)))
  connection.connect()
  await world.opens()
  const { settled } = connection.send({ type: 'send', sessionId: 's1' })
  for (let time = 0; time < 3; time++) {
    await settle()
    await world.clock.advance(1_000)
  }
  expect(await settled).toMatchObject({ status: 'accepted', attempts: 3 })
  expect(warn.mock.calls).toEqual([['holdline: http', 'POST send (application/json): the server answered 503']])
})

test('a terminal stop that is heard is not', async () => {
  const world = deaf({ cursors })
  const { connection } = world
  connection.on('stopped', () => {})
  world.server(refuses(401, {}))
  connection.connect()
  await world.opens()
  expect([connection.phase, told()]).toEqual(['idle', []])
})

test('a first connect that fails is told as an error, or on the console, with the URL and the reason; once', async () => {
  const world = deaf()
  const { connection, streams } = world
  connection.connect()
  for (let time = 0; time < 3; time++) {
    streams.at(-1)?.fails(503)
    await world.retries()
  }
  expect(told()).toEqual([
    expect.stringMatching(
      /^holdline: stream-failed not connected to http:\/\/test\/api\/chat, but trying: the server answered 503/,
    ),
  ])
})

test('one that was open once has listeners for that: the console is told nothing', async () => {
  const world = deaf()
  const { connection, streams } = world
  await world.opens()
  for (let time = 0; time < 3; time++) {
    streams.at(-1)?.fails()
    await world.retries()
  }
  expect([connection.phase, told()]).toEqual(['connecting', []])
})

test('two live connections of one page on one storage key: the second one says so, once', () => {
  const storage = createStorage()
  const one = createWorld({ storage: persist(storage, { key: 'k' }) })
  createWorld({ storage: persist(storage, { key: 'other' }) })
  createWorld({ storage: persist(createStorage(), { key: 'k' }) })
  expect(told()).toEqual([])
  const two = createWorld({ storage: persist(storage, { key: 'k' }) })
  expect(told()).toEqual([
    'holdline: two connections of this page use one storage key: dispose() one, or give each its own k',
  ])
  one.connection.dispose()
  two.connection.dispose()
  createWorld({ storage: persist(storage, { key: 'k' }) })
  expect(told()).toHaveLength(1)
})

test('an event that does not exist, or no listener: thrown, because it is a mistake in code', () => {
  const { connection } = createWorld()
  for (const name of ['messages', '', undefined, 'toString', 'message opened']) {
    expect(() => connection.on(name as 'message', () => {})).toThrow(
      expect.objectContaining({
        name: 'ConnectionError',
        code: 'invalid-option',
        message: `event: ${name} is not one of message, opened, closed, stopped, phase, session, delivery, refused, error`,
      }),
    )
  }
  for (const name of ['message', 'phase'] as const) {
    expect(() => connection.on(name, undefined as never)).toThrow('listener: undefined is not a function')
  }
})

test('C80: connect() without a page to resolve a relative URL against is thrown, and leads nowhere', () => {
  const connection = createConnection({ url: '/api/chat' })
  expect(() => connection.connect()).toThrow(
    expect.objectContaining({ code: 'invalid-option', message: 'url: /api/chat is relative, and here is no page' }),
  )
  expect(connection.phase).toBe('idle')
  connection.dispose()
})

test('C77: without a random source createConnection throws, and names what to install', () => {
  for (const crypto of [undefined, {}]) {
    vi.stubGlobal('crypto', crypto)
    expect(() => createConnection({ url: 'https://host/api/chat' })).toThrow(
      expect.objectContaining({
        code: 'invalid-option',
        message: expect.stringMatching(/^crypto.getRandomValues: .*react-native-get-random-values/),
      }),
    )
    vi.unstubAllGlobals()
  }
})

describe('C72: a login page in the place of a stream', () => {
  const LOGIN = 'GET events: redirected to http://test/login; log in, or correct `url`'
  const redirected = (world: ReturnType<typeof deaf>) =>
    world.streams.at(-1)?.dispatch('error', { cause: new ConnectionError('redirected', LOGIN) })
  const SENTENCE = `holdline: redirected not connected to http://test/api/chat, but trying: ${LOGIN}`

  test('is told once, though the failure before it was told too', async () => {
    const world = deaf()
    world.connection.connect()
    world.streams.at(-1)?.fails()
    for (let time = 0; time < 3; time++) {
      await world.retries()
      redirected(world)
      await settle()
    }
    expect(told().map((line) => line.replace(/\n.*/s, ''))).toEqual([
      expect.stringContaining('holdline: stream-failed'),
      SENTENCE,
    ])
  })

  test('is told where the session ended after the line was open', async () => {
    const world = deaf()
    const errors: string[] = []
    world.connection.on('error', ({ error }) => errors.push(error.message))
    for (let time = 0; time < 2; time++) {
      await world.opens()
      world.streams.at(-1)?.fails()
      for (let retry = 0; retry < 3; retry++) {
        await world.retries()
        redirected(world)
        await settle()
      }
      await world.retries()
    }
    const sentence = `not connected to http://test/api/chat, but trying: ${LOGIN}`
    expect([errors, told()]).toEqual([[sentence, sentence], []])
  })
})

describe('a message that was sent, and no connect()', () => {
  const HINT = 'holdline: a message waits, and connect() was not called http://test/api/chat'

  test('is told on the console after 5 s, once', async () => {
    const { connection, clock } = deaf()
    connection.send({ type: 'send', prompt: 'hi' })
    await clock.advance(4_999)
    expect(told()).toEqual([])
    await clock.advance(1)
    expect(told()).toEqual([HINT])
    connection.send({ type: 'send', prompt: 'anybody?' })
    await clock.advance(10_000)
    expect([told(), clock.pending]).toEqual([[HINT], 0])
  })

  test('is none where nothing waits any more, but a later one is told', async () => {
    const { connection, clock } = deaf()
    connection.send({ type: 'send', prompt: 'hi' }).cancel()
    await clock.advance(5_000)
    expect(told()).toEqual([])
    connection.send({ type: 'send', prompt: 'hi' })
    await clock.advance(5_000)
    expect(told()).toEqual([HINT])
  })

  test.each<[when: string, steps: (world: ReturnType<typeof deaf>) => unknown]>([
    ['after connect()', ({ connection }) => connection.connect()],
    ['after dispose()', ({ connection }) => connection.dispose()],
    [
      'after disconnect()',
      ({ connection }) => {
        connection.connect()
        connection.disconnect()
        connection.send({ type: 'send', prompt: 'later' })
      },
    ],
    [
      'after a terminal stop, which is told itself',
      async (world) => {
        world.connection.on('stopped', () => {})
        world.server(refuses(401, {}))
        world.connection.watch('s1', { after: 1 })
        await world.opens()
        expect(world.connection.phase).toBe('idle')
        world.connection.send({ type: 'send', prompt: 'later' })
      },
    ],
  ])('is not told %s', async (_, steps) => {
    const world = deaf()
    world.connection.send({ type: 'send', prompt: 'hi' })
    await steps(world)
    await world.clock.advance(10_000)
    expect(told().filter((line) => line.includes('waits'))).toEqual([])
  })
})
