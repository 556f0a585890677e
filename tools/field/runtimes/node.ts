import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { WebSocketClass } from 'holdline/adapters/websocket'
import { createWebSocketGateway } from 'holdline/server'
import { WebSocket, WebSocketServer } from 'ws'
import { runContract } from './runContract'

await runContract({
  version: process.versions.node,
  ...(globalThis.WebSocket ? {} : { WebSocket: WebSocket as unknown as WebSocketClass }),
  async listen(fetch) {
    const sockets = new Set<Socket>()
    const gateway = createWebSocketGateway({ fetch })
    const upgrades = new WebSocketServer({ noServer: true })
    const server = createAdaptorServer({ fetch }) as Server
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    })
    server.on('upgrade', (incoming, socket, head) =>
      upgrades.handleUpgrade(incoming, socket, head, (ws) => gateway.accept(ws, toRequest(incoming))),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const cut = () => {
      for (const socket of sockets) socket.destroy()
    }
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/chat`,
      cut,
      async close() {
        cut()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
})
process.exit()

function toRequest({ url, headers }: IncomingMessage): Request {
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
  return new Request(`http://${headers.host}${url}`, { headers: given })
}
