import { type AnyStateMachine, type AnyStateNode, initialTransition } from 'xstate'

/** One way that a machine can take, as its definition says. */
export interface Transition {
  readonly from: AnyStateNode
  /** As XState calls it, e.g. `xstate.after.connectTimeout.connection.active…`; '' is `always`. */
  readonly type: string
  /** As a reader calls it: `after connectTimeout`. */
  readonly event: string
  readonly guard: string
  /** None: actions only. */
  readonly to: AnyStateNode | undefined
  readonly actions: readonly string[]
}

export const nodesOf = (node: AnyStateNode): AnyStateNode[] => [node, ...Object.values(node.states).flatMap(nodesOf)]
export const pathOf = (node: AnyStateNode) => node.path.join('.') || node.key

export function transitionsOf(machine: AnyStateMachine): readonly Transition[] {
  // The nodes work out their transitions when they are first asked to take one.
  initialTransition(machine, { backoff: {}, timeouts: {}, random: () => 0 })
  return nodesOf(machine.root).flatMap((from) => {
    const always = (from.always ?? []).map((transition) => ({ type: '', transition }))
    const others = [...from.transitions].flatMap(([type, list]) => list.map((transition) => ({ type, transition })))
    return [...others, ...always].map(({ type, transition }) => ({
      from,
      type,
      event: eventName(type),
      guard: nameOf(transition.guard),
      to: transition.target?.[0],
      actions: transition.actions.map(nameOf),
    }))
  })
}

const nameOf = (thing: unknown) => (typeof thing === 'string' ? thing : ((thing as { type?: string })?.type ?? ''))

/**
 * `xstate.after.connectTimeout.connection.active…` → `after connectTimeout`, and likewise for
 * invoked actors.
 */
function eventName(type: string) {
  if (type === '') return 'always'
  const [, kind, name, actor] = type.split('.')
  if (!type.startsWith('xstate.')) return type
  return kind === 'after' ? `after ${name}` : `${actor} fails`
}
