import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ENDPOINTS } from '../../protocol'
import { createChatServer, memoryLog } from '../../server'
import { BASE, createTestServer, getEvents, openStream, post, settle, watchedLog } from '../support/server'

const PROBE = { type: 'probe', nonce: 'n' }
const answer = async (response: Promise<Response>) => [(await response).status, await (await response).json()]

describe('routing', () => {
  test('the last segment of the path is the endpoint, wherever the server is mounted', async () => {
    const { server } = createTestServer()
    for (const url of ['http://h/events', 'http://h/a/b/events?x=1']) {
      expect((await server.fetch(new Request(url, { headers: { Authorization: 'alice' } }))).status).toBe(200)
    }
  })

  test.each(['', 'event', 'constructor', '__proto__'])(
    'a POST to the unknown /%s is a 400: a 404 would tell the client that its stream is unknown',
    async (endpoint) => {
      const { server } = createTestServer()
      const message = expect.stringMatching(/^'\w+' is no endpoint here; there are send, stop, /)
      expect(await answer(post(server, endpoint, {}))).toEqual([400, { error: 'unknown-endpoint', message }])
    },
  )

  test('a wrong method is told the right one', async () => {
    const { server } = createTestServer()
    const posted = await post(server, 'events', {})
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET'])
    const got = await server.fetch(new Request(`${BASE}/send`))
    expect([got.status, got.headers.get('allow')]).toEqual([405, 'POST'])
  })
})

describe('checks', () => {
  test('who is not authenticated gets 401 before anything else is looked at', async () => {
    const { server } = createTestServer()
    expect(await answer(post(server, 'send', 'no json', { as: '' }))).toEqual([401, { error: 'unauthorized' }])
    expect((await getEvents(server, '')).status).toBe(401)
  })

  test.each(['text/plain', 'application/jsonp', 'application/x-www-form-urlencoded'])('%s is a 415', async (type) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect((await stream.post('probe', PROBE, { headers: { 'Content-Type': type } })).status).toBe(415)
  })

  test('application/json may have parameters', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const headers = { 'Content-Type': 'Application/JSON; charset=utf-8' }
    expect((await stream.post('probe', PROBE, { headers })).status).toBe(200)
  })

  test.each(['', '{', '[]', 'null', '7', '"text"'])('the body %j is a bad request', async (body) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    expect(await answer(stream.post('probe', body))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
  })

  test('a body that is not UTF-8, or is cut off, is a bad request and no internal error', async () => {
    const { server, errors } = createTestServer()
    const { connectionId } = await openStream(server)
    const headers = { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId }
    const cutOff = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
    for (const body of [new Uint8Array([0x7b, 0xff, 0x7d]), cutOff]) {
      const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
      expect((await server.fetch(new Request(`${BASE}/probe`, init))).status).toBe(400)
    }
    expect(errors).toEqual([])
  })

  test('C117: a Request that has no `body`, as in Firefox, is read all the same', async () => {
    const { server } = createTestServer({ limits: { bodyBytes: 100 } })
    const { connectionId } = await openStream(server)
    const headers = { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId }
    const ask = async (body: string) => {
      const request = new Request(`${BASE}/probe`, { method: 'POST', headers, body })
      Object.defineProperty(request, 'body', { value: undefined })
      return (await server.fetch(request)).status
    }
    expect(await ask(JSON.stringify(PROBE))).toBe(200)
    expect(await ask('x'.repeat(101))).toBe(413)
    expect(await ask('')).toBe(400)
  })

  test('a body over limits.bodyBytes is a 413, whatever its content-length says', async () => {
    const { server } = createTestServer({ limits: { bodyBytes: 100 } })
    const stream = await openStream(server)
    const long = { ...PROBE, padding: 'ä'.repeat(50) }
    for (const headers of [{}, { 'Content-Length': '10' }]) {
      expect(await answer(stream.post('probe', long, { headers }))).toEqual([413, { error: 'too-large' }])
    }
    expect((await stream.post('probe', PROBE, { headers: { 'Content-Length': '101' } })).status).toBe(413)
    expect((await stream.post('probe', PROBE)).status).toBe(200)
  })

  test('an endless body is read no further than 4 MiB', async () => {
    const { server } = createTestServer({ limits: { bodyBytes: 10_000 } })
    const { connectionId } = await openStream(server)
    let pulled = 0
    let isCancelled = false
    const body = new ReadableStream({
      pull: (controller) => {
        pulled += 1
        controller.enqueue(new Uint8Array(100_000).fill(32))
      },
      cancel: () => {
        isCancelled = true
      },
    })
    const headers = { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId }
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
    expect((await server.fetch(new Request(`${BASE}/probe`, init))).status).toBe(413)
    expect(pulled).toBeLessThan(50)
    expect(isCancelled).toBe(true)
  })
})

describe('connection ids', () => {
  test('C51: they are 128 random bits, each one new', async () => {
    const { server } = createTestServer({ random: () => 0, limits: { streamsPerPrincipal: 100 } })
    const ids = new Set<string>()
    for (let n = 0; n < 50; n += 1) ids.add((await openStream(server)).connectionId)
    expect(ids.size).toBe(50)
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/)
  })

  test('C51: another principal’s id is answered exactly like one that does not exist, and does nothing', async () => {
    const { log, calls } = watchedLog()
    const { server } = createTestServer({ log })
    const alice = await openStream(server)
    const posts: [string, object][] = [
      ['probe', PROBE],
      ['watch', { type: 'watch', sessionId: 'room', lastSeq: 0 }],
      ['unwatch', { type: 'unwatch', sessionId: 'room' }],
      ['reconnect', { type: 'reconnect', resumeId: 'r', sessions: [{ sessionId: 'room', lastSeq: 0 }] }],
      ['send', { type: 'send', sessionId: 'room' }],
      ['suspend', { type: 'session_suspend', sessions: [] }],
    ]
    for (const [endpoint, message] of posts) {
      const answers = []
      for (const connectionId of [alice.connectionId, 'x'.repeat(22), '', undefined]) {
        const response = await post(server, endpoint, message, {
          as: 'bob',
          ...(connectionId !== undefined && { connectionId }),
        })
        answers.push([response.status, await response.text(), [...response.headers]])
      }
      expect(answers[0]?.[0]).toBe(404)
      expect(answers[0]?.[1]).toBe('{"error":"unknown-stream"}')
      for (const other of answers) expect(other).toEqual(answers[0])
    }
    await settle()
    expect(alice.frames).toHaveLength(1)
    expect(calls).toEqual([])
  })
})

describe('origins', () => {
  const from = (Origin: string, more = {}) => ({ Origin, ...more })

  test.each([
    ['the request’s own', from('http://chat.test'), 200],
    ['the host’s, behind a proxy that ends TLS', from('https://chat.example', { Host: 'chat.example' }), 200],
    ['another', from('https://evil.example'), 403],
    ['opaque', from('null'), 403],
    ['malformed', from('::', { Host: '' }), 403],
  ])('by default only the same origin may call: %s', async (_, headers, status) => {
    const { server } = createTestServer()
    expect((await getEvents(server, 'alice', headers)).status).toBe(status)
    const { connectionId } = await openStream(server)
    const posted = await post(server, 'probe', PROBE, { connectionId, headers })
    expect(posted.status).toBe(status)
    expect(posted.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('with allowedOrigins those may call, with credentials, and nobody else', async () => {
    const { server } = createTestServer({ allowedOrigins: ['https://app.example'] })
    const allowed = await getEvents(server, 'alice', from('https://app.example'))
    expect(allowed.status).toBe(200)
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(allowed.headers.get('access-control-allow-credentials')).toBe('true')
    expect(allowed.headers.get('vary')).toBe('Origin')
    for (const origin of ['https://evil.example', 'http://chat.test', 'https://app.example.evil']) {
      const refused = await getEvents(server, 'alice', from(origin))
      expect(await answer(Promise.resolve(refused))).toMatchObject([403, { error: 'origin' }])
      expect(refused.headers.get('access-control-allow-origin')).toBeNull()
    }
    expect((await getEvents(server)).status).toBe(200)
  })

  test('a preflight is answered for an allowed origin without asking who it is; errors are readable for it too', async () => {
    const { server } = createTestServer({ allowedOrigins: ['https://app.example'] })
    const preflight = (origin: string) =>
      server.fetch(new Request(`${BASE}/send`, { method: 'OPTIONS', headers: { Origin: origin } }))
    const { status, headers } = await preflight('https://app.example')
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-headers')).toBe(
      'Content-Type, X-Connection-ID, Idempotency-Key, X-Lane, Authorization',
    )
    expect((await preflight('https://evil.example')).status).toBe(403)
    const unauthorized = await post(server, 'send', {}, { as: '', headers: from('https://app.example') })
    expect([unauthorized.status, unauthorized.headers.get('access-control-allow-origin')]).toEqual([
      401,
      'https://app.example',
    ])
    const closed = createTestServer()
    expect((await closed.server.fetch(new Request(`${BASE}/send`, { method: 'OPTIONS' }))).status).toBe(405)
  })
})

describe('options', () => {
  const hooks = { authenticate: () => null, authorize: () => false, onCommand: () => undefined }

  test.each<[string, object]>([
    ['authenticate', { authenticate: undefined }],
    ['authorize', { authorize: 'yes' }],
    ['onCommand', { onCommand: null }],
    ['onSuspend', { onSuspend: 1 }],
    ['onError', { onError: 'log' }],
    ['hearbeat', { hearbeat: 1 }],
    ['heartbeat', { heartbeat: 0 }],
    ['heartbeat', { heartbeat: '15s' }],
    ['heartbeat', { heartbeat: 2 ** 31 }],
    ['allowedOrigins', { allowedOrigins: 'https://a.example' }],
    ['allowedOrigins', { allowedOrigins: ['https://a.example/'] }],
    ['allowedOrigins', { allowedOrigins: ['*'] }],
    ['allowedHosts', { allowedHosts: 'chat.example' }],
    ['allowedHosts', { allowedHosts: ['chat.example:80'] }],
    ['allowedHosts', { allowedHosts: ['https://chat.example'] }],
    ['allowedHeaders', { allowedHeaders: 'traceparent' }],
    ['allowedHeaders', { allowedHeaders: ['*'] }],
    ['trustProxy', { trustProxy: 1 }],
    ['limits.bodyTimeout', { limits: { bodyTimeout: 0 } }],
    ['limits', { limits: 7 }],
    ['stal', { limits: { stal: 1 } }],
    ['limits.stall', { limits: { stall: -1 } }],
    ['limits.streamAge', { limits: { streamAge: 2_000_000_000 } }],
    ['limits.bodyBytes', { limits: { bodyBytes: 0.5 } }],
    ['endpoints', { endpoints: 'fork' }],
    ['endpoints', { endpoints: { fork: 'a/b' } }],
    ['endpoints', { endpoints: { fork: 'reconnect' } }],
    ['endpoints', { endpoints: { send: 'other' } }],
    ['clock', { clock: { now: Date.now } }],
    ['random', { random: 0.5 }],
    ['log', { log: { append: () => {} } }],
  ])('a wrong %s is a TypeError that names it', (name, wrong) => {
    const create = () => createChatServer({ ...hooks, ...wrong })
    expect(create).toThrow(TypeError)
    expect(create).toThrow(`'${name}'`.replace("'limits'", 'limits'))
  })
})

test('C52: no JSON, at any endpoint, is an internal error', async () => {
  const { server, errors } = createTestServer({ authorize: () => true })
  const stream = await openStream(server)
  const text = fc.oneof(fc.constantFrom('room', 'send', '__proto__', 'a b', ''), fc.string())
  const cursor = fc.record({ sessionId: text, lastSeq: fc.oneof(fc.nat(), fc.jsonValue()), epoch: fc.jsonValue() })
  const message = fc.record(
    {
      type: fc.oneof(fc.constantFrom(...Object.keys(ENDPOINTS), 'reconnect', 'probe'), fc.jsonValue()),
      sessionId: fc.oneof(text, fc.jsonValue()),
      lastSeq: fc.oneof(fc.nat(), fc.jsonValue()),
      sessions: fc.oneof(fc.array(cursor), fc.jsonValue()),
      resumeId: fc.oneof(text, fc.jsonValue()),
      nonce: fc.oneof(text, fc.jsonValue()),
      connectionId: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  const endpoints = [...Object.values(ENDPOINTS), 'reconnect', 'probe', 'events', 'batch']
  const matching = fc
    .tuple(fc.constantFrom(...Object.entries({ ...ENDPOINTS, reconnect: 'reconnect', probe: 'probe' })), message)
    .map(([[type, endpoint], rest]) => [endpoint, { ...rest, type }] as const)
  const batched = fc
    .array(fc.oneof(matching, fc.tuple(fc.oneof(text, fc.jsonValue()), fc.oneof(message, fc.jsonValue()))))
    .map((entries) => entries.map(([endpoint, body], n) => ({ id: `k${n}`, endpoint, body })))
    .map((messages) => ['batch', { messages }] as const)
  const anything = fc.tuple(fc.constantFrom(...endpoints), fc.oneof(message, fc.jsonValue()))
  await fc.assert(
    fc.asyncProperty(fc.oneof(matching, batched, anything), async ([endpoint, body]) => {
      const response = await stream.post(endpoint, body)
      expect([200, 400, 403, 404, 405]).toContain(response.status)
      if (endpoint !== 'batch' || response.status !== 200) return
      for (const { status } of (await response.json()).results) expect([200, 400, 403, 409]).toContain(status)
    }),
    { numRuns: 1_000 },
  )
  expect(errors).toEqual([])
  expect(stream.ending).toBe('open')
})

describe('memoryLog', () => {
  const at = (time: number) => {
    const clock = { time, now: () => clock.time }
    return clock
  }
  const seqs = async (entries: ReturnType<ReturnType<typeof memoryLog>['read']>) =>
    (await entries).map(({ seq }) => seq)

  test('numbers each session from 1, without a hole', async () => {
    const log = memoryLog()
    for (const sessionId of ['a', 'b', 'a']) log.append(sessionId, { type: 'x' })
    expect(await log.head('a')).toMatchObject({ first: 1, head: 2 })
    expect(await log.head('b')).toMatchObject({ first: 1, head: 1 })
    expect(await log.head('c')).toMatchObject({ first: 1, head: 0 })
    expect(await seqs(log.read('a', 0, 10))).toEqual([1, 2])
    expect(await seqs(log.read('a', 1, 10))).toEqual([2])
    expect(await seqs(log.read('a', 0, 1))).toEqual([1])
    expect(await seqs(log.read('c', 0, 1))).toEqual([])
  })

  test('keeps maxEvents of each session', async () => {
    const log = memoryLog({ maxEvents: 3 })
    for (let n = 0; n < 5; n += 1) log.append('a', { type: 'x' })
    expect(await log.head('a')).toMatchObject({ first: 3, head: 5 })
    expect(await seqs(log.read('a', 0, 10))).toEqual([3, 4, 5])
  })

  test('keeps events for maxAge, and the numbering as long as somebody is subscribed', async () => {
    const clock = at(0)
    const log = memoryLog({ maxAge: 1_000, clock })
    const unsubscribe = await log.subscribe('a', () => {})
    const { epoch } = await log.append('a', { type: 'x' })
    clock.time = 500
    await log.append('a', { type: 'x' })
    clock.time = 1_000
    expect(await log.head('a')).toEqual({ epoch, first: 2, head: 2 })
    clock.time = 9_000
    expect(await log.head('a')).toEqual({ epoch, first: 3, head: 2 })
    expect(await log.append('a', { type: 'x' })).toMatchObject({ epoch, seq: 3 })
    unsubscribe()
  })

  test('a session that is old and that nobody is subscribed to starts again, in another epoch', async () => {
    const clock = at(0)
    const log = memoryLog({ maxAge: 1_000, clock })
    const { epoch } = await log.append('a', { type: 'x' })
    clock.time = 999
    expect(await log.append('b', { type: 'x' })).toMatchObject({ seq: 1 })
    expect((await log.head('a')).epoch).toBe(epoch)
    clock.time = 1_000
    await log.append('b', { type: 'x' })
    const again = await log.append('a', { type: 'x' })
    expect(again.seq).toBe(1)
    expect(again.epoch).not.toBe(epoch)
  })

  test('C95: by default that is an hour of silence; maxAge says how long, and the README names it', async () => {
    const clock = at(0)
    const logs = [memoryLog({ clock }), memoryLog({ clock, maxAge: 86_400_000 })]
    for (const log of logs) await log.append('a', { type: 'x' })
    clock.time = 3_600_000
    expect(await Promise.all(logs.map(async (log) => (await log.append('a', { type: 'x' })).seq))).toEqual([1, 2])
    const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
    expect(readme).toMatch(/memoryLog\(\{[^}]*maxAge: [\d_]+ \}\)/)
  })

  test('tells its subscribers, each as often as it subscribed, until they are gone', async () => {
    const log = memoryLog()
    let calls = 0
    const listener = () => {
      calls += 1
    }
    const unsubscribe = await log.subscribe('a', listener)
    await log.subscribe('a', listener)
    log.append('a', { type: 'x' })
    log.append('b', { type: 'x' })
    expect(calls).toBe(2)
    unsubscribe()
    unsubscribe()
    log.append('a', { type: 'x' })
    expect(calls).toBe(3)
  })

  test('reading the end of a long log looks at the end only', () => {
    const log = memoryLog({ maxEvents: Infinity })
    for (let n = 0; n < 100_000; n += 1) log.append('a', { type: 'x' })
    const measure = (after: number) => {
      const begin = performance.now()
      for (let n = 0; n < 1_000; n += 1) log.read('a', after, 16)
      return performance.now() - begin
    }
    measure(0)
    // O(n) would be 1,000 × 100,000 steps: seconds instead of milliseconds.
    expect(measure(99_980)).toBeLessThan(200)
  })

  test.each<[string, object]>([
    ['maxEvents', { maxEvents: 0 }],
    ['maxAge', { maxAge: '1h' }],
    ['clock', { clock: {} }],
    ['maxevents', { maxevents: 1 }],
  ])('a wrong %s is a TypeError that names it', (name, options) => {
    expect(() => memoryLog(options)).toThrow(new RegExp(`'${name}'`))
  })
})
