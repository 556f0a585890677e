import { type AnyMachineSnapshot, type AnyStateMachine, type EventObject, transition } from 'xstate'
import { ConnectionError } from '../errors'
import { connectionMachine } from '../machine/connectionMachine'
import { nonceOf } from '../machine/facts'
import { outboxMachine } from '../machine/outboxMachine'
import type { ConnectionContext } from '../machine/types'
import { parseTrace } from './parseTrace'
import { pathOf } from './recorder'
import type { TraceStep } from './trace'

/** What a machine made of an event. */
export interface Decision {
  /** null: this version has no such state to begin with. */
  readonly to: string | null
  readonly refused: boolean
  /** What the connection knows after it. */
  readonly attempt: number
  readonly fruitless: number
  readonly resumes: number
}

export interface Divergence {
  /** Of the step, in `trace.steps`. */
  readonly index: number
  readonly step: TraceStep
  readonly recorded: Partial<Decision>
  readonly replayed: Decision
}

export interface Replay {
  readonly steps: number
  /**
   * The first step at which the machine of this version decides otherwise; null if there is none.
   */
  readonly divergence: Divergence | null
}

/**
 * Runs a trace, or its JSON, through the pure machines of this version: each step from what the
 * connection knew before it. Nothing is executed.
 *
 * @throws {ConnectionError} `bad-trace`
 */
export function replayTrace(given: unknown): Replay {
  const { steps, maxAttempts } = parseTrace(given)
  const connected = steps.filter(({ machine }) => machine === 'connection')
  let count = 0
  for (const [index, step] of steps.entries()) {
    // What a tab did depends on the other tabs, which no trace of one shows.
    if (step.machine === 'tab') continue
    if (step === connected[count]) count++
    const next = connected[count]
    const replayed = step.machine === 'connection' ? decide(step, next, maxAttempts) : decideOutbox(step)
    const recorded = { to: step.to, refused: step.refused, ...(next && countsOf(next)) }
    const isOther = (Object.keys(recorded) as (keyof Decision)[]).some((name) => replayed[name] !== recorded[name])
    if (isOther) return { steps: steps.length, divergence: { index, step, recorded, replayed } }
  }
  return { steps: steps.length, divergence: null }
}

// There are no actors to send to.
const connection = connectionMachine.provide({ actions: { releaseOutbox() {}, holdOutbox() {}, suspendOutbox() {} } })
const outbox = outboxMachine.provide({ actions: { startPosting() {}, stopPosting() {}, suspendPosting() {} } })

function decide(step: TraceStep, next: TraceStep | undefined, maxAttempts: number | null): Decision {
  const context = contextOf(step, maxAttempts ?? Number.POSITIVE_INFINITY)
  return run(connection, step, context, eventOf(step, context, next))
}

const decideOutbox = (step: TraceStep): Decision => ({
  ...run(outbox, step, { delay: 0 }, { type: step.event, delay: step.delay ?? 0 }),
  ...countsOf(step),
})

function run(
  machine: AnyStateMachine,
  step: TraceStep,
  context: object,
  event: EventObject & Record<string, unknown>,
): Decision {
  const before = snapshotAt(machine, step.from, context)
  if (!before) return { to: null, refused: true, ...countsOf(step) }
  const [after] = transition(machine, before, event)
  const { value, context: known } = after as AnyMachineSnapshot
  return { to: pathOf(value), refused: !before.can(event), ...countsOf(known) }
}

/** undefined if the machine has no such state. */
function snapshotAt(machine: AnyStateMachine, path: string, context: object): AnyMachineSnapshot | undefined {
  const value = path
    .split('.')
    .reduceRight<unknown>((inner, name) => (inner === undefined ? name : { [name]: inner }), undefined)
  try {
    const snapshot = machine.resolveState({ value: value as never, context })
    return pathOf(snapshot.value) === path ? snapshot : undefined
  } catch {
    return undefined
  }
}

const countsOf = ({ attempt, fruitless, resumes }: TraceStep | ConnectionContext) => ({ attempt, fruitless, resumes })

/**
 * The trace names no session, so these stand for those that the resume was for, and for those that
 * came since.
 */
const ASKED = { sessionId: 'asked', lastSeq: 0 }
const SINCE = { sessionId: 'since', lastSeq: 0 }

function contextOf(step: TraceStep, maxAttempts: number): ConnectionContext {
  const { attempt, fruitless, resumes, refusals = 0, flaps = 0, features, heartbeat } = step
  return {
    policy: {
      backoff: { base: 0, cap: 0, maxAttempts, stableDelay: 0 },
      timeouts: { connect: 0, welcome: 0, resume: 0, send: 0, probe: 0 },
      random: () => 0,
      now: () => 0,
    },
    attempt,
    fruitless,
    resumes,
    refusals,
    flaps,
    features,
    heartbeat,
    delay: 0,
    retryAt: 0,
    serverDelay: {},
    connectionId: 'stream',
    cursors: [ASKED],
    resumeId: `r${resumes}`,
    probes: 1,
    trust: step.trust ?? 'kept',
    farewell: step.farewell ?? 'none',
    lastError: null,
  }
}

/** As much of the event as guards ask for. */
function eventOf(step: TraceStep, context: ConnectionContext, next: TraceStep | undefined) {
  const { event: type, code = 'internal', status, retryable = true, sessions = 0, moved, hole = false, own } = step
  const named = Array.from({ length: Math.min(sessions, 1) }, () => (moved ? SINCE : ASKED))
  return {
    type,
    error: new ConnectionError(code, 'as recorded', { status, retryable }),
    cursors: named,
    leftOvers: named,
    isByServer: hole,
    resumeId: own === true ? context.resumeId : own === false ? 'another' : own,
    nonce: own === true ? nonceOf(context) : 'another',
    // Infinity is null in JSON.
    awayFor: step.awayFor === null ? Number.POSITIVE_INFINITY : (step.awayFor ?? 0),
    delay: {},
    connectionId: context.connectionId,
    // What a welcome announced is what the next step knew.
    features: next?.features ?? [],
    heartbeat: next?.heartbeat ?? null,
  }
}
