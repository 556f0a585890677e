import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { draw } from '../../../tools/storm/draw'
import { eventSource, holdline, type Policy, signalR, socketIo, spreadFor } from '../../../tools/storm/policies'
import {
  type Fleet,
  MODELS,
  type Model,
  type Outcome,
  peak,
  simulate,
  TICK,
  timeUntil,
} from '../../../tools/storm/simulate'
import { connect, drained, opened, POLICY, streamFailed, wake, walk, welcome } from '../support/machine'

const SMALL = { clients: 20_000, rate: 400, seed: 1 }
const BOUND = SMALL.clients / SMALL.rate
const GOODBYE = { retryAfter: 1_000, spread: spreadFor(SMALL) }
const POLICIES = [holdline(), holdline('goodbye', GOODBYE), eventSource, socketIo, signalR]
const EACH_MODEL = Object.keys(MODELS) as Model[]
const EACH = EACH_MODEL.flatMap((model) => POLICIES.map((policy) => ({ model, name: policy.name, policy })))

const ONCE: Policy = { name: 'once', delay: (failures) => (failures ? null : 0), timeout: 8_000 }
const fleet = (changes: Partial<Fleet>): Fleet => ({ clients: 1_000, rate: 100, seed: 1, model: 'backlog', ...changes })

const sum = (counts: Iterable<number>) => [...counts].reduce((total, count) => total + count, 0)
/** How many came back in each second. */
function returns({ backAt, back }: Outcome) {
  const counts = new Uint32Array(back.length)
  for (const tick of backAt)
    if (tick >= 0) {
      const second = Math.ceil((tick * TICK) / 1_000) - 1
      counts[second] = (counts[second] ?? Number.NaN) + 1
    }
  return [...counts]
}

describe.each(EACH)('$model, $name:', ({ model, policy }) => {
  const outcome = simulate(policy, { ...SMALL, model })

  test('every client is back once, or has given up', () => {
    const backs = outcome.backAt.filter((tick) => tick >= 0).length
    expect(backs + outcome.gaveUp).toBe(SMALL.clients)
    expect(outcome.back.at(-1)).toBe(backs)
    expect(sum(returns(outcome))).toBe(backs)
  })

  test('every attempt is counted, at its client and in its second', () => {
    expect(sum(outcome.attemptsOf)).toBe(outcome.attempts)
    expect(sum(outcome.offered)).toBe(outcome.attempts)
    expect(Math.min(...outcome.attemptsOf)).toBeGreaterThanOrEqual(1)
  })

  test('the fleet never accepts more than its rate, and what it may save up', () => {
    const saved = model === 'refused' ? SMALL.rate / 10 : 1
    expect(Math.max(...returns(outcome))).toBeLessThanOrEqual(SMALL.rate + saved)
  })

  test('the same seed is the same storm, another one another', () => {
    const whenBack = (seed: number) => Buffer.from(simulate(policy, { ...SMALL, model, seed }).backAt.buffer)
    expect(whenBack(1).equals(Buffer.from(outcome.backAt.buffer))).toBe(true)
    expect(whenBack(2).equals(whenBack(1))).toBe(false)
  })
})

describe.each(EACH_MODEL)('%s:', (model) => {
  test.each([1, 2, 3])(
    'seed %i: of 100 clients of holdline 99 are back in 1.25 times what no pacing can beat',
    (seed) => {
      expect(timeUntil(simulate(holdline(), { ...SMALL, model, seed }), 0.99)).toBeLessThanOrEqual(1.25 * BOUND)
    },
  )

  test.each([1, 2, 3])('seed %i: after a goodbye the fleet is never offered more than it accepts', (seed) => {
    const outcome = simulate(holdline('goodbye', GOODBYE), { ...SMALL, model, seed })
    expect(peak(outcome)).toBeLessThanOrEqual(SMALL.rate)
    expect(outcome.attempts).toBe(SMALL.clients)
  })
})

test('without the margin of the spread, some second of a drain is over the rate', () => {
  const spread = (1_000 * SMALL.clients) / SMALL.rate
  const outcome = simulate(holdline('goodbye', { ...GOODBYE, spread }), { ...SMALL, model: 'refused' })
  expect(peak(outcome)).toBeGreaterThan(SMALL.rate)
  expect(GOODBYE.spread).toBeLessThan(1.3 * spread)
})

test.each([
  { name: 'a cut', dropped: streamFailed(), policy: holdline() },
  { name: 'a goodbye', dropped: drained(GOODBYE), policy: holdline('goodbye', GOODBYE) },
])('the delays after $name are those of the machine', ({ dropped, policy }) => {
  const events = [connect, opened, welcome(), dropped]
  for (let failures = 0; failures < 9; failures++) {
    expect(policy.delay(failures, POLICY.random)).toBe(walk(events).context.delay)
    events.push(wake(), streamFailed())
  }
})

test('an attempt of holdline takes no longer than its connect timeout', () => {
  expect(holdline().timeout).toBe(POLICY.timeouts.connect)
})

test('socket.io has no jitter left from the fifth failure on', () => {
  for (const dice of [0, 0.25, 0.5, 0.99]) expect(socketIo.delay(4, () => dice)).toBe(5_000)
  expect([0.25, 0.35].map((dice) => socketIo.delay(0, () => dice))).toEqual([875, 1_175])
})

test('SignalR gives up after four attempts', () => {
  const outcome = simulate(signalR, { ...SMALL, model: 'refused' })
  expect(outcome.gaveUp).toBeGreaterThan(0)
  expect(outcome.attemptsOf.filter((_, client) => outcome.backAt[client] === -1).every((made) => made === 4)).toBe(true)
})

describe('backlog:', () => {
  test('whoever gave up has left the queue, and is not accepted any more', () => {
    const outcome = simulate({ ...ONCE, timeout: 1_000 }, fleet({ queue: 1_000 }))
    expect(outcome.back.at(-1)).toBeGreaterThan(90)
    expect(outcome.back.at(-1)).toBeLessThanOrEqual(120)
    expect(outcome.gaveUp).toBe(1_000 - (outcome.back.at(-1) ?? 0))
  })

  test('the queue serves in the order of arrival', () => {
    let asked = 0
    const inTwoHalves: Policy = { ...ONCE, delay: () => (asked++ < 500 ? 0 : 2_000), timeout: 30_000 }
    const { backAt } = simulate(inTwoHalves, fleet({ queue: 1_000 }))
    expect(Math.max(...backAt.slice(0, 500))).toBeLessThan(Math.min(...backAt.slice(500)))
    expect(Math.min(...backAt)).toBeGreaterThan(0)
  })

  test('a SYN that was dropped is repeated after 1, 3 and 7 s, and is no attempt of its own', () => {
    const outcome = simulate(ONCE, fleet({ queue: 10 }))
    expect(outcome.attempts).toBe(1_000)
    // 10 wait each time, and 10 more are accepted in the 0.2 s in which the SYNs arrive.
    const served = returns(outcome).map((count) => count > 0)
    expect(served).toEqual([true, true, false, true, false, false, false, true, ...served.slice(8)])
    expect(sum(outcome.back.slice(-1))).toBeLessThan(150)
  })
})

test('refused: what is turned away comes back when its policy says so', () => {
  const twice: Policy = { name: 'twice', delay: (failures) => [0, 3_000][failures] ?? null, timeout: 8_000 }
  const outcome = simulate(twice, fleet({ model: 'refused' }))
  expect(outcome.offered.map((count) => count > 0)).toEqual([true, false, false, true])
  expect(outcome.gaveUp).toBe(1_000 - (outcome.back.at(-1) ?? 0))
})

test('the picture names every policy and both models, in light and dark, and is small', () => {
  const runs = EACH_MODEL.map((model) => ({
    model,
    outcomes: POLICIES.map((policy) => simulate(policy, fleet({ model }))),
  }))
  const committed = readFileSync(new URL('../../../docs/storm.svg', import.meta.url), 'utf8')
  expect(committed).toContain('1,000,000 clients')
  for (const svg of [draw({ clients: 1_000, rate: 100, runs }), committed]) {
    for (const word of [
      'holdline',
      'EventSource',
      'socket.io',
      'SignalR',
      'backlog:',
      'refused:',
      'color-scheme: dark',
    ])
      expect(svg).toContain(word)
    expect(svg).not.toMatch(/NaN|undefined/)
    expect(svg.match(/<path class="c\d"/g)).toHaveLength(5 + 4 * 5)
    expect(svg.length).toBeLessThan(60_000)
  }
})

test.each([
  [['--rate', '0'], '--rate: a whole number from 1 to 1000000, not "0"'],
  [['--clients', '1e3'], '--clients: a whole number'],
  [['--model', 'toString'], '--model: there is no toString'],
  [['--speed', '1'], "Unknown option '--speed'"],
])('a bad option is named, with the usage: %j', (given, message) => {
  const main = fileURLToPath(new URL('../../../tools/storm/main.ts', import.meta.url))
  const { status, stderr, stdout } = spawnSync(process.execPath, ['--import', 'tsx', main, ...given], {
    encoding: 'utf8',
  })
  expect(stderr).toContain(message)
  expect(stderr).toContain('npm run storm -- [--clients')
  expect([status, stdout]).toEqual([2, ''])
})
