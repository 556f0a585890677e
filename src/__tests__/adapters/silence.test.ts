import { describe, expect, test } from 'vitest'
import { watchSilence } from '../../adapters'
import { fakeClock } from '../../testing/harness/fakeClock'

const LIMIT = 30_000

function watch() {
  const clock = fakeClock()
  let signs = 0
  let calls = 0
  const stop = watchSilence(
    clock,
    LIMIT,
    () => signs,
    () => {
      calls += 1
    },
  )
  return {
    clock,
    stop,
    touch: () => {
      signs += 1
    },
    get calls() {
      return calls
    },
  }
}

describe('the watch over silence', () => {
  test('calls back after the limit, not a ms before', () => {
    const line = watch()
    line.clock.advance(LIMIT - 1)
    expect(line.calls).toBe(0)
    line.clock.advance(1)
    expect(line.calls).toBe(1)
  })

  test('calls back once, and is over then', () => {
    const line = watch()
    line.clock.advance(10 * LIMIT)
    expect([line.calls, line.clock.pending]).toEqual([1, []])
  })

  test('each sign of life grants the whole limit again, and costs no timer', () => {
    const line = watch()
    for (let count = 0; count < 20; count += 1) {
      line.clock.advance(LIMIT - 1)
      line.touch()
      expect(line.clock.pending).toHaveLength(1)
    }
    line.clock.advance(LIMIT - 1)
    expect(line.calls).toBe(0)
    line.clock.advance(1 + LIMIT / 8)
    expect(line.calls).toBe(1)
  })

  test('silence is noticed an eighth of the limit late at most, whenever the last sign came', () => {
    for (let moment = 1; moment < LIMIT; moment += 997) {
      const line = watch()
      line.clock.advance(moment)
      line.touch()
      line.clock.advance(LIMIT - 1)
      expect(line.calls).toBe(0)
      line.clock.advance(1 + LIMIT / 8)
      expect(line.calls).toBe(1)
    }
  })

  test('C24: after a sleep it calls back at the first chance, not after the rest of the timer', () => {
    const line = watch()
    line.clock.advance(LIMIT / 2)
    line.touch()
    line.clock.advance(LIMIT / 2)
    expect(line.calls).toBe(0)
    line.clock.sleep(3_600_000)
    line.clock.advance(0)
    expect(line.calls).toBe(1)
  })

  test('C24: a timer that is late finds the sign of life that came in time', () => {
    const line = watch()
    line.clock.sleep(LIMIT + 20_000)
    line.touch()
    line.clock.advance(0)
    expect(line.calls).toBe(0)
    line.clock.advance(LIMIT)
    expect(line.calls).toBe(1)
  })

  test('C24: a sign just before a sleep grants the limit once more, and no longer', () => {
    const line = watch()
    line.touch()
    line.clock.sleep(3_600_000)
    line.clock.advance(LIMIT + LIMIT / 8)
    expect(line.calls).toBe(1)
  })

  test('C24: a clock that is set back does not hide a silence', () => {
    const line = watch()
    line.clock.set(-3_600_000)
    line.clock.advance(2 * LIMIT)
    expect(line.calls).toBe(1)
  })

  test('C24: a timer that was late once makes none late after it: it calls back after the limit', () => {
    const line = watch()
    const late = LIMIT / 8 + 1_000
    line.clock.sleep(late)
    line.clock.advance(LIMIT - late - 1)
    expect(line.calls).toBe(0)
    line.clock.advance(1)
    expect(line.calls).toBe(1)
  })

  test('I8: stopping leaves no timer and calls nobody', () => {
    const line = watch()
    line.clock.advance(LIMIT / 2)
    line.touch()
    line.clock.advance(LIMIT / 2)
    line.stop()
    expect(line.clock.pending).toEqual([])
    line.clock.advance(10 * LIMIT)
    expect(line.calls).toBe(0)
  })

  test('I8: stopping when it is over is harmless', () => {
    const line = watch()
    line.clock.advance(LIMIT)
    line.stop()
    line.stop()
    expect([line.calls, line.clock.pending]).toEqual([1, []])
  })
})
