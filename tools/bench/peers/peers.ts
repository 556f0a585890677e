import type { ClientName } from './protocol'
import type { StartServer } from './servers/server'

export interface Peer {
  readonly name: string
  readonly client: ClientName
  /** Its packages: the first is the library, another one is needed beside it in Node 20. */
  readonly packages: readonly string[]
  readonly carrier: 'SSE' | 'SSE + POST' | 'WebSocket'
  readonly server: string
  readonly startServer: () => Promise<StartServer>
  /** All that an app for browsers has to import. */
  readonly imports: string
  /** Whether there is a way up. */
  readonly sends: boolean
}

const plain = async () => (await import('./servers/plain')).startServer
const holdline = async () => (await import('./servers/holdline')).startServer

const OURS = {
  packages: ['holdline'],
  server: 'its own',
  startServer: holdline,
  sends: true,
} as const

const SOCKET_IO = {
  packages: ['socket.io-client'],
  carrier: 'WebSocket',
  server: '`socket.io`',
  startServer: async () => (await import('./servers/socketIo')).startServer,
  imports: "export { io } from 'socket.io-client'",
  sends: true,
} as const

/** What the ratios are to. */
export const BASELINE = 'eventsource'

export const PEERS: readonly Peer[] = [
  {
    ...OURS,
    name: 'holdline',
    client: 'holdline',
    carrier: 'SSE + POST',
    imports: "export { createConnection } from 'holdline'",
  },
  {
    ...OURS,
    name: 'holdline, `fetchStreamTransport`',
    client: 'holdline-fetch',
    carrier: 'SSE + POST',
    imports: "export { createConnection } from 'holdline'; export { fetchStreamTransport } from 'holdline/adapters'",
  },
  {
    ...OURS,
    name: 'holdline, `webSocketTransport()`',
    client: 'holdline-websocket',
    carrier: 'WebSocket',
    imports:
      "export { createConnection } from 'holdline'; export { webSocketTransport } from 'holdline/adapters/websocket'",
  },
  {
    name: BASELINE,
    client: 'eventsource',
    packages: ['eventsource'],
    carrier: 'SSE',
    server: 'plain `node:http`',
    startServer: plain,
    imports: "export { EventSource } from 'eventsource'",
    sends: false,
  },
  {
    name: 'reconnecting-eventsource',
    client: 'reconnecting-eventsource',
    packages: ['reconnecting-eventsource', 'eventsource'],
    carrier: 'SSE',
    server: 'plain `node:http`',
    startServer: plain,
    imports: "export { default } from 'reconnecting-eventsource'",
    sends: false,
  },
  {
    name: '@microsoft/fetch-event-source',
    client: 'fetch-event-source',
    packages: ['@microsoft/fetch-event-source'],
    carrier: 'SSE',
    server: 'plain `node:http`',
    startServer: plain,
    imports: "export { fetchEventSource } from '@microsoft/fetch-event-source'",
    sends: false,
  },
  {
    name: 'centrifuge',
    client: 'centrifuge',
    packages: ['centrifuge', 'eventsource'],
    carrier: 'SSE + POST',
    server: 'ours, of its JSON protocol',
    startServer: async () => (await import('./servers/centrifuge')).startServer,
    imports: "export { Centrifuge } from 'centrifuge'",
    sends: true,
  },
  { ...SOCKET_IO, name: 'socket.io-client', client: 'socket.io' },
  {
    ...SOCKET_IO,
    name: 'socket.io-client, `retries: 3`',
    client: 'socket.io-retries',
  },
  {
    name: 'partysocket',
    client: 'partysocket',
    packages: ['partysocket', 'ws'],
    carrier: 'WebSocket',
    server: '`ws`',
    startServer: async () => (await import('./servers/webSocket')).startServer,
    imports: "export { WebSocket } from 'partysocket'",
    sends: true,
  },
  {
    name: '@microsoft/signalr',
    client: 'signalr',
    packages: ['@microsoft/signalr'],
    carrier: 'WebSocket',
    server: 'ours, of its JSON hub protocol',
    startServer: async () => (await import('./servers/signalR')).startServer,
    imports: "export { HubConnectionBuilder } from '@microsoft/signalr'",
    sends: true,
  },
]
