import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import * as http2 from 'node:http2'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach } from 'vitest'
import { toNodeListener } from '../../../server/node'
import { until } from '../../support/server'

export const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

export type Fetch = (request: Request) => Promise<Response> | Response

/** `fetch` as the server half would have it. */
export const listenerOf = (fetch: Fetch) => toNodeListener({ fetch: async (request) => fetch(request) })

export async function serve(listener: RequestListener) {
  const server = createServer(listener)
  const port = await listenOn(server)
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { server, port, origin: `http://127.0.0.1:${port}` }
}

export async function listenOn(server: Server | http2.Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Sends a text as it is. */
export function speak(port: number, text: string) {
  const socket: Socket = connect(port, '127.0.0.1')
  cleanups.push(() => socket.destroy())
  socket.on('error', () => {})
  let heard = ''
  let isClosed = false
  socket.setEncoding('latin1').on('data', (part) => {
    heard += part
  })
  socket.on('close', () => {
    isClosed = true
  })
  socket.write(text)
  return {
    socket,
    heard: () => heard,
    isClosed: () => isClosed,
    hears: (what: string) => until(() => heard.includes(what), `${what}, after ${heard}`),
    closes: () => until(() => isClosed, 'the end of the connection'),
  }
}

/** A listener on HTTP/2 without TLS, and a client of it. */
export async function serveHttp2(fetch: Fetch) {
  const server = http2.createServer(listenerOf(fetch))
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  const port = await listenOn(server)
  const client = http2.connect(`http://127.0.0.1:${port}`)
  client.on('error', () => {})
  cleanups.push(() => {
    client.destroy()
    for (const session of sessions) session.destroy()
    return new Promise((resolve) => server.close(resolve))
  })

  function ask(headers: http2.OutgoingHttpHeaders, body?: string) {
    const stream = client.request(headers, { endStream: body === undefined })
    let text = ''
    let answer: (http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader) | undefined
    stream.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    stream.on('response', (given) => {
      answer = given
    })
    stream.on('error', () => {})
    if (body !== undefined) stream.end(body)
    return {
      stream,
      text: () => text,
      answered: async () => {
        await until(() => answer !== undefined, 'an answer over HTTP/2')
        return answer as NonNullable<typeof answer>
      },
      hears: (what: string) => until(() => text.includes(what), what),
      closes: () => until(() => stream.closed, 'the end of the stream'),
    }
  }
  return { port, client, ask }
}

/** A body that goes on until it is cancelled; it counts what was pulled. */
export function endlessBody(size = 64 * 1024) {
  const seen = { pulled: 0, isCancelled: false }
  const part = new Uint8Array(size).fill(120)
  let fail = (_: Error) => {}
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        fail = (error) => controller.error(error)
      },
      pull(controller) {
        seen.pulled += 1
        controller.enqueue(part)
      },
      cancel() {
        seen.isCancelled = true
      },
    },
    { highWaterMark: 0 },
  )
  return { body, seen, fail: (error: Error) => fail(error) }
}

/** A body that a test writes. */
export function writtenBody() {
  let sink: ReadableStreamDefaultController<Uint8Array> | undefined
  const seen = { isCancelled: false }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      sink = controller
    },
    cancel() {
      seen.isCancelled = true
    },
  })
  return {
    body,
    seen,
    write: (text: string) => sink?.enqueue(new TextEncoder().encode(text)),
    end: () => sink?.close(),
  }
}

export const EVENTS = { headers: { 'Content-Type': 'text/event-stream' } }
