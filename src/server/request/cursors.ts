import { type Cursor, isObject, isSeq, SESSION_ID } from '../../protocol'

/** The rule for session ids, for the sentence of an error. */
export const SESSION_ID_RULE = `must match ${SESSION_ID.source}`
export const isSessionId = (value: unknown): value is string => typeof value === 'string' && SESSION_ID.test(value)

const MAX_EPOCH = 128

export function parseCursor(value: unknown): Cursor | undefined {
  if (!isObject(value)) return undefined
  const { sessionId, lastSeq, epoch } = value
  if (typeof sessionId !== 'string' || !isSeq(lastSeq)) return undefined
  if (epoch === undefined || epoch === null) return { sessionId, lastSeq }
  if (typeof epoch !== 'string') return undefined
  // An epoch that is too long is no log's. It is known to be another one without being kept.
  return { sessionId, lastSeq, epoch: epoch.length <= MAX_EPOCH ? epoch : 'too long' }
}

/**
 * `undefined` if one of them is malformed, if a session occurs twice, or if there are more than
 * `max`.
 */
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
