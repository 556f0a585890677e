import { createConnection } from 'holdline'
import { createSharedConnection, type SharedConnection } from 'holdline/tabs'

// A page, or a shared worker, that shares a line. `?own`: that does not. `?worker` starts the
// worker. `?watch=a,b`: other sessions than s1. `?wait` connects when it is told to.

const asked = new URLSearchParams(globalThis.location.search)
const isPage = !!globalThis.document
const END_OF_WORKER = 'the worker ends'
if (asked.has('worker')) new SharedWorker('/page.js', { type: 'module' })
if (!isPage) new BroadcastChannel(END_OF_WORKER).onmessage = () => globalThis.close()

const url = '/api/chat'
const connection = asked.has('own') ? createConnection({ url }) : createSharedConnection({ url }, { name: 'me' })
/** This page's life: another one after a reload, the same after the back/forward cache. */
const life = crypto.randomUUID().slice(0, 8)
const seqs: number[] = []
const verdicts: string[] = []
const errors: string[] = []
const resets: string[] = []
/** The last `seq` of each session. */
const heads: Record<string, number> = {}
/** What came otherwise than in rising order without a gap. */
const flaws: string[] = []
let said = 0
let comebacks = 0

connection.on('message', ({ sessionId, seq }) => {
  if (typeof sessionId !== 'string' || typeof seq !== 'number') return
  const last = heads[sessionId] ?? 0
  if (seq !== last + 1) flaws.push(`${sessionId}: ${seq} after ${last}`)
  heads[sessionId] = Math.max(last, seq)
  if (sessionId === 's1') seqs.push(seq)
})
connection.on('error', ({ error }) => errors.push(`${error.code}: ${error.message}`))
connection.on('session', ({ sessionId, status }) => status !== 'resumed' && resets.push(`${sessionId} ${status}`))
globalThis.addEventListener('pageshow', ({ persisted }) => {
  if (persisted) comebacks++
})
// The worker is for the others.
if (isPage) for (const sessionId of (asked.get('watch') ?? 's1').split(',')) connection.watch(sessionId)
if (!asked.has('wait')) connection.connect()

Object.assign(globalThis, {
  tell: () => ({
    life,
    role: (connection as SharedConnection).tabs?.role,
    phase: connection.phase,
    visibility: globalThis.document?.visibilityState,
    isControlled: !!navigator.serviceWorker?.controller,
    comebacks,
    seqs,
    verdicts,
    errors,
    resets,
    heads,
    flaws,
    said,
  }),
  send: (count: number) => {
    for (let index = 0; index < count; index++)
      void connection
        .send({ type: 'send', sessionId: 's2', prompt: index })
        .settled.then(({ status }) => verdicts.push(status))
  },
  /** Each with this life's name and a rising number. */
  say: (count: number) => {
    for (let index = 0; index < count; index++) {
      said++
      void connection
        .send({ type: 'send', sessionId: `desk-${life}`, prompt: `${life} ${said}` })
        .settled.then(({ status }) => verdicts.push(status))
    }
  },
  /** How long the first message takes, ms. */
  join: () =>
    new Promise((resolve) => {
      const startedAt = performance.now()
      connection.on('message', () => resolve(performance.now() - startedAt))
      connection.connect()
    }),
  endWorker: () => new BroadcastChannel(END_OF_WORKER).postMessage(null),
})
