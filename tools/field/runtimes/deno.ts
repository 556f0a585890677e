import { createWebSocketGateway } from 'holdline/server'
import { cuttable } from './cuttable'
import { runContract } from './runContract'

/** What is used of Deno. */
declare const Deno: {
  readonly version: { readonly deno: string }
  serve(
    options: { readonly port: number; readonly hostname: string; onListen(): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> }
  upgradeWebSocket(request: Request): { readonly socket: WebSocket; readonly response: Response }
  exit(): never
}

await runContract({
  version: Deno.version.deno,
  async listen(fetch) {
    const gateway = createWebSocketGateway({ fetch })
    const server = Deno.serve({ port: 0, hostname: '127.0.0.1', onListen() {} }, (request) => {
      if (request.headers.get('upgrade') !== 'websocket') return fetch(request)
      // Deno closes the request with the upgrade.
      const upgrade = new Request(request)
      const { socket, response } = Deno.upgradeWebSocket(request)
      gateway.accept(socket, upgrade)
      return response
    })
    const line = await cuttable(server.addr.port)
    return {
      url: `http://127.0.0.1:${line.port}/api/chat`,
      cut: line.cut,
      async close() {
        await line.close()
        await server.shutdown()
      },
    }
  },
})
Deno.exit()
