import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { closeServer, floodOf, listen, type Message, type StartServer } from './server'

// The part of SignalR's JSON hub protocol that is needed here, over its WebSocket transport: its
// own server is .NET.
// [spec] dotnet/aspnetcore, src/SignalR/docs/specs: HubProtocol.md, TransportProtocols.md

const END = '\x1e'
/** [spec] the server's `KeepAliveInterval`, 15 s. The client leaves after 30 s of silence. */
const KEEP_ALIVE = 15_000
const [INVOCATION, COMPLETION, PING] = [1, 3, 6]

interface HubMessage {
  readonly type?: number
  readonly protocol?: string
  readonly invocationId?: string
  readonly target?: string
  readonly arguments?: readonly unknown[]
}

export const startServer: StartServer = async ({ flood, onPrompt }) => {
  const server = createServer((_, response) => {
    const availableTransports = [{ transport: 'WebSockets', transferFormats: ['Text', 'Binary'] }]
    const [connectionId, connectionToken] = [randomUUID(), randomUUID()]
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ negotiateVersion: 1, connectionId, connectionToken, availableTransports }))
  })
  const sockets = new WebSocketServer({ server })

  sockets.on('connection', (socket) => {
    const pings = setInterval(() => send(socket, { type: PING }), KEEP_ALIVE)
    socket.on('close', () => clearInterval(pings))
    socket.on('error', () => socket.terminate())
    socket.on('message', (data: RawData) => {
      for (const text of String(data).split(END)) if (text) hear(socket, JSON.parse(text))
    })
  })

  function hear(socket: WebSocket, { type, protocol, invocationId, target, arguments: [id] = [] }: HubMessage) {
    if (protocol) {
      send(socket, {})
      for (const message of floodOf(flood)) send(socket, invocation(message))
    }
    if (type !== INVOCATION || target !== 'Prompt') return
    onPrompt(String(id))
    send(socket, { type: COMPLETION, invocationId, result: null })
  }

  return {
    port: await listen(server),
    publish(message) {
      for (const socket of sockets.clients) send(socket, invocation(message))
    },
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      await closeServer(server)
    },
  }
}

const invocation = (message: Message) => ({ type: INVOCATION, target: 'message', arguments: [message] })
const send = (socket: WebSocket, message: object) => socket.send(JSON.stringify(message) + END)
