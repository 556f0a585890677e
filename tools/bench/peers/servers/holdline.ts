import { createServer, type Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { createChatServer, createWebSocketGateway } from 'holdline/server'
import { WebSocketServer } from 'ws'
import { openEventStream, pour } from './eventStream'
import { closeServer, floodOf, listen, type ServerOptions, type StartServer } from './server'

const WELCOME = { type: 'welcome', protocolVersion: 2, connectionId: 'c1' }

/** holdline's own server half, with its defaults, over HTTP and WebSockets. */
export const startServer: StartServer = async (options) => {
  if (options.flood > 0) return startFlood(options)
  const chat = createChatServer({
    allowedHosts: 'any',
    authenticate: () => ({ id: 'me' }),
    authorize: () => true,
    onCommand: ({ message }) => options.onPrompt(String(message.prompt)),
  })
  const server = createAdaptorServer({ fetch: chat.fetch }) as Server
  const gateway = createWebSocketGateway({ fetch: chat.fetch })
  const upgrades = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) =>
    upgrades.handleUpgrade(request, socket, head, (ws) =>
      gateway.accept(ws, new Request(`http://${request.headers.host}${request.url}`)),
    ),
  )
  return {
    port: await listen(server),
    publish: (message) => void chat.publish('s1', { type: 'note', ...message }),
    async close() {
      for (const socket of upgrades.clients) socket.terminate()
      await chat.close()
      await closeServer(server)
    },
  }
}

/** As plain as the other floods, so that all clients read the same pieces. */
async function startFlood({ flood }: ServerOptions) {
  const messages = floodOf(flood)
  const server = createServer((request, response) => {
    if (request.method !== 'GET') return void response.end('{"ok":true}')
    openEventStream(response)
    response.write(`event: welcome\ndata: ${JSON.stringify(WELCOME)}\n\n`)
    pour(response, messages)
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) =>
    socket.once('message', () => {
      socket.send(JSON.stringify(WELCOME))
      for (const message of messages) socket.send(JSON.stringify(message))
    }),
  )
  return {
    port: await listen(server),
    publish() {},
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      await closeServer(server)
    },
  }
}
