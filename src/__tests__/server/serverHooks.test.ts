import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createChatServer } from '../../server'
import {
  answer,
  createTestServer,
  fakeClock,
  getEvents,
  openStream,
  post,
  range,
  settle,
  watchedLog,
} from '../support/server'

const SEND = { type: 'send', sessionId: 'room' }
const fail = () => {
  throw new Error('secret')
}

/** What would end the process. */
const unhandled: unknown[] = []
const note = (error: unknown) => unhandled.push(error)
beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
})
afterEach(async () => {
  await settle()
  process.off('unhandledRejection', note)
  vi.restoreAllMocks()
  expect(unhandled).toEqual([])
})

const AWAY = { ...watchedLog().log, append: () => Promise.reject(new Error('the log is away')) }

describe('C86: what publish cannot append', () => {
  test.each<[string, object, [string, never], string]>([
    ['a bad session', {}, ['a b', { type: 'x' } as never], 'publish: the session id must match'],
    ['no event', {}, ['room', undefined as never], 'publish: an event must be a JSON object'],
    ['an event without a type', {}, ['room', {} as never], 'publish: an event must be a JSON object'],
    ['a type of the protocol', {}, ['room', { type: 'ping' } as never], "publish: the type 'ping' is the protocol's"],
    ['what is no JSON', {}, ['room', { type: 'x', big: 1n } as never], 'BigInt'],
    ['an event, with the log away', { log: AWAY }, ['room', { type: 'x' } as never], 'the log is away'],
  ])(
    '%s: onError is told, whoever awaits it hears it, and who does not lives on',
    async (_, options, args, message) => {
      const { server, errors } = createTestServer(options)
      void server.publish(...args)
      await settle()
      expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining(message) })])
      const heard: unknown = await server.publish(...args).catch((error: unknown) => error)
      expect(heard).toBe(errors.at(-1))
      expect(errors).toHaveLength(2)
    },
  )

  test('also by the publish of a command: the command is accepted if it does not wait, and fails if it does', async () => {
    for (const [waits, status] of [
      [false, 200],
      [true, 500],
    ] as const) {
      const { server, errors } = createTestServer({
        log: AWAY,
        async onCommand({ publish }) {
          const published = publish('room', { type: 'x' })
          if (waits) await published
        },
      })
      const stream = await openStream(server)
      expect((await stream.post('send', SEND, { key: 'k' })).status).toBe(status)
      await settle()
      expect(errors).toContainEqual(new Error('the log is away'))
    }
  })

  test('is on the console where there is no onError', async () => {
    const console_ = vi.spyOn(console, 'error').mockImplementation(() => {})
    const server = createChatServer({ authenticate: () => null, authorize: () => false, onCommand: () => null })
    void server.publish('a b', { type: 'x' })
    await settle()
    expect(console_.mock.calls).toEqual([[expect.any(TypeError)]])
  })
})

describe('C86: no hook ends the process', () => {
  const ways: [string, () => never | Promise<never>][] = [
    ['throws', fail],
    ['rejects', () => Promise.reject(new Error('secret'))],
  ]

  test.each(ways)('authenticate that %s is a 500, over either method', async (_, authenticate) => {
    const { server, errors } = createTestServer({ authenticate })
    expect(await answer(getEvents(server))).toEqual([500, { error: 'internal' }])
    expect(await answer(post(server, 'send', SEND))).toEqual([500, { error: 'internal' }])
    expect(errors).toEqual([new Error('secret'), new Error('secret')])
  })

  test.each(ways)('onSuspend that %s is told, and the stream lives', async (_, onSuspend) => {
    const { server, errors } = createTestServer({ onSuspend })
    const stream = await openStream(server)
    await stream.post('suspend', { type: 'session_suspend', sessions: [] })
    expect(errors).toEqual([new Error('secret')])
    expect((await stream.post('probe', { type: 'probe', nonce: 'n' })).status).toBe(200)
  })

  test.each(ways)('onMetric that %s is told, and nothing else changes', async (_, onMetric) => {
    const { server, errors } = createTestServer({ onMetric })
    const stream = await openStream(server)
    await stream.watch('room')
    await server.publish('room', { type: 'x' })
    await settle()
    expect([stream.events, new Set(errors.map(String))]).toEqual([['room:1'], new Set(['Error: secret'])])
    expect(errors.length).toBeGreaterThan(2)
  })

  test.each(ways)('onError that %s is not asked again about that', async (_, onError) => {
    const hook = vi.fn(onError)
    const { server } = createTestServer({ onError: hook, onMetric: fail, onCommand: fail, log: AWAY, onSuspend: fail })
    const stream = await openStream(server)
    void server.publish('room', { type: 'x' })
    expect((await stream.post('send', SEND)).status).toBe(500)
    expect((await stream.post('suspend', { type: 'session_suspend', sessions: [] })).status).toBe(500)
    expect((await getEvents(server, 'alice', { Origin: 'http://evil.example' })).status).toBe(403)
    await settle()
    // One stream, one publish, one command, one suspend, one origin.
    expect(hook).toHaveBeenCalledTimes(5)
  })
})

describe('C88: pings', () => {
  test('come every 8 s, because hosts and proxies cut what is quiet for 10 s', async () => {
    const { server, clock } = createTestServer()
    const stream = await openStream(server)
    expect(stream.frames[0]).toMatchObject({ heartbeat: 8_000 })
    for (const count of range(1, 3)) {
      await clock.advance(8_000)
      expect(stream.ofType('ping')).toHaveLength(count)
    }
  })
})

test('a server without work holds no timer, also after it has refused something', async () => {
  const clock = fakeClock()
  const { server } = createTestServer({ clock })
  expect((await post(server, 'send', SEND, { as: '' })).status).toBe(401)
  expect((await post(server, 'send', SEND)).status).toBe(404)
  expect(clock.timers).toBe(0)
})
