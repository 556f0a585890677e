import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { parseRetryAfter } from '../../protocol/delay'

const FIVE_MINUTES = 300_000
const NOW = Date.UTC(2026, 0, 1)

describe('C40: Retry-After', () => {
  test.each<[string, string, number]>([
    ['seconds', '120', 120_000],
    ['no seconds', '0', 0],
    ['seconds with space around them', ' 7 ', 7_000],
    ['an HTTP date', 'Thu, 01 Jan 2026 00:01:30 GMT', 90_000],
    ['an HTTP date in the obsolete form', 'Thursday, 01-Jan-26 00:01:30 GMT', 90_000],
    ['an HTTP date that has passed', 'Wed, 31 Dec 2025 23:59:59 GMT', 0],
    ['this very moment', 'Thu, 01 Jan 2026 00:00:00 GMT', 0],
    ['more seconds than 5 min', '86400', FIVE_MINUTES],
    ['a date that is further away than 5 min', 'Fri, 01 Jan 2027 00:00:00 GMT', FIVE_MINUTES],
    ['more digits than a number has', '9'.repeat(400), FIVE_MINUTES],
    ['C66: decimals, which are rounded up', '2.5', 3_000],
    ['C66: more than one decimal', '2.25', 3_000],
    ['C66: two headers, which `fetch` joins', '3, 3', 3_000],
    ['C66: two headers that differ: the first', '2.5 ,7', 3_000],
    ['C66: an HTTP date in the form of asctime, which is UTC', 'Thu Jan  1 00:01:30 2026', 90_000],
  ])('as %s', (_, value, ms) => {
    expect(parseRetryAfter(value, NOW)).toBe(ms)
  })

  test('C66: as a date of asctime is UTC, whatever the zone of this machine is', () => {
    vi.stubEnv('TZ', 'America/New_York')
    expect(parseRetryAfter('Thu Jan  1 00:01:30 2026', NOW)).toBe(90_000)
    vi.unstubAllEnvs()
  })

  test.each([-3_600_000, 0, 3_600_000])(
    'C66: as an HTTP date is read against the Date of the same answer, however wrong the own clock is (%d ms)',
    (error) => {
      const [date, retryAfter] = ['Thu, 01 Jan 2026 00:00:00 GMT', 'Thu, 01 Jan 2026 00:00:04 GMT']
      expect(parseRetryAfter(retryAfter, NOW + error, date)).toBe(4_000)
    },
  )

  test.each([null, undefined, '', 'yesterday'])(
    'C66: where the Date is %j, it is read against the own clock',
    (date) => {
      expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:04 GMT', NOW, date)).toBe(4_000)
    },
  )

  // [spec] V8 reads a year out of nearly any text, and any date that is not HTTP's.
  const NO_DATES = [
    'in 5',
    '2026-01-01T00:01:30Z',
    'Thu, 01 Jan 2026 00:01:30 +0000',
    'May be 12:30:30 maybe',
    'at Thu, 01 Jan 2026 00:01:30 GMT',
    'Thu, 01 Jan 2026 00:01:30 GMT (or so)',
  ]
  const NO_NUMBERS = ['-3', '+3', '.5', '2.', '1e3', '3 s', '3;4', 'soon, 4']
  const NOTHING = [
    null,
    '',
    '   ',
    ', ',
    'soon',
    'NaN',
    'Infinity',
    '1e',
    '0x10',
    '{}',
    'Thu, 99 Foo 2026 00:00:00 GMT',
  ]

  test.each([...NOTHING, ...NO_DATES, ...NO_NUMBERS])('C66: as %j is nothing', (value) => {
    expect(parseRetryAfter(value, NOW)).toBeUndefined()
  })

  test('of whatever kind is nothing, or a delay that is not too long', () => {
    const anyValue = fc.oneof(
      fc.string(),
      fc.nat().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
      fc.integer().map((offset) => new Date(NOW + offset).toUTCString()),
    )
    fc.assert(
      fc.property(anyValue, (value) => {
        const delay = parseRetryAfter(value, NOW) ?? 0
        expect(delay).toBeGreaterThanOrEqual(0)
        expect(delay).toBeLessThanOrEqual(FIVE_MINUTES)
      }),
      { numRuns: 1_000 },
    )
  })
})
