import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { check, type History } from '../../../tools/cluster/check'
import { readOptions } from '../../../tools/cluster/options'
import { type RunOptions, run } from '../../../tools/cluster/run'
import { checkRuns } from '../../../tools/cluster/runs'
import { redisLog } from '../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis'
import { createTestServer, post } from '../support/server'

const QUIET: RunOptions = { log: 'redis', clients: 24, kills: 0, cuts: 0, restarts: 0, seconds: 2, seed: 1 }

describeWithRedis('real clients, three nodes, one Redis', () => {
  test('nothing is lost, doubled or reordered by kills, cuts and a rolling restart', async () => {
    const { violations, counts } = await run({ ...QUIET, kills: 4, cuts: 8, seconds: 6 })
    expect(violations.join('\n')).toBe('')
    expect(counts).toMatchObject({ 'nodes killed': 4, cuts: 8, 'nodes drained': 3 })
    expect(counts.commands).toBeGreaterThan(50)
    expect(counts['runs finished']).toBeGreaterThan(0)
  }, 90_000)

  test('everybody is told once that Redis has lost everything, and goes on', async () => {
    const { violations, counts } = await run({ ...QUIET, clients: 12, restarts: 1 })
    expect(violations.join('\n')).toBe('')
    expect(counts).toMatchObject({ 'restarts of Redis': 1 })
  }, 90_000)
})

test('the checker finds nothing wrong with one node and a log in memory', async () => {
  const { violations, counts } = await run({ ...QUIET, log: 'memory' })
  expect(violations.join('\n')).toBe('')
  expect(counts['POST send: 200']).toBe(counts.commands)
}, 60_000)

describeWithRedis('a node that dies', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  test('takes a question along: it is answered 404 in less than 1 s all the same', async () => {
    const log = redisLog({ url: redis.url })
    const { server } = createTestServer({ log })
    const node = new Redis(redis.url)
    await node.subscribe('holdline:node:dying')
    node.on('message', () => node.disconnect())
    const askedAt = performance.now()
    const connectionId = `dying.${'x'.repeat(22)}`
    const { status } = await post(server, 'send', { type: 'send' }, { as: 'alice', connectionId })
    expect(status).toBe(404)
    expect(performance.now() - askedAt).toBeLessThan(1_000)
    log.close()
  })
})

describe('the checker sees', () => {
  const accepted = (...seqs: number[]) =>
    ({
      status: 'accepted',
      id: 'm',
      attempts: 1,
      receipt: { places: seqs.map((seq) => ({ epoch: 'e', seq })) },
    }) as const
  const of = (client: number, ...whats: string[]) => ({ client, sessionId: 's', whats })
  const heard = (after: number, ...events: string[]): History['heard'] => [
    { client: 7, sessionId: 's', lives: [{ after, epoch: 'e', events }] },
  ]
  const append = (what: string, seq?: number) => ({
    sessionId: 's',
    what,
    ...(seq !== undefined && { place: { epoch: 'e', seq } }),
  })
  const LOG = ['1 p1', '2 a1', '3 p2', '4 a2.0', '5 a2.1'] as const

  /** Two commands, two appends, one listener, nothing wrong. */
  const HEALTHY: History = {
    restarts: 0,
    logs: { s: { epoch: 'e', events: LOG } },
    commands: [
      { ...of(1, 'a1'), verdict: accepted(2) },
      { ...of(1, 'a2.0', 'a2.1'), verdict: accepted(4, 5) },
    ],
    appends: [append('p1', 1), append('p2', 3)],
    heard: heard(1, ...LOG.slice(1)),
    probes: [{ what: 'send', status: 404, ms: 999 }],
    surprises: [],
  }
  const log = (...events: string[]) => ({ logs: { s: { epoch: 'e', events } }, heard: heard(1, ...events.slice(1)) })
  const reset: History = {
    ...HEALTHY,
    restarts: 1,
    commands: [],
    appends: [append('p1', 1), append('p2', 2)].map((one) => ({
      ...one,
      place: { ...one.place, epoch: 'old', seq: 1 },
    })),
    logs: { s: { epoch: 'e', events: ['1 p2'] } },
    heard: [
      {
        client: 7,
        sessionId: 's',
        lives: [
          { after: 0, epoch: 'old', events: ['1 p1'] },
          { after: 0, epoch: 'e', events: ['1 p2'] },
        ],
      },
    ],
  }

  test('nothing in a clean run', () => {
    expect(check(HEALTHY)).toEqual([])
  })

  test('nothing in an append that was rejected, whether it is in the log or not', () => {
    const appends = [append('p0'), append('p1'), append('p2', 3)]
    expect(check({ ...HEALTHY, appends })).toEqual([])
  })

  test('nothing in a restart that everybody was told of', () => {
    expect(check(reset)).toEqual([])
  })

  /** A slot has moved: another epoch of the same events. */
  const moved: History = {
    ...HEALTHY,
    moves: 1,
    isSharded: true,
    logs: { s: { epoch: 'e2', events: LOG } },
    heard: [
      {
        client: 7,
        sessionId: 's',
        lives: [
          { after: 1, epoch: 'e', events: LOG.slice(1, 3) },
          { after: 3, epoch: 'e2', events: LOG.slice(3) },
        ],
      },
    ],
  }

  test('nothing in a slot that moved, nor in one that has nothing to do with the session', () => {
    expect(check(moved)).toEqual([])
    expect(check({ ...HEALTHY, restarts: 1, isSharded: true })).toEqual([])
    expect(check({ ...HEALTHY, restarts: 1 })).toEqual(["client 7 in s was told 'reset' 0 times"])
  })

  test('what a move has lost, and a reader who was not told of one', () => {
    const logs = { s: { epoch: 'e2', events: LOG.slice(0, 4) } }
    expect(check({ ...moved, logs })).toContain('lost: a2.1 of s, acknowledged as 5, is not in the log')
    expect(check({ ...moved, heard: HEALTHY.heard })).toEqual(['client 7 in s is in another epoch than the log'])
  })

  test.each<[string, RegExp, Partial<History>]>([
    [
      'an event that a reader has dropped',
      /^lost: '4 a2.0' was heard .* without '3 p2'/,
      { heard: heard(1, '2 a1', '4 a2.0', '5 a2.1') },
    ],
    [
      'a last event that a reader has dropped',
      /^lost: nothing was heard after '4/,
      { heard: heard(1, ...LOG.slice(1, 4)) },
    ],
    [
      'an event that a reader got twice',
      /^doubled: '3 p2' was heard again/,
      { heard: heard(1, '2 a1', '3 p2', ...LOG.slice(2)) },
    ],
    [
      'events in the wrong order',
      /^reordered: '3 p2' was heard before '2 a1'/,
      { heard: heard(1, '3 p2', '2 a1', ...LOG.slice(3)) },
    ],
    [
      'an event that nobody has logged',
      /^'6 p6', which is not in the log/,
      { heard: heard(1, ...LOG.slice(1), '6 p6') },
    ],
    [
      'another epoch',
      /is in another epoch than the log/,
      { heard: [{ client: 7, sessionId: 's', lives: [{ after: 1, epoch: 'x', events: LOG.slice(1) }] }] },
    ],
    ['a command that was applied twice', /^doubled: a1 of s is in the log at 2,6/, log(...LOG, '6 a1')],
    ['an append that was applied twice', /^doubled: p2 of s is in the log at 3,6/, log(...LOG, '6 p2')],
    [
      'a rejected append that was applied twice',
      /^doubled: p2/,
      { ...log(...LOG, '6 p2'), appends: [append('p1', 1), append('p2')] },
    ],
    ['a command that was lost', /^lost: a2.1 of s, acknowledged as 5,/, log(...LOG.slice(0, 4))],
    ['an append that was lost', /^lost: p2 of s, acknowledged as 3,/, log('1 p1', '2 a1', '3 a2.0', '4 a2.1')],
    [
      'a receipt that is not true',
      /^a1 of s, acknowledged as 3, is in the log at 2/,
      { commands: [{ ...of(1, 'a1'), verdict: accepted(3) }, ...HEALTHY.commands.slice(1)] },
    ],
    [
      'a receipt that says nothing',
      /^the receipt of a1 to s/,
      { commands: [{ ...of(1, 'a1'), verdict: accepted() }, ...HEALTHY.commands.slice(1)] },
    ],
    [
      'a command without a verdict',
      /^a1 to s ended not at all/,
      { commands: [of(1, 'a1'), ...HEALTHY.commands.slice(1)] },
    ],
    [
      'commands of one client in the wrong order',
      /^reordered: a1 is number 2 of s, after 5/,
      { commands: [...HEALTHY.commands].reverse() },
    ],
    [
      'appends in the wrong order',
      /^reordered: p1 is number 1 of s, after 3/,
      { appends: [...HEALTHY.appends].reverse() },
    ],
    ['an event that nobody sent', /^nobody sent this to session s ghost/, log(...LOG, '6 ghost')],
    ['a log with a gap', /^the log of s has 6 in the place of 5/, log(...LOG.slice(0, 4), '6 a2.1')],
    [
      'a reset that nobody had a reason for',
      /was told 'reset' 1 times/,
      {
        heard: [
          {
            client: 7,
            sessionId: 's',
            lives: [
              { after: 0, events: [] },
              { after: 1, epoch: 'e', events: LOG.slice(1) },
            ],
          },
        ],
      },
    ],
    ['a reset that was not told', /was told 'reset' 0 times/, { restarts: 1 }],
    [
      'an event before the reset that others heard differently',
      /^client 8 in s heard '1 p2' as number 1 before/,
      {
        ...reset,
        heard: [
          ...reset.heard,
          {
            client: 8,
            sessionId: 's',
            lives: [
              { after: 0, epoch: 'old', events: ['1 p2'] },
              { after: 1, events: [] },
            ],
          },
        ],
      },
    ],
    [
      'an event before the reset that is missing',
      /^client 7 in s heard '2 p2' as number 1 before/,
      {
        ...reset,
        heard: [
          {
            client: 7,
            sessionId: 's',
            lives: [
              { after: 0, epoch: 'old', events: ['2 p2'] },
              { after: 1, events: [] },
            ],
          },
        ],
      },
    ],
    [
      'a probe with another answer',
      /^send to a dead node's stream: 503/,
      { probes: [{ what: 'send', status: 503, ms: 1 }] },
    ],
    [
      'a probe that took too long',
      /^send to a dead node's stream: 404 after 1000 ms/,
      { probes: [{ what: 'send', status: 404, ms: 1_000 }] },
    ],
    ['what surprised others', /^a node has ended/, { surprises: ['a node has ended: 1'] }],
  ])('%s', (_, violation, changes) => {
    expect(check({ ...HEALTHY, ...changes })).toContainEqual(expect.stringMatching(violation))
  })
})

describe('the checker of runs', () => {
  const asked = new Map([['r1', { whats: ['a', 'b'] }]])
  const HEALTHY = ['p1', 'run.started r1', 'a', 'p2', 'b', 'run.ended r1 finished', 'p3']

  test('finds nothing wrong with a run that was finished, stopped or interrupted', () => {
    expect(checkRuns('s', HEALTHY, asked)).toEqual([])
    for (const reason of ['stopped', 'interrupted'])
      expect(checkRuns('s', ['run.started r1', 'a', `run.ended r1 ${reason}`], asked)).toEqual([])
  })

  test.each<[string, RegExp, readonly string[]]>([
    ['a second end', /ended twice/, [...HEALTHY, 'run.ended r1 interrupted']],
    ['a missing end', /has not ended/, HEALTHY.slice(0, 5)],
    ['a run that never came', /has a receipt, and no end/, ['p1']],
    ['a second begin', /started again/, [...HEALTHY, 'run.started r1', 'run.ended r1 stopped']],
    ['two at once', /while r0 has not ended/, ['run.started r0', ...HEALTHY]],
    ['a word after the end', /outside of a run/, [...HEALTHY, 'b']],
    ['a word that is missing', /'finished'/, ['run.started r1', 'a', 'run.ended r1 finished']],
    ['words in another order', /has said b,a/, ['run.started r1', 'b', 'a', 'run.ended r1 stopped']],
  ])('sees %s', (_, violation, events) => {
    expect(checkRuns('s', events, asked)).toContainEqual(expect.stringMatching(violation))
  })
})

describe('npm run cluster', () => {
  test('has 20 kills and 50 cuts by itself, and none of them where Redis is restarted or missing', () => {
    expect(readOptions([])).toMatchObject({ log: 'redis', clients: 200, kills: 20, cuts: 50, restarts: 0 })
    expect(readOptions(['--restart-redis'])).toMatchObject({ kills: 0, cuts: 0, restarts: 1 })
    expect(readOptions(['--log', 'memory'])).toMatchObject({ log: 'memory', kills: 0, cuts: 0 })
    const sharded = readOptions(['--log', 'shards', '--moves', '3', '--lone'])
    expect(sharded).toMatchObject({ log: 'shards', kills: 0, cuts: 0, moves: 3, isLone: true })
  })

  test.each([
    [['--clients', '0'], "--clients must be a whole number from 1, not '0'"],
    [['--kills', 'many'], "--kills must be a whole number from 0, not 'many'"],
    [['--seconds', '1.5'], "--seconds must be a whole number from 1, not '1.5'"],
    [['--log', 'disk'], "--log must be redis, shards or memory, not 'disk'"],
    [['--moves', '1'], '--moves needs --log shards'],
    [['--lone'], '--lone needs --log shards'],
    [['--log', 'memory', '--kills', '1'], '--log memory has neither nodes to spare nor a Redis'],
    [['--log', 'memory', '--restart-redis'], '--log memory has neither nodes to spare nor a Redis'],
    [['--klils', '1'], '--klils'],
  ])('%s is refused: %s', (args, why) => {
    expect(() => readOptions(args)).toThrow(why)
  })
})
