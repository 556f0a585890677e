import { parseTrace } from './parseTrace'
import type { Trace, TraceStep } from './trace'

/**
 * A trace, or its JSON, for people: a timeline, a line a step, or a Mermaid sequence diagram.
 *
 * @throws {ConnectionError} `bad-trace`
 */
export function formatTrace(given: unknown, form: 'timeline' | 'mermaid' = 'timeline'): string {
  const trace = parseTrace(given)
  return form === 'timeline' ? timeline(trace) : sequence(trace)
}

/** `active.streaming.open.steady` → `open.steady`. */
const short = (path: string) => path.replace(/^active\.((streaming|present)\.)?/, '')
/**
 * `xstate.after.welcomeTimeout.connection.active.streaming.awaitingWelcome` → `welcomeTimeout`.
 * Nothing that could end a line or a statement.
 */
const eventName = (event: string) => event.replace(/^xstate\.after\.(\w+)\..*$/, '$1').replace(/[^\w.:-]/g, '_')
const word = (text: string) => text.replace(/[^\w.-]/g, '_')

function details({ machine, code, status, sessions, moved, own, awayFor, delay, attempt }: TraceStep): string {
  const parts = [
    code && word(status ? `${code} ${status}` : code).replace('_', ' '),
    sessions !== undefined && `${sessions} ${sessions === 1 ? 'session' : 'sessions'}`,
    moved === false && sessions && 'no progress',
    own === false && 'of another',
    awayFor !== undefined && `away for ${awayFor ?? 'ever'} ms`,
    delay !== undefined && `wait ${delay} ms`,
    machine === 'connection' && attempt > 0 && `attempt ${attempt}`,
  ].filter(Boolean)
  return parts.length ? ` (${parts.join(', ')})` : ''
}

function timeline({ startedAt, dropped, steps, tab, leader }: Trace): string {
  const lines = steps.map((step) => {
    const { at, machine, event, from, to, refused } = step
    const where = `${machine === 'connection' ? '' : `${machine} `}${short(from)}`
    const what = refused ? `✗ ${where}` : from === to ? `· ${where}` : `  ${where} → ${short(to)}`
    return `${`+${at} ms`.padStart(12)}  ${what.padEnd(48)}  ${eventName(event)}${refused ? ' refused' : ''}${details(step)}`
  })
  const before = dropped > 0 ? `, after ${dropped} others` : ''
  const head = `holdline trace: ${steps.length} steps since ${new Date(startedAt).toISOString()}${before}`
  return [head, ...(tab ? [ofTab(word(tab), leader)] : []), ...lines].join('\n')
}

const ofTab = (tab: string, leader: string | null | undefined) => {
  const led = leader ? `tab ${word(leader)} holds the stream` : 'no tab is known to hold the stream'
  return `of tab ${tab}; ${leader === tab ? 'it holds the stream' : led}`
}

const ACTORS = {
  app: 'The app',
  page: 'The page',
  connection: 'The connection',
  outbox: 'The outbox',
  stream: 'The stream',
  posts: 'POSTs',
}
/** Where tabs share a line. */
const TABS = { tab: 'This tab', tabs: 'The other tabs' }

/** Who tells it. */
function sourceOf({ machine, event }: TraceStep): keyof typeof ACTORS | keyof typeof TABS {
  if (event.startsWith('xstate.after.')) return machine
  if (machine === 'tab') return sourceOfTab(event)
  if (machine === 'outbox') return event === 'pause' ? 'posts' : 'connection'
  if (event.startsWith('stream.') || event.includes('eventStream')) return 'stream'
  if (/^(resume|upstream)\.|\.(resume|probe|outbox)$/.test(event)) return 'posts'
  return event === 'wake' ? 'page' : 'app'
}

function sourceOfTab(event: string) {
  if (event.startsWith('page.')) return 'page'
  if (event.startsWith('join.')) return 'posts'
  return /^(leader|tab|lock|frames)\./.test(event) ? 'tabs' : 'connection'
}

function sequence({ steps }: Trace): string {
  const lines = steps.flatMap((step) => {
    const { machine, event, from, to, refused } = step
    const arrow = refused ? '-x' : '->>'
    return [
      `  ${sourceOf(step)}${arrow}${machine}: ${eventName(event)}${details(step)}`,
      ...(from === to ? [] : [`  Note over ${machine}: ${short(to)}`]),
    ]
  })
  const isShared = steps.some(({ machine }) => machine === 'tab')
  const participants = Object.entries(isShared ? { ...ACTORS, ...TABS } : ACTORS).map(
    ([id, name]) => `  participant ${id} as ${name}`,
  )
  return ['sequenceDiagram', ...participants, ...lines].join('\n')
}
