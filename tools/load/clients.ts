import { createConnection } from 'holdline'
import { fetchStreamTransport } from 'holdline/adapters'
import { cpuTime, emptyHistogram, type Histogram, now, record } from './measure'
import type { LoadEvent } from './node'
import { createTally, type Faults } from './tally'

export const TRANSPORTS = ['eventsource', 'fetch'] as const

export interface ClientsOptions {
  /** The nodes; one client after the other takes the next. */
  readonly urls: readonly string[]
  /** Client `index` follows the session `index % sessions.length`. */
  readonly sessions: readonly string[]
  /** The indices of these clients: from `first`, `count` of them. */
  readonly first: number
  readonly count: number
  readonly transport: (typeof TRANSPORTS)[number]
}

export interface Clients {
  /** Resolves when each has been open. */
  open(): Promise<void>
  look(): Promise<{ readonly open: number; readonly received: number }>
  /** µs of this process. */
  cpu(): Promise<number>
  /** What became of as many events as were sent to each session. */
  judge(sent: Readonly<Record<string, number>>): Promise<Verdict>
  close(): Promise<void>
}

export interface Verdict extends Faults {
  readonly latencies: Histogram
  /** Times that a line was lost. */
  readonly closed: number
}

/** Opened at a time: more would only queue up in the server's backlog. */
const AT_ONCE = 50

/** Clients as apps have them: connections of this library, all of them in this process. */
export function createClients({ urls, sessions, first, count, transport }: ClientsOptions): Clients {
  const latencies = emptyHistogram()
  let closed = 0
  let received = 0

  const clients = Array.from({ length: count }, (_, offset) => {
    const index = first + offset
    const sessionId = sessions[index % sessions.length] ?? ''
    const tally = createTally()
    const connection = createConnection<LoadEvent>({
      url: urls[index % urls.length] ?? '',
      // A principal of its own, as the server bounds the streams of one.
      headers: { Authorization: `client-${index}` },
      ...(transport === 'fetch' && { transport: fetchStreamTransport }),
    })
    connection.watch(sessionId)
    connection.on('message', ({ n, at }) => {
      received += 1
      record(latencies, Math.max(0, now() - at))
      tally.take(n)
    })
    connection.on('closed', () => {
      closed += 1
    })
    connection.on('error', () => {})
    return { sessionId, connection, tally }
  })

  return {
    async open() {
      const waiting = clients.values()
      const openNext = async () => {
        for (const { connection } of waiting) {
          const opened = new Promise<unknown>((resolve) => connection.on('opened', resolve))
          connection.connect()
          await opened
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, openNext))
    },

    look: async () => ({ open: clients.filter(({ connection }) => connection.isOpen).length, received }),

    cpu: async () => cpuTime(),

    async judge(sent) {
      const faults = clients.map(({ sessionId, tally }) => tally.judge(sent[sessionId] ?? 0))
      const sum = (fault: keyof Faults) => faults.reduce((total, one) => total + one[fault], 0)
      return { lost: sum('lost'), doubled: sum('doubled'), disordered: sum('disordered'), latencies, closed }
    },

    async close() {
      for (const { connection } of clients) connection.dispose()
    },
  }
}
