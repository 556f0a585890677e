import {
  type AnyActorRef,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type InspectionEvent,
  initialTransition,
} from 'xstate'
import { createConnection } from '../../createConnection'
import type { ConnectionError } from '../../errors'
import { connectionMachine } from '../../machine/connectionMachine'
import { outboxMachine } from '../../machine/outboxMachine'
import type { ConnectionInput } from '../../machine/types'
import type { JsonObject } from '../../protocol'
import type { OutboundMessage } from '../../types'
import { serverIsSilent } from '../harness/behaviours'
import { createHarness, type HarnessOptions } from '../harness/harness'
import { watchInvariants } from '../oracle/invariants'
import { connectionMoves, outboxMoves, type World } from './moves'
import { labelOf, leafOf, nameOf, plan, type Step, transitionsOf } from './plan'

export interface WalkOptions extends Pick<HarnessOptions, 'create' | 'seed'> {
  /** What the server sends of a session, without `sessionId` and `seq`. Default `{ type: 'token' }`. */
  readonly event?: JsonObject
  /** What the app sends. Default: a `send`. */
  readonly message?: OutboundMessage
}

/** Transitions read `open: stream.gapped → reconnecting`, steps `steady × stream.gapped → posting`. */
export interface WalkReport {
  /** The transitions of both definitions that the machines took because of what happened around them. */
  readonly covered: readonly string[]
  /** Those that nothing outside can cause. They were taken when the event was sent to the machine itself. */
  readonly injected: readonly string[]
  /** Those that no path leads to with these options: with unlimited attempts nobody gives up. */
  readonly unreachable: readonly string[]
  /** The others, and each step that went another way than the definition says, with the reason. */
  readonly missing: readonly string[]
  /** What was taken in each state, by each way to cause it. `(sent)`: nothing outside can, so it was sent to the machine. */
  readonly taken: readonly string[]
  /** What was refused, likewise. */
  readonly rejected: readonly string[]
  /** The invariants that did not hold, and after which step. */
  readonly violations: readonly string[]
  /** What the app's listeners threw, and at which step. */
  readonly errors: readonly { readonly step: string; readonly error: ConnectionError }[]
  readonly steps: number
}

type Settings = Required<WalkOptions> & Pick<World, 'newSession'>

/** What a machine did with an event. */
interface Deed {
  readonly machine: string
  readonly event: AnyEventObject
  readonly from: string
  readonly takes: string[]
  to: string
}

/** A step that was made. */
interface Made {
  readonly step: Step<World>
  /** All that the machines did then, not only what the step is about. */
  readonly deeds: readonly Deed[]
  /** Why it is not what the definition says. */
  readonly stray: string | undefined
  readonly violations: readonly string[]
  readonly errors: readonly ConnectionError[]
}

/**
 * Derives from the definitions of the two machines the shortest path to each transition and to each refused event in each
 * state, and drives a real connection along each: the server, the network, the page and the app do what causes the
 * events. What is covered is read from what the machines did.
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
  const planned = planAll(connection.actor.getSnapshot().context.policy)
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

/** A fresh connection goes along a path, as far as the path is right. */
async function drive(
  { create, seed, ...means }: Settings,
  machine: string,
  path: readonly Step<World>[],
): Promise<readonly Made[]> {
  const harness = createHarness({ create, seed, server: serverIsSilent() })
  const { connection, told } = harness
  const oracle = watchInvariants(harness)
  const root = connection.actor as unknown as AnyActorRef
  const deeds = record(root)
  const isOfConnection = machine === connectionMachine.id
  if (connection.phase !== 'idle') connection.disconnect()
  if (!isOfConnection) connection.connect()
  await harness.settles()

  const made: Made[] = []
  for (const step of path) {
    const { move, event: awaited, canBeCaused, takes } = step
    const before = { deeds: deeds.length, told: told.length, violations: oracle.violations.length }
    const deed = () =>
      deeds.slice(before.deeds).find((one) => one.machine === machine && one.event.type === awaited.type)
    const world: World = {
      ...means,
      harness,
      get context() {
        return connection.actor.getSnapshot().context
      },
      get hasHappened() {
        return !!deed()
      },
    }
    let stray: string | undefined
    try {
      if (canBeCaused) await move.cause(world)
      else (isOfConnection ? root : root.getSnapshot().children.outbox).send(awaited)
    } catch (error) {
      stray = `it threw ${error}`
    }
    await harness.settles()
    const news = told.slice(before.told)
    const did = deed()
    if (!did) stray ??= 'it never came'
    else if (did.from !== step.from) stray ??= `it came in ${did.from}`
    else if (`${did.takes}` !== `${takes}`) stray ??= `it took ${did.takes.join(', ') || 'nothing'}`
    else if (did.to !== step.to) stray ??= `it led to ${did.to}`
    else if (
      isOfConnection &&
      !takes.length &&
      !news.some((one) => one.name === 'refused' && one.event.event === awaited.type)
    ) {
      stray ??= 'nobody was told that it was refused'
    }
    const violations = canBeCaused ? oracle.violations.slice(before.violations) : []
    made.push({
      step,
      deeds: deeds.slice(before.deeds),
      stray,
      violations: violations.map(({ invariant, message }) => `${invariant}: ${message}`),
      errors: news.flatMap((one) => (one.name === 'error' && isOfTheApp(one.event.error) ? one.event.error : [])),
    })
    if (stray) break
  }
  connection.dispose()
  return made
}

const isOfTheApp = ({ code }: ConnectionError) => code === 'listener-failed' || code === 'poison-message'

/** What the machines of a connection do from now on. */
function record(root: AnyActorRef): readonly Deed[] {
  const deeds: Deed[] = []
  const snapshots = new Map<unknown, AnyMachineSnapshot>([[root, root.getSnapshot()]])
  const events = new Map<unknown, AnyEventObject>()
  const note = (actorRef: unknown, event: AnyEventObject, takes: readonly string[], next: AnyMachineSnapshot) => {
    const last = deeds.at(-1)
    const machine = next.machine.id
    const to = leafOf(next.value)
    if (last?.event === event && last.machine === machine) {
      last.takes.push(...takes)
      last.to = to
    } else deeds.push({ machine, event, from: leafOf((snapshots.get(actorRef) ?? next).value), takes: [...takes], to })
    snapshots.set(actorRef, next)
  }
  root.system.inspect((inspected: InspectionEvent) => {
    const { type, actorRef } = inspected
    if (type === '@xstate.event') {
      const snapshot = (actorRef as AnyActorRef).getSnapshot()
      if (snapshot?.machine && !snapshots.has(actorRef)) snapshots.set(actorRef, snapshot)
      events.set(actorRef, inspected.event)
    } else if (type === '@xstate.microstep') {
      note(actorRef, inspected.event, inspected._transitions.map(labelOf), inspected.snapshot as AnyMachineSnapshot)
    } else if (type === '@xstate.action' && !inspected.action.type.startsWith('xstate.')) {
      // A transition whose action throws is no microstep. Its action is told all the same.
      const snapshot = snapshots.get(actorRef)
      const event = events.get(actorRef)
      if (!snapshot || !event) return
      const throwing = transitionsOf(snapshot.machine).filter(({ actions }) =>
        actions.some((action) => Object(action).type === inspected.action.type),
      )
      if (throwing.length) note(actorRef, event, throwing.map(labelOf), snapshot)
    }
  })
  return deeds
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
