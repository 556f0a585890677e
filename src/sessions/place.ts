import type { SessionNews } from '../connection/api'
import { isSeq, isText } from '../protocol'
import type { StatePlace as Place } from './types'

/** Undefined for what is no cursor of this session. */
export function placeOf(cursor: unknown, id: string): Place | undefined {
  if (isSeq(cursor)) return { lastSeq: cursor }
  const { sessionId = id, lastSeq, epoch } = Object(cursor)
  const isCursor = sessionId === id && isSeq(lastSeq) && (epoch === undefined || isText(epoch))
  // A log without an event has the epoch ''.
  return isCursor ? { lastSeq, epoch: epoch || undefined } : undefined
}

/**
 * Whether events follow the cursor that do not follow the state: it is ahead, or of another log.
 */
export const isBeyond = (cursor: Place, { lastSeq, epoch }: Place): boolean =>
  cursor.lastSeq > lastSeq || (epoch !== undefined && cursor.epoch !== undefined && cursor.epoch !== epoch)

interface Reset {
  readonly news: SessionNews
  /** Of the log as it is now. */
  readonly epoch: string | undefined
  /** Whether it is the state's own place that was refused. */
  readonly isRefused: boolean
}

/**
 * Where a state goes on after the server has lost history. `from` is what the server still has
 * begins after; where the reset tells of no event (`from` is `to`) that is not known, and asked for
 * from the first on.
 *
 * | the state's place | it goes on after | events are lost |
 * | --- | --- | --- |
 * | is of another epoch: the log began anew, and none of its events is in the state | `from` | if `from` is above 0 |
 * | is before `from` | `from` | yes |
 * | was refused although it is of this epoch: the log was set back | the end of the log | no |
 * | was refused, and tells no epoch: the log began anew, as far as is known | `from` | if `from` is above 0 |
 * | is none of these | itself | no |
 */
export function placeAfter(place: Place, { news, epoch, isRefused }: Reset): { at: Place; isCut: boolean } {
  const from = isRefused || news.from < news.to ? news.from : 0
  const isOurs = place.epoch !== undefined && place.epoch === epoch
  const isAnew = place.epoch !== undefined && epoch !== undefined && !isOurs
  if (isAnew) return { at: { lastSeq: from, epoch }, isCut: from > 0 }
  if (place.lastSeq < from) return { at: { lastSeq: from, epoch }, isCut: true }
  if (isRefused) return { at: { lastSeq: isOurs ? news.to : from, epoch }, isCut: !isOurs && from > 0 }
  // Before the first event of any log.
  return { at: place.lastSeq ? place : { lastSeq: 0, epoch }, isCut: false }
}
