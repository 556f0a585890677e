import { createWebSocketGateway, type GatewaySocket } from 'holdline/server'
import { cuttable } from './cuttable'
import { runContract } from './runContract'

/** What is used of Bun. */
interface BunSocket {
  readonly readyState: number
  readonly data: { readonly request: Request; socket?: Bridge }
  send(data: string): unknown
  close(code?: number, reason?: string): void
  terminate(): void
  getBufferedAmount(): number
}
interface BunServer {
  readonly port: number
  upgrade(request: Request, options: { readonly data: { readonly request: Request } }): boolean
  stop(closesConnections: boolean): Promise<void>
}
declare const Bun: {
  readonly version: string
  serve(options: {
    readonly port: number
    readonly hostname: string
    fetch(request: Request, server: BunServer): Promise<Response | undefined>
    readonly websocket: {
      open(socket: BunSocket): void
      message(socket: BunSocket, data: string | Uint8Array): void
      close(socket: BunSocket): void
    }
  }): BunServer
}

type Listener = Parameters<GatewaySocket['addEventListener']>[1]

/** Bun tells its server what its sockets hear; a gateway listens to the sockets themselves. */
class Bridge implements GatewaySocket {
  private readonly listeners: [type: string, listener: Listener][] = []
  constructor(private readonly socket: BunSocket) {}
  get readyState() {
    return this.socket.readyState
  }
  get bufferedAmount() {
    return this.socket.getBufferedAmount()
  }
  send(data: string) {
    this.socket.send(data)
  }
  close(code?: number, reason?: string) {
    this.socket.close(code, reason)
  }
  terminate() {
    this.socket.terminate()
  }
  addEventListener(type: string, listener: Listener) {
    this.listeners.push([type, listener])
  }
  tell(type: string, data?: unknown) {
    for (const [of, listener] of this.listeners) if (of === type) listener({ type, data })
  }
}

await runContract({
  version: Bun.version,
  async listen(fetch) {
    const gateway = createWebSocketGateway({ fetch })
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      async fetch(request, own) {
        if (request.headers.get('upgrade') !== 'websocket') return fetch(request)
        return own.upgrade(request, { data: { request } }) ? undefined : new Response(null, { status: 400 })
      },
      websocket: {
        open(socket) {
          socket.data.socket = new Bridge(socket)
          gateway.accept(socket.data.socket, socket.data.request)
        },
        message: ({ data: { socket } }, data) => socket?.tell('message', data),
        close: ({ data: { socket } }) => socket?.tell('close'),
      },
    })
    const line = await cuttable(server.port)
    return {
      url: `http://127.0.0.1:${line.port}/api/chat`,
      cut: line.cut,
      async close() {
        await line.close()
        await server.stop(true)
      },
    }
  },
})
process.exit()
