import { type Control, isObject, type JsonObject, malformedField, parseControl } from '../protocol'

/** An event of a session, its envelope checked. */
export type SessionMessage = JsonObject & {
  readonly sessionId: string
  readonly seq: number
  readonly prevSeq?: number
}

/**
 * | sort | what it is | what follows |
 * | --- | --- | --- |
 * | `event` | has a `sessionId` and a `seq`: a `SessionMessage` | `step` |
 * | `Control` | for the library | the machine is told |
 * | `plain` | any other object | the app's listeners |
 * | `malformed` | no object, or an envelope field that is not of its type | reported, and dropped |
 */
export type Sort = 'event' | Control | 'plain' | 'malformed'

export function sortOf(frame: unknown): Sort {
  if (!isObject(frame) || malformedField(frame)) return 'malformed'
  if (frame.seq !== undefined && frame.sessionId !== undefined) return 'event'
  return parseControl(frame) ?? 'plain'
}

/** What is wrong with a malformed one. Of its fields no more than the type: a value from the wire may throw when it is made a text. */
export function complaintOf(frame: unknown, characters: number): string {
  if (!isObject(frame)) return `no JSON object, but ${characters} characters`
  const field = malformedField(frame) ?? ''
  return `malformed ${field} (${typeof frame[field]}): the event is dropped`
}
