import { isObject, isText, parseJson } from '../../protocol'
import type { SessionEvent } from '../log/sessionLog'
import type { BrokenRun, RunEndReason, RunError, RunEvent } from './api'

/** A run that a process has, and the token that it appends with. */
export interface Hold {
  readonly id: string
  readonly token: string
  readonly process: string
}

export interface Running extends Hold {
  readonly state: 'running'
  /** The names of the answers that it went on with. */
  readonly answers: readonly string[]
}

export interface Suspended {
  readonly id: string
  readonly state: 'suspended'
  readonly answers: readonly string[]
  readonly waitsFor: unknown
  /** By the clock of the log, ms. */
  readonly until: number
}

/** The runs of a session. */
export interface RunRecord {
  readonly active: Running | Suspended | undefined
  readonly queue: readonly Hold[]
  /** The last one, if it broke and no other has begun since. */
  readonly broken?: BrokenRun
}

/** What changes, and what clients are told of it. */
export interface Step {
  readonly record: RunRecord
  readonly events: readonly (RunEvent | SessionEvent)[]
  /** The names that are over with it, of runs and of answers. */
  readonly ended: readonly string[]
}

export const MAX_QUEUE = 8
/** A run that is answered more often has a loop, or an attacker. */
const MAX_ANSWERS = 256

const EMPTY: RunRecord = { active: undefined, queue: [] }

/** @throws Error if it is something else, e.g. of a later version */
export function parseRecord(sessionId: string, text: string): RunRecord {
  if (text === '') return EMPTY
  const value = parseJson(text)
  const { active, queue, broken } = isObject(value) ? value : {}
  if (!Array.isArray(queue) || !queue.every(isHold) || !(active === undefined || isActive(active)))
    throw new Error(`runs: the record of session ${sessionId} cannot be read, so its runs wait until it can`)
  return { active, queue, ...(isBroken(broken) && { broken }) }
}

export const toText = ({ active, queue, broken }: RunRecord): string =>
  active || queue.length > 0 || broken ? JSON.stringify({ active, queue, broken }) : ''

const isHold = (value: unknown): value is Hold =>
  isObject(value) && isText(value.id) && isText(value.token) && isText(value.process)

const isBroken = (value: unknown): value is BrokenRun =>
  isObject(value) && isText(value.id) && (value.reason === 'failed' || value.reason === 'interrupted')

function isActive(value: unknown): value is Running | Suspended {
  if (!isObject(value) || !isText(value.id) || !Array.isArray(value.answers)) return false
  return value.state === 'running' ? isHold(value) : value.state === 'suspended' && Number.isFinite(value.until)
}

/** What processes have in the session. */
export const holdsOf = ({ active, queue }: RunRecord): readonly Hold[] =>
  active?.state === 'running' ? [active, ...queue] : queue

/** The run that appends. */
export const runningOf = ({ active }: RunRecord): Running | undefined =>
  active?.state === 'running' ? active : undefined

export const stateOf = ({ active, queue }: RunRecord, id: string): 'running' | 'suspended' | 'queued' | undefined =>
  active?.id === id ? active.state : queue.some((hold) => hold.id === id) ? 'queued' : undefined

/** `busy`: there is no room. */
export function begin(record: RunRecord, hold: Hold, onBusy: 'reject' | 'queue' | 'interrupt'): Step | 'busy' {
  const { active, queue } = record
  if (!active) return promote({ record: { active, queue: [hold, ...queue] }, events: [], ended: [] })
  if (onBusy === 'interrupt') {
    const ended = endEvent(active.id, 'stopped')
    return promote({
      record: { active: undefined, queue: [hold, ...queue] },
      events: [ended],
      ended: namesOf(active),
    })
  }
  if (onBusy === 'reject' || queue.length >= MAX_QUEUE) return 'busy'
  return { record: { active, queue: [...queue, hold] }, events: [{ type: 'run.queued', run: hold.id }], ended: [] }
}

/** The same step, with the prompt directly before the first event of its run. */
export function withPrompt(step: Step, run: string, prompt: SessionEvent): Step {
  const at = step.events.findIndex((event) => event.run === run)
  return { ...step, events: step.events.toSpliced(at, 0, prompt) }
}

/** `undefined`: there is no such run (any more). */
export function end(record: RunRecord, id: string, reason: RunEndReason, error?: RunError): Step | undefined {
  const { active, queue } = record
  const events = [endEvent(id, reason, error)]
  if (active?.id === id) return promote({ record: afterEnd(queue, { id, reason }), events, ended: namesOf(active) })
  if (!queue.some((hold) => hold.id === id)) return undefined
  return { record: { active, queue: queue.filter((hold) => hold.id !== id) }, events, ended: [id] }
}

/** Ends whatever these holds are, as `interrupted`. */
export function bury(record: RunRecord, isDead: (hold: Hold) => boolean): Step {
  const { active, queue } = record
  const dead = queue.filter(isDead)
  const events = dead.map(({ id }) => endEvent(id, 'interrupted'))
  const left: Step = {
    record: { ...record, queue: queue.filter((hold) => !isDead(hold)) },
    events,
    ended: dead.map(({ id }) => id),
  }
  if (active?.state !== 'running' || !isDead(active)) return left
  return promote({
    record: afterEnd(left.record.queue, { id: active.id, reason: 'interrupted' }),
    events: [endEvent(active.id, 'interrupted'), ...events],
    ended: [...namesOf(active), ...left.ended],
  })
}

export function wait(record: RunRecord, { id, answers }: Running, waitsFor: unknown, until: number): Step {
  return {
    record: { ...record, active: { id, state: 'suspended', answers, waitsFor, until } },
    events: [{ type: 'run.suspended', run: id, waitsFor }],
    ended: [],
  }
}

/** `full`: it was answered too often. */
export function answer(record: RunRecord, suspended: Suspended, hold: Hold, name: string): Step | 'full' {
  if (suspended.answers.length >= MAX_ANSWERS) return 'full'
  return {
    record: { ...record, active: { ...hold, state: 'running', answers: [...suspended.answers, name] } },
    events: [{ type: 'run.resumed', run: hold.id }],
    ended: [],
  }
}

/** The first of the queue starts as soon as no run is active. */
function promote(step: Step): Step {
  const [first, ...queue] = step.record.queue
  if (!first || step.record.active) return step
  return {
    record: { active: { ...first, state: 'running', answers: [] }, queue },
    events: [...step.events, { type: 'run.started', run: first.id }],
    ended: step.ended,
  }
}

const afterEnd = (queue: readonly Hold[], { id, reason }: { readonly id: string; readonly reason: RunEndReason }) => ({
  active: undefined,
  queue,
  ...((reason === 'failed' || reason === 'interrupted') && { broken: { id, reason } }),
})

const namesOf = ({ id, answers }: Running | Suspended): readonly string[] => [id, ...answers]

const endEvent = (run: string, reason: RunEndReason, error?: RunError): RunEvent => ({
  type: 'run.ended',
  run,
  reason,
  ...(error && { error }),
})
