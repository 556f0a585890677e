import { ConnectionError } from '../errors'
import { isObject } from '../protocol'
import type { Trace, TraceStep } from './trace'

/** What a trace may hold; the recorder keeps far less. */
const MAX_STEPS = 10_000
const MAX_TEXT = 200
const MAX_FEATURES = 50

type Check = (value: unknown) => boolean
type Fields = Readonly<Record<string, Check>>

const isText: Check = (value) => typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT
const isNumber: Check = (value) => Number.isFinite(value)
const isAnyNumber: Check = (value) => typeof value === 'number'
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
const isFlag: Check = (value) => typeof value === 'boolean'
const isPath: Check = (value) => isText(value) && /^\w+(\.\w+)*$/.test(value as string)
const isOneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value)
const either =
  (...checks: readonly Check[]): Check =>
  (value) =>
    checks.some((check) => check(value))
const isListOf =
  (check: Check, max: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= max && value.every(check)

const STEP = {
  at: isNumber,
  machine: isOneOf('connection', 'outbox', 'tab'),
  event: isText,
  from: isPath,
  to: isPath,
  refused: isFlag,
  attempt: isCount,
  fruitless: isCount,
  resumes: isCount,
  features: isListOf(isText, MAX_FEATURES),
  heartbeat: either(isOneOf(null), isNumber),
} satisfies Fields
const OPTIONAL = {
  refusals: isCount,
  flaps: isCount,
  sessions: isNumber,
  moved: isFlag,
  trust: isOneOf('kept', 'lost'),
  farewell: isOneOf('none', 'said'),
  hole: isFlag,
  own: either(isOneOf(null), isFlag),
  // For ever is a number too, and null in JSON.
  awayFor: either(isOneOf(null), isAnyNumber),
  delay: either(isOneOf(null), isAnyNumber),
  code: isText,
  status: isNumber,
  retryable: isFlag,
} satisfies Fields
const TRACE = {
  format: isOneOf('holdline-trace'),
  version: isOneOf(1),
  startedAt: (value) => isNumber(value) && Math.abs(value as number) <= 8.64e15,
  maxAttempts: either(isOneOf(null, Number.POSITIVE_INFINITY), isCount),
  dropped: isCount,
  steps: isListOf(isObject, MAX_STEPS),
} satisfies Fields

const OF_TABS = {
  tab: isText,
  leader: either(isOneOf(null), isText),
} satisfies Fields

/**
 * Checks what somebody sent: a trace, or its JSON. Returns a copy that holds what a trace holds and
 * nothing else.
 *
 * @throws {ConnectionError} `bad-trace`; the message names the field.
 */
export function parseTrace(given: unknown): Trace {
  const { steps, ...head } = pick(fromJson(given), 'the trace', TRACE, OF_TABS)
  const parsed = (steps as unknown[]).map((step, index) => pick(step, `steps[${index}]`, STEP, OPTIONAL) as never)
  checkOrder(parsed)
  return { ...head, steps: parsed } as unknown as Trace
}

/**
 * Each step begins where the one before it ended; the outbox of a line that was connected anew is
 * held.
 */
function checkOrder(steps: readonly TraceStep[]) {
  const states: Record<string, string> = {}
  for (const [index, { machine, event, from, to }] of steps.entries()) {
    const isNew = machine === 'outbox' && from === 'held'
    if (!isNew && (states[machine] ?? from) !== from) {
      throw new ConnectionError('bad-trace', `steps[${index}]: ${event} does not begin in ${states[machine]}`)
    }
    states[machine] = to
  }
}

function fromJson(given: unknown): unknown {
  if (typeof given !== 'string') return given
  try {
    return JSON.parse(given)
  } catch (cause) {
    throw new ConnectionError('bad-trace', 'the trace: not JSON', { cause })
  }
}

function pick(given: unknown, what: string, required: Fields, optional: Fields = {}): Record<string, unknown> {
  if (!isObject(given)) throw new ConnectionError('bad-trace', `${what}: not an object`)
  const checked = Object.entries({ ...required, ...optional }).flatMap(([name, check]) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined
    if (value === undefined && name in optional) return []
    if (!check(value)) throw new ConnectionError('bad-trace', `${what}: ${name} is not valid`)
    return [[name, value]]
  })
  return Object.fromEntries(checked)
}
