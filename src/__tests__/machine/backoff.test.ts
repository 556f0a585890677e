import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BackoffRequest, backoffDelay, clampServerDelay, MAX_SERVER_DELAY, type ServerDelay } from '../../machine'

const FIVE_MINUTES = 300_000

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
