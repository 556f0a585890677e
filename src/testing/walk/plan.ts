import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyTransitionDefinition,
  type EventObject,
  transition,
} from 'xstate'

/** Something that happens to a machine. `World` is what it takes to make it happen. */
export interface Move<World> {
  readonly name: string
  /** What the machine is told. */
  event(snapshot: AnyMachineSnapshot): EventObject
  /** Whether `cause` makes it happen in this state. If not, nothing outside of the machine can. */
  can(snapshot: AnyMachineSnapshot): boolean
  cause(world: World): void | Promise<void>
}

/** One move in one state, and what the definition says that it does there. */
export interface Step<World> {
  readonly move: Move<World>
  readonly event: EventObject
  readonly canBeCaused: boolean
  readonly from: string
  /** The transition, and the `always` that follows; none if the event is refused. */
  readonly takes: readonly string[]
  readonly to: string
}

type StateNode = AnyStateMachine['root']

/** Every transition of a machine: `on`, `after`, `always` and `onError`, each branch on its own. */
export function transitionsOf({ root }: AnyStateMachine): readonly AnyTransitionDefinition[] {
  const within = (node: StateNode): readonly StateNode[] => [node, ...Object.values(node.states).flatMap(within)]
  return within(root).flatMap(({ transitions, always = [] }) => [...[...transitions.values()].flat(), ...always])
}

/** `open: stream.gapped → reconnecting` */
export function labelOf({ source, eventType, guard, target }: AnyTransitionDefinition): string {
  const condition = guard ? ` [${typeof guard === 'object' ? guard.type : String(guard)}]` : ''
  return `${source.key}: ${nameOf(eventType)}${condition} → ${target?.map(({ key }) => key).join() ?? '(stays)'}`
}

/** XState's own events as the definition calls them. */
export const nameOf = (eventType: string) =>
  eventType
    .replace(/^xstate\.after\.([^.]+).*/, 'after $1')
    .replace(/^xstate\.error\.actor\./, 'error of ')
    .replace(/^$/, 'always')

/** The innermost state. */
export const leafOf = (value: unknown): string =>
  typeof value === 'string' ? value : leafOf(Object.values(Object(value))[0])

/**
 * The shortest path to each outcome that each move has in each state; what cannot be caused ends
 * one, and is left out where something else has that outcome. `identify` tells which snapshots are
 * the same; it must leave a finite number.
 */
export function plan<World>(
  machine: AnyStateMachine,
  initial: AnyMachineSnapshot,
  moves: readonly Move<World>[],
  identify: (snapshot: AnyMachineSnapshot) => unknown,
): readonly (readonly Step<World>[])[] {
  type Path = readonly Step<World>[]
  const caused = new Map<string, Path>()
  const injected = new Map<string, Path>()
  const reachable = new Set<string>()
  const known = new Set<string>()
  const nodes: (readonly [AnyMachineSnapshot, Path])[] = []
  const visit = (snapshot: AnyMachineSnapshot, path: Path) => {
    const identity = JSON.stringify(identify(snapshot))
    if (!known.has(identity)) nodes.push([snapshot, path])
    known.add(identity)
  }
  visit(initial, [])
  for (const [snapshot, path] of nodes) {
    for (const move of moves) {
      const event = move.event(snapshot)
      const [taken] = machine.getTransitionData(snapshot, event)
      // A timer, or an actor, that is not there in this state.
      if (!taken && event.type.startsWith('xstate.')) continue
      const [next] = taken ? transition(machine, snapshot, event) : [snapshot]
      const canBeCaused = move.can(snapshot)
      const from = leafOf(snapshot.value)
      const to = leafOf(next.value)
      const [landing] = taken?.target ?? []
      const follows = landing && landing.key !== to ? (landing.always ?? []) : []
      const takes = taken ? [taken, ...follows].map(labelOf) : []
      const through = [...path, { move, event, canBeCaused, from, takes, to }]
      const outcome = `${from} ${event.type} ${takes} ${to}`
      const paths = canBeCaused ? caused : injected
      const key = canBeCaused ? `${outcome} ${move.name}` : outcome
      if (!paths.has(key)) paths.set(key, through)
      if (!canBeCaused) continue
      reachable.add(outcome)
      if (taken) visit(next, through)
    }
  }
  return [...caused.values(), ...[...injected].flatMap(([outcome, path]) => (reachable.has(outcome) ? [] : [path]))]
}
