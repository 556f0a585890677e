import { createConnection } from 'holdline'
import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'
import { webSocketTransport } from 'holdline/adapters/websocket'
import type { TransportName } from '../contract'

/**
 * What a page has seen since it was loaded. It is told again and again, because a navigation may
 * swallow any request.
 */
export interface Told {
  /** Another one after a reload, the same one after it came back from the back/forward cache. */
  readonly load: string
  readonly phases: string[]
  /** Of the events of session s1, oldest first. */
  readonly seqs: number[]
  /** Of errors and of a stop. */
  readonly codes: string[]
  readonly verdicts: string[]
  /** `persisted` of each `pageshow`. */
  readonly shows: boolean[]
}

const TRANSPORTS = { EventSource: eventSourceTransport, fetch: fetchStreamTransport, WebSocket: webSocketTransport() }
const options = new URLSearchParams(location.search)
const told: Told = { load: crypto.randomUUID(), phases: [], seqs: [], codes: [], verdicts: [], shows: [] }

let state: 'idle' | 'telling' | 'behind' = 'idle'
async function tell() {
  if (state !== 'idle') {
    state = 'behind'
    return
  }
  do {
    state = 'telling'
    await fetch('/told', { method: 'POST', body: JSON.stringify(told), keepalive: true }).catch(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      state = 'behind'
    })
  } while ((state as string) === 'behind')
  state = 'idle'
}

const connection = createConnection({
  url: '/api/chat',
  transport: TRANSPORTS[options.get('transport') as TransportName],
  ...JSON.parse(options.get('options') ?? '{}'),
})
connection.on('phase', ({ phase }) => {
  told.phases.push(phase)
  void tell()
})
connection.on('message', ({ seq }) => {
  if (typeof seq === 'number') told.seqs.push(seq)
  void tell()
})
connection.on('delivery', ({ status }) => {
  told.verdicts.push(status)
  void tell()
})
connection.on('error', ({ error }) => {
  told.codes.push(error.code)
  void tell()
})
connection.on('stopped', ({ error }) => {
  told.codes.push(error.code)
  void tell()
})
addEventListener('pageshow', ({ persisted }) => {
  told.shows.push(persisted)
  if (persisted && connection.phase === 'idle') connection.connect()
  void tell()
})

connection.watch('s1')
connection.connect()

/** The code with which a POST ends that is given so many ms. */
function post(timeout: number): Promise<string> {
  const { post } = fetchStreamTransport({
    url: '/api/chat',
    fetch: (...given) => fetch(...given),
    credentials: 'same-origin',
    clock: {
      now: Date.now,
      setTimeout: (...given) => setTimeout(...given),
      clearTimeout: (timer) => clearTimeout(timer as number),
    },
    context: () => ({ attempt: 0, connectionId: connection.connectionId }),
    createEventSource: () => {
      throw new Error('not used')
    },
  })
  return post('send', '{}', new AbortController(), { timeout }).then(
    () => 'an answer',
    ({ code }) => code,
  )
}

Object.assign(globalThis, { connection, post })
