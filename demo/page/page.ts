import { persist } from 'holdline/storage'
import { LINES, type Mishap } from '../events'
import { createChatView } from './chatView'
import { type Client, createClient, createClientsView } from './client'
import { Conversation } from './conversation'
import { byId, setText } from './dom'
import { createLateInspector } from './inspector'
import { bindIntro } from './intro'
import { createLineView } from './lineView'
import { logEvents } from './logEvents'
import { createMishapsView } from './mishapsView'
import { bindPanes, bindTabs } from './panes'
import { load, loadTour, saveTour } from './storage'
import { createTallyView, tellTotals } from './tallyView'
import type { Fact } from './tour'
import { createGuide } from './tourSteps'
import { createTourView } from './tourView'
import { TraceView } from './traceView'
import { bindTransportSwitch, sharing, transport } from './transport'

const saved = load()
const inspector = createLateInspector((message) => line.log('error', message))
const first = createClient(
  'A',
  LINES[0],
  {
    cursors: [saved.cursor],
    // The tab's own, as the transcript is: what one tab wrote is shown, and sent, by that tab.
    storage: persist(() => sessionStorage),
    inspect: inspector.inspect,
    ...transport,
  },
  // The server knows one visitor per browser, by a cookie.
  { name: 'demo', mode: sharing },
)
/** The chat's. */
const { connection } = first
/** One more on the same session, to compare. */
let second: Client | undefined
/** Looked at, commanded and harmed. */
let chosen = first

// Its parts

const chat = createChatView({
  send,
  stop: () => conversation.stop(),
  cancel: (id) => conversation.cancel(id),
  dismiss: (id) => conversation.dismiss(id),
})
const line = createLineView({
  connect: () => chosen.connection.connect(),
  disconnect: () => chosen.connection.disconnect(),
  reconnect: () => chosen.connection.reconnect(),
  wake: () => chosen.connection.wake({ awayFor: 60_000 }),
})
const trace = new TraceView({
  compared: () => ({
    connection: chosen.connection,
    other: chosen === first ? second?.connection : connection,
  }),
  onLook: () => tell({ type: 'looked' }),
})
const conversation = new Conversation({
  connection,
  saved,
  onChange: renderSoon,
  tell,
  log: line.log,
  notify: chat.notify,
  onReset: chat.scrollToEnd,
})
const renderTally = createTallyView()
const renderClients = createClientsView(byId('clients', 'div'), choose)
const showPane = bindPanes()
const guide = createGuide({
  phase: () => connection.phase,
  connect: connection.connect,
  send,
  cause(mishap) {
    if (chosen !== first) choose(first)
    return cause(mishap)
  },
  showTrace() {
    showPane('record')
    trace.showLoss()
  },
})
const tellTour = createTourView(loadTour(), {
  perform: guide.perform,
  sum: () => tellTotals(conversation.totals),
  store: saveTour,
})

// What happens

function tell(fact: Fact) {
  guide.tell(fact)
  tellTour(fact)
}

function send(prompt: string) {
  chat.scrollToEnd()
  conversation.send(prompt)
}

/** Returns whether it has happened. */
async function cause(mishap: Mishap): Promise<boolean> {
  line.log('mishap', second ? `${mishap}, to ${chosen.name}` : mishap)
  if (mishap === 'restart') tell({ type: 'restarted' })
  const query = new URLSearchParams({ line: chosen.line })
  const response = await fetch(`/demo/mishaps/${mishap}?${query}`, { method: 'POST' }).catch(() => undefined)
  if (!response?.ok) line.log('mishap', `${mishap} did not happen: ${response ? response.status : 'no connection'}`)
  return response?.ok === true
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
  second = second ? undefined : createClient('B', LINES[1], { inspect: inspector.inspect, ...transport })
  if (second) {
    observe(second)
    second.connection.on('message', renderSoon)
    second.connection.watch(conversation.sessionId)
    second.connection.connect()
  }
  setText(byId('second', 'button'), second ? 'Remove client B' : 'Add client B')
  choose(first)
}

function startNew() {
  const before = conversation.startNew()
  for (const client of [first, second]) {
    client?.connection.unwatch(before)
    client?.connection.watch(conversation.sessionId)
  }
  chat.clearNotice()
  chat.scrollToWelcome()
  byId('prompt', 'textarea').focus()
}

/** What happens to a client is shown as it happens: the chart is never behind the machine. */
function observe({ name, connection }: Client) {
  const log = (kind: string, text: string) => line.log(kind, second ? `${name}: ${text}` : text)
  connection.subscribe(renderSoon)
  connection.actor.subscribe(trace.render)
  connection.on('refused', trace.render)
  logEvents(connection, log)
}

// How it is shown

let isRenderDue = false

function renderSoon() {
  if (isRenderDue) return
  isRenderDue = true
  requestAnimationFrame(() => {
    isRenderDue = false
    chat.render(conversation.rows)
    renderTally(conversation.totals)
    renderLine()
  })
}

function renderLine() {
  const { sessionId } = conversation
  const cursor = chosen.connection.cursor(sessionId)?.lastSeq ?? 0
  const { connection } = chosen
  line.render(connection.getSnapshot(), cursor, conversation.counts, connection.tabs?.role ?? 'own')
  renderClients(second ? [first, second] : [first], chosen, sessionId)
}

byId('second', 'button').addEventListener('click', toggleSecond)
byId('inspect', 'button').addEventListener('click', inspector.open)
byId('new-chat', 'button').addEventListener('click', startNew)
createMishapsView((mishap) => void cause(mishap))
bindIntro()
bindTransportSwitch(byId('transport', 'select'))
bindTabs(byId('tabs', 'div'))
observe(first)
first.connection.tabs?.subscribe(renderSoon)
connection.on('phase', ({ phase }) => tell({ type: 'phase', phase }))
setInterval(trace.refresh, 100)
connection.connect()
// For the console.
Object.assign(globalThis, { connection })
