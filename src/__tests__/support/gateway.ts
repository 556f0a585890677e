import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import type { JsonObject } from '../../protocol'
import { createWebSocketGateway, type GatewaySocket, type WebSocketGatewayOptions } from '../../server'
import { BASE, settle, until } from './server'

/** The server's end of a socket, whose other end is the test. */
export class ServerSocket implements GatewaySocket {
  readyState = 1
  bufferedAmount = 0
  /** The arguments of its closes; there must be one. */
  closed: readonly unknown[] | undefined
  readonly said: JsonObject[] = []
  private readonly listeners: [type: string, listener: (event: { type: string; data?: unknown }) => void][] = []

  send(data: string) {
    if (this.readyState !== 1) throw new Error('sent on a socket that is not open')
    this.said.push(JSON.parse(data))
  }
  close(code?: number, reason?: string) {
    this.closed = [...(this.closed ?? []), code, ...(reason === undefined ? [] : [reason])]
    this.readyState = 2
  }
  addEventListener(type: string, listener: (event: { type: string; data?: unknown }) => void) {
    this.listeners.push([type, listener])
  }

  dispatch(type: string, event: { data?: unknown } = {}) {
    for (const [of, listener] of this.listeners) if (of === type) listener({ type, ...event })
  }
  hears(frame: unknown) {
    this.dispatch('message', { data: typeof frame === 'object' ? JSON.stringify(frame) : frame })
  }
  vanishes() {
    this.readyState = 3
    this.dispatch('close')
  }

  get acks() {
    return this.said.filter(({ type }) => type === 'ack')
  }
  ack(id: string) {
    return this.acks.filter((ack) => ack.id === id).at(-1)
  }
  get events() {
    return this.said.filter((frame) => 'seq' in frame).map(({ sessionId, seq }) => `${sessionId}:${seq}`)
  }
}

export interface Upgrade {
  /** The token in its hello. */
  readonly as?: string | undefined
  readonly headers?: Record<string, string>
}

/** Sockets that a test holds both ends of, before any server. */
export function createSockets(options: WebSocketGatewayOptions) {
  const gateway = createWebSocketGateway(options)
  const connect = (headers: Record<string, string> = {}) => {
    const socket = new ServerSocket()
    gateway.accept(socket, new Request(`${BASE}/socket?q=1`, { headers }))
    return socket
  }
  return {
    connect,
    async opens({ as = 'alice', headers = {} }: Upgrade = {}) {
      const socket = connect(headers)
      socket.hears({ type: 'hello', protocolVersion: 2, headers: { authorization: as } })
      await until(() => socket.said.length > 0 || socket.closed !== undefined, 'a welcome, or a close')
      return socket
    },
  }
}

let lastId = 0
export const freshId = () => `f${++lastId}`

/** A frame up, and its ack. */
export async function ask(socket: ServerSocket, endpoint: string, body: unknown, id = freshId()) {
  const before = socket.acks.length
  socket.hears({ id, endpoint, body })
  await until(() => socket.acks.length > before, `an ack to ${endpoint}`)
  return socket.ack(id)
}

/** So many answers. Each has its time: commands go through a thread pool. */
export async function acked(socket: ServerSocket, count: number) {
  for (let n = 1; n <= count; n += 1) await until(() => socket.acks.length >= n, `answer ${n}`)
}

/** The gateway on real sockets of 127.0.0.1. */
export async function listenForSockets(fetch: (request: Request) => Promise<Response>) {
  const sockets = new Set<Socket>()
  const gateway = createWebSocketGateway({ fetch })
  const upgrades = new WebSocketServer({ noServer: true })
  const http = createServer()
  http.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  http.on('upgrade', (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (ws) => gateway.accept(ws, toRequest(request))),
  )
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/api/chat`,
    /** Those that are alive. */
    sockets,
    cut,
    async close() {
      cut()
      await settle(1)
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

function toRequest({ url, headers }: IncomingMessage): Request {
  const given = Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string])
  return new Request(`http://${headers.host}${url}`, { headers: given })
}
