import type { ConnectionError, Delivery, DeliveryStatus } from 'holdline'
import { persist } from 'holdline/storage'
import { LINES, type Mishap, type PageMessage } from '../events'
import { createChatView, type Outgoing } from './chatView'
import { type Client, createClient, createClientsView } from './client'
import { byId, setText } from './dom'
import { createLateInspector } from './inspector'
import { type Counts, createLineView } from './lineView'
import { logEvents } from './logEvents'
import { createMishapsView } from './mishapsView'
import { bindPanes, bindTabs } from './panes'
import { rowsOf } from './rows'
import { createKeeper, load, newSessionId, type Saved, startChat } from './storage'
import { TraceView } from './traceView'
import { apply, EMPTY } from './transcript'
import { bindTransportSwitch, transport } from './transport'

/** Cursor and transcript change together, here and nowhere else. */
let saved: Saved = load()
let outgoing: readonly Outgoing[] = []
const settled: Record<DeliveryStatus | 'received', number> = {
  queued: 0,
  sending: 0,
  accepted: 0,
  rejected: 0,
  unknown: 0,
  received: 0,
}

const inspector = createLateInspector((message) => line.log('error', message))
const first = createClient('A', LINES[0], {
  cursors: [saved.cursor],
  // The tab's own, as the transcript is: what one tab wrote is shown, and sent, by that tab.
  storage: persist(() => sessionStorage),
  inspect: inspector.inspect,
  ...transport,
})
/** The chat's. */
const { connection } = first
/** One more on the same session, to compare. */
let second: Client | undefined
/** Looked at, commanded and harmed. */
let chosen = first

const chat = createChatView({ send, stop, cancel: (id) => pendingOf(id)?.cancel(), dismiss: forget })
const line = createLineView({
  connect: () => chosen.connection.connect(),
  disconnect: () => chosen.connection.disconnect(),
  reconnect: () => chosen.connection.reconnect(),
  wake: () => chosen.connection.wake({ awayFor: 60_000 }),
})
const trace = new TraceView(() => ({
  connection: chosen.connection,
  other: chosen === first ? second?.connection : connection,
}))
const keeper = createKeeper(
  () => saved,
  (why) => line.log('error', `this page cannot be saved: ${why}`),
)
const renderClients = createClientsView(byId('clients', 'div'), choose)

// Down: each event moves the transcript and the cursor by one step.

connection.on('message', (event) => {
  if (event.sessionId !== saved.cursor.sessionId) return
  const { sessionId, seq, epoch } = event
  saved = { ...saved, cursor: { sessionId, lastSeq: seq, epoch }, transcript: apply(saved.transcript, event) }
  settled.received += 1
  if (event.type === 'prompt') forgetArrived(event.turnId)
  keeper.soon()
  renderSoon()
})

connection.on('session', ({ sessionId, status, from, to }) => {
  line.log('session', `${status}, ${from} → ${to}`)
  if (sessionId !== saved.cursor.sessionId) return
  if (status === 'reset') startAnew(sessionId, from, to)
  else if (status !== 'resumed') chat.notify(`This conversation is ${status}. Start a new chat.`)
})

/**
 * The history is lost, and with it what was accepted into it. What has not been delivered yet still
 * will be.
 */
function startAnew(sessionId: string, from: number, to: number) {
  chat.notify('The server lost this conversation. It starts anew; messages that were not delivered yet stay queued.')
  // It may still have some of it, or have begun anew without this page.
  if (from < to) connection.watch(sessionId, { after: from })
  const cursor = connection.cursor(sessionId) ?? { sessionId, lastSeq: to }
  saved = { ...saved, cursor, transcript: EMPTY }
  outgoing = outgoing.filter(({ status }) => status !== 'accepted')
  keeper.now()
  renderSoon()
}

// Up: a message is shown at once; the library keeps it until it has a verdict, across reloads too.

function send(prompt: string) {
  chat.scrollToEnd()
  show(connection.send({ type: 'send', sessionId: saved.cursor.sessionId, prompt }))
}

function show({ id, message, status, settled }: Delivery<PageMessage>) {
  if (message.type !== 'send') return
  const { sessionId, prompt } = message
  outgoing = [...outgoing, { id, sessionId, prompt, status, reason: '' }]
  void settled.then((verdict) => {
    if (verdict.status !== 'accepted') change(id, { reason: reasonOf(verdict.error) })
  })
  renderSoon()
}

const pendingOf = (id: string) => connection.pending.find((delivery) => delivery.id === id)

function stop() {
  const turn = saved.transcript.turns.find(({ status }) => status === 'answering')
  // A stop that could not leave in time is pointless.
  if (turn)
    connection.send({ type: 'stop', sessionId: saved.cursor.sessionId, turnId: turn.turnId }, { maxAge: 10_000 })
}

connection.on('delivery', ({ id, status, message }) => {
  // Written before a reload.
  const restored = outgoing.some((one) => one.id === id) ? undefined : pendingOf(id)
  if (restored) show(restored)
  if (status === 'accepted' || status === 'rejected' || status === 'unknown') {
    settled[status] += 1
    if (message.type !== 'send') line.log('delivery', `${message.type} ${status}`)
  }
  change(id, { status })
  if (status === 'accepted') forgetArrived(id)
})

function change(id: string, news: Partial<Outgoing>) {
  outgoing = outgoing.map((message) => (message.id === id ? { ...message, ...news } : message))
  renderSoon()
}

function forget(id: string) {
  outgoing = outgoing.filter((message) => message.id !== id)
  renderSoon()
}

/**
 * Accepted, and its echo is in the transcript, whichever came first: the turn is all that there is
 * to show.
 */
function forgetArrived(id: string) {
  const message = outgoing.find((one) => one.id === id)
  if (message?.status !== 'accepted') return
  const isOfOtherChat = message.sessionId !== saved.cursor.sessionId
  if (isOfOtherChat || saved.transcript.turns.some(({ turnId }) => turnId === id)) forget(id)
}

const reasonOf = ({ code, status }: ConnectionError) => (status === undefined ? code : `${code} ${status}`)

// Showing

let isRenderDue = false

function renderSoon() {
  if (isRenderDue) return
  isRenderDue = true
  requestAnimationFrame(() => {
    isRenderDue = false
    chat.render(rowsOf(saved, outgoing))
    renderLine()
  })
}

function renderLine() {
  const { sessionId } = saved.cursor
  const cursor = chosen.connection.cursor(sessionId)?.lastSeq ?? 0
  line.render(chosen.connection.getSnapshot(), cursor, counts())
  renderClients(second ? [first, second] : [first], chosen, sessionId)
}

function counts(): Counts {
  const pending = connection.pending
  const sending = pending.filter(({ status }) => status === 'sending').length
  return { ...settled, sending, queued: pending.length - sending }
}

/** What happens to a client is shown as it happens: the chart is never behind the machine. */
function observe({ name, connection }: Client) {
  const log = (kind: string, text: string) => line.log(kind, second ? `${name}: ${text}` : text)
  connection.subscribe(renderSoon)
  connection.actor.subscribe(trace.render)
  connection.on('refused', trace.render)
  logEvents(connection, log)
}

// Doing

async function cause(mishap: Mishap) {
  line.log('mishap', second ? `${mishap}, to ${chosen.name}` : mishap)
  const query = new URLSearchParams({ line: chosen.line })
  const response = await fetch(`/demo/mishaps/${mishap}?${query}`, { method: 'POST' }).catch(() => undefined)
  if (!response?.ok) line.log('mishap', `${mishap} did not happen: ${response ? response.status : 'no connection'}`)
}

function choose(client: Client) {
  chosen = client
  trace.goLive()
  renderLine()
}

/**
 * The second client only listens: it replays the session, and then hears what the first one hears.
 */
function toggleSecond() {
  second?.connection.dispose()
  const { sessionId } = saved.cursor
  second = second ? undefined : createClient('B', LINES[1], { inspect: inspector.inspect, ...transport })
  if (second) {
    observe(second)
    second.connection.on('message', renderSoon)
    second.connection.watch(sessionId)
    second.connection.connect()
  }
  setText(byId('second', 'button'), second ? 'Remove the second client' : 'Add a second client')
  choose(first)
}

byId('second', 'button').addEventListener('click', toggleSecond)
byId('inspect', 'button').addEventListener('click', inspector.open)
byId('new-chat', 'button').addEventListener('click', () => {
  const before = saved.cursor.sessionId
  saved = startChat(newSessionId())
  for (const client of [first, second]) {
    client?.connection.unwatch(before)
    client?.connection.watch(saved.cursor.sessionId)
  }
  outgoing = outgoing.filter(({ status }) => status !== 'accepted')
  chat.clearNotice()
  keeper.now()
  renderSoon()
  byId('prompt', 'textarea').focus()
})

createMishapsView(cause)
bindTransportSwitch(byId('transport', 'select'))
bindPanes()
bindTabs(byId('tabs', 'div'))
observe(first)
// Timers count down, and an outbox tells nobody that it moves.
setInterval(trace.render, 100)
connection.watch(saved.cursor.sessionId)
keeper.now()
connection.connect()
// For the console.
Object.assign(globalThis, { connection })
