import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { createChatServer, createWebSocketGateway, memoryLog, type SessionLog } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import { WebSocket, WebSocketServer } from 'ws'

export type Way = 'in process' | 'HTTP' | 'WebSocket'

/** The server half, and the clients of a soak. */
export interface World {
  /** One that is open. */
  connect(way: Way): Promise<Connection>
  /** What the connections reported, each code once. */
  readonly errors: ReadonlyMap<string, string>
  close(): Promise<void>
}

/**
 * So much faster its time goes for the server half: what it keeps for a while, by design, it keeps
 * for a moment.
 */
const SPEED = 1_000
/** Until a connection asks which of its sessions are quiet: ms, and here. */
const [ASK_EVERY, ASK_SOON] = [900_000, 20]
/** How long Redis keeps the events of a run, ms. */
const KEPT = 60_000

const start = Date.now()
const serverClock = {
  now: () => start + (Date.now() - start) * SPEED,
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
}
const clientClock = {
  now: () => Date.now(),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms === ASK_EVERY ? ASK_SOON : ms),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
}

export async function createWorld(redis: string | undefined): Promise<World> {
  const log: SessionLog & { close?(): Promise<void> } = redis
    ? redisLog({ url: redis, prefix: 'holdline-soak', maxAge: KEPT })
    : memoryLog({ maxAge: KEPT, clock: serverClock })
  const chat = createChatServer({
    log,
    clock: serverClock,
    // Of Redis' receipts it is Redis' own time that counts.
    limits: { receiptAge: redis ? 1_000 : 1_000_000, newSessions: 1_000_000_000, sessionsPerStream: 10_000 },
    allowedHosts: 'any',
    authenticate: () => ({ id: 'soak' }),
    authorize: () => true,
    onCommand: async ({ sessionId, publish }) => void (sessionId && (await publish(sessionId, { type: 'answer' }))),
  })
  const http = createAdaptorServer({ fetch: chat.fetch }) as Server
  const httpUrl = `${await listen(http)}/api`
  const sockets = createServer()
  const gateway = createWebSocketGateway({ fetch: chat.fetch })
  const upgrades = new WebSocketServer({ noServer: true })
  sockets.on('upgrade', (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (ws) =>
      gateway.accept(ws, new Request(`http://${request.headers.host}${request.url}`)),
    ),
  )
  const socketUrl = `${await listen(sockets)}/api`

  const ways: Readonly<Record<Way, ConnectionOptions>> = {
    'in process': { url: 'http://soak.test/api', transport: fetchStreamTransport, fetch: inProcess(chat.fetch) },
    HTTP: { url: httpUrl, transport: fetchStreamTransport },
    WebSocket: { url: socketUrl, transport: webSocketTransport({ WebSocket: WebSocket as never }) },
  }

  const errors = new Map<string, string>()
  return {
    errors,
    async connect(way) {
      const connection = createConnection({ ...ways[way], clock: clientClock, pageLifecycle: false })
      connection.on('error', ({ error }) => void errors.set(error.code, error.message))
      connection.connect()
      await opened(connection)
      return connection
    },

    async close() {
      await chat.close()
      await log.close?.()
      for (const server of [http, sockets]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
      upgrades.close()
    },
  }
}

/** Until the next `opened`. */
export const opened = (connection: Connection) =>
  new Promise<void>((resolve, reject) => {
    const stops = [
      connection.on('opened', () => end(resolve)),
      connection.on('stopped', ({ error }) => end(() => reject(error))),
    ]
    function end(settle: () => void) {
      for (const stop of stops) stop()
      settle()
    }
  })

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A `fetch` without a network. As with one, an abort ends the body, and the server hears of it. */
const inProcess = (serve: (request: Request) => Promise<Response>) =>
  (async (url: string, { signal, ...init }: RequestInit = {}) => {
    signal?.throwIfAborted()
    const { body, status, headers } = await serve(new Request(url, init))
    if (!body || !signal) return new Response(body, { status, headers })
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    body.pipeTo(writable, { signal }).catch(() => {})
    return new Response(readable, { status, headers })
  }) as typeof fetch
