import { gzipSync } from 'node:zlib'
import express from 'express'
import { describe, expect, test, vi } from 'vitest'
import { settle, until } from '../../support/server'
import { cleanups, listenerOf, serve, serveHttp2, speak } from './listening'

/** Tells what the request is, once its body has been read. */
const telling = () =>
  listenerOf(async (request) => {
    const { url, method } = request
    return Response.json({ url, method, headers: Object.fromEntries(request.headers), body: await request.text() })
  })

describe('the address', () => {
  test('is absolute, and that before a mount path was cut off', async () => {
    const app = express()
    app.use('/api/chat', telling())
    const { port, origin } = await serve(app)
    const { url } = await (await fetch(`${origin}/api/chat/send?x=%2F`)).json()
    expect(url).toBe(`http://127.0.0.1:${port}/api/chat/send?x=%2F`)
  })

  test('is https on a socket with TLS', async () => {
    const { server, port } = await serve(telling())
    server.on('connection', (socket) => Object.assign(socket, { encrypted: true }))
    const { hears } = speak(port, 'GET /events HTTP/1.1\r\nHost: Chat.Example\r\n\r\n')
    await hears('"url":"https://chat.example/events"')
  })

  test('is that of :authority over HTTP/2, whatever :scheme says', async () => {
    const { ask } = await serveHttp2(({ url, headers }) => Response.json([url, Object.fromEntries(headers)]))
    const { hears } = ask({ ':path': '/events', ':authority': 'chat.example:8080', ':scheme': 'https', 'x-own': 'yes' })
    await hears('["http://chat.example:8080/events",{"x-own":"yes"}]')
  })

  test('may be that of a request to a proxy', async () => {
    const { port } = await serve(telling())
    const { hears } = speak(port, 'GET http://h:80/a/events?x HTTP/1.1\r\nHost: H:80\r\n\r\n')
    await hears('"url":"http://h/a/events?x"')
  })

  test.each(['h', 'H', 'h:1', 'a_b.example', '127.0.0.1:3000', '[::1]:3000', 'xn--bcher-kva.example'])(
    'the host %s is one',
    async (host) => {
      const { port } = await serve(telling())
      const { hears, heard } = speak(port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      await hears('"body"')
      expect(heard()).toMatch(/^HTTP\/1\.1 200 /)
    },
  )

  test.each(['', 'a b', 'user@h', 'h/path', 'h?x', 'h#x', 'h\\x', 'h:port', 'h:123456', '[::1', '::1', 'a%00b', 'h,i'])(
    'the host %j is none, and is answered 400 with a sentence',
    async (host) => {
      const told: string[] = []
      const { port } = await serve(listenerOf(({ url }) => Response.json(told.push(url))))
      const { hears, heard } = speak(port, `GET /events HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      await hears('}')
      expect(heard()).toMatch(/^HTTP\/1\.1 400 /)
      expect(heard()).toContain('"error":"bad-host"')
      expect(heard()).toContain(`it names ${JSON.stringify(JSON.stringify(host)).slice(1, -1)}`)
      expect(told).toEqual([])
    },
  )

  test.each([
    ['HTTP/1.0 without a host', 'GET / HTTP/1.0\r\n\r\n', 'it names none'],
    ['two hosts', 'GET http://h/ HTTP/1.1\r\nHost: i\r\n\r\n', 'it names \\"h\\" and \\"i\\"'],
    ['no path', 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n', 'bad-request'],
    ['a method that fetch forbids', 'TRACE / HTTP/1.1\r\nHost: h\r\n\r\n', 'bad-request'],
  ])('%s: 400', async (_, text, sentence) => {
    const { port } = await serve(telling())
    const { hears, heard } = speak(port, text)
    await hears(sentence)
    expect(heard()).toMatch(/^HTTP\/1\.1 400 /)
  })

  test('over HTTP/2 a Host beside another :authority: 400', async () => {
    const { ask } = await serveHttp2(() => Response.json(1))
    const { answered, hears } = ask({ ':path': '/events', ':authority': 'h', host: 'i' })
    expect((await answered())[':status']).toBe(400)
    await hears('it names \\"h\\" and \\"i\\"')
  })
})

test('headers are those that the middlewares in front leave', async () => {
  const listener = telling()
  const { origin } = await serve((request, response) => {
    request.headers.authorization = 'by the middleware'
    listener(request, response)
  })
  const { headers } = await (await fetch(origin, { headers: { 'X-Own': 'a, b' } })).json()
  expect(headers).toMatchObject({ authorization: 'by the middleware', 'x-own': 'a, b' })
})

const JSON_TYPE = { 'Content-Type': 'application/json' }
/** Keys in an order, and characters of many bytes. */
const MESSAGE = '{"type":"send","n":1,"a":{"text":"Grüße 🙂"}}'

describe('a body', () => {
  test('arrives as it was sent, in parts, no faster than it is read', async () => {
    let goOn = (_: unknown) => {}
    let size = 0
    const { port } = await serve(
      listenerOf(async ({ body }) => {
        const reader = body?.getReader()
        for (;;) {
          const { done, value } = (await reader?.read()) ?? { done: true }
          if (done) return Response.json(size)
          if (size === 0) {
            size += value?.length ?? 0
            await new Promise((resolve) => {
              goOn = resolve
            })
          } else size += value?.length ?? 0
        }
      }),
    )
    const whole = 20_000_000
    const { socket, hears } = speak(port, `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${whole}\r\n\r\n`)
    socket.write('x'.repeat(whole))
    await until(() => size > 0, 'the first part')
    await settle(100)
    expect(socket.writableLength).toBeGreaterThan(whole / 4)
    goOn(undefined)
    await hears(`\r\n\r\n${whole}`)
  })

  test('over HTTP/2 likewise', async () => {
    const { ask } = await serveHttp2(async (request) => Response.json(await request.json()))
    const { hears } = ask({ ':path': '/send', ':method': 'POST', 'content-type': 'application/json' }, MESSAGE)
    await hears(MESSAGE)
  })

  test('that is cut off fails, and the process lives', async () => {
    let failure: unknown
    const { port } = await serve(
      listenerOf(async (request) => {
        failure = await request.text().catch((error) => error)
        return Response.json(1)
      }),
    )
    const { socket } = speak(port, 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345')
    await settle(20)
    socket.destroy()
    await until(() => failure instanceof Error, 'the failure')
  })

  /** Refuses a body after its first part. */
  const refusing = listenerOf(async ({ method, body }) => {
    if (method === 'GET') return Response.json('next')
    const reader = body?.getReader()
    await reader?.read()
    await reader?.cancel()
    return Response.json({ error: 'too-large' }, { status: 413 })
  })
  const LARGE = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n12345'

  test('that is refused before its end is answered, and its connection is closed after it', async () => {
    const { server, port } = await serve(refusing)
    // Node's own limit for idle connections would close it too, later.
    server.keepAliveTimeout = 0
    const { hears, closes } = speak(port, LARGE)
    await hears('{"error":"too-large"}')
    await closes()
  })

  test('that is refused, and comes to its end soon, leaves its connection to the next request', async () => {
    const { port } = await serve(refusing)
    const { socket, hears } = speak(port, LARGE)
    await hears('too-large')
    socket.write(`${'x'.repeat(999_995)}GET / HTTP/1.1\r\nHost: h\r\n\r\n`)
    await hears('"next"')
  })
})

describe('C87: a body that was parsed before', () => {
  const post = async (origin: string, body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) => {
    const answer = await fetch(origin, { method: 'POST', headers, body: body as BodyInit })
    return answer.json()
  }

  test.each<[what: string, parser: express.RequestHandler]>([
    ['an object', express.json()],
    ['a text', express.text({ type: '*/*' })],
    ['bytes', express.raw({ type: '*/*' })],
    [
      'an object, its text kept as rawBody',
      express.json({
        verify: (request, _, bytes) => {
          Object.assign(request, { rawBody: bytes })
        },
      }),
    ],
  ])('%s, is a body again', async (_, parser) => {
    const app = express().use(parser).use(telling())
    const { origin } = await serve(app)
    const { body, headers } = await post(origin, MESSAGE)
    expect(body).toBe(MESSAGE)
    expect(headers['content-length']).toBe(String(Buffer.byteLength(MESSAGE)))
  })

  test('is the bytes that a parser has kept, rather than what it has made of them', async () => {
    const text = '{ "n": 12345678901234567890, "n": 1.0 }'
    const kept = express.json({ verify: (request, _, bytes) => Object.assign(request, { rawBody: bytes }) })
    const { origin } = await serve(express().use(kept).use(telling()))
    expect((await post(origin, text)).body).toBe(text)
    const { origin: other } = await serve(express().use(express.json()).use(telling()))
    expect((await post(other, text)).body).toBe('{"n":1}')
  })

  test('and unpacked, has no encoding any more', async () => {
    const { origin } = await serve(express().use(express.json()).use(telling()))
    const { body, headers } = await post(origin, gzipSync(MESSAGE), { ...JSON_TYPE, 'Content-Encoding': 'gzip' })
    expect(body).toBe(MESSAGE)
    expect(headers['content-encoding']).toBeUndefined()
  })

  test('C83: and is nested too deep to be written again, is a 400', async () => {
    const { origin } = await serve(
      express()
        .use(express.json({ limit: '1mb' }))
        .use(telling()),
    )
    const deep = '['.repeat(20_000) + ']'.repeat(20_000)
    expect(await post(origin, deep)).toEqual({ error: 'too-deep' })
  })

  test('what no parser has read is read here, whatever `body` says', async () => {
    const { origin } = await serve(
      express()
        .use(express.json())
        // As Express 4 does.
        .use((request, _, next) => {
          request.body ??= {}
          next()
        })
        .use(telling()),
    )
    expect((await post(origin, MESSAGE, { 'Content-Type': 'text/plain' })).body).toBe(MESSAGE)
    expect((await post(origin, '')).body).toBe('')
  })

  test('and thrown away, is empty: the server half says so', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    cleanups.push(() => vi.restoreAllMocks())
    const app = express()
      .use(express.json())
      .use((request, _, next) => {
        request.body = undefined
        next()
      })
    const { origin } = await serve(app.use(telling()))
    const { body, headers } = await post(origin, MESSAGE)
    expect([body, Number(headers['content-length'])]).toEqual(['', Buffer.byteLength(MESSAGE)])
  })
})
