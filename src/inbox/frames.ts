import { type Control, isObject, type JsonObject, malformedField, parseControl } from '../protocol'

/** An event of a session, its envelope checked. */
export type SessionMessage = JsonObject & {
  readonly sessionId: string
  readonly seq: number
  readonly prevSeq?: number
}

/**
 * The sorts of frames.
 *
 * | sort | is | what follows |
 * | --- | --- | --- |
 * | `event` | an object with a `sessionId` and a `seq` | `step` decides |
 * | `Control` | one of the protocol's own types | the machine, or the inbox, is told |
 * | `plain` | any other object, also of an unknown type | the app's listeners hear it; no cursor moves |
 * | `malformed` | no object, or an envelope field that is not of its type | it is reported as `bad-message`, and dropped |
 */
export type Sort = 'event' | Control | 'plain' | 'malformed'

export function sortOf(frame: unknown): Sort {
  if (!isObject(frame) || malformedField(frame)) return 'malformed'
  if (frame.seq !== undefined && frame.sessionId !== undefined) return 'event'
  return parseControl(frame) ?? 'plain'
}

/**
 * The complaint about a malformed frame. It names the type of a field, never the value, which may
 * throw when it is made a text.
 */
export function complaintOf(frame: unknown, characters: number): string {
  if (!isObject(frame)) return `no JSON object, but ${characters} characters`
  const field = malformedField(frame) ?? ''
  return `malformed ${field} (${typeof frame[field]}): the event is dropped`
}
