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
  const relay = new Relay(script)
  const { server } = relay
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      relay.cut({ andThePage: true })
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

class Relay {
  readonly server: Server
  readonly #script: string
  readonly #sockets = new Set<Socket>()
  readonly #asked = new Map<number, Asked>()
  #page: { readonly socket: WebSocket; readonly raw: Socket } | undefined
  #ids = 0

  constructor(script: string) {
    this.#script = script
    this.server = createAdaptorServer({ fetch: (request) => this.#answer(request) }) as Server
    this.server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#acceptSockets()
  }

  /** Every socket, but the one to the page. */
  cut({ andThePage = false } = {}) {
    for (const socket of this.#sockets) if (andThePage || socket !== this.#page?.raw) socket.destroy()
  }

  #acceptSockets() {
    const upgrades = new WebSocketServer({ noServer: true })
    const gateway = createWebSocketGateway({ fetch: (request) => this.#relay(request) })
    this.server.on('upgrade', (incoming, raw, head) =>
      upgrades.handleUpgrade(incoming, raw, head, (socket) => {
        if (incoming.url === '/relay') {
          this.#page = { socket, raw: raw as Socket }
          socket.on('message', (data) => this.#hear(JSON.parse(String(data))))
        } else gateway.accept(socket, new Request(`http://${incoming.headers.host}${incoming.url}`))
      }),
    )
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === '/') return new Response('<!doctype html><script type="module" src="/script.js"></script>', HTML)
    if (pathname === '/script.js') return new Response(this.#script, JAVASCRIPT)
    return pathname.includes('/api/chat/') ? this.#relay(request) : new Response(null, { status: 404 })
  }

  async #relay(request: Request): Promise<Response> {
    const { method, url, headers } = request
    const body = method === 'POST' ? await request.text() : null
    this.#ids += 1
    const id = this.#ids
    return new Promise((respond, fail) => {
      this.#asked.set(id, { respond, fail })
      this.#tell({ type: 'request', id, method, url, headers: [...headers], body })
    })
  }

  #tell(frame: ToPage) {
    this.#page?.socket.send(JSON.stringify(frame))
  }

  #hear(frame: FromPage) {
    if (frame.type === 'cut') return this.cut()
    const asking = this.#asked.get(frame.id)
    if (!asking) return
    if (frame.type === 'response') asking.respond(this.#begin(frame, asking))
    else if (frame.type === 'chunk') asking.sink?.enqueue(new TextEncoder().encode(frame.text))
    else {
      this.#asked.delete(frame.id)
      if (frame.type === 'end') asking.sink?.close()
      else {
        asking.sink?.error(new Error('the page gave up'))
        asking.fail(new Error('the page gave up'))
      }
    }
  }

  #begin({ id, status, headers }: Extract<FromPage, { type: 'response' }>, asking: Asked): Response {
    const body = new ReadableStream<Uint8Array>({
      start(sink) {
        asking.sink = sink
      },
      cancel: () => {
        this.#asked.delete(id)
        this.#tell({ type: 'cancel', id })
      },
    })
    const hasBody = status !== 204 && status !== 304
    return new Response(hasBody ? body : null, { status, headers: headers.map(([...pair]) => pair) })
  }
}

const HTML = { headers: { 'Content-Type': 'text/html' } }
const JAVASCRIPT = { headers: { 'Content-Type': 'text/javascript' } }
