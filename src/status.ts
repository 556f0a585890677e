/**
 * The one table of HTTP statuses: whom an answer to a POST speaks of.
 *
 * | meaning | statuses | what follows |
 * | --- | --- | --- |
 * | `accepted` | 2xx | the verdict |
 * | `credentials` | 401 | the line stops, unless the `headers` hook has better ones |
 * | `stream` | 404 | a fresh stream; the message is repeated there |
 * | `early` | 425 | repeated: one before it is to be repeated first |
 * | `later` | 3xx, 408, 429, 5xx | repeated in place, after a pause: a redirect leads to a login, or to nowhere |
 * | `refused` | any other 4xx | the verdict `rejected` |
 */
export type StatusMeaning = 'accepted' | 'credentials' | 'stream' | 'early' | 'later' | 'refused'

const SPECIAL: Readonly<Partial<Record<number, StatusMeaning>>> = {
  401: 'credentials',
  404: 'stream',
  408: 'later',
  425: 'early',
  429: 'later',
}

/** 0 stands for no answer at all. */
export function meaningOf(status: number): StatusMeaning {
  if (status >= 200 && status < 300) return 'accepted'
  return SPECIAL[status] ?? (status >= 400 && status < 500 ? 'refused' : 'later')
}

/** Whether a message is repeated after it, unchanged, now or on a fresh stream. */
export const isToBeRepeated = (status: number) => !['accepted', 'refused'].includes(meaningOf(status))
