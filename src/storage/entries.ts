import type { Typed } from '../connection/messages'
import type { Storable, StoredMessage } from '../connection/store'
import { isObject, isSeq, isText, LANE, MESSAGE_ID } from '../protocol'

// Messages: `<key>:message:<owner>:<number>`; cursors: `<key>:cursor:<sessionId>`. Neither has a
// `:` behind its prefix but the one, so that no key, whatever is in it, runs into another.

export const messagePrefix = (key: string) => `${key}:message:`
export const cursorPrefix = (key: string) => `${key}:cursor:`

/** One with more behind its prefix belongs to another key, which begins like this one. */
export const messagePlaces = (key: string, places: readonly string[]) =>
  startingWith(messagePrefix(key), places).filter((place) => !/:.*:/s.test(place.slice(messagePrefix(key).length)))

export const startingWith = (prefix: string, places: readonly string[]) =>
  places.filter((place) => place.startsWith(prefix))

export const ownerOf = (place: string) => place.split(':').at(-2) ?? ''

/** To be sorted by; 0 if it is none. */
export const numberOf = (place: string) => {
  const number = place.split(':').at(-1) ?? ''
  // The first edition wrote what the clock told, and one of an app's own may tell fractions.
  return /^[1-9]\d*(\.\d+)?$/.test(number) && Number(number) <= Number.MAX_SAFE_INTEGER ? Number(number) : 0
}

export const placeOfCursor = (key: string, sessionId: string) =>
  cursorPrefix(key) + sessionId.replace(/[%:]/g, encodeURIComponent)

export function messageText({ id, json, attempts, failures, drops, triedAt, expiresAt, lane }: Storable): string {
  const fields = JSON.stringify({ id, attempts, failures, drops, triedAt, expiresAt, lane: lane.name })
  return `{"message":${json},${fields.slice(1)}`
}

/**
 * `mayBePosted`: its last write may not have been through when it was posted, so it counts as
 * attempted.
 */
export function parseMessage(value: unknown, place: string, mayBePosted: boolean): StoredMessage | undefined {
  const { id, message, attempts, failures, drops, triedAt, expiresAt, lane } = Object(value)
  // JSON has no Infinity, but null.
  const end = expiresAt ?? Infinity
  const isMessage =
    isText(id) && MESSAGE_ID.test(id) && isObject(message) && isSeq(attempts) && typeof end === 'number' && end >= 0
  if (!isMessage || !numberOf(place)) return undefined
  const tried = attempts || +mayBePosted
  return {
    id,
    message: message as Typed,
    attempts: tried,
    failures: isSeq(failures) ? failures : 0,
    drops: isSeq(drops) ? drops : 0,
    // Older versions did not say. It was not posted before it was stored.
    triedAt: typeof triedAt === 'number' ? triedAt : tried ? numberOf(place) : undefined,
    lane: isText(lane) && LANE.test(lane) ? lane : undefined,
    // By its age only what may never have been posted expires.
    expiresAt: attempts ? Infinity : end,
    place,
  }
}
