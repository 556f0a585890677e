import type { DeliveryStatus } from 'holdline'
import { byId, h, keyedList, setText } from './dom'
import type { Block, Turn } from './transcript'

/**
 * A message of the user that the page sent itself, until its echo is in the transcript and it has a
 * verdict.
 */
export interface Outgoing {
  readonly id: string
  readonly sessionId: string
  readonly prompt: string
  readonly status: DeliveryStatus
  /** Why it was not accepted. */
  readonly reason: string
}

/**
 * One message and what came of it. While it travels it has no turn, and once it has arrived no
 * `outgoing`.
 */
export interface Row {
  readonly id: string
  readonly prompt: string
  readonly turn: Turn | undefined
  readonly outgoing: Outgoing | undefined
  /** Sent before "New chat", and not delivered yet. */
  readonly isOfOtherChat: boolean
}

export interface ChatHandlers {
  send(prompt: string): void
  stop(): void
  cancel(id: string): void
  dismiss(id: string): void
}

const SUGGESTIONS = ['How do you hold the line?', 'Please run a tool', 'Tell me a long story']

const DELIVERY: Record<DeliveryStatus, string> = {
  queued: 'queued',
  sending: 'sending',
  accepted: 'accepted',
  rejected: 'rejected',
  unknown: 'unknown: it may have arrived',
}
const ANSWER: Record<Turn['status'], string> = {
  waiting: 'waits for its turn',
  answering: '',
  done: '',
  stopped: 'stopped',
}

export function createChatView(handlers: ChatHandlers) {
  const scroller = byId('scroller', 'section')
  const welcome = byId('welcome', 'div')
  const announcer = byId('announcer', 'p')
  const stop = byId('stop', 'button')
  const notice = byId('notice', 'div')
  const renderRows = keyedList<Row>(byId('rows', 'ol'), ({ id }) => id, isSameRow, createRow(handlers))
  let answering: string | undefined
  let sticks = true

  // Safari does not let the keyboard reach what scrolls by itself.
  scroller.tabIndex = 0
  bindComposer(handlers)
  stop.addEventListener('click', () => handlers.stop())
  byId('notice-close', 'button').addEventListener('click', () => {
    notice.hidden = true
  })
  scroller.addEventListener('scroll', () => {
    sticks = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60
  })
  new ResizeObserver(() => sticks && toBottom()).observe(scroller)

  const toBottom = () => scroller.scrollTo({ top: scroller.scrollHeight })

  setInterval(tickTools, 100)

  return {
    render(rows: readonly Row[]) {
      renderRows(rows)
      welcome.hidden = rows.length > 0
      const current = rows.find(({ turn }) => turn?.status === 'answering')?.id
      stop.hidden = current === undefined
      // A screen reader is told that an answer is complete, not each of its tokens.
      if (answering && answering !== current) setText(announcer, 'The agent has finished its answer.')
      if (current && answering !== current) setText(announcer, 'The agent is answering.')
      answering = current
      tickTools()
      if (sticks) toBottom()
    },
    notify(text: string) {
      setText(byId('notice-text', 'p'), text)
      notice.hidden = false
    },
    clearNotice() {
      notice.hidden = true
    },
    scrollToEnd() {
      sticks = true
    },
  }
}

function bindComposer({ send }: ChatHandlers) {
  const form = byId('composer', 'form')
  const prompt = byId('prompt', 'textarea')
  const grow = () => {
    prompt.style.height = 'auto'
    prompt.style.height = `${prompt.scrollHeight}px`
  }
  prompt.addEventListener('input', grow)
  prompt.addEventListener('keydown', (event) => {
    // Enter also ends the composition of a Chinese or Japanese word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    form.requestSubmit()
  })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    if (prompt.value.trim() === '') return
    send(prompt.value)
    prompt.value = ''
    grow()
  })
  byId('chips', 'div').append(
    ...SUGGESTIONS.map((text) => h('button', { type: 'button', class: 'chip', onclick: () => send(text) }, text)),
  )
  prompt.focus({ preventScroll: true })
}

const isSameRow = (a: Row, b: Row) =>
  a.turn === b.turn && a.outgoing === b.outgoing && a.isOfOtherChat === b.isOfOtherChat

const createRow = (handlers: ChatHandlers) => (row: Row) => {
  const text = h('p', { class: 'text' }, row.prompt)
  const state = h('span', { class: 'state' })
  const cancel = h('button', { type: 'button', class: 'small', onclick: () => handlers.cancel(row.id) }, 'Cancel')
  const dismiss = h('button', { type: 'button', class: 'small', onclick: () => handlers.dismiss(row.id) }, 'Dismiss')
  const blocks = h('div', { class: 'blocks' })
  const note = h('p', { class: 'answer-note' })
  const answer = h(
    'div',
    { class: 'answer', hidden: true },
    h('p', { class: 'visually-hidden' }, 'Answer:'),
    blocks,
    note,
  )
  const own = h('div', { class: 'own' }, text, h('p', { class: 'delivery' }, state, cancel, dismiss))
  const element = h('li', { class: 'row', 'data-id': row.id }, own, answer)
  const renderBlocks = keyedList<Block & { readonly key: string }>(blocks, ({ key }) => key, isSameBlock, createBlock)

  return {
    element,
    update({ turn, outgoing, isOfOtherChat }: Row) {
      const status = outgoing?.status ?? 'accepted'
      const isPending = status === 'queued' || status === 'sending'
      const details = [DELIVERY[status], outgoing?.reason, isOfOtherChat && 'for the previous chat']
      own.dataset.status = status
      setText(state, details.filter(Boolean).join(' · '))
      cancel.hidden = !isPending
      dismiss.hidden = status !== 'rejected' && status !== 'unknown'
      answer.hidden = turn === undefined
      if (!turn) return
      answer.dataset.status = turn.status
      renderBlocks(turn.blocks.map((block, index) => ({ ...block, key: `${index} ${block.kind}` })))
      setText(note, ANSWER[turn.status])
    },
  }
}

const isSameBlock = (a: Block, b: Block) =>
  a.kind === 'text' && b.kind === 'text'
    ? a.text === b.text
    : a.kind === 'tool' && b.kind === 'tool' && a.status === b.status && a.note === b.note

function createBlock(block: Block) {
  if (block.kind === 'text') {
    const element = h('p', { class: 'text' })
    return { element, update: (next: Block) => next.kind === 'text' && setText(element, next.text) }
  }
  const note = h('p', { class: 'tool-note' })
  const state = h('span', { class: 'tool-state' })
  const bar = h('span', { class: 'tool-fill' })
  const head = h('p', { class: 'tool-head' }, h('span', { class: 'tool-name mono' }, block.name), state)
  const element = h(
    'div',
    { class: 'tool', 'data-started': block.startedAt, 'data-expected': block.expectedMs },
    head,
    h('p', { class: 'tool-input mono' }, block.input),
    h('div', { class: 'tool-bar', 'aria-hidden': 'true' }, bar),
    note,
  )
  return {
    element,
    update(next: Block) {
      if (next.kind !== 'tool') return
      element.dataset.status = next.status
      setText(note, next.status === 'done' ? next.result : next.note)
      if (next.status !== 'running') setText(state, `${next.status} after ${inSeconds(next.tookMs)}`)
    },
  }
}

/** The server's clock started the tool, this one measures it: on one machine they agree. */
function tickTools() {
  for (const tool of document.querySelectorAll<HTMLElement>('.tool[data-status="running"]')) {
    const elapsed = Math.max(0, Date.now() - Number(tool.dataset.started))
    const expected = Number(tool.dataset.expected)
    const state = tool.querySelector('.tool-state')
    if (state) setText(state, `running ${inSeconds(elapsed)} of ${inSeconds(expected)}`)
    tool.style.setProperty('--progress', String(Math.min(1, elapsed / expected)))
  }
}

const inSeconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
