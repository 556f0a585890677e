import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import {
  type ChatServer,
  type ChatServerOptions,
  createChatServer,
  createWebSocketGateway,
  type Principal,
} from 'holdline/server'
import { WebSocketServer } from 'ws'
import type { Told } from './page/app'

/** A request to the chat, in the hands of a test. */
export interface Asked {
  readonly endpoint: string
  /** Whether a client only wants to know why its stream did not open. */
  readonly asksWhy: boolean
  /** Its socket; none if it is a frame. */
  readonly raw?: Socket
  /** What the chat answers. */
  next(): Promise<Response>
}
export type Handler = (asked: Asked) => Response | Promise<Response>

/** A slow machine needs seconds; what does not come in this time does not come. ms. */
const PATIENCE = 40_000

/** A page with a connection, and everything that it may ask for, on a free port of 127.0.0.1. */
export async function startSite(script: string, options: Partial<ChatServerOptions<Principal>> = {}): Promise<Site> {
  const site = new Site(script, options)
  await site.listen()
  return site
}

export class Site {
  readonly chat: ChatServer
  /** What reached the server, oldest first. */
  readonly requests: { readonly endpoint: string; readonly asksWhy: boolean; readonly at: number }[] = []
  /** Every farewell that `onSuspend` was told of. */
  readonly suspends: { readonly connectionId: string; readonly sessions: readonly unknown[] }[] = []
  readonly #script: string
  readonly #server: Server
  readonly #loads = new Map<string, Told>()
  readonly #sockets = new Set<Socket>()
  #commands = 0
  #onChat: Handler = ({ next }) => next()

  constructor(script: string, options: Partial<ChatServerOptions<Principal>>) {
    this.#script = script
    this.chat = createChatServer({
      authenticate: () => ({ id: 'somebody' }),
      authorize: () => true,
      onCommand: () => {
        this.#commands += 1
        return { took: this.#commands }
      },
      onSuspend: ({ connectionId, sessions }) => this.suspends.push({ connectionId, sessions }),
      ...options,
    })
    this.#server = createAdaptorServer({
      fetch: (request, env) => this.#answer(request, (env as HttpBindings).incoming.socket),
    }) as Server
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#acceptSockets()
  }

  listen() {
    return new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get origin() {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The address of the page with this transport. */
  app(transport: string, options: object = {}) {
    return `${this.origin}/app?${new URLSearchParams({ transport, options: JSON.stringify(options) })}`
  }

  requestsTo(endpoint: string) {
    return this.requests.filter((request) => request.endpoint === endpoint)
  }

  /** What the page has told since it was loaded last. */
  get told(): Told | undefined {
    return [...this.#loads.values()].at(-1)
  }

  get loads() {
    return this.#loads.size
  }

  /** What is asked of the chat is answered by this from now on. */
  intercepts(handler: Handler) {
    this.#onChat = handler
  }

  publish() {
    return this.chat.publish('s1', { type: 'token' })
  }

  /** Until what the page tells, or the server sees, is so. ms that it took. */
  async until(what: string, holds: () => boolean): Promise<number> {
    const start = performance.now()
    while (!holds()) {
      if (performance.now() - start > PATIENCE)
        throw new Error(`${what}: never. ${JSON.stringify([...this.#loads.values(), this.requests])}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return performance.now() - start
  }

  async close() {
    await this.chat.close()
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #acceptSockets() {
    // Through the same door, so that a test has its hand in what goes over either.
    const gateway = createWebSocketGateway({ fetch: (request) => this.#ask(request) })
    const upgrades = new WebSocketServer({ noServer: true })
    this.#server.on('upgrade', (incoming, raw, head) =>
      upgrades.handleUpgrade(incoming, raw, head, (socket) => {
        const { pathname, searchParams } = new URL(`http://${incoming.headers.host}${incoming.url}`)
        if (pathname === '/close') socket.close(Number(searchParams.get('code')), 'why')
        else gateway.accept(socket, new Request(`http://${incoming.headers.host}${incoming.url}`))
      }),
    )
  }

  async #ask(request: Request, raw?: Socket): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const [endpoint, asksWhy] = [pathname.split('/').at(-1) ?? '', searchParams.has('ask')]
    this.requests.push({ endpoint, asksWhy, at: performance.now() })
    return this.#onChat({ endpoint, asksWhy, ...(raw && { raw }), next: () => this.chat.fetch(request) })
  }

  async #answer(request: Request, raw: Socket): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname.startsWith('/api/chat/')) return this.#ask(request, raw)
    this.requests.push({ endpoint: pathname, asksWhy: false, at: performance.now() })
    if (pathname === '/app') return new Response(PAGE, HTML)
    if (pathname === '/app.js') return new Response(this.#script, { headers: { 'Content-Type': 'text/javascript' } })
    if (pathname === '/other') return new Response('<!doctype html><title>other</title>', HTML)
    if (pathname === '/nothing') return new Response(null, { status: 204 })
    if (pathname === '/download') return new Response('a file', DOWNLOAD)
    if (pathname !== '/told') return new Response(null, { status: 404 })
    const told: Told = await request.json()
    this.#loads.set(told.load, told)
    return new Response()
  }
}

const HTML = { headers: { 'Content-Type': 'text/html' } }
const DOWNLOAD = { headers: { 'Content-Type': 'text/plain', 'Content-Disposition': 'attachment; filename=file.txt' } }
const PAGE = `<!doctype html><title>app</title>
<a id="download" href="/download">download</a>
<a id="nothing" href="/nothing">nothing</a>
<a id="other" href="/other">other</a>
<script type="module" src="/app.js"></script>`
