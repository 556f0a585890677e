import { setTimeout as sleep } from 'node:timers/promises'
import { createChatServer } from 'holdline/server'
import { type RedisLog, redisLog } from 'holdline/server/redis'
import { createRuns } from 'holdline/server/runs'
import { expect, test } from 'vitest'
import { createPartitions, partitionOf } from '../../src/server/redis/partitions'
import { type RunOptions, run } from '../cluster/run'
import { startRedisCluster } from '../shared/redisCluster'
import { onNode } from './place'
import { describeWith, findTool } from './tools'

const QUIET: RunOptions = { log: 'shards', clients: 40, kills: 0, cuts: 0, restarts: 0, seconds: 10, seed: 1 }

describeWith(
  onNode('real clients, three nodes, a Redis Cluster of three shards', {
    transports: ['EventSource', 'fetch'],
    client: 'Node',
  }),
  { 'redis-server': findTool('redis-server') },
  () => {
    test('nothing is lost, doubled or reordered by kills, cuts and a rolling restart', async () => {
      const { violations, counts } = await run({ ...QUIET, kills: 4, cuts: 9 })
      expect(violations.join('\n')).toBe('')
      expect(counts).toMatchObject({ 'nodes killed': 4, cuts: 9, 'nodes drained': 3 })
    })

    test('slots that move lose nothing: whoever is told `reset` is told so for nothing', async () => {
      const { violations, counts } = await run({ ...QUIET, moves: 8 })
      expect(violations.join('\n')).toBe('')
      expect(counts).toMatchObject({ 'slots moved': 8 })
    })

    test('a primary that is killed is replaced by its replica, and nothing is lost without a `reset`', async () => {
      const { violations, counts } = await run({ ...QUIET, restarts: 1 })
      expect(violations.join('\n')).toBe('')
      expect(counts.commands).toBeGreaterThan(50)
    })

    test('a primary that is killed and has no replica comes back empty, and its sessions are told `reset`', async () => {
      const { violations, counts } = await run({ ...QUIET, isLone: true, restarts: 1 })
      expect(violations.join('\n')).toBe('')
      expect(counts.commands).toBeGreaterThan(50)
    })

    test('what waits for a promotion is of the new epoch, and so is all that comes after', async () => {
      const cluster = await startRedisCluster({ hasReplicas: true })
      const logs = [1, 2].map(() => redisLog({ client: cluster.createClient() }))
      const [log, other] = logs as [RedisLog, RedisLog]
      const slot = createPartitions()[partitionOf('room')]?.slot ?? 0
      try {
        const { epoch } = await log.append('room', { type: 'x' })
        await other.append('room', { type: 'x' })
        const victim = await cluster.ownerOf(slot)
        await cluster.servers[victim]?.down()
        // Each has heard of one server only.
        const appending = logs.map((each) => each.append('room', { type: 'x' }).catch(() => undefined))
        await cluster.promoted(slot, victim)
        const waited = (await Promise.all(appending)).flatMap((entry) => entry ?? [])
        const last = await log.append('room', { type: 'x' })
        expect([...waited, last].map((entry) => entry.epoch === epoch)).not.toContain(true)
        expect(new Set([...waited, last].map((entry) => entry.epoch)).size).toBe(1)
        expect(await other.head('room')).toMatchObject({ epoch: last.epoch, head: last.seq })
      } finally {
        for (const each of logs) each.close()
        await cluster.stop()
      }
    })

    test('a shard that stays away: its sessions are refused, it is told once, and runs elsewhere go on', async () => {
      const cluster = await startRedisCluster()
      const errors: string[] = []
      const log = redisLog({ client: cluster.createClient() })
      const chat = createChatServer({
        log,
        authenticate: () => ({ id: 'alice' }),
        authorize: () => true,
        onCommand: () => null,
        onError: (error) => void errors.push(String(error)),
        allowedHosts: 'any',
      })
      const runs = createRuns({ server: chat, lease: 2_000 })
      const partitions = createPartitions()
      const roomsOf = async (shard: number) => {
        const rooms: string[] = []
        for (let n = 0; rooms.length < 2; n += 1) {
          const room = `room${n}`
          if ((await cluster.ownerOf(partitions[partitionOf(room)]?.slot ?? 0)) === shard) rooms.push(room)
        }
        return rooms as [string, string]
      }
      const [alive] = await roomsOf(0)
      const [dead, other] = await roomsOf(1)
      try {
        for (const room of [alive, dead, other]) await chat.publish(room, { type: 'x' })
        const call = { principal: { id: 'alice' }, sessionId: alive, idempotencyKey: undefined }
        const { run: name } = await runs.start(call, async function* () {
          for (let n = 0; n < 40; n += 1) {
            await sleep(250)
            yield { type: 'said', n }
          }
        })
        await cluster.servers[1]?.down()
        for (const room of [dead, other, dead]) await expect(chat.publish(room, { type: 'x' })).rejects.toThrow()
        await chat.publish(alive, { type: 'x' })
        await runs.idle()
        const ends = (await log.read(alive, 0, 1_000)).filter(({ event }) => event.type === 'run.ended')
        expect(ends.map(({ event }) => [event.run, event.reason])).toEqual([[name, 'finished']])
        const told = errors.filter((error) => error.startsWith('Error: redisLog: Redis does not do'))
        expect(told).toEqual([expect.stringContaining(`127.0.0.1:${cluster.ports[1]}`)])
        await cluster.servers[1]?.up()
        await expect
          .poll(() => chat.publish(dead, { type: 'x' }).catch(() => undefined), { timeout: 30_000 })
          .toBeDefined()
      } finally {
        await chat.close()
        log.close()
        await cluster.stop()
      }
    })
  },
)
