import type { ConnectionSnapshot, DeliveryStatus, Phase } from 'holdline'
import type { Mishap } from '../events'
import { byId, h, setText } from './dom'

export interface LineHandlers {
  connect(): void
  disconnect(): void
  reconnect(): void
  cause(mishap: Mishap): void
}

export type Counts = Readonly<Record<DeliveryStatus | 'received', number>>

const PHASES: Record<Phase, { readonly name: string; readonly note: string }> = {
  idle: { name: 'Idle', note: 'Not connected; what you write waits.' },
  connecting: { name: 'Connecting', note: 'Opening a fresh stream.' },
  awaitingWelcome: { name: 'Awaiting welcome', note: 'The stream is open, but not greeted yet.' },
  reconnecting: { name: 'Reconnecting', note: 'Replaying; nothing is posted before the end.' },
  open: { name: 'Open', note: 'Tokens come down, messages go up.' },
  backoff: { name: 'Backoff', note: 'Waiting before the next attempt.' },
}

const MISHAPS: Record<Mishap, { readonly label: string; readonly hint: string }> = {
  drop: {
    label: 'Drop the stream',
    hint: 'Destroys the socket of the stream. Expect backoff, a fresh stream, a resume, and the answer going on where it was cut.',
  },
  'fail-resume': {
    label: 'Fail next resume',
    hint: 'Drops the stream and answers the next resume with 500. Expect a second backoff instead of a false “open”, then recovery.',
  },
  'late-resume': {
    label: 'Late resume (5 s)',
    hint: 'Drops the stream and answers the next resume 5 s late. Expect tokens at once, while what you write stays queued until the answer.',
  },
  'second-welcome': {
    label: 'Second welcome',
    hint: 'The server says welcome again on the live stream. Expect one closed, one resume, one opened, and nothing twice.',
  },
  silence: {
    label: 'Go silent',
    hint: 'The stream stays open, but nothing comes any more, not even pings. Expect it to be noticed after about 6 s, and replaced.',
  },
  restart: {
    label: 'Restart server',
    hint: 'All streams die and the log is empty. Expect “the server lost this conversation”; what was not delivered yet still is.',
  },
}
const NO_HINT = 'Point at a mishap, or focus it, to read what it does and what to expect.'
const MAX_LOG = 200

export function createLineView(handlers: LineHandlers) {
  const rail = Object.entries(PHASES).map(([phase, { name }]) => h('li', { 'data-phase': phase }, name))
  const log = byId('log', 'ol')
  const commands = (['connect', 'disconnect', 'reconnect'] as const).map((name) => {
    const button = byId(name, 'button')
    button.addEventListener('click', () => handlers[name]())
    return [name, button] as const
  })
  let retryAt: number | null = null

  log.tabIndex = 0
  byId('rail', 'ol').append(...rail)
  bindMishaps(handlers)
  bindPanel()
  setInterval(tickRetry, 100)

  function tickRetry() {
    const left = retryAt === null ? null : Math.max(0, retryAt - Date.now())
    const countdown = left === null ? '–' : `in ${(left / 1_000).toFixed(1)} s`
    setText(byId('retry', 'dd'), countdown)
    if (left !== null) setText(byId('phase-note', 'p'), `Next attempt ${countdown}.`)
  }

  return {
    render(snapshot: ConnectionSnapshot, cursor: number, counts: Counts) {
      const { phase, connectionId, attempt, lastError } = snapshot
      const { name, note } = PHASES[phase]
      document.body.dataset.phase = phase
      setText(byId('phase', 'p'), name)
      setText(byId('phase-note', 'p'), note)
      setText(byId('connection-id', 'dd'), connectionId ?? '–')
      setText(byId('attempt', 'dd'), String(attempt))
      setText(byId('cursor', 'dd'), String(cursor))
      setText(byId('last-error', 'dd'), lastError ? `${lastError.code}: ${lastError.message}` : 'none')
      for (const step of rail) step.classList.toggle('current', step.dataset.phase === phase)
      for (const [command, button] of commands) button.disabled = (command === 'connect') !== (phase === 'idle')
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

function bindMishaps({ cause }: LineHandlers) {
  const line = byId('mishap-hint', 'p')
  const show = (hint: string) => () => setText(line, hint)
  const buttons = Object.entries(MISHAPS).map(([name, { label, hint }]) =>
    h(
      'button',
      {
        type: 'button',
        'data-mishap': name,
        title: hint,
        'aria-description': hint,
        onclick: () => cause(name as Mishap),
        onpointerenter: show(hint),
        onfocus: show(hint),
        onpointerleave: show(NO_HINT),
        onblur: show(NO_HINT),
      },
      label,
    ),
  )
  byId('mishaps', 'div').append(...buttons)
  setText(line, NO_HINT)
}

/** On a narrow page the panel is a sheet over the lower half. */
function bindPanel() {
  const toggle = byId('toggle-panel', 'button')
  const show = (isShown: boolean) => {
    document.body.classList.toggle('panel-shown', isShown)
    toggle.setAttribute('aria-expanded', String(isShown))
  }
  toggle.addEventListener('click', () => show(toggle.getAttribute('aria-expanded') === 'false'))
  document.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape' || toggle.getAttribute('aria-expanded') === 'false') return
    show(false)
    toggle.focus()
  })
}
