import { textOf } from '../log/storedEntry'
import type { ServerParts } from '../parts'
import { copyOf } from '../publish'

/** Written by the library alone. */
const OWN_TYPES: readonly string[] = ['run.queued', 'run.started', 'run.suspended', 'run.resumed', 'run.ended']

/**
 * An event of the app, as a log of runs takes it. @throws TypeError if it is none, ProtocolError if
 * it does not fit the protocol
 */
export function appEvent({ limits, contract }: ServerParts, sessionId: string, event: object) {
  const { copy, json } = copyOf(event, limits.eventBytes)
  if (OWN_TYPES.includes(copy.type)) throw new TypeError(`the type '${copy.type}' is the library's`)
  contract.event(sessionId, copy)
  return { copy, json: textOf(copy, json) }
}
