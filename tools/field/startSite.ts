import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { type ChatServerOptions, createChatServer, createWebSocketGateway, type Principal } from 'holdline/server'
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
export async function startSite(script: string, options: Partial<ChatServerOptions<Principal>> = {}) {
  const loads = new Map<string, Told>()
  const requests: { readonly endpoint: string; readonly asksWhy: boolean; readonly at: number }[] = []
  const suspends: { readonly connectionId: string; readonly sessions: readonly unknown[] }[] = []
  const sockets = new Set<Socket>()
  let commands = 0
  let onChat: Handler = ({ next }) => next()

  const chat = createChatServer({
    authenticate: () => ({ id: 'somebody' }),
    authorize: () => true,
    onCommand: () => ({ took: ++commands }),
    onSuspend: ({ connectionId, sessions }) => suspends.push({ connectionId, sessions }),
    ...options,
  })

  function ask(request: Request, raw?: Socket) {
    const { pathname, searchParams } = new URL(request.url)
    const [endpoint, asksWhy] = [pathname.split('/').at(-1) ?? '', searchParams.has('ask')]
    requests.push({ endpoint, asksWhy, at: performance.now() })
    return onChat({ endpoint, asksWhy, ...(raw && { raw }), next: () => chat.fetch(request) })
  }

  async function answer(request: Request, raw: Socket): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname.startsWith('/api/chat/')) return ask(request, raw)
    requests.push({ endpoint: pathname, asksWhy: false, at: performance.now() })
    if (pathname === '/app') return new Response(PAGE, HTML)
    if (pathname === '/app.js') return new Response(script, { headers: { 'Content-Type': 'text/javascript' } })
    if (pathname === '/other') return new Response('<!doctype html><title>other</title>', HTML)
    if (pathname === '/nothing') return new Response(null, { status: 204 })
    if (pathname === '/download') return new Response('a file', DOWNLOAD)
    if (pathname !== '/told') return new Response(null, { status: 404 })
    const told: Told = await request.json()
    loads.set(told.load, told)
    return new Response()
  }

  const server = createAdaptorServer({
    fetch: (request, env) => answer(request, (env as HttpBindings).incoming.socket),
  }) as Server
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  // Through the same door, so that a test has its hand in what goes over either.
  const gateway = createWebSocketGateway({ fetch: (request) => ask(request) })
  const upgrades = new WebSocketServer({ noServer: true })
  server.on('upgrade', (incoming, raw, head) =>
    upgrades.handleUpgrade(incoming, raw, head, (socket) => {
      const { pathname, searchParams } = new URL(`http://${incoming.headers.host}${incoming.url}`)
      if (pathname === '/close') socket.close(Number(searchParams.get('code')), 'why')
      else gateway.accept(socket, new Request(`http://${incoming.headers.host}${incoming.url}`))
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    origin,
    chat,
    /** The address of the page with this transport. */
    app: (transport: string, options: object = {}) =>
      `${origin}/app?${new URLSearchParams({ transport, options: JSON.stringify(options) })}`,
    /** What reached the server, oldest first. */
    requests,
    requestsTo: (endpoint: string) => requests.filter((request) => request.endpoint === endpoint),
    /** Every farewell that `onSuspend` was told of. */
    suspends,
    /** What the page has told since it was loaded last. */
    get told(): Told | undefined {
      return [...loads.values()].at(-1)
    },
    get loads() {
      return loads.size
    },
    /** What is asked of the chat is answered by this from now on. */
    intercepts(handler: Handler) {
      onChat = handler
    },
    publish: () => chat.publish('s1', { type: 'token' }),
    /** Until what the page tells, or the server sees, is so. ms that it took. */
    async until(what: string, holds: () => boolean): Promise<number> {
      const start = performance.now()
      while (!holds()) {
        if (performance.now() - start > PATIENCE)
          throw new Error(`${what}: never. ${JSON.stringify([...loads.values(), requests])}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      return performance.now() - start
    },
    async close() {
      await chat.close()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const HTML = { headers: { 'Content-Type': 'text/html' } }
const DOWNLOAD = { headers: { 'Content-Type': 'text/plain', 'Content-Disposition': 'attachment; filename=file.txt' } }
const PAGE = `<!doctype html><title>app</title>
<a id="download" href="/download">download</a>
<a id="nothing" href="/nothing">nothing</a>
<a id="other" href="/other">other</a>
<script type="module" src="/app.js"></script>`
