import { type Cursor, isObject, isSeq, SESSION_ID, type SessionVerdict } from '../protocol'
import type { SessionHead } from './log/sessionLog'

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

/**
 * Whether everything after the cursor can still be replayed. If not, the client goes on from the head and reloads. A session that
 * cannot be read now is followed from its cursor, so that the client loses nothing: what comes after it is sent when it can be.
 */
export function verdictOn({ sessionId, lastSeq, epoch }: Cursor, log: SessionHead): SessionVerdict {
  if (log.isUnreadable) return { sessionId, status: 'resumed', epoch, from: lastSeq, to: lastSeq }
  // A cursor at 0 has counted nothing, so it belongs to every epoch.
  const isOfOtherEpoch = lastSeq > 0 && epoch !== undefined && epoch !== log.epoch
  const isLost = isOfOtherEpoch || lastSeq > log.head || lastSeq < log.first - 1
  return { sessionId, status: isLost ? 'reset' : 'resumed', epoch: log.epoch || undefined, from: lastSeq, to: log.head }
}
