import type { TraceStep } from 'holdline'
import { h, keyedList, setText } from './dom'

/** One step as it is listed. */
export interface Entry {
  /** Counted from the beginning of the connection: it stays when older steps are let go of. */
  readonly number: number
  readonly step: TraceStep
  /** Failures in a row, after it. */
  readonly attempt: number
  readonly startedAt: number
  readonly isShown: boolean
  /** Where this version of the machine would decide otherwise: to what. */
  readonly otherwise: string | undefined
}

/** Newest first. What was refused is struck through. */
export function createTimeline(list: HTMLElement, choose: (number: number) => void) {
  list.tabIndex = 0
  return keyedList<Entry>(
    list,
    ({ number }) => String(number),
    isSame,
    (entry) => createEntry(entry, choose),
  )
}

const isSame = (a: Entry, b: Entry) =>
  a.step === b.step && a.isShown === b.isShown && a.attempt === b.attempt && a.otherwise === b.otherwise

function createEntry({ number, step, startedAt }: Entry, choose: (number: number) => void) {
  const { at, machine, event, from, to, refused, code, status } = step
  const time = new Date(startedAt + at)
  const where = refused
    ? `refused in ${short(from)}`
    : from === to
      ? `in ${short(from)}`
      : `${short(from)} → ${beside(from, to)}`
  const note = h('span', { class: 'step-note' })
  const button = h(
    'button',
    // The slider reaches every step by keyboard; 256 stops of the Tab key would be in the way.
    { type: 'button', tabindex: -1, onclick: () => choose(number) },
    h('time', { datetime: time.toISOString(), class: 'mono' }, clockTime(time)),
    h(refused ? 's' : 'span', { class: 'step-event' }, nameOf(event)),
    h('span', { class: 'step-where' }, `${machine === 'connection' ? '' : `${machine}: `}${where}`, note),
  )
  const kind = refused ? 'refused' : from === to ? 'stayed' : 'moved'
  const element = h('li', { 'data-machine': machine, 'data-kind': kind, 'data-number': number }, button)
  return {
    element,
    update({ attempt, isShown, otherwise }: Entry) {
      const notes = [
        code && (status === undefined ? code : `${code} ${status}`),
        step.delay !== undefined && `wait ${Math.round(step.delay)} ms`,
        machine === 'connection' && attempt !== step.attempt && `attempt ${attempt}`,
        otherwise && `otherwise here: ${otherwise}`,
      ]
      setText(
        note,
        notes
          .filter(Boolean)
          .map((one) => ` · ${one}`)
          .join(''),
      )
      element.classList.toggle('otherwise', otherwise !== undefined)
      if (isShown) button.setAttribute('aria-current', 'step')
      else button.removeAttribute('aria-current')
    },
  }
}

export const clockTime = (time: Date) =>
  `${time.toLocaleTimeString('en-GB')}.${String(time.getMilliseconds()).padStart(3, '0')}`

/** `active.streaming.open.steady` → `open.steady`. */
export const short = (state: string) => state.replace(/^active\.((streaming|present)\.)?/, '')

/** `a.b` after `a.c` is `b`. */
function beside(from: string, to: string): string {
  const parent = to.replace(/[^.]*$/, '')
  return parent !== 'active.streaming.' && from.startsWith(parent) ? to.slice(parent.length) : short(to)
}

/** As the chart calls them. */
export const nameOf = (event: string) =>
  event.replace(/^xstate\.after\.(\w+)\..*/, 'after $1').replace(/^xstate\.error\.actor\.(.*)/, '$1 fails')
