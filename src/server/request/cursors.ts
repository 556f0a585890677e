import { type Cursor, isObject, isSeq, SESSION_ID } from '../../protocol'

/** What a session id that is none breaks. */
export const SESSION_ID_RULE = `must match ${SESSION_ID.source}`
export const isSessionId = (value: unknown): value is string => typeof value === 'string' && SESSION_ID.test(value)

const MAX_EPOCH = 128

export function parseCursor(value: unknown): Cursor | undefined {
  if (!isObject(value)) return undefined
  const { sessionId, lastSeq, epoch } = value
  if (typeof sessionId !== 'string' || !isSeq(lastSeq)) return undefined
  if (epoch === undefined || epoch === null) return { sessionId, lastSeq }
  if (typeof epoch !== 'string') return undefined
  // One that is too long to be any log's is kept by nobody: it is another one, and no more has to be known of it.
  return { sessionId, lastSeq, epoch: epoch.length <= MAX_EPOCH ? epoch : 'too long' }
}

/** `undefined` if one of them is malformed, if a session occurs twice, or if there are more than `max`. */
export function parseCursors(value: unknown, max: number): readonly Cursor[] | undefined {
  if (!Array.isArray(value) || value.length > max) return undefined
  const cursors = new Map<string, Cursor>()
  for (const entry of value) {
    const cursor = parseCursor(entry)
    if (!cursor || cursors.has(cursor.sessionId)) return undefined
    cursors.set(cursor.sessionId, cursor)
  }
  return [...cursors.values()]
}
