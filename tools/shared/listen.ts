import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'

export type Handler = (request: Request) => Response | Promise<Response>

/** A real HTTP server on a free port of 127.0.0.1, whose sockets a test can destroy. */
export async function listen(handler: Handler) {
  const sockets = new Set<Socket>()
  let streams = 0
  let mostStreams = 0
  // `Response` stays that of Node, for the tests that share this process.
  const server = createAdaptorServer({ fetch: handler, overrideGlobalObjects: false }) as Server
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('request', (request, response) => {
    if (!request.url?.endsWith('/events')) return
    streams++
    mostStreams = Math.max(mostStreams, streams)
    response.on('close', () => {
      streams--
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/api/chat`,
    /** Event streams that are being answered now, and the most that ever were at once. */
    get streams() {
      return streams
    },
    get mostStreams() {
      return mostStreams
    },
    destroySockets() {
      for (const socket of sockets) socket.destroy()
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
