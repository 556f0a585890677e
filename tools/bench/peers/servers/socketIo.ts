import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { floodOf, listen, type StartServer } from './server'

/** Socket.IO's own server, with its defaults. */
export const startServer: StartServer = async ({ flood, onPrompt }) => {
  const server = createServer()
  const io = new Server(server)
  io.on('connection', (socket) => {
    socket.on('prompt', (id, acknowledge) => {
      onPrompt(id)
      acknowledge()
    })
    if (flood === 0) return
    // A client begins with long polling, and goes over to a WebSocket if it can.
    socket.conn.once('upgrade', () => {
      for (const message of floodOf(flood)) socket.emit('message', message)
    })
  })
  return {
    port: await listen(server),
    publish: (message) => io.emit('message', message),
    async close() {
      server.closeAllConnections()
      await io.close()
    },
  }
}
