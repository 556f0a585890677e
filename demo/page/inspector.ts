import type { ConnectionOptions } from 'holdline'
import { createInspector, type Inspector } from 'holdline/inspect'

type Inspect = Extract<NonNullable<ConnectionOptions['inspect']>, (event: never) => void>
type Inspection = Parameters<Inspect>[0]

/**
 * The Stately inspector opens in a click, long after the machines have begun. So it is told first
 * which of them there are, and how each was last seen.
 */
export function createLateInspector(onError: (message: string) => void) {
  const actors = new Map<string, Inspection[]>()
  let inspector: Inspector | undefined

  return {
    inspect(event: Inspection) {
      inspector?.inspect(event)
      const { sessionId } = event.actorRef as { sessionId: string }
      if (event.type === '@xstate.actor') actors.set(sessionId, [event])
      if (event.type !== '@xstate.snapshot') return
      const [begun] = actors.get(sessionId) ?? []
      if (event.snapshot.status !== 'active') actors.delete(sessionId)
      else if (begun) actors.set(sessionId, [begun, event])
    },
    /** Has to be called in a click, or the browser blocks the window. */
    open() {
      inspector?.stop()
      inspector = createInspector({ onError: (error) => onError(error.message) })
      for (const event of [...actors.values()].flat()) inspector.inspect(event)
    },
  }
}
