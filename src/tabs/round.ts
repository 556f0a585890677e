import { type Cursor, HEAD, type SessionVerdict } from '../protocol'

/** What the tabs want of one session, and where the stream stands in it. */
export interface Place {
  readonly tabs: Set<string>
  /** The last event that the stream has brought; null if none is known. */
  cursor: Cursor | null
  /** `loose`: the server may have detached it. */
  state: 'attached' | 'loose'
}

/** What one tab wants to resume; `tab` is null where the line itself does. */
export interface Ask {
  readonly tab: string | null
  /** Those that have no verdict yet. */
  open: readonly Cursor[]
  /**
   * Sessions whose cursor is of another epoch, or beyond the head: only the server knows what is
   * left of them, so it is asked about that very cursor.
   */
  readonly strays: Set<string>
  readonly verdicts: SessionVerdict[]
  settle(verdicts: readonly SessionVerdict[]): void
  fail(error: unknown): void
}

/** A turn is one POST to the server, or none. They come one after the other. */
export type Turn = Ask | { readonly detach: string; settle(): void; fail(error: unknown): void }

/** One resume for all that waited for it. */
export interface Round {
  readonly id: string
  readonly asks: readonly Ask[]
  /** The lowest cursor of each session. */
  readonly lowest: ReadonlyMap<string, Cursor>
  /** Where the stream stood for tabs that do not ask. */
  readonly before: ReadonlyMap<string, Cursor>
  readonly verdicts: Map<string, SessionVerdict>
  /** `answered`: the marker is still to come; `marked`: the answer is. */
  state: 'posted' | 'answered' | 'marked'
  stopWatch(): void
}

/**
 * What one POST for all of these asks carries, in `sessions`: each session from the lowest cursor
 * of those who want it. One whose asks are all level with the stream is not posted.
 */
export function gather(asks: readonly Ask[], places: ReadonlyMap<string, Place>) {
  const lowest = new Map<string, Cursor>()
  const before = new Map<string, Cursor>()
  const behind = new Set<string>()
  const strays = new Set<string>()
  for (const [cursor, isStray] of asks.flatMap(({ open, strays }) =>
    open.map((cursor) => [cursor, strays.has(cursor.sessionId)] as const),
  )) {
    const { sessionId } = cursor
    const place = places.get(sessionId)
    const stands = place?.cursor && hasOthers(place, asks, sessionId) ? place.cursor : undefined
    if (stands) before.set(sessionId, stands)
    const known = lowest.get(sessionId) ?? stands ?? cursor
    const isLower = known.lastSeq > cursor.lastSeq
    if (!strays.has(sessionId)) lowest.set(sessionId, isStray || isLower ? cursor : known)
    if (isStray) strays.add(sessionId)
    const isLevel = place?.state === 'attached' && place.cursor && isSame(cursor, place.cursor)
    if (!isLevel) behind.add(sessionId)
  }
  const verdicts = new Map<string, SessionVerdict>()
  for (const { sessionId, lastSeq: to, epoch } of lowest.values())
    if (!behind.has(sessionId)) verdicts.set(sessionId, { sessionId, status: 'resumed', epoch, from: to, to })
  const sessions = [...lowest.values()].filter(({ sessionId }) => behind.has(sessionId))
  return { asks, lowest, before, verdicts, state: 'posted' as const, sessions }
}

/** Whether tabs that do not ask attend it. */
const hasOthers = ({ tabs }: Place, asks: readonly Ask[], sessionId: string) => {
  const askers = asks.filter(({ open }) => open.some((cursor) => cursor.sessionId === sessionId)).map(({ tab }) => tab)
  return [...tabs].some((tab) => !askers.includes(tab))
}

export const cursorOf = (sessionId: string, lastSeq: number, epoch: unknown): Cursor =>
  typeof epoch === 'string' ? { sessionId, lastSeq, epoch } : { sessionId, lastSeq }

/** An epoch that is not known yet fits every other. */
const isSame = (one: Cursor, other: Cursor) =>
  one.lastSeq === other.lastSeq && (one.epoch ?? other.epoch) === (other.epoch ?? one.epoch)

/** False: the verdict says nothing about this cursor. */
export function judge({ lowest, verdicts }: Round, ask: Ask, cursor: Cursor): boolean {
  const { sessionId, lastSeq, epoch } = cursor
  const verdict = verdicts.get(sessionId)
  if (!verdict) return true
  const { status, to } = verdict
  const isAsked = isSame(cursor, lowest.get(sessionId) as Cursor)
  const isOther = lastSeq > 0 && (epoch ?? verdict.epoch) !== (verdict.epoch ?? epoch)
  if (status === 'reset' && !isAsked) return false
  if (status === 'resumed' && !isAsked && lastSeq !== HEAD && (isOther || lastSeq > to)) {
    ask.strays.add(sessionId)
    return false
  }
  if (status !== 'resumed') ask.verdicts.push(verdict)
  else if (isOther || lastSeq > to) ask.verdicts.push({ ...verdict, status: 'reset', from: to })
  else ask.verdicts.push({ ...verdict, from: lastSeq })
  return true
}
