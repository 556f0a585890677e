import { afterEach, expect, test } from 'vitest'
import { createClients } from '../../../tools/load/clients'
import { emptyHistogram, merge, quantile, record } from '../../../tools/load/measure'
import { type NodeControl, startNode } from '../../../tools/load/node'
import { readOptions } from '../../../tools/load/options'
import { overHttp } from '../../../tools/load/remote'
import { describe, isFlawless } from '../../../tools/load/report'
import { run } from '../../../tools/load/run'
import { createTally } from '../../../tools/load/tally'
import { memoryLog, type SessionEvent, type SessionLog } from '../../server'
import { range } from '../support/server'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Two nodes with one log, eight clients on four sessions, 120 events: over real HTTP. */
async function load(log: SessionLog) {
  const nodes = await Promise.all(range(1, 2).map(() => startNode({ log, host: '127.0.0.1' })))
  const sessions = range(1, 4).map((session) => `session-${session}`)
  const urls = nodes.map(({ url }) => url)
  const groups = (['fetch', 'eventsource'] as const).map((transport, group) =>
    createClients({ urls, sessions, first: group * 4, count: 4, transport }),
  )
  cleanups.push(
    () => Promise.all(nodes.map((node) => node.close())),
    () => Promise.all(groups.map((group) => group.close())),
  )
  const remotes = urls.map((url) => overHttp<NodeControl>(`${url}/load`))
  return run({ nodes: remotes, groups, clients: 8, sessions, rate: 240, seconds: 0.5, patience: 2_000 })
}

/** A log that takes every event, but does with some of them what `treat` says. */
function faultyLog(treat: (n: unknown, append: () => unknown, sessionId: string) => void): SessionLog {
  const log = memoryLog()
  return {
    ...log,
    append(sessionId: string, event: SessionEvent) {
      treat(event.n, () => log.append(sessionId, event), sessionId)
      return { sessionId, seq: 1, epoch: 'e', event }
    },
  }
}

test('a load that all of arrives is without a flaw, and says what it took', async () => {
  const summary = await load(memoryLog())
  expect(summary).toMatchObject({ connected: 8, closed: 0, published: 120, expected: 240, lost: 0, doubled: 0 })
  expect(isFlawless(summary)).toBe(true)
  expect(quantile(summary.latencies, 0.5)).toBeGreaterThan(0)
  expect(summary.latencies.max).toBeGreaterThanOrEqual(quantile(summary.latencies, 0.99))
  expect(summary.nodeCpu.every((share) => share > 0)).toBe(true)
  const text = describe(summary, readOptions(['--clients', '8', '--sessions', '4', '--rate', '240']))
  expect(text).toContain('240 of 240; lost 0, doubled 0, out of order 0')
})

test.each([
  ['that it loses', 'lost', 7, 0],
  ['that it loses at the end', 'lost', 30, 0],
  ['that it takes twice', 'doubled', 7, 2],
])('an event of each session %s is counted once for each who follows it', async (_, fault, treated, times) => {
  const summary = await load(faultyLog((n, append) => range(1, n === treated ? times : 1).forEach(append)))
  expect(summary).toMatchObject({ lost: 0, doubled: 0, disordered: 0, [fault]: 8 })
  expect(isFlawless(summary)).toBe(false)
})

test('an event that comes after a later one is out of order, not lost', async () => {
  const late = new Map<string, () => unknown>()
  const summary = await load(
    faultyLog((n, append, sessionId) => {
      if (n === 7) return late.set(sessionId, append)
      append()
      if (n === 9) late.get(sessionId)?.()
    }),
  )
  expect(summary).toMatchObject({ lost: 0, doubled: 0, disordered: 8 })
  expect(isFlawless(summary)).toBe(false)
})

test('an event that the server will not take is told, and is no loss', async () => {
  const summary = await load(
    faultyLog((n, append) => {
      if (n === 30) throw new Error('full')
      append()
    }),
  )
  expect(summary).toMatchObject({ published: 116, failed: 4, expected: 232, lost: 0 })
  expect(isFlawless(summary)).toBe(false)
})

test('each number that was sent is judged once', () => {
  const judge = (heard: readonly number[], sent: number) => {
    const tally = createTally()
    for (const n of heard) tally.take(n)
    return Object.values(tally.judge(sent))
  }
  expect(judge([1, 2, 3], 3)).toEqual([0, 0, 0])
  expect(judge([], 3)).toEqual([3, 0, 0])
  expect(judge([1, 3, 3, 2, 2, 5], 6)).toEqual([2, 2, 1])
})

test('a quantile is at most 2 % above the time that it stands for, and never above the longest', () => {
  const halves = [range(1, 500), range(501, 1_000)].map((times) => {
    const histogram = emptyHistogram()
    for (const ms of times) record(histogram, ms)
    // As it comes from another process: holes are null.
    return JSON.parse(JSON.stringify(histogram))
  })
  const all = merge(halves)
  for (const share of [0.01, 0.5, 0.99]) {
    expect(quantile(all, share)).toBeGreaterThanOrEqual(share * 1_000)
    expect(quantile(all, share)).toBeLessThanOrEqual(share * 1_020)
  }
  expect(quantile(all, 1)).toBe(1_000)
  expect(quantile(emptyHistogram(), 0.5)).toBe(0)
})

test.each([
  ['--clients', ['--clients', '0']],
  ['--rate', ['--rate', '1.5']],
  ['--seconds', ['--seconds', '']],
  ['--workers', ['--workers', 'all']],
  ['--transport', ['--transport', 'smoke']],
  ['--redis', ['--redis', 'localhost']],
  ['--url', ['--url', 'localhost:3000']],
  ['--url', ['--url', 'http://a.test', '--nodes', '2']],
  ['--nodes', ['--nodes', '2']],
  ['--sessions', ['--sessions', '1', '--nodes', '2', '--redis', 'redis://a.test']],
  ['--serve', ['--serve', 'here']],
  ['--speed', ['--speed', '9']],
])('an option that does not fit is named: %s in %j', (name, args) => {
  expect(() => readOptions(args)).toThrow(name)
})
