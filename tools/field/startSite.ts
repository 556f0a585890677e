import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { type ChatServerOptions, createChatServer, createWebSocketGateway, type Principal } from 'holdline/server'
import { WebSocketServer } from 'ws'
import type { Told } from './page/app'

type Answer = Response | Promise<Response> | undefined
/** What a page waits for at most. A slow machine needs seconds; what does not come in this time does not come. ms. */
const PATIENCE = 60_000

/** A page with a connection, and everything that it may ask for, on a free port of 127.0.0.1. */
export async function startSite(script: string, options: Partial<ChatServerOptions<Principal>> = {}) {
  const loads = new Map<string, Told>()
  const requests: { readonly endpoint: string; readonly at: number }[] = []
  const suspends: { readonly connectionId: string; readonly sessions: readonly unknown[] }[] = []
  const sockets = new Set<Socket>()
  let onChat = (_endpoint: string, _raw: Socket): Answer => undefined

  const chat = createChatServer({
    authenticate: () => ({ id: 'somebody' }),
    authorize: () => true,
    onCommand: () => ({}),
    onSuspend: ({ connectionId, sessions }) => suspends.push({ connectionId, sessions }),
    ...options,
  })

  async function answer(request: Request, raw: Socket): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname.startsWith('/api/chat/')) {
      const endpoint = pathname.split('/').at(-1) ?? ''
      requests.push({ endpoint, at: performance.now() })
      return (await onChat(endpoint, raw)) ?? chat.fetch(request)
    }
    requests.push({ endpoint: pathname, at: performance.now() })
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
  const gateway = createWebSocketGateway({
    fetch: async (request) => {
      const endpoint = new URL(request.url).pathname.split('/').at(-1) ?? ''
      requests.push({ endpoint, at: performance.now() })
      return chat.fetch(request)
    },
  })
  const upgrades = new WebSocketServer({ noServer: true })
  server.on('upgrade', (incoming, raw, head) =>
    upgrades.handleUpgrade(incoming, raw, head, (socket) =>
      gateway.accept(socket, new Request(`http://${incoming.headers.host}${incoming.url}`)),
    ),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    origin,
    chat,
    /** The address of the page with this transport. */
    app: (transport: string, { disconnects = false, ...own }: object & { readonly disconnects?: boolean } = {}) =>
      `${origin}/app?${new URLSearchParams({
        transport,
        options: JSON.stringify(own),
        ...(disconnects && { disconnects: '' }),
      })}`,
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
    intercepts(handler: typeof onChat) {
      onChat = handler
    },
    publish: () => chat.publish('s1', { type: 'token' }),
    /** Until what the page tells, or the server sees, is so. ms that it took. */
    async until(what: string, holds: () => boolean): Promise<number> {
      const start = performance.now()
      while (!holds()) {
        if (performance.now() - start > PATIENCE)
          throw new Error(`${what}: never. ${JSON.stringify([...loads.values()])}`)
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
