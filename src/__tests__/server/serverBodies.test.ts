import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { serve } from '@hono/node-server'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createChatServer } from '../../server'
import { answer, BASE, createTestServer, manualCommands, openStream, range, settle, until } from '../support/server'

const PROBE = { type: 'probe', nonce: 'n' }
const SEND = { type: 'send', sessionId: 'room' }

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A body that arrives as the test says. */
function slowBody(begin = '') {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>({
    start: (given) => {
      controller = given
    },
  })
  const write = (text: string) => controller?.enqueue(new TextEncoder().encode(text))
  write(begin)
  return { body, write, end: () => controller?.close() }
}

function postBody(
  server: { fetch(request: Request): Promise<Response> },
  body: BodyInit,
  headers: Record<string, string>,
  endpoint = 'send',
) {
  const all = { 'Content-Type': 'application/json', Authorization: 'alice', ...headers }
  return server.fetch(
    new Request(`${BASE}/${endpoint}`, { method: 'POST', headers: all, body, duplex: 'half' } as RequestInit),
  )
}

describe('C89: a body that stalls after its first byte', () => {
  test('is a 408 after limits.bodyTimeout, 10 s by default, however it trickles', async () => {
    const { server, clock } = createTestServer()
    const { connectionId } = await openStream(server)
    const { body, write } = slowBody('{')
    let status = 0
    const posted = postBody(server, body, { 'X-Connection-ID': connectionId })
    void posted.then((response) => {
      status = response.status
    })
    for (const _ of range(1, 9)) {
      await clock.advance(1_000)
      write(' ')
    }
    await clock.advance(999)
    expect(status).toBe(0)
    await clock.advance(1)
    expect(await answer(posted)).toEqual([408, { error: 'body-timeout' }])
    const [timers] = [clock.timers]
    const short = createTestServer({ limits: { bodyTimeout: 50 } })
    const late = postBody(short.server, slowBody('{').body, {})
    await short.clock.advance(50)
    expect([(await late).status, timers]).toEqual([408, clock.timers])
  })

  test('holds up nothing of its stream: a command takes its turn when its body is here', async () => {
    const order: unknown[] = []
    const { server } = createTestServer({ onCommand: ({ message }) => void order.push(message.n) })
    const stream = await openStream(server)
    const { body, write, end } = slowBody('{"type":"send",')
    const stalled = postBody(server, body, { 'X-Connection-ID': stream.connectionId })
    await settle()
    expect((await stream.post('send', { ...SEND, n: 1 })).status).toBe(200)
    const batch = { messages: [{ id: 'b', endpoint: 'send', body: { ...SEND, n: 2 } }] }
    expect((await stream.post('batch', batch)).status).toBe(200)
    write('"n":3}')
    end()
    expect([(await stalled).status, order]).toEqual([200, [1, 2, 3]])
  })

  test('the repeat of a key does not wait for its own dead twin, and the twin is no second command', async () => {
    let runs = 0
    const { server } = createTestServer({ onCommand: () => ({ run: ++runs }) })
    const stream = await openStream(server)
    const json = JSON.stringify(SEND)
    const { body, write, end } = slowBody(json.slice(0, 5))
    const headers = { 'X-Connection-ID': stream.connectionId, 'Idempotency-Key': 'k' }
    const twin = postBody(server, body, headers)
    await settle()
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, { run: 1 }])
    write(json.slice(5))
    end()
    expect(await answer(twin)).toEqual([200, { run: 1 }])
  })

  test('those whose bodies are here run in the order in which they arrived, batches and single ones alike', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const headers = { 'X-Connection-ID': stream.connectionId }
    const bodies = range(1, 3).map((n) => ({ n, ...slowBody(`{"type":"send","sessionId":"room","n":${n}`) }))
    const posted = bodies.map(({ body }) => postBody(server, body, headers))
    await settle()
    for (const { write, end } of bodies.toReversed()) {
      write('}')
      end()
      await settle()
    }
    for (const count of range(1, 3)) {
      await until(() => commands.calls.length === count, `command ${count}`)
      commands.endNext()
    }
    expect((await Promise.all(posted)).map(({ status }) => status)).toEqual([200, 200, 200])
    expect(commands.calls.map(({ message }) => message.n)).toEqual([3, 2, 1])
  })
})

describe('C87: a body that was read before', () => {
  const WORDS = /had been read before holdline saw it: mount the chat before express\.json\(\)/

  async function expectWords(response: Response, errors: readonly unknown[]) {
    expect(response.status).toBe(500)
    const { error, message } = await response.json()
    expect([error, message]).toEqual(['body-consumed', expect.stringMatching(WORDS)])
    expect(errors).toEqual([new Error(message)])
  }

  test('is answered at once, and says what to do, to the client and to onError', async () => {
    const { server, errors } = createTestServer()
    const { connectionId } = await openStream(server)
    const request = () =>
      new Request(`${BASE}/probe`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId },
        body: JSON.stringify(PROBE),
      })
    const read = request()
    await read.text()
    await expectWords(await server.fetch(read), errors)
    const locked = request()
    locked.body?.getReader()
    await expectWords(await server.fetch(locked), errors)
    // As adapters hand it on: a stream without a byte, under the headers of what was sent.
    for (const announced of [{ 'Content-Length': '7' }, { 'Transfer-Encoding': 'chunked' }]) {
      const headers = { 'X-Connection-ID': connectionId, ...announced }
      await expectWords(await postBody(server, '', headers, 'probe'), errors)
    }
  })

  test('and was handed on as an object is told from JSON', async () => {
    const { server, errors } = createTestServer()
    const { connectionId } = await openStream(server)
    const response = await postBody(server, String({}), { 'X-Connection-ID': connectionId })
    expect([response.status, (await response.json()).message]).toEqual([
      500,
      expect.stringContaining('JSON.stringify(body)'),
    ])
    expect(errors).toHaveLength(1)
  })

  test('where nobody listens, the console is told once', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const server = createChatServer({
      authenticate: () => ({ id: 'alice' }),
      authorize: () => true,
      onCommand: () => null,
      allowedHosts: 'any',
    })
    const { connectionId } = await openStream(server)
    for (const _ of range(1, 3)) await postBody(server, '', { 'X-Connection-ID': connectionId, 'Content-Length': '7' })
    expect(warn.mock.calls).toEqual([[expect.stringMatching(WORDS)]])
  })
})

test.each(['/api/chat/send/', '/send', '//send', '/api//chat//send//', '/send/?x=/events'])(
  'C87: the last segment is the endpoint, whatever slashes a host adds: %s',
  async (path) => {
    const { server } = createTestServer()
    const { connectionId } = await openStream(server)
    const headers = { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId }
    const init = { method: 'POST', headers, body: '{"type":"send"}' }
    expect(await answer(server.fetch(new Request(`http://chat.test${path}`, init)))).toEqual([200, { took: 'send' }])
  },
)

describe('what is refused is read to its end first, so that the answer is not lost in a reset', () => {
  /** How much of an endless body was taken, 1 kB at a time. */
  function counted(limit: number) {
    const seen = { parts: 0 }
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        seen.parts += 1
        if (seen.parts <= limit) controller.enqueue(new Uint8Array(1_000).fill(32))
        else controller.close()
      },
    })
    return { body, seen }
  }

  test.each<[string, string, Record<string, string>, number]>([
    ['too large', 'send', {}, 413],
    ['too large, as it says', 'send', { 'Content-Length': '2000000' }, 413],
    ['of no principal', 'send', { Authorization: '' }, 401],
    ['from a foreign page', 'send', { Origin: 'http://evil.example' }, 403],
    ['no JSON', 'send', { 'Content-Type': 'text/plain' }, 415],
    ['to an unknown endpoint', 'nowhere', {}, 400],
  ])('%s', async (_, endpoint, headers, status) => {
    const { server } = createTestServer()
    const { body, seen } = counted(2_000)
    expect((await postBody(server, body, headers, endpoint)).status).toBe(status)
    expect(seen.parts).toBe(2_001)
  })

  test('but no more than 4 MiB of it, and no longer than limits.bodyTimeout', async () => {
    const { server, clock } = createTestServer()
    const { body, seen } = counted(100_000)
    expect((await postBody(server, body, { Authorization: '' })).status).toBe(401)
    expect(seen.parts).toBeLessThan(4_300)
    const stalled = postBody(server, slowBody('{').body, { Authorization: '' })
    await clock.advance(10_000)
    expect([(await stalled).status, clock.timers]).toEqual([401, 0])
  })
})

describe('over real HTTP', () => {
  /** ms. */
  async function listen(bodyTimeout: number) {
    const chat = createChatServer({
      authenticate: ({ headers }) => (headers.has('authorization') ? { id: 'alice' } : null),
      authorize: () => true,
      onCommand: () => null,
      limits: { bodyTimeout },
    })
    const http = serve({ fetch: chat.fetch, port: 0, hostname: '127.0.0.1' })
    await once(http, 'listening')
    const { port } = http.address() as AddressInfo
    cleanups.push(async () => {
      await chat.close()
      await new Promise((resolve) => http.close(resolve))
    })
    return port
  }

  test.each([
    [1_000_000, 'in one piece'],
    [4_000_000, 'in one piece'],
    [4_000_000, 'chunked'],
  ])('each of 20 bodies of %d bytes, %s, has its 413, and not one is a reset', async (size, how) => {
    const port = await listen(20_000)
    for (const _ of range(1, 20)) {
      const text = 'x'.repeat(size)
      const response = await fetch(`http://127.0.0.1:${port}/send`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: 'me' },
        body: how === 'chunked' ? new Blob([text]).stream() : text,
        duplex: 'half',
      } as RequestInit)
      expect(await answer(Promise.resolve(response))).toEqual([413, { error: 'too-large' }])
    }
  })

  test('C89: a body that never comes is answered on its own connection', async () => {
    const port = await listen(200)
    const socket = connect(port, '127.0.0.1')
    cleanups.push(() => socket.destroy())
    let text = ''
    socket.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    socket.write(
      'POST /send HTTP/1.1\r\nHost: localhost\r\nAuthorization: me\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{',
    )
    await vi.waitUntil(() => text.includes('body-timeout'), { timeout: 20_000 })
    expect(text).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('C115: a server that closes answers 503 with JSON; it never closes a connection without an answer', async () => {
    const questions: ((principal: { id: string }) => void)[] = []
    const chat = createChatServer({
      authenticate: () => new Promise<{ id: string }>((resolve) => questions.push(resolve)),
      authorize: () => true,
      onCommand: () => null,
    })
    const http = serve({ fetch: chat.fetch, port: 0, hostname: '127.0.0.1' })
    await once(http, 'listening')
    cleanups.push(() => new Promise((resolve) => http.close(resolve)))
    const ask = async () => {
      const response = await fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}/events`)
      return [response.status, response.headers.get('retry-after'), await response.json()]
    }
    // One came before and is not through; the others come after.
    const asked = [ask()]
    await until(() => questions.length === 1, 'the question')
    await chat.close()
    questions[0]?.({ id: 'alice' })
    asked.push(ask(), ask())
    for (const answered of await Promise.all(asked)) expect(answered).toEqual([503, '5', { error: 'unavailable' }])
  })
})
