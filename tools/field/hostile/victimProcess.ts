import { type Connection, type ConnectionOptions, createConnection, type Verdict } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { WebSocket } from 'ws'
import { serveIpc } from './ipc'
import type { ClientWire } from './trap'

// A client of this library whose server is hostile.

/** A header of the app's own: to other origins it is a secret, and no `fetch` takes it off. */
export const SECRET = { Authorization: 'Bearer secret', 'X-Api-Key': 'secret' }

export interface Look {
  readonly phase: string
  readonly connectionId: string | null
  /** How often the line was opened, was lost, and has told of a reset. */
  readonly opened: number
  readonly closed: number
  readonly resets: number
  readonly tracked: number
  /** Events that the app has heard of. */
  readonly messages: number
  readonly errors: Readonly<Record<string, number>>
}

export interface VictimProcess {
  /** A connection in place of the last one. */
  open(url: string, over: ClientWire): void
  send(): Promise<Pick<Verdict, 'status'> & { readonly code?: string }>
  /** Asked over and over, it says as well whether the client's one thread still turns. */
  look(): Look
}

const TRANSPORTS: Readonly<Record<ClientWire, Pick<ConnectionOptions, 'transport'>>> = {
  eventsource: {},
  fetch: { transport: fetchStreamTransport },
  websocket: { transport: webSocketTransport({ WebSocket }) },
}

let connection: Connection | undefined
const counts = { opened: 0, closed: 0, resets: 0, messages: 0 }
const errors: Record<string, number> = {}

serveIpc({ open, send, look } satisfies VictimProcess)

function open(url: string, over: ClientWire) {
  connection?.dispose()
  connection = createConnection({ url, headers: SECRET, pageLifecycle: false, ...TRANSPORTS[over] })
  connection.on('opened', () => {
    counts.opened += 1
  })
  connection.on('closed', () => {
    counts.closed += 1
  })
  connection.on('session', ({ status }) => {
    if (status === 'reset') counts.resets += 1
  })
  connection.on('message', () => {
    counts.messages += 1
  })
  connection.on('error', ({ error: { code } }) => {
    errors[code] = (errors[code] ?? 0) + 1
  })
  connection.connect()
}

async function send() {
  if (!connection) throw new Error('there is no connection')
  const verdict = await connection.send({ type: 'send', prompt: 'secret' }).settled
  return { status: verdict.status, ...('error' in verdict && { code: verdict.error.code }) }
}

function look(): Look {
  if (!connection) throw new Error('there is no connection')
  const { phase, connectionId, cursors } = connection
  return { phase, connectionId, ...counts, tracked: cursors.length, errors }
}
