import { describe, expect, test, vi } from 'vitest'
import { type CommandCall, createChatServer, METRICS, type Metric } from '../../server'
import { answer, createTestServer, openStalledStream, openStream, range, settle } from '../support/server'

function createMeasuredServer(overrides: Parameters<typeof createTestServer>[0] = {}) {
  const metrics: Metric[] = []
  const started = createTestServer({ onMetric: (metric) => metrics.push(metric), ...overrides })
  return { ...started, metrics, of: (name: string) => metrics.filter((metric) => metric.name === name) }
}

describe('onMetric', () => {
  test('tells how many streams there are whenever that changes', async () => {
    const { server, of } = createMeasuredServer()
    const stream = await openStream(server)
    await openStream(server, 'bob')
    await stream.cancel()
    expect(of('streams').map(({ value }) => value)).toEqual([1, 2, 1])
    await server.close()
    expect(of('streams').map(({ value }) => value)).toEqual([1, 2, 1, 0])
  })

  test('counts what is appended and replayed, and measures appends', async () => {
    const { server, of } = createMeasuredServer()
    for (const n of range(1, 3)) await server.publish('room', { type: 'x', n })
    expect(of('appends')).toHaveLength(3)
    expect(of('append.duration').map(({ value }) => value)).toEqual([0, 0, 0])
    const stream = await openStream(server)
    const sessions = [
      { sessionId: 'room', lastSeq: 1 },
      { sessionId: 'room2', lastSeq: 0 },
    ]
    await stream.post('reconnect', { type: 'reconnect', sessions })
    expect(of('replays')).toEqual([{ name: 'replays', value: 2 }])
  })

  test('an append that fails is none', async () => {
    const log = {
      append: () => Promise.reject(new Error('no')),
      read: () => [],
      head: () => ({ epoch: 'e', first: 1, head: 0 }),
      subscribe: () => () => {},
    }
    const { server, metrics } = createMeasuredServer({ log })
    await expect(server.publish('room', { type: 'x' })).rejects.toThrow('no')
    expect(metrics).toEqual([])
  })

  test('counts the evicted', async () => {
    const { server, of, clock } = createMeasuredServer()
    const stalled = await openStalledStream(server)
    await stalled.post('probe', { type: 'probe', nonce: 'n' })
    await clock.advance(10_000)
    expect(of('evictions')).toEqual([{ name: 'evictions', value: 1 }])
  })

  test('a hook that throws is reported, and harms nobody', async () => {
    const { server, errors } = createMeasuredServer({
      onMetric: () => {
        throw new Error('no')
      },
    })
    await openStream(server)
    expect((await server.publish('room', { type: 'x' })).seq).toBe(1)
    expect(errors.length).toBeGreaterThan(0)
  })

  test('names nothing that METRICS does not explain', async () => {
    const { server, metrics } = createMeasuredServer()
    const stream = await openStream(server)
    await server.publish('room', { type: 'x' })
    await stream.watch('room')
    expect(metrics.length).toBeGreaterThan(3)
    for (const { name } of metrics) expect(Object.keys(METRICS)).toContain(name)
  })

  test('must be a function', () => {
    const onMetric = 'log' as never
    const hooks = { authenticate: () => null, authorize: () => false, onCommand: () => {} }
    expect(() => createChatServer({ ...hooks, onMetric })).toThrow("'onMetric' must be a function")
  })
})

describe('close', () => {
  test('tells each client when to come back, and each new one too', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await server.close({ retryAfter: 0, spread: 60_000 })
    await settle()
    expect(stream.ofType('goodbye')).toEqual([{ type: 'goodbye', retryAfter: 0, spread: 60_000 }])
    expect(stream.ending).toBe('ended')
    const refused = await server.fetch(new Request('http://chat.test/api/events', { headers: { Authorization: 'al' } }))
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([503, '5'])
  })

  test.each([
    [{ spread: -1 }, "'spread' must be a number ≥ 0 and ≤ 300000"],
    [{ spread: 300_001 }, "'spread'"],
    [{ retryAfter: Number.NaN }, "'retryAfter'"],
    [{ spraed: 1 }, "close: unknown option 'spraed'"],
  ])('refuses %j, and closes nothing', async (options, message) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    await expect(server.close(options as never)).rejects.toThrow(message)
    expect((await stream.post('stop', { type: 'stop' })).status).toBe(200)
  })
})

describe("a command's publish", () => {
  const SEND = { type: 'send', sessionId: 'room' }

  test('is not repeated when the command is, by whatever it published before it failed', async () => {
    const fail = vi.fn()
    const { server } = createTestServer({
      async onCommand({ publish }: CommandCall) {
        const one = await publish('room', { type: 'one' })
        fail()
        const two = await publish('room', { type: 'two' })
        return [one.seq, two.seq]
      },
    })
    const stream = await openStream(server)
    fail.mockImplementationOnce(() => {
      throw new Error('no')
    })
    expect((await stream.post('send', SEND, { key: 'k' })).status).toBe(500)
    await server.publish('room', { type: 'in between' })
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, [1, 3]])
    expect(stream.events).toEqual(['room:1', 'room:2', 'room:3'])
  })

  test('is counted by session: the second run may leave one out', async () => {
    const ran: string[] = []
    const { server } = createTestServer({
      async onCommand({ publish }: CommandCall) {
        const sessions = ran.length === 0 ? ['room1', 'room2'] : ['room2']
        for (const session of sessions) await publish(session, { type: 'x' })
        ran.push('once more')
        if (ran.length === 1) throw new Error('no')
      },
    })
    const stream = await openStream(server)
    for (const session of ['room1', 'room2']) await stream.watch(session)
    for (const _ of range(1, 2)) await stream.post('send', SEND, { key: 'k' })
    expect(stream.events).toEqual(['room1:1', 'room2:1'])
  })

  test('of another command, or of one without a key, is another event', async () => {
    const { server } = createTestServer({ onCommand: ({ publish }) => publish('room', { type: 'x' }) })
    const stream = await openStream(server)
    for (const key of ['k1', 'k2', undefined, undefined]) await stream.post('send', SEND, key ? { key } : {})
    await stream.post('send', SEND, { key: 'k1' })
    expect(stream.events).toEqual(range(1, 4).map((seq) => `room:${seq}`))
  })

  test('checks what it is given, as the server does', async () => {
    const errors: unknown[] = []
    const { server } = createTestServer({
      onCommand: ({ publish }) => publish('no session', { type: 'x' }),
      onError: (error) => errors.push(error),
    })
    const stream = await openStream(server)
    expect((await stream.post('send', SEND, { key: 'k' })).status).toBe(500)
    expect(String(errors[0])).toContain('the session id must match')
  })
})
