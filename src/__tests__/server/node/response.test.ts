import type { Server } from 'node:http'
import { gunzipSync, gzipSync } from 'node:zlib'
import express from 'express'
import { describe, expect, test, vi } from 'vitest'
import { toNodeListener } from '../../../server/node'
import { processSettles, watchProcess } from '../../support/process'
import { settle, until } from '../../support/server'
import {
  cleanups,
  EVENTS,
  endlessBody,
  type Fetch,
  listenerOf,
  serve,
  serveHttp2,
  speak,
  writtenBody,
} from './listening'

const GET = 'GET /api/chat/events HTTP/1.1\r\nHost: chat.test\r\n\r\n'
const GET_2 = { ':path': '/api/chat/events' }

const lost = watchProcess()

function silence() {
  const told = vi.spyOn(console, 'error').mockImplementation(() => {})
  cleanups.push(() => told.mockRestore())
  return told
}

/** Until the buffers between the two ends are full. */
async function fills(seen: { readonly pulled: number }) {
  for (let before = -1; seen.pulled !== before; ) {
    before = seen.pulled
    await settle(50)
  }
}

const isLeft = (server: Server) =>
  new Promise<boolean>((resolve) => server.getConnections((_, count) => resolve(count === 0)))

describe('a stream', () => {
  test('its head leaves before its first chunk, and each chunk before there is another', async () => {
    const { body, write, end } = writtenBody()
    const { port } = await serve(listenerOf(() => new Response(body, EVENTS)))
    const { heard, hears, closes } = speak(port, GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    await hears('\r\n\r\n')
    expect(heard()).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(heard()).toMatch(/^transfer-encoding: chunked\r$/im)
    for (const part of ['data: 1\n\n', 'data: 2\n\n']) {
      write(part)
      await hears(part)
    }
    end()
    await closes()
    expect(heard()).toMatch(/\r\n0\r\n\r\n$/)
  })

  test('over HTTP/2 likewise, without Transfer-Encoding', async () => {
    const { body, write, end } = writtenBody()
    const { ask } = await serveHttp2(() => new Response(body, EVENTS))
    const { answered, hears, closes, stream } = ask(GET_2)
    const headers = await answered()
    expect([headers[':status'], headers['content-type']]).toEqual([200, 'text/event-stream'])
    expect(headers['transfer-encoding']).toBeUndefined()
    for (const part of ['data: 1\n\n', 'data: 2\n\n']) {
      write(part)
      await hears(part)
    }
    end()
    await closes()
    expect(stream.rstCode).toBe(0)
  })

  test('is pulled no faster than its client reads', async () => {
    const { body, seen } = endlessBody()
    const { port } = await serve(listenerOf(() => new Response(body, EVENTS)))
    const { socket, hears } = speak(port, GET)
    await hears('xxx')
    socket.pause()
    await fills(seen)
    await settle(50)
    // A few megabytes: the buffers of two sockets.
    expect(seen.pulled * 64).toBeLessThan(32 * 1024)
    const { pulled } = seen
    socket.resume()
    await until(() => seen.pulled > pulled, 'more, once it is read')
  })

  test('over HTTP/2 likewise', async () => {
    const { body, seen } = endlessBody()
    const { ask } = await serveHttp2(() => new Response(body, EVENTS))
    const { stream, hears } = ask(GET_2)
    await hears('xxx')
    stream.pause()
    await settle(200)
    expect(seen.pulled).toBeLessThan(50)
    const { pulled } = seen
    stream.resume()
    await until(() => seen.pulled > pulled, 'more, once it is read')
  })

  test('that fails while its client reads nothing is cut off at once, and not ended', async () => {
    const { body, seen, fail } = endlessBody()
    const { server, port } = await serve(listenerOf(() => new Response(body, EVENTS)))
    const { socket, hears, heard, closes } = speak(port, GET)
    await hears('xxx')
    socket.pause()
    await fills(seen)
    fail(new Error('the client stopped reading'))
    await vi.waitUntil(() => isLeft(server), { timeout: 20_000 })
    socket.resume()
    await closes()
    expect(heard()).not.toMatch(/\r\n0\r\n\r\n$/)
    expect(seen.isCancelled).toBe(false)
  })

  test('over HTTP/2 likewise: the stream is reset', async () => {
    const { body, fail } = endlessBody()
    const { ask } = await serveHttp2(() => new Response(body, EVENTS))
    const { stream, hears, closes } = ask(GET_2)
    await hears('xxx')
    fail(new Error('the client stopped reading'))
    await closes()
    expect(stream.rstCode).toBe(2)
  })
})

describe('a client that goes away', () => {
  test('aborts the signal of its Request, and cancels the body', async () => {
    const { body, seen, write } = writtenBody()
    let signal: AbortSignal | undefined
    const { port } = await serve(
      listenerOf((request) => {
        signal = request.signal
        return new Response(body, EVENTS)
      }),
    )
    const { socket, hears } = speak(port, GET)
    write('data: 1\n\n')
    await hears('data: 1')
    expect(signal?.aborted).toBe(false)
    socket.destroy()
    await until(() => seen.isCancelled, 'the cancellation')
    expect(signal?.aborted).toBe(true)
  })

  test('over HTTP/2 likewise', async () => {
    const { body, seen, write } = writtenBody()
    let signal: AbortSignal | undefined
    const { ask } = await serveHttp2((request) => {
      signal = request.signal
      return new Response(body, EVENTS)
    })
    const { stream, hears } = ask(GET_2)
    write('data: 1\n\n')
    await hears('data: 1')
    stream.close(8)
    await until(() => seen.isCancelled, 'the cancellation')
    expect(signal?.aborted).toBe(true)
  })

  test('before the answer, has the answer’s body cancelled', async () => {
    const { body, seen } = writtenBody()
    let answer = (_: Response) => {}
    let signal: AbortSignal | undefined
    const { port } = await serve(
      listenerOf((request) => {
        signal = request.signal
        return new Promise((resolve) => {
          answer = resolve
        })
      }),
    )
    const { socket } = speak(port, GET)
    await until(() => signal !== undefined, 'the request')
    socket.destroy()
    await until(() => signal?.aborted === true, 'the abort')
    answer(new Response(body, EVENTS))
    await until(() => seen.isCancelled, 'the cancellation')
  })

  test('an answer that was written to its end aborts nothing', async () => {
    const signals: AbortSignal[] = []
    const { origin } = await serve(
      listenerOf((request) => {
        signals.push(request.signal)
        return Response.json({ ok: true })
      }),
    )
    await (await fetch(origin)).json()
    await (await fetch(origin, { method: 'POST', body: '{}' })).json()
    await settle()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false])
  })

  test('in the middle of a write ends nothing but its own stream', async () => {
    const { body, seen } = endlessBody()
    const { port, origin } = await serve(
      listenerOf(({ url }) => (url.endsWith('events') ? new Response(body, EVENTS) : Response.json('here'))),
    )
    const { socket, hears } = speak(port, GET)
    await hears('xxx')
    socket.resetAndDestroy()
    await until(() => seen.isCancelled, 'the cancellation')
    await processSettles()
    expect(lost).not.toHaveBeenCalled()
    expect(await (await fetch(origin)).json()).toBe('here')
  })
})

describe('the head', () => {
  test('headers that are about one connection are the host’s own', async () => {
    const headers = { Connection: 'upgrade', 'Keep-Alive': 'timeout=1', 'Transfer-Encoding': 'gzip', 'X-Own': 'yes' }
    const answer: Fetch = () => new Response('x', { headers })
    const { origin } = await serve(listenerOf(answer))
    const one = await fetch(origin)
    expect([one.headers.get('connection'), one.headers.get('x-own'), await one.text()]).toEqual([
      'keep-alive',
      'yes',
      'x',
    ])
    const { ask } = await serveHttp2(answer)
    const { answered } = ask({ ':path': '/' })
    const two = await answered()
    expect([two.connection, two['keep-alive'], two['x-own']]).toEqual([undefined, undefined, 'yes'])
  })

  test('each Set-Cookie is a header of its own, and lists that a middleware has begun go on', async () => {
    const headers = new Headers({ Vary: 'Origin' })
    headers.append('Set-Cookie', 'a=1')
    headers.append('Set-Cookie', 'b=2; Expires=Thu, 01 Jan 2026 00:00:00 GMT')
    const listener = listenerOf(() => new Response('x', { headers }))
    const { origin } = await serve((request, response) => {
      response.setHeader('Set-Cookie', 'app=0')
      response.setHeader('Vary', 'Accept-Encoding')
      response.setHeader('X-App', 'kept')
      listener(request, response)
    })
    const answer = await fetch(origin)
    expect(answer.headers.getSetCookie()).toEqual(['app=0', 'a=1', 'b=2; Expires=Thu, 01 Jan 2026 00:00:00 GMT'])
    expect([answer.headers.get('vary'), answer.headers.get('x-app')]).toEqual(['Accept-Encoding, Origin', 'kept'])
  })

  test('C116: JSON has its length, so that an answer that was cut off can be told', async () => {
    const { origin } = await serve(listenerOf(() => Response.json({ text: 'ä' }, { status: 201 })))
    const answer = await fetch(origin)
    expect([answer.status, answer.headers.get('content-length')]).toEqual([201, '13'])
    expect(answer.headers.get('transfer-encoding')).toBe(null)
    expect(await answer.json()).toEqual({ text: 'ä' })
  })

  test('an answer without a body has none, nor has one to HEAD', async () => {
    const { body, seen } = writtenBody()
    const { origin } = await serve(
      listenerOf(({ method }) =>
        method === 'HEAD' ? new Response(body, EVENTS) : new Response(null, { status: 204 }),
      ),
    )
    const none = await fetch(origin, { method: 'OPTIONS' })
    expect([none.status, await none.text()]).toEqual([204, ''])
    const head = await fetch(origin, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-type'), await head.text()]).toEqual([200, 'text/event-stream', ''])
    await until(() => seen.isCancelled, 'the cancellation')
  })

  test('a middleware that compresses leaves a stream with no-transform alone, and may compress the rest', async () => {
    const { body, write } = writtenBody()
    const headers = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' }
    const app = express()
    app.use(compress)
    app.use(
      '/api',
      listenerOf(({ url }) =>
        url.endsWith('/events') ? new Response(body, { headers }) : Response.json('x'.repeat(5_000)),
      ),
    )
    const { port, origin } = await serve(app)
    const { hears } = speak(port, 'GET /api/events HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n')
    write('data: 1\n\n')
    await hears('data: 1')
    const answer = await fetch(`${origin}/api/send`)
    expect(answer.headers.get('content-encoding')).toBe('gzip')
    expect(await answer.json()).toBe('x'.repeat(5_000))
  })
})

/**
 * As such middlewares do: they look at the head when it is written, and take `end` in their hands.
 */
function compress(_: express.Request, response: express.Response, next: express.NextFunction) {
  const { end } = response
  response.end = ((body?: Uint8Array) => {
    const isFree = !/no-transform/.test(String(response.getHeader('cache-control')))
    if (!isFree || !body) return end.call(response, body, 'utf8')
    const packed = gzipSync(body)
    expect(gunzipSync(packed)).toEqual(Buffer.from(body))
    response.setHeader('content-encoding', 'gzip')
    response.setHeader('content-length', packed.byteLength)
    return end.call(response, packed, 'utf8')
  }) as typeof response.end
  next()
}

describe('faults', () => {
  test.each<[what: string, fetch: Fetch]>([
    ['throws', () => Promise.reject(new Error('secret'))],
    ['returns nothing', () => undefined as never],
    [
      'returns a body that was read',
      async () => {
        const answer = Response.json(1)
        await answer.text()
        return answer
      },
    ],
  ])(
    'C52: a fetch that %s is answered 500 without its text, told to the console, and the process lives',
    async (_, fault) => {
      const told = silence()
      const { origin } = await serve(listenerOf(fault))
      const answer = await fetch(origin)
      expect([answer.status, await answer.json()]).toEqual([500, { error: 'internal' }])
      expect(told).toHaveBeenCalledTimes(1)
      const { ask } = await serveHttp2(fault)
      const { answered, hears } = ask({ ':path': '/' })
      expect((await answered())[':status']).toBe(500)
      await hears('{"error":"internal"}')
      await processSettles()
      expect(lost).not.toHaveBeenCalled()
    },
  )

  test('so is a head that Node does not take', async () => {
    const told = silence()
    const { origin } = await serve(listenerOf(() => new Response('x', { headers: { 'X-Own': '\u0001' } })))
    const answer = await fetch(origin)
    expect([answer.status, await answer.json()]).toEqual([500, { error: 'internal' }])
    expect(told).toHaveBeenCalledTimes(1)
  })

  test('an answer that the app has given meanwhile stands', async () => {
    const told = silence()
    const { body, seen } = writtenBody()
    let answer = (_: Response) => {}
    const listener = listenerOf(() => new Promise((resolve) => (answer = resolve)))
    const { origin } = await serve((request, response) => {
      listener(request, response)
      response.writeHead(503).end('too late')
    })
    const given = await fetch(origin)
    expect([given.status, await given.text()]).toEqual([503, 'too late'])
    answer(new Response(body, EVENTS))
    await until(() => seen.isCancelled, 'the cancellation')
    expect(told).not.toHaveBeenCalled()
  })

  test.each([undefined, () => null, {}, null])(
    '%j in the place of a server is a TypeError that says what to give',
    (given) => {
      expect(() => toNodeListener(given as never)).toThrow(
        `toNodeListener takes what createChatServer returns, and was given ${typeof given}`,
      )
    },
  )
})
