/** No server may send a client away for longer than this, ms. */
export const MAX_SERVER_DELAY = 300_000

export const clampServerDelay = (delay: number) => Math.min(Math.max(delay, 0), MAX_SERVER_DELAY)

/**
 * [spec] RFC 9110 §10.2.3: `Retry-After` is a number of seconds or an HTTP date. In ms, clamped to
 * 5 min; `undefined` for anything else. Decimals are rounded up, and of several numbers (`fetch`
 * joins headers) the first counts. A date is read against `date`, the answer's own `Date`: `now` is
 * the clock of this machine, which may be wrong.
 */
export function parseRetryAfter(value: string | null, now: number, date?: string | null): number | undefined {
  const [seconds] = /^\d+(\.\d+)?(?=\s*(,|$))/.exec(String(value).trim()) ?? []
  const ms = seconds ? Math.ceil(Number(seconds)) * 1_000 : parseDate(value) - (parseDate(date) || now)
  return Number.isNaN(ms) ? undefined : clampServerDelay(ms)
}

// [spec] RFC 9110 §5.6.7: three forms, of which the last one, asctime's, names no zone.
// `Date.parse` reads nearly anything.
const parseDate = (text: string | null | undefined) =>
  /^[A-Z].+:\d\d (GMT|\d{4})$/.test(String(text)) ? Date.parse(String(text).replace(/\d{4}$/, '$& GMT')) : Number.NaN
