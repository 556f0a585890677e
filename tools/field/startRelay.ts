import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { createWebSocketGateway } from 'holdline/server'
import { type WebSocket, WebSocketServer } from 'ws'
import type { FromPage, ToPage } from './page/relay'

interface Asked {
  respond(response: Response): void
  fail(error: Error): void
  sink?: ReadableStreamDefaultController<Uint8Array>
}

/**
 * A page cannot listen, and its server half has to be asked over real HTTP and real WebSockets. So
 * this listens for it, on a free port of 127.0.0.1, and hands each request over to it through a
 * WebSocket.
 */
export async function startRelay(script: string) {
  const sockets = new Set<Socket>()
  const asked = new Map<number, Asked>()
  const encoder = new TextEncoder()
  let page: { readonly socket: WebSocket; readonly raw: Socket } | undefined
  let ids = 0

  const tell = (frame: ToPage) => page?.socket.send(JSON.stringify(frame))

  function hear(frame: FromPage) {
    if (frame.type === 'cut') return cut()
    const asking = asked.get(frame.id)
    if (!asking) return
    if (frame.type === 'response') {
      const { id, status, headers } = frame
      const body = new ReadableStream<Uint8Array>({
        start(sink) {
          asking.sink = sink
        },
        cancel() {
          asked.delete(id)
          tell({ type: 'cancel', id })
        },
      })
      const hasBody = status !== 204 && status !== 304
      asking.respond(new Response(hasBody ? body : null, { status, headers: headers.map(([...pair]) => pair) }))
    } else if (frame.type === 'chunk') asking.sink?.enqueue(encoder.encode(frame.text))
    else {
      asked.delete(frame.id)
      if (frame.type === 'end') asking.sink?.close()
      else {
        asking.sink?.error(new Error('the page gave up'))
        asking.fail(new Error('the page gave up'))
      }
    }
  }

  async function relay(request: Request): Promise<Response> {
    const { method, url, headers } = request
    const body = method === 'POST' ? await request.text() : null
    ids += 1
    const id = ids
    return new Promise((respond, fail) => {
      asked.set(id, { respond, fail })
      tell({ type: 'request', id, method, url, headers: [...headers], body })
    })
  }

  function cut() {
    for (const socket of sockets) if (socket !== page?.raw) socket.destroy()
  }

  const server = createAdaptorServer({
    async fetch(request) {
      const { pathname } = new URL(request.url)
      if (pathname === '/') return new Response('<!doctype html><script type="module" src="/script.js"></script>', HTML)
      if (pathname === '/script.js') return new Response(script, JAVASCRIPT)
      return pathname.includes('/api/chat/') ? relay(request) : new Response(null, { status: 404 })
    },
  }) as Server
  const upgrades = new WebSocketServer({ noServer: true })
  const gateway = createWebSocketGateway({ fetch: relay })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('upgrade', (incoming, raw, head) =>
    upgrades.handleUpgrade(incoming, raw, head, (socket) => {
      if (incoming.url === '/relay') {
        page = { socket, raw: raw as Socket }
        socket.on('message', (data) => hear(JSON.parse(String(data))))
      } else gateway.accept(socket, new Request(`http://${incoming.headers.host}${incoming.url}`))
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const HTML = { headers: { 'Content-Type': 'text/html' } }
const JAVASCRIPT = { headers: { 'Content-Type': 'text/javascript' } }
