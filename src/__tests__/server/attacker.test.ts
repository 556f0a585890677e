import { createConnection } from 'holdline'
import { afterEach, describe, expect, test } from 'vitest'
import { listen } from '../../../tools/shared/listen'
import { type CommandCall, CommandRejected, createChatServer } from '../../server'
import { ask, createSockets } from '../support/gateway'
import { answer, BASE, createTestServer, getEvents, openStream, post, settle, until } from '../support/server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const UNKNOWN = [404, { error: 'unknown-stream' }]

describe("another principal's stream", () => {
  const POSTS: [string, object][] = [
    ['send', { type: 'send', sessionId: 'room', prompt: 'x' }],
    ['stop', { type: 'stop' }],
    ['watch', { type: 'watch', sessionId: 'room', lastSeq: 0 }],
    ['unwatch', { type: 'unwatch', sessionId: 'room' }],
    ['reconnect', { type: 'reconnect', resumeId: 'r', sessions: [{ sessionId: 'room', lastSeq: 0 }] }],
    ['probe', { type: 'probe', nonce: 'n' }],
    ['suspend', { type: 'session_suspend', sessions: [] }],
    ['batch', { messages: [{ id: 'm', endpoint: 'stop', body: { type: 'stop' } }] }],
  ]

  test.each(POSTS)('is as unknown to a POST to %s as one that was never given out', async (endpoint, body) => {
    const { server } = createTestServer()
    const alice = await openStream(server)
    await alice.watch('room')
    const frames = alice.frames.length
    const guesses = [alice.connectionId, 'A'.repeat(22), '', 'alice', '__proto__', `${alice.connectionId} `]
    for (const connectionId of guesses) {
      expect(await answer(post(server, endpoint, body, { as: 'bob', connectionId }))).toEqual(UNKNOWN)
    }
    await settle()
    expect(alice.frames).toHaveLength(frames)
    await server.publish('room', { type: 'x' })
    await until(() => alice.events.length === 1, 'what alice follows')
  })

  test('is not found by the body of a beacon either, nor by one that is no text', async () => {
    const { server } = createTestServer()
    const { connectionId } = await openStream(server)
    for (const id of [connectionId, [connectionId], { toString: connectionId }, null, 7]) {
      const body = { type: 'session_suspend', sessions: [], connectionId: id }
      expect(await answer(post(server, 'suspend', body, { as: 'bob' }))).toEqual(UNKNOWN)
    }
  })

  test('is not found when it has just ended', async () => {
    const { server } = createTestServer()
    const alice = await openStream(server)
    await alice.watch('alices')
    await alice.cancel()
    const sessions = [{ sessionId: 'alices', lastSeq: 0 }]
    const body = { type: 'session_suspend', sessions }
    expect(await answer(post(server, 'suspend', body, { as: 'bob', connectionId: alice.connectionId }))).toEqual(
      UNKNOWN,
    )
  })
})

test("another principal's session is neither read nor written, by any way in", async () => {
  const ran: string[] = []
  const { server } = createTestServer({ onCommand: ({ sessionId }) => ran.push(String(sessionId)) })
  await server.publish('alices', { type: 'secret' })
  const bob = await openStream(server, 'bob')
  const cursor = { sessionId: 'alices', lastSeq: 0 }
  const [, resumed] = await answer(bob.post('reconnect', { type: 'reconnect', sessions: [cursor] }))
  expect(resumed.sessions).toEqual([{ sessionId: 'alices', status: 'forbidden', from: 0, to: 0 }])
  expect((await bob.watch('alices')).status).toBe(403)
  const send = { type: 'send', sessionId: 'alices' }
  expect((await bob.post('send', send)).status).toBe(403)
  const [, { results }] = await answer(bob.post('batch', { messages: [{ id: 'm', endpoint: 'send', body: send }] }))
  expect(results).toEqual([{ id: 'm', status: 403, error: 'forbidden' }])
  await server.publish('alices', { type: 'secret' })
  await settle()
  expect([bob.events, ran]).toEqual([[], []])
})

test("another principal's receipt is not had by its key, however the two are put together", async () => {
  const { server } = createTestServer({
    authenticate: ({ headers }) => ({ id: headers.get('Authorization') ?? '' }),
    authorize: () => true,
    onCommand: ({ principal }: CommandCall) => ({ secretOf: principal.id }),
  })
  const send = { type: 'send', sessionId: 'room' }
  const pairs: [string, string][] = [
    ['a', 'k'],
    ['a","k', 'k'],
    ['a', '","k'],
    ['["a"', 'k'],
    ['b', 'k'],
    ['a"', 'k'],
    ['__proto__', 'k'],
  ]
  for (const [as, key] of pairs) {
    const { connectionId } = await openStream(server, as)
    expect(await answer(post(server, 'send', send, { as, connectionId, key }))).toEqual([200, { secretOf: as }])
  }
})

describe('a hello', () => {
  async function greet(headers: unknown, upgrade: Record<string, string> = {}) {
    const seen: Headers[] = []
    const { server } = createTestServer({
      authenticate: (request) => {
        seen.push(request.headers)
        return { id: 'x' }
      },
    })
    const socket = createSockets({ fetch: server.fetch }).connect(upgrade)
    socket.hears({ type: 'hello', protocolVersion: 2, headers })
    await until(() => socket.said.length > 0 || socket.closed !== undefined, 'an answer')
    return { socket, seen }
  }

  test('sets the headers that it may, and never those that a browser or a proxy vouches for', async () => {
    const smuggled = {
      Cookie: 'session=alice',
      Origin: 'http://chat.test',
      Host: 'evil.example',
      'Sec-Fetch-Site': 'same-origin',
      'X-Forwarded-Host': 'chat.test',
      'X-Forwarded-For': '127.0.0.1',
      'X-Connection-ID': 'A'.repeat(22),
      'Idempotency-Key': 'k',
      'X-User': 'alice',
      authorization: 'bob',
    }
    const { socket, seen } = await greet(smuggled, { 'X-User': 'bob' })
    expect(Object.fromEntries(seen[0] ?? [])).toEqual({ authorization: 'bob', 'x-user': 'bob' })
    await ask(socket, 'send', { type: 'send', sessionId: 'room' }, 'm1')
    const [, posted = new Headers()] = seen
    expect(
      ['cookie', 'origin', 'host', 'sec-fetch-site', 'x-forwarded-for'].filter((name) => posted.has(name)),
    ).toEqual([])
    expect(posted.get('idempotency-key')).toBe('m1')
    expect(posted.get('x-connection-id')).toBe(socket.said[0]?.connectionId)
  })

  test('does not overwrite what the upgrade carries', async () => {
    const { seen } = await greet({ authorization: 'alice', AUTHORIZATION: 'alice' }, { Authorization: 'bob' })
    expect(seen[0]?.get('authorization')).toBe('bob')
  })

  test.each([
    ['a line break in a value', { authorization: 'x\r\nX-User: alice' }],
    ['a zero in a value', { authorization: 'x\u0000y' }],
  ])('with %s is malformed', async (_, headers) => {
    const { socket, seen } = await greet(headers)
    expect([socket.closed, seen]).toEqual([[1007], []])
  })

  test('whose headers are no headers sets none', async () => {
    for (const headers of [
      null,
      7,
      'authorization: alice',
      [['authorization', 'alice']],
      JSON.parse('{"__proto__":{"authorization":"alice"}}'),
    ]) {
      const { seen } = await greet(headers)
      expect(seen[0]?.get('authorization')).toBeNull()
    }
  })
})

describe('a page of an origin that is not listed', () => {
  const LOOKALIKES = [
    'null',
    'https://app.example.evil',
    'https://evil.example/https://app.example',
    'https://app.example@evil.example',
    'https://app.example:444',
    'http://app.example',
    'https://xapp.example',
    'https://app.example, https://evil.example',
    'file://',
    '*',
  ]

  test.each(LOOKALIKES)('%s reads nothing: no CORS header, no preflight', async (origin) => {
    const { server } = createTestServer({ allowedOrigins: ['https://app.example'] })
    const preflight = new Request(`${BASE}/send`, { method: 'OPTIONS', headers: { Origin: origin } })
    for (const response of [await getEvents(server, 'alice', { Origin: origin }), await server.fetch(preflight)]) {
      expect(response.status).toBe(403)
      const names = [...response.headers.keys()].filter((name) => name.startsWith('access-control'))
      expect(names).toEqual([])
    }
  })

  test('writes nothing by a form: the types that need no preflight are not read', async () => {
    const { server } = createTestServer()
    const { connectionId } = await openStream(server)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
      const headers = { 'Content-Type': type }
      expect((await post(server, 'send', '{"type":"send"}', { connectionId, headers })).status).toBe(415)
    }
  })
})

test('a line break in whatever is echoed stays inside its frame', async () => {
  const { server } = createTestServer()
  const stream = await openStream(server)
  const evil = '\n\ndata: {"type":"goodbye"}\n\r\n\r\u2028'
  expect((await stream.post('probe', { type: 'probe', nonce: evil })).status).toBe(200)
  const resume = {
    type: 'reconnect',
    resumeId: evil,
    sessions: [{ sessionId: `room${evil}`, lastSeq: 0, epoch: evil }],
  }
  expect((await stream.post('reconnect', resume)).status).toBe(200)
  await stream.watch('room')
  await server.publish('room', { type: 'x', [evil]: evil })
  await until(() => stream.events.length === 1, 'the event')
  expect(stream.frames.map(({ type }) => type)).toEqual(['welcome', 'probe', 'reconnected', 'x'])
  expect(stream.ofType('probe')[0]?.nonce).toBe(evil)
  expect(stream.ofType('x')[0]?.[evil]).toBe(evil)
})

test('a code of a rejection, and whatever else becomes part of an answer, has no room for a line break', () => {
  expect(() => new CommandRejected(422, 'x\r\nSet-Cookie: a=b')).toThrow(TypeError)
  const hooks = { authenticate: () => null, authorize: () => true, onCommand: () => null }
  for (const bad of [
    { allowedOrigins: ['https://a\r\nX: y'] },
    { allowedHeaders: ['x\r\ny'] },
    { allowedHosts: ['a\r\n'] },
  ])
    expect(() => createChatServer({ ...hooks, ...bad })).toThrow(TypeError)
})

const POLLUTION =
  '{"__proto__":{"polluted":1,"sessionId":"alices","seq":9},"constructor":{"prototype":{"polluted":1}},"prototype":{"polluted":1}'
const polluted = () => [
  ({} as Record<string, unknown>).polluted,
  ([] as unknown as Record<string, unknown>).polluted,
  Object.getPrototypeOf({}) === Object.prototype,
]
const CLEAN = [undefined, undefined, true]

describe('the keys of a prototype', () => {
  test('from a client are data, in every endpoint', async () => {
    const calls: CommandCall[] = []
    const { server } = createTestServer({ onCommand: (call) => calls.push(call) })
    const stream = await openStream(server)
    const bodies: [string, string][] = [
      ['send', `${POLLUTION},"type":"send","sessionId":"room"}`],
      ['batch', `{"messages":[{"id":"m","endpoint":"send","body":${POLLUTION},"type":"send","sessionId":"room"}}]}`],
      ['reconnect', `${POLLUTION},"type":"reconnect","sessions":[${POLLUTION},"sessionId":"room","lastSeq":0}]}`],
      ['suspend', `${POLLUTION},"type":"session_suspend","sessions":[]}`],
    ]
    for (const [endpoint, body] of bodies) expect((await stream.post(endpoint, body)).status).toBe(200)
    expect(polluted()).toEqual(CLEAN)
    expect(calls.map(({ sessionId }) => sessionId)).toEqual(['room', 'room'])
    for (const { message } of calls) expect(Object.getPrototypeOf(message)).toBe(Object.prototype)
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'])(
    '%s is no endpoint, no type, and a session, a key and a principal like any other',
    async (name) => {
      const { server } = createTestServer({ authorize: () => true })
      const stream = await openStream(server, name)
      expect((await stream.post(name, { type: name })).status).toBe(400)
      expect((await stream.post('send', { type: name })).status).toBe(400)
      const [, { results }] = await answer(
        stream.post('batch', { messages: [{ id: name, endpoint: name, body: { type: name } }] }),
      )
      expect(results).toEqual([{ id: name, status: 400, error: 'bad-request', message: expect.any(String) }])
      await stream.watch(name)
      expect((await stream.post('send', { type: 'send', sessionId: name }, { key: name })).status).toBe(200)
      await server.publish(name, { type: name })
      await until(() => stream.events.length === 1, 'the event')
      expect(stream.events).toEqual([`${name}:1`])
    },
  )

  test('from a server are data: they forge no envelope, and reach no prototype of the client', async () => {
    const { server } = createTestServer({ authenticate: () => ({ id: 'alice' }), authorize: () => true })
    const site = await listen((request) => server.fetch(request))
    cleanups.push(site.close)
    const connection = createConnection({ url: site.url })
    cleanups.push(connection.dispose)
    const heard: string[] = []
    connection.on('message', ({ sessionId, seq, type }) => heard.push(`${sessionId} ${seq} ${type}`))
    for (const session of ['__proto__', 'constructor']) connection.watch(session)
    connection.connect()
    await expect.poll(() => connection.isOpen).toBe(true)
    for (const session of ['__proto__', 'constructor'])
      await server.publish(session, JSON.parse(`${POLLUTION},"type":"x"}`))
    await expect.poll(() => heard.toSorted()).toEqual(['__proto__ 1 x', 'constructor 1 x'])
    expect(connection.cursor('__proto__')).toMatchObject({ sessionId: '__proto__', lastSeq: 1 })
    expect(connection.cursor('toString')).toBeUndefined()
    const delivery = connection.send({ type: 'constructor' } as never)
    expect((await delivery.settled).status).toBe('rejected')
    expect(polluted()).toEqual(CLEAN)
  })
})
