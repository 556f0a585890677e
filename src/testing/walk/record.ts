import type { AnyActorRef, AnyEventObject, AnyMachineSnapshot, InspectionEvent } from 'xstate'
import { labelOf, leafOf, transitionsOf } from './plan'

/** The transitions that a machine took at an event. */
export interface Deed {
  readonly machine: string
  readonly event: AnyEventObject
  readonly from: string
  readonly takes: string[]
  to: string
}

/** Everything that the machines of a connection do from now on. */
export function record(root: AnyActorRef): readonly Deed[] {
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
