import fc from 'fast-check'
import { ConnectionError, type Delivery, type Feature } from 'holdline'
import { persist } from 'holdline/storage'
import { describe, expect, test } from 'vitest'
import { toFrame } from '../../adapters/websocket/frames'
import { laneHeldUpBy, laneName } from '../../outbox/lane'
import { LANE } from '../../protocol'
import { createWorld, type FakePost, settle } from '../support/fakes'
import { createStorage } from '../support/storage'

/**
 * Any string of UTF-16 that a program can hold: lone surrogates, control characters, what URLs and
 * JSON escape, and very long ones.
 */
const piece = fc.oneof(
  fc.constantFrom(
    '\ud800',
    '\udfff',
    '\ud83d\ude00',
    '\0',
    '\n',
    '\x7f',
    '\u2028',
    '%',
    ':',
    '"',
    '\\',
    '..',
    '__proto__',
  ),
  fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
  fc.string({ unit: 'binary' }),
)
const text = fc.oneof(
  fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
  fc.tuple(piece, fc.integer({ min: 1, max: 600 })).map(([unit, times]) => unit.repeat(times)),
)
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const accept = (post: FakePost) => {
  const { messages } = post.body as { messages?: { id: string }[] }
  return post.answers(
    200,
    messages ? { results: messages.map(({ id }) => ({ id, status: 200, receipt: {} })) } : { ok: true, sessions: [] },
  )
}

/** Calls it; what it throws has to be the typed error of a call. */
function called<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    expect(error).toBeInstanceOf(ConnectionError)
    expect((error as ConnectionError).code).toBe('invalid-option')
    return undefined
  }
}

const SERVERS: readonly (readonly [what: string, features: readonly Feature[]])[] = [
  ['nothing', []],
  ['lanes', ['receipts', 'lanes', 'watch-replay']],
  ['batches', ['receipts', 'lanes', 'batch', 'cancels', 'idempotency', 'watch-replay']],
]

describe('strings of the app and of the server', () => {
  test.each(SERVERS)(
    'whatever they are, send, watch and cancel throw typed errors only, and the line goes on: a server that announces %s',
    async (_, features) => {
      const sent = fc.record({
        type: fc.oneof(fc.constantFrom('send', 'stop', 'interrupt', 'switch_session', 'reconnect'), text),
        sessionId: maybe(text),
        prompt: text,
        id: maybe(text),
        lane: maybe(text),
        end: fc.constantFrom('wait', 'cancel'),
      })
      await fc.assert(
        fc.asyncProperty(
          fc.array(sent, { maxLength: 8 }),
          fc.array(text, { maxLength: 4 }),
          async (messages, sessions) => {
            const world = createWorld({}, accept)
            const { connection } = world
            await world.opens({ features })
            const deliveries: Delivery[] = []
            for (const { type, sessionId, prompt, id, lane, end } of messages) {
              const message = { type, prompt, ...(sessionId !== undefined && { sessionId }) } as { type: 'send' }
              const delivery = called(() => connection.send(message, { ...(id && { id }), ...(lane && { lane }) }))
              if (end === 'cancel') delivery?.cancel()
              if (delivery) deliveries.push(delivery)
            }
            const ends = sessions.map((sessionId) => called(() => connection.watch(sessionId)))
            await settle()
            await settle()
            for (const end of ends) end?.()
            await settle()
            const verdicts = await Promise.all(deliveries.map(({ settled }) => settled))
            for (const verdict of verdicts)
              if (verdict.status !== 'accepted') expect(['unknown-type', 'cancelled']).toContain(verdict.error.code)
            expect(connection.phase).toBe('open')
            expect(world.errors).toEqual([])
            expect(world.log.join()).not.toContain('stopped')
            for (const { headers, body } of world.posts) {
              const lane = headers.get('x-lane')
              if (lane !== null) expect(decodeURIComponent(lane)).toMatch(LANE)
              for (const element of (body.messages ?? []) as { lane?: string }[])
                expect(element.lane ?? '').toMatch(LANE)
            }
            connection.dispose()
          },
        ),
        { numRuns: 150, seed: 20_261_129 },
      )
    },
    30_000,
  )

  test('a session id that no header can carry is posted as it is, in a lane that every server takes', async () => {
    const world = createWorld({}, accept)
    await world.opens({ features: ['receipts', 'lanes'] })
    const sessionId = '\ud800\n'
    await world.connection.send({ type: 'send', sessionId }).settled
    const { headers, body } = world.post('send')
    expect(body.sessionId).toBe(sessionId)
    expect(headers.get('x-lane')).toBe('session%3A%EF%BF%BD%EF%BF%BD')
    expect(world.errors).toEqual([])
  })

  test('the lane of a session, and that of its stop, is one that the protocol knows, and the stop holds up its session', () => {
    fc.assert(
      fc.property(text, (sessionId) => {
        const own = laneName({ type: 'send', sessionId })
        const stop = laneName({ type: 'stop', sessionId })
        expect(own).toMatch(LANE)
        expect(stop).toMatch(LANE)
        expect(laneHeldUpBy(stop)).toBe(own)
        expect(JSON.parse(toFrame('i', 'send', '{}', encodeURIComponent(stop))).lane).toBe(stop)
      }),
      { seed: 20_261_129 },
    )
    expect(laneName({ type: 'send', sessionId: 's1' })).toBe('session:s1')
    expect(laneName({ type: 'send', sessionId: 's1' })).not.toBe(laneName({ type: 'send', sessionId: 's2' }))
  })

  test.each(['\ud800', 'a\nb', 'x'.repeat(300), 7])(
    'a stored lane that no server takes is not used: %j',
    async (lane) => {
      const storage = createStorage()
      const place = 'holdline:http://test/api/chat:message:gone:1'
      const stored = { message: { type: 'send', sessionId: 's1' }, id: 'm1', attempts: 0, lane }
      storage.entries.set(place, JSON.stringify(stored))
      const world = createWorld({ storage: persist(storage) }, accept)
      await world.opens({ features: ['receipts', 'lanes'] })
      expect(world.post('send').headers.get('x-lane')).toBe('session%3As1')
      expect(world.connection.pending).toEqual([])
    },
  )
})

describe('a message that cannot be looked at, or changes', () => {
  const raise = () => {
    throw new Error('no')
  }
  const revoked = Proxy.revocable({ type: 'send' }, {})
  revoked.revoke()
  test.each<[string, unknown]>([
    ['a type that throws', Object.defineProperty({}, 'type', { get: raise, enumerable: true })],
    ['a hidden type that throws', Object.defineProperty({}, 'type', { get: raise })],
    ['a session that throws', Object.defineProperty({ type: 'send' }, 'sessionId', { get: raise })],
    ['a revoked proxy', revoked.proxy],
    ['a toJSON that throws', { type: 'send', toJSON: raise }],
    ['a toJSON that makes a text of it', { type: 'send', toJSON: () => '{}' }],
    ['a toJSON that makes a list of it', { type: 'send', toJSON: () => [] }],
    ['a list', []],
    ['null', null],
    ['a text', '{"type":"send"}'],
    ['a bigint in it', { type: 'send', big: 1n }],
  ])('is rejected as `invalid-message`: %s', async (_, message) => {
    const world = createWorld({}, accept)
    await world.opens()
    const { settled, cancel } = world.connection.send(message as { type: 'send' })
    expect(cancel()).toBe(false)
    expect(await settled).toMatchObject({ status: 'rejected', error: { code: 'invalid-message' } })
    expect(world.connection.phase).toBe('open')
    expect(world.postsTo('send')).toEqual([])
  })

  test('a stop whose message has become a circle is posted as it was sent, with what it takes back', async () => {
    const world = createWorld({}, (post) => post.endpoint === 'stop' && accept(post))
    await world.opens({ features: ['receipts', 'cancels'] })
    const { id } = world.connection.send({ type: 'send', sessionId: 's1' })
    await settle()
    world.connection.disconnect()
    const stop: { type: 'stop'; sessionId: string; self?: unknown } = { type: 'stop', sessionId: 's1' }
    const { settled } = world.connection.send(stop)
    stop.self = stop
    stop.sessionId = 's2'
    await world.opens({ features: ['receipts', 'cancels'] })
    expect(await settled).toMatchObject({ status: 'accepted' })
    expect(world.post('stop').body).toEqual({ type: 'stop', sessionId: 's1', cancels: [id] })
    expect(world.connection.phase).toBe('open')
  })
})
