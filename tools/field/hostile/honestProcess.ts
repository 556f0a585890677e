import { type Connection, createConnection, type InboundMessage } from 'holdline'
import { webSocketTransport } from 'holdline/adapters/websocket'
import { WebSocket } from 'ws'
import { emptyHistogram, type Histogram, now, quantile, record } from '../../load/measure'
import { serveIpc } from './ipc'
import { ENDPOINTS, HONEST, OWN_SESSION, ROOM, TICK } from './names'
import type { Wire } from './types'

// The honest client: a connection of this library that sends and receives all the time, and
// measures.

const SEND_INTERVAL = 50
const LAG_INTERVAL = 20
/** How long a page is away when it is loaded again, ms. */
const RELOAD = 150
/** How long it has to come back after a `reconnect()`, and to be done at the end, ms. */
const PATIENCE = 5_000

/** p99 in ms: from `send()` to the receipt, and from when an event was due to its arrival. */
export interface Latency {
  readonly send: number
  readonly arrive: number
  /** How late this process's own timers were: what the machine is to blame for. */
  readonly lag: number
}

export interface Account {
  readonly sent: number
  readonly notAccepted: Readonly<Record<string, number>>
  /**
   * Of the ticks that were published: how many never came, came twice or out of order, and how many
   * were not the server's.
   */
  readonly lost: number
  readonly doubled: number
  readonly forged: number
  readonly errors: readonly string[]
}

export interface HonestProcess {
  open(url: string, over: Wire): Promise<void>
  pay(): Promise<string>
  /** From now on times are counted anew. */
  measure(): void
  latency(): Latency
  /**
   * As a reload does it: how long it took to be open again, ms; null if that was not within 5 s.
   */
  reconnect(): Promise<number | null>
  /** No more is sent. What became of everything, once it is done, or 5 s later. */
  settle(published: Readonly<Record<string, number>>): Promise<Account>
}

let connection: Connection
let sends: Histogram
let arrivals: Histogram
let lags: Histogram
let sender: NodeJS.Timeout
let sent = 0
let lastArrival = now()
/** When the messages were sent that have no verdict yet. */
const waiting = new Set<number>()
let doubled = 0
let forged = 0
const notAccepted: Record<string, number> = {}
const errors = new Set<string>()
/** The ticks that came, by session. */
const seen = new Map<string, Set<number>>([OWN_SESSION, ROOM].map((sessionId) => [sessionId, new Set()]))
const last = new Map<string, number>()

serveIpc({
  open,
  pay: async () => (await send('pay', 'payment-1')).status,
  measure,
  latency,
  reconnect,
  settle,
} satisfies HonestProcess)

const p99 = (times: Histogram) => Math.round(quantile(times, 0.99))

/** A message without a receipt, and an event that is missing, have waited until now. */
function latency(): Latency {
  for (const at of waiting) record(sends, now() - at)
  record(arrivals, Math.max(0, now() - lastArrival - TICK))
  return { send: p99(sends), arrive: p99(arrivals), lag: p99(lags) }
}

function measure() {
  sends = emptyHistogram()
  arrivals = emptyHistogram()
  lags = emptyHistogram()
}

async function open(url: string, over: Wire) {
  measure()
  connection = createConnection({
    url,
    headers: { Authorization: HONEST },
    protocol: { endpoints: ENDPOINTS },
    ...(over === 'websocket' && { transport: webSocketTransport({ WebSocket }) }),
  })
  connection.on('message', receive)
  connection.on('error', ({ error }) => errors.add(error.code))
  for (const sessionId of seen.keys()) connection.watch(sessionId)
  connection.connect()
  await isOpen()
  sender = setInterval(() => void sendOne(), SEND_INTERVAL)
  void watchLag()
}

async function watchLag() {
  for (;;) {
    const due = now() + LAG_INTERVAL
    await pause(LAG_INTERVAL)
    record(lags, Math.max(0, now() - due))
  }
}

/** As soon as it is, or after 5 s. */
async function isOpen() {
  for (const end = now() + PATIENCE; now() < end; await pause(5)) if (connection.isOpen) return true
  return false
}

const send = (type: string, id?: string) =>
  connection.send({ type, sessionId: OWN_SESSION, text: 'lorem ipsum' }, id ? { id } : {}).settled

async function sendOne() {
  const at = now()
  sent += 1
  waiting.add(at)
  const verdict = await send('send')
  waiting.delete(at)
  record(sends, now() - at)
  if (verdict.status === 'accepted') return
  const why = `${verdict.status} (${verdict.error.code})`
  notAccepted[why] = (notAccepted[why] ?? 0) + 1
}

function receive({ type, sessionId, n, at, forged: isForged }: InboundMessage) {
  const known = seen.get(String(sessionId))
  if (isForged) forged += 1
  if (type !== 'tick' || typeof n !== 'number' || typeof at !== 'number' || isForged || !known) return
  lastArrival = now()
  record(arrivals, Math.max(0, lastArrival - at))
  if (known.has(n) || n < (last.get(String(sessionId)) ?? 0)) doubled += 1
  known.add(n)
  last.set(String(sessionId), n)
}

async function reconnect() {
  connection.disconnect()
  await pause(RELOAD)
  const at = now()
  connection.connect()
  return (await isOpen()) ? Math.round(now() - at) : null
}

async function settle(published: Readonly<Record<string, number>>): Promise<Account> {
  clearInterval(sender)
  const missing = () =>
    Object.entries(published).reduce((sum, [sessionId, count]) => sum + count - (seen.get(sessionId)?.size ?? 0), 0)
  const isDone = () => connection.pending.length === 0 && missing() <= 0
  for (const end = now() + PATIENCE; now() < end && !isDone(); ) await pause(20)
  const stuck = connection.pending.length
  if (stuck > 0) notAccepted['still pending'] = stuck
  return { sent, notAccepted, lost: Math.max(0, missing()), doubled, forged, errors: [...errors] }
}

function pause(ms: number) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
