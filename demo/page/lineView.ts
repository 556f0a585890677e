import type { ConnectionSnapshot, DeliveryStatus, Phase } from 'holdline'
import type { Tabs } from 'holdline/tabs'
import { byId, h, setAttribute, setText } from './dom'

export interface LineHandlers {
  connect(): void
  disconnect(): void
  reconnect(): void
  wake(): void
}

export type Counts = Readonly<Record<DeliveryStatus | 'received', number>>

export const PHASES: Record<Phase, { readonly name: string; readonly note: string }> = {
  idle: { name: 'Idle', note: 'Not connected; what you write waits.' },
  connecting: { name: 'Connecting', note: 'Opening a fresh stream.' },
  awaitingWelcome: { name: 'Awaiting welcome', note: 'The stream is open, but not greeted yet.' },
  reconnecting: { name: 'Reconnecting', note: 'Replaying; nothing is posted before the end.' },
  open: { name: 'Open', note: 'Tokens come down, messages go up.' },
  backoff: { name: 'Backoff', note: 'Waiting before the next attempt.' },
}

/** Who holds the stream, as this tab knows it. */
const HOLDERS: Record<Tabs['role'], string> = {
  leading: 'this tab, for all',
  following: 'another tab',
  own: 'this tab, for itself',
  electing: 'not known yet',
  away: 'not known yet',
  apart: 'none',
}
/** While the line is open, in a tab that shares it. */
const SHARED_NOTES: Partial<Record<Tabs['role'], string>> = {
  leading: 'This tab holds the line for all tabs.',
  following: 'Another tab holds the line; this one shares it.',
}

const MAX_LOG = 200

export function createLineView(handlers: LineHandlers) {
  const log = byId('log', 'ol')
  const commands = (['connect', 'disconnect', 'reconnect', 'wake'] as const).map((name) => {
    const button = byId(name, 'button')
    button.addEventListener('click', () => handlers[name]())
    return [name, button] as const
  })
  let retryAt: number | null = null

  // Safari does not let the keyboard reach what scrolls by itself.
  log.tabIndex = 0
  setInterval(tickRetry, 100)

  function tickRetry() {
    const left = retryAt === null ? null : Math.max(0, retryAt - Date.now())
    const countdown = left === null ? '–' : `in ${(left / 1_000).toFixed(1)} s`
    setText(byId('retry', 'dd'), countdown)
    if (left !== null) setText(byId('phase-note', 'p'), `Next attempt ${countdown}.`)
  }

  return {
    render(snapshot: ConnectionSnapshot, cursor: number, counts: Counts, role: Tabs['role']) {
      const { phase, connectionId, attempt, lastError } = snapshot
      const { name, note } = PHASES[phase]
      setAttribute(document.body, 'data-phase', phase)
      setText(byId('phase', 'p'), name)
      setText(byId('phase-note', 'p'), (phase === 'open' && SHARED_NOTES[role]) || note)
      setText(byId('holder', 'dd'), HOLDERS[role])
      setText(byId('connection-id', 'dd'), connectionId ?? '–')
      setText(byId('attempt', 'dd'), String(attempt))
      setText(byId('cursor', 'dd'), String(cursor))
      setText(byId('last-error', 'dd'), lastError ? `${lastError.code}: ${lastError.message}` : 'none')
      for (const [command, button] of commands) {
        // A wake that does not fit is refused by the machine, and that is worth a look.
        button.disabled = command !== 'wake' && (command === 'connect') !== (phase === 'idle')
      }
      retryAt = snapshot.retryAt
      tickRetry()
      renderCounts(counts)
    },
    log(kind: string, text: string) {
      const now = new Date()
      const time = `${now.toLocaleTimeString('en-GB')}.${String(now.getMilliseconds()).padStart(3, '0')}`
      log.prepend(
        h(
          'li',
          { 'data-kind': kind },
          h('time', { datetime: now.toISOString(), class: 'mono' }, time),
          h('span', { class: 'kind' }, kind),
          h('span', { class: 'what' }, text),
        ),
      )
      while (log.childElementCount > MAX_LOG) log.lastElementChild?.remove()
    },
  }
}

function renderCounts(counts: Counts) {
  const list = byId('counts', 'dl')
  for (const [name, count] of Object.entries(counts)) {
    const known = list.querySelector(`[data-count="${name}"] dd`)
    if (known) setText(known, String(count))
    else list.append(h('div', { 'data-count': name }, h('dt', {}, name), h('dd', { class: 'count' }, String(count))))
  }
}
