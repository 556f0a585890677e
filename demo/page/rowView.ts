import type { DeliveryStatus } from 'holdline'
import type { Numbered } from '../events'
import { h, keyedList, setText } from './dom'
import type { Block, Turn } from './transcript'

/**
 * A message of the user that the page sent itself, until its echo is in the transcript and it has a
 * verdict.
 */
export interface Outgoing extends Numbered {
  readonly id: string
  readonly sessionId: string
  readonly prompt: string
  readonly status: DeliveryStatus
  /** Why it was not accepted. */
  readonly reason: string
}

export type Row = Message | Past | Break

/**
 * One message and what came of it. While it travels it has no turn, and once it has arrived no
 * `outgoing`.
 */
interface Message {
  readonly kind: 'turn'
  readonly key: string
  readonly prompt: string
  readonly turn: Turn | undefined
  readonly outgoing: Outgoing | undefined
  /** Sent before "New chat", and not delivered yet. */
  readonly isOfOtherChat: boolean
}

/** A turn that the server has lost. */
interface Past {
  readonly kind: 'past'
  readonly key: string
  readonly prompt: string
  readonly turn: Turn
}

/** Above it the server knows nothing any more. */
interface Break {
  readonly kind: 'break'
  readonly key: string
  readonly text: string
}

export interface RowHandlers {
  send(prompt: string): void
  cancel(id: string): void
  dismiss(id: string): void
}

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
  failed: 'The agent failed.',
  cut: 'Cut off: the server lost this conversation while it was answering. The rest was never said.',
  lost: 'Accepted, but not answered: the server lost it before its turn came.',
}
const UNANSWERED: readonly Turn['status'][] = ['failed', 'cut', 'lost']

export const createRowList = (list: Element, handlers: RowHandlers) =>
  keyedList<Row>(
    list,
    ({ key }) => key,
    isSameRow,
    (row) => (row.kind === 'break' ? createBreak(row) : createRow(row, handlers)),
  )

/** Those that the server has lost do not change any more. */
const isSameRow = (a: Row, b: Row) =>
  a.kind !== 'turn' ||
  (b.kind === 'turn' && a.turn === b.turn && a.outgoing === b.outgoing && a.isOfOtherChat === b.isOfOtherChat)

const createBreak = ({ text }: Break) => ({
  element: h('li', { class: 'break' }, h('p', { role: 'alert' }, text)),
  update() {},
})

function createRow(row: Message | Past, handlers: RowHandlers) {
  const { key: id, prompt } = row
  const button = (label: string, onclick: () => void) => h('button', { type: 'button', class: 'small', onclick }, label)
  const text = h('p', { class: 'text' }, prompt)
  const state = h('span', { class: 'state' })
  const cancel = button('Cancel', () => handlers.cancel(id))
  const dismiss = button('Dismiss', () => handlers.dismiss(id))
  const own = h('div', { class: 'own' }, text, h('p', { class: 'delivery' }, state, cancel, dismiss))
  const answer = createAnswer(() => handlers.send(prompt))
  const element = h('li', { class: row.kind === 'past' ? 'row past' : 'row', 'data-id': id }, own, answer.element)

  return {
    element,
    update(next: Row) {
      if (next.kind === 'break') return
      const outgoing = next.kind === 'turn' ? next.outgoing : undefined
      const status = outgoing?.status ?? 'accepted'
      const isPending = status === 'queued' || status === 'sending'
      const isOfOtherChat = next.kind === 'turn' && next.isOfOtherChat
      const details = [DELIVERY[status], outgoing?.reason, isOfOtherChat && 'for the previous chat']
      own.dataset.status = status
      setText(state, details.filter(Boolean).join(' · '))
      cancel.hidden = !isPending
      dismiss.hidden = status !== 'rejected' && status !== 'unknown'
      answer.update(next.turn)
    },
  }
}

function createAnswer(sendAgain: () => void) {
  const blocks = h('div', { class: 'blocks' })
  const note = h('p', { class: 'answer-note' })
  const again = h('button', { type: 'button', class: 'small', onclick: sendAgain }, 'Send it again')
  const title = h('p', { class: 'visually-hidden' }, 'Answer:')
  const element = h('div', { class: 'answer', hidden: true }, title, blocks, note, again)
  const renderBlocks = keyedList<Block & { readonly key: string }>(blocks, ({ key }) => key, isSameBlock, createBlock)

  return {
    element,
    update(turn: Turn | undefined) {
      element.hidden = turn === undefined
      if (!turn) return
      element.dataset.status = turn.status
      renderBlocks(turn.blocks.map((block, index) => ({ ...block, key: `${index} ${block.kind}` })))
      setText(note, ANSWER[turn.status])
      again.hidden = !UNANSWERED.includes(turn.status)
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
      if (next.status === 'done') setText(state, `done after ${inSeconds(next.tookMs)}`)
      if (next.status === 'stopped') setText(state, 'stopped')
    },
  }
}

/** The server's clock started the tool, this one measures it: on one machine they agree. */
export function tickTools() {
  for (const tool of document.querySelectorAll<HTMLElement>('.tool[data-status="running"]')) {
    const elapsed = Math.max(0, Date.now() - Number(tool.dataset.started))
    const expected = Number(tool.dataset.expected)
    const state = tool.querySelector('.tool-state')
    if (state) setText(state, `running ${inSeconds(elapsed)} of ${inSeconds(expected)}`)
    tool.style.setProperty('--progress', String(Math.min(1, elapsed / expected)))
  }
}

const inSeconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
