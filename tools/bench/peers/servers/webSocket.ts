import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { closeServer, floodOf, listen, type StartServer } from './server'

/** A WebSocket that carries JSON: a prompt up is its id. */
export const startServer: StartServer = async ({ flood, onPrompt }) => {
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => {
    socket.on('error', () => socket.terminate())
    socket.on('message', (data) => onPrompt(String(data)))
    for (const message of floodOf(flood)) socket.send(JSON.stringify(message))
  })
  return {
    port: await listen(server),
    publish(message) {
      for (const socket of sockets.clients) socket.send(JSON.stringify(message))
    },
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      await closeServer(server)
    },
  }
}
