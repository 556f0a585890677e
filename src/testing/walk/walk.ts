import { type AnyMachineSnapshot, initialTransition } from 'xstate'
import { createConnection } from '../../createConnection'
import type { ConnectionError } from '../../errors'
import { connectionMachine } from '../../machine/connectionMachine'
import { outboxMachine } from '../../machine/outboxMachine'
import type { ConnectionInput } from '../../machine/types'
import { createHarness } from '../harness/harness'
import { drive, type Made, type Settings, type WalkOptions } from './drive'
import { connectionMoves } from './moves/connectionMoves'
import type { World } from './moves/move'
import { outboxMoves } from './moves/outboxMoves'
import { labelOf, nameOf, plan, type Step, transitionsOf } from './plan'
import type { Deed } from './record'

/**
 * Transitions read `open: stream.gapped → reconnecting`, steps `steady × stream.gapped → posting`.
 */
export interface WalkReport {
  /**
   * The transitions of both definitions that the machines took because of what happened around
   * them.
   */
  readonly covered: readonly string[]
  /**
   * Those that nothing outside can cause. They were taken when the event was sent to the machine
   * itself.
   */
  readonly injected: readonly string[]
  /** Those that no path leads to with these options: with unlimited attempts nobody gives up. */
  readonly unreachable: readonly string[]
  /** The others, and each step that went another way than the definition says, with the reason. */
  readonly missing: readonly string[]
  /**
   * What was taken in each state, by each way to cause it. `(sent)`: nothing outside can, so it was
   * sent to the machine.
   */
  readonly taken: readonly string[]
  /** What was refused, likewise. */
  readonly rejected: readonly string[]
  /** The invariants that did not hold, and after which step. */
  readonly violations: readonly string[]
  /** What the app's listeners threw, and at which step. */
  readonly errors: readonly { readonly step: string; readonly error: ConnectionError }[]
  readonly steps: number
}

/**
 * Derives from the definitions of the two machines the shortest path to each transition and to each
 * refused event in each state, and drives a real connection along each: the server, the network,
 * the page and the app do what causes the events. What is covered is read from what the machines
 * did.
 */
export async function walk(options: WalkOptions = {}): Promise<WalkReport> {
  let sessions = 0
  const settings: Settings = {
    // By default it gives up some time, because that is part of the definition.
    create: (environment) => createConnection({ ...environment, backoff: { maxAttempts: 2 } }),
    seed: 1,
    event: { type: 'token' },
    message: { type: 'send', sessionId: 'walk' },
    newSession: () => `walk-${++sessions}`,
    ...options,
  }
  const { connection } = createHarness(settings)
  const planned = planOnce(connection.actor.getSnapshot().context.policy)
  connection.dispose()
  const made: Made[] = []
  for (const { machine, paths } of planned) {
    for (const path of paths) made.push(...(await drive(settings, machine.id, path)))
  }

  const byTheWorld = made.filter(({ step }) => step.canBeCaused).flatMap(({ deeds }) => deeds)
  const caused = new Set(byTheWorld.map(outcomeOf))
  const covered = unique(byTheWorld.flatMap(({ takes }) => takes))
  const taken = unique(made.flatMap(({ deeds }) => deeds.flatMap(({ takes }) => takes)))
  const reachable = new Set(planned.flatMap(({ paths }) => paths.flatMap((path) => path.flatMap(({ takes }) => takes))))
  const lost = planned.flatMap(({ machine }) => transitionsOf(machine).map(labelOf)).filter((it) => !taken.includes(it))
  const strays = made.flatMap(({ step, stray }) => (stray ? `${labelOfStep(step)}: ${stray}` : []))
  const asPlanned = made.filter(({ stray }) => !stray).map(({ step }) => step)
  const listed = (steps: readonly Step<World>[]) =>
    unique(steps.map((step) => labelOfStep(step) + (caused.has(outcomeOf(step)) ? '' : ' (sent)')))
  return {
    covered,
    injected: taken.filter((transition) => !covered.includes(transition)),
    unreachable: lost.filter((transition) => !reachable.has(transition)),
    missing: unique([...strays, ...lost.filter((it) => reachable.has(it)).map((it) => `${it}: it was not taken`)]),
    taken: listed(asPlanned.filter(({ takes }) => takes.length)),
    rejected: listed(asPlanned.filter(({ takes }) => !takes.length)),
    violations: unique(made.flatMap(({ step, violations }) => violations.map((it) => `${labelOfStep(step)}: ${it}`))),
    errors: made.flatMap(({ step, errors }) => errors.map((error) => ({ step: labelOfStep(step), error }))),
    steps: made.length,
  }
}

const unique = (labels: readonly string[]) => [...new Set(labels)]
const outcomeOf = ({ event, from, takes }: Deed | Step<World>) => `${from} ${event.type} ${takes}`
const labelOfStep = ({ move, event: { type }, from, takes, to }: Step<World>) =>
  `${from} × ${nameOf(type)}${move.name.replace(type, '')}${takes.length ? ` → ${to}` : ''}`

/** Plans take longer than most of what they are for, and depend on nothing but these options. */
const plans = new Map<string, ReturnType<typeof planAll>>()

function planOnce(policy: ConnectionInput) {
  const key = JSON.stringify(policy)
  const planned = plans.get(key) ?? planAll(policy)
  plans.set(key, planned)
  return planned
}

function planAll(policy: ConnectionInput) {
  const { maxAttempts } = policy.backoff
  const [idle] = initialTransition(connectionMachine, { ...policy, random: () => 0.5 })
  const [held] = initialTransition(outboxMachine)
  /** What decides between the transitions of a state. */
  const identify = ({ value, context }: AnyMachineSnapshot) => [
    value,
    Math.min(context.attempt, maxAttempts === Number.POSITIVE_INFINITY ? 1 : maxAttempts + 1),
    context.features,
    context.heartbeat,
    Math.min(context.resumes, 2),
    context.fruitless > 0,
    Math.min(context.flaps, 5),
    context.refusals,
    context.trust,
    context.farewell,
  ]
  return [
    {
      machine: connectionMachine,
      paths: plan(connectionMachine, idle, connectionMoves(policy), identify),
    },
    { machine: outboxMachine, paths: plan(outboxMachine, held, outboxMoves(), ({ value }) => value) },
  ]
}

/** A summary, and a line for each thing that is not as it should be. */
export const formatWalk = (report: WalkReport): string =>
  [
    `${report.steps} steps: ${report.covered.length} transitions covered, ${report.injected.length} injected, ` +
      `${report.unreachable.length} unreachable; ${report.taken.length} taken and ${report.rejected.length} refused ` +
      'events of a state',
    ...report.missing.map((line) => `missing    ${line}`),
    ...report.violations.map((line) => `violation  ${line}`),
    ...report.errors.map(({ step, error }) => `error      ${step}: ${error.message}: ${error.cause}`),
  ].join('\n')
