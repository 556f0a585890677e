import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRetryAfter } from '../../adapters'
import { type BackoffRequest, backoffDelay, clampServerDelay, MAX_SERVER_DELAY, type ServerDelay } from '../../machine'

const FIVE_MINUTES = 300_000
const NOW = Date.UTC(2026, 0, 1)

const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const anyAttempt = fc.oneof(fc.nat(40), fc.nat(2_000), fc.nat())
const anyPolicy = fc.record({ attempt: anyAttempt, base: fc.integer({ min: 1, max: 60_000 }), cap: fc.nat(600_000) })
const anyDelay = fc.option(fc.oneof(fc.nat(600_000), fc.double({ noNaN: true })), { nil: undefined })

const draw = (request: Omit<BackoffRequest, 'random'>, random: number) =>
  backoffDelay({ ...request, random: () => random })
const DEFAULTS = { base: 500, cap: 30_000 }
const asked = (server: ServerDelay, random: number, attempt = 0) => draw({ ...DEFAULTS, attempt, server }, random)

describe('without a word of the server, a delay', () => {
  test('lies between 0 and the exponential bound, which the cap cuts off', () => {
    fc.assert(
      fc.property(anyPolicy, anyRandom, (policy, random) => {
        const delay = draw(policy, random)
        expect(Number.isInteger(delay)).toBe(true)
        expect(delay).toBeGreaterThanOrEqual(0)
        expect(delay).toBeLessThanOrEqual(Math.min(policy.cap, policy.base * 2 ** policy.attempt))
      }),
      { numRuns: 1_000 },
    )
  })

  test('is drawn over the whole of that, from the first retry on', () => {
    expect([0, 0.5, 0.999].map((random) => draw({ ...DEFAULTS, attempt: 0 }, random))).toEqual([0, 250, 500])
    expect([0, 0.5, 0.999].map((random) => draw({ ...DEFAULTS, attempt: 3 }, random))).toEqual([0, 2_000, 3_996])
  })

  test('C39: has jitter at the cap, so clients that failed together do not return together', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6, max: 5_000 }), anyRandom, anyRandom, (attempt, one, other) => {
        fc.pre(Math.abs(one - other) > 0.001)
        expect(draw({ ...DEFAULTS, attempt }, one)).not.toBe(draw({ ...DEFAULTS, attempt }, other))
      }),
    )
    expect([0.1, 0.9].map((random) => draw({ ...DEFAULTS, attempt: 100 }, random))).toEqual([3_000, 27_000])
  })

  test('does not overflow, however many attempts there were', () => {
    for (const attempt of [31, 32, 53, 1_023, 1_024, 5_000, Number.MAX_SAFE_INTEGER]) {
      expect(draw({ ...DEFAULTS, attempt }, 0.5)).toBe(15_000)
    }
  })

  // BUG in backoffDelay: `base: 0` is a valid option, and 0 × 2 ** 1024 is NaN.
  test('of base 0 is 0, however many attempts there were', () => {
    expect(draw({ base: 0, cap: 30_000, attempt: 1_024 }, 0.5)).toBe(0)
  })
})

describe('C40: a delay that the server asked for', () => {
  test('is a floor: the client adds up to half of it', () => {
    expect(asked({ retryAfter: 20_000 }, 0)).toBe(20_000)
    expect(asked({ retryAfter: 20_000 }, 0.5)).toBe(25_000)
    expect(asked({ retryAfter: 20_000 }, 0.999)).toBe(29_990)
  })

  test('comes with a spread of the server’s own, where it names one', () => {
    expect(asked({ retryAfter: 20_000, spread: 1_000 }, 0.5)).toBe(20_500)
    expect(asked({ retryAfter: 20_000, spread: 0 }, 0.999)).toBe(20_000)
    expect(asked({ spread: 8_000 }, 0.5)).toBe(4_000)
  })

  test('is clamped to 5 min', () => {
    expect(MAX_SERVER_DELAY).toBe(FIVE_MINUTES)
    expect(asked({ retryAfter: 86_400_000 }, 0)).toBe(FIVE_MINUTES)
    expect(asked({ retryAfter: Number.POSITIVE_INFINITY }, 0.5)).toBe(FIVE_MINUTES * 1.25)
    expect(asked({ retryAfter: 0, spread: 86_400_000 }, 0.5)).toBe(FIVE_MINUTES / 2)
    expect([-1, 0, 299_999, 300_001].map(clampServerDelay)).toEqual([0, 0, 299_999, FIVE_MINUTES])
  })

  test('shortens nothing: the client’s own delay wins if it is longer', () => {
    expect(asked({ retryAfter: 1_000 }, 0.9, 10)).toBe(27_000)
    expect(asked({ retryAfter: 0 }, 0.9, 10)).toBe(27_000)
  })

  test('of less than nothing is nothing', () => {
    expect(asked({ retryAfter: -5_000 }, 0)).toBe(0)
    expect(asked({ retryAfter: -5_000, spread: -5_000 }, 0.5)).toBe(250)
  })

  test('never leads below the floor, above floor and spread, or to something that is no delay', () => {
    fc.assert(
      fc.property(anyPolicy, anyRandom, anyDelay, anyDelay, (policy, random, retryAfter, spread) => {
        const delay = draw({ ...policy, server: { retryAfter, spread } }, random)
        const floor = Math.min(Math.max(retryAfter ?? 0, 0), FIVE_MINUTES)
        const bound = Math.min(policy.cap, policy.base * 2 ** policy.attempt)
        expect(Number.isInteger(delay)).toBe(true)
        expect(delay).toBeGreaterThanOrEqual(Math.round(floor))
        expect(delay).toBeLessThanOrEqual(Math.max(bound, floor + FIVE_MINUTES))
      }),
      { numRuns: 1_000 },
    )
  })

  test('C39: does not bring all clients back at the same instant, at its clamp either', () => {
    expect(asked({ retryAfter: 86_400_000 }, 0.2)).not.toBe(asked({ retryAfter: 86_400_000 }, 0.8))
  })
})

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
    ['C66: two headers, which `fetch` joins', '3, 3', 3_000],
    ['C66: two headers that differ: the first', '2.5 ,7', 3_000],
    ['C66: an HTTP date in the form of asctime, which is UTC', 'Thu Jan  1 00:01:30 2026', 90_000],
  ])('as %s', (_, value, ms) => {
    expect(parseRetryAfter(value, NOW)).toBe(ms)
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
  const NO_DATES = ['in 5', '2026-01-01T00:01:30Z', 'Thu, 01 Jan 2026 00:01:30 +0000', 'May be 12:30:30 maybe']
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
