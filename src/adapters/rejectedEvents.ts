import type { InspectionEvent } from 'xstate'

/**
 * The type of the event that the current state of the root actor refused, if that is what the inspection event tells.
 * XState has no public word for it: it is a microstep in which no transition was taken. A contract test pins that.
 */
export function rejectedEvent(inspected: InspectionEvent): string | undefined {
  if (inspected.type !== '@xstate.microstep' || inspected.actorRef.sessionId !== inspected.rootId) return undefined
  const { event, _transitions } = inspected
  return _transitions.length === 0 && !event.type.startsWith('xstate.') ? event.type : undefined
}
