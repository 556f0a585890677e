import { type Connection, type ConnectionOptions, createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import type { App, Client } from './client'

const follow = (options: Partial<ConnectionOptions>) => (url: string, app: App) => {
  const connection = createConnection({ url: `${url}/api`, ...options })
  connection.on('opened', () => app.up())
  connection.on('closed', () => app.down())
  connection.on('message', (message) => app.hear(message))
  // Told, so not warned of: it is what is measured.
  connection.on('error', () => {})
  connection.watch('s1')
  connection.connect()
  return clientOf(connection)
}

function clientOf(connection: Connection): Client {
  return {
    async send(id) {
      return (await connection.send({ type: 'send', sessionId: 's1', prompt: id }).settled).status
    },
  }
}

export const overEventSource = follow({})
export const overFetch = follow({ transport: fetchStreamTransport })
export const overWebSocket = follow({ transport: webSocketTransport() })
