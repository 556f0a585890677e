import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import { describe, expect, test, vi } from 'vitest'
import type { RunLog } from '../../../server/log/runLog'
import { joinRunLogs } from '../../../server/redis/joinedRuns'
import type { Part } from '../../../server/redis/part'
import { createPartitions, partitionOf, slotOf } from '../../../server/redis/partitions'
import { ShardSubscribers } from '../../../server/redis/shardSubscribers'
import { Shards } from '../../../server/redis/shards'
import { fakeClock, range, settle } from '../../support/server'

describe('partitions', () => {
  test('are 64, evenly over the slots, and stay where they are for ever', () => {
    const partitions = createPartitions()
    expect(partitions).toHaveLength(64)
    for (const [index, { slot, tag, ...rest }] of partitions.entries()) {
      expect(rest).toEqual({ index })
      expect(slotOf(tag)).toBe(slot)
      expect(Math.floor(slot / 256)).toBe(index)
    }
    const tags = partitions.map(({ tag }) => Number(tag))
    expect(tags).toEqual([
      10, 18, 113, 342, 29, 21, 3, 122, 69, 61, 72, 162, 50, 58, 153, 43, 11, 19, 112, 343, 28, 20, 2, 123, 68, 60, 73,
      163, 51, 59, 152, 42, 12, 102, 111, 119, 133, 23, 1, 9, 173, 63, 70, 78, 52, 142, 49, 41, 13, 103, 110, 118, 132,
      22, 0, 8, 172, 62, 71, 79, 53, 143, 48, 40,
    ])
    expect([partitionOf('room1'), partitionOf('a'), partitionOf('')]).toEqual([56, 60, 0])
  })

  test('a slot is the CRC16 of the cluster specification', () => {
    // [spec] Its test vector, 0x31C3.
    expect(slotOf('123456789')).toBe(0x31c3 % 16_384)
  })

  test('have about equally many sessions', () => {
    const counts = new Map<number, number>()
    for (const n of range(1, 6_400)) {
      const partition = partitionOf(`session-${n}`)
      counts.set(partition, (counts.get(partition) ?? 0) + 1)
    }
    expect(counts.size).toBe(64)
    expect(Math.max(...counts.values())).toBeLessThan(200)
    expect(Math.min(...counts.values())).toBeGreaterThan(40)
  })
})

const INFO =
  'redis_version:7.0.15\r\nrole:master\r\nmaster_replid:aaa\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n'

/** A client of a cluster in which the test says who has which slot, and what the servers say. */
function createCluster() {
  const asked: string[] = []
  const cluster = Object.assign(new EventEmitter(), {
    slots: [] as string[][],
    info: INFO,
    refreshes: 0,
    /** What asking finds out. */
    onAsk(): unknown {
      return undefined
    },
    async holdlineInfo(key: string) {
      asked.push(key)
      cluster.onAsk()
      return cluster.info
    },
    refreshSlotsCache() {
      cluster.refreshes += 1
    },
  })
  const shards = new Shards(cluster as never, new Map([1, 2, 3].map((slot) => [slot, `key${slot}`])))
  return { cluster, shards, asked }
}

describe('the servers of a cluster', () => {
  test('are asked who they are once each, as soon as it is known who has what', async () => {
    const { cluster, shards, asked } = createCluster()
    cluster.onAsk = () => {
      cluster.slots = [[], ['a:1'], ['a:1'], ['b:1']]
    }
    expect(await shards.server(1)).toBe('aaa')
    expect(await Promise.all([shards.server(1), shards.server(2)])).toEqual(['aaa', 'aaa'])
    await Promise.all([shards.server(3), shards.server(3)])
    expect(asked).toEqual(['key1', 'key3'])
    shards.forget()
    await shards.server(2)
    expect(asked).toEqual(['key1', 'key3', 'key2'])
    // One that leaves may come back in another life.
    cluster.emit('-node')
    await shards.server(1)
    expect(asked).toHaveLength(4)
  })

  test('an answer is about the server that the slot has gone to', async () => {
    const { cluster, shards, asked } = createCluster()
    cluster.slots = [[], ['a:1'], ['b:1'], ['a:1']]
    cluster.onAsk = () => {
      cluster.slots[1] = ['b:1']
    }
    await shards.server(1)
    await shards.server(2)
    expect(asked).toEqual(['key1'])
    await shards.server(3)
    expect(asked).toEqual(['key1', 'key3'])
  })

  test.each([
    [INFO.replace('7.0.15', '6.2.14'), 'must be of version 7 or newer, and this is 6.2.14'],
    [INFO.replace('maxmemory:0', 'maxmemory:1').replace('noeviction', 'allkeys-lru'), "is 'allkeys-lru'"],
  ])('are refused if they cannot keep a log', async (info, why) => {
    const { cluster, shards, asked } = createCluster()
    cluster.info = info
    await expect(shards.server(1)).rejects.toThrow(why)
    cluster.info = INFO
    expect(await shards.server(1)).toBe('aaa')
    expect(asked).toHaveLength(2)
  })
})

describe('subscriptions in a cluster', () => {
  function create() {
    const { cluster, shards } = createCluster()
    cluster.slots = [[], ['a:1'], ['a:1'], ['b:1']]
    const calls: string[] = []
    const refused = new Map<string, string>()
    const redises = new Map<string, EventEmitter>()
    const lost: number[][] = []
    const connect = (address: string) => {
      const redis = Object.assign(new EventEmitter(), {
        async ssubscribe(...channels: string[]) {
          calls.push(`${address} + ${channels}`)
          const message = refused.get(address)
          if (message) throw new Error(message)
        },
        async sunsubscribe(...channels: string[]) {
          calls.push(`${address} - ${channels}`)
        },
        disconnect: () => calls.push(`${address} closed`),
        ping: async () => calls.push(`${address} ping`),
      })
      redises.set(address, redis)
      return redis as unknown as Redis
    }
    const onMessage = vi.fn()
    const onLost = (slots: ReadonlySet<number>) => void lost.push([...slots])
    const subscribers = new ShardSubscribers({ cluster: cluster as never, shards, connect, onMessage, onLost })
    return { cluster, subscribers, calls, refused, redises, lost, onMessage }
  }

  test('are made where the slot is, over one connection to each server', async () => {
    const { subscribers, calls, redises, onMessage } = create()
    await subscribers.subscribe(1, ['x', 'y'])
    await subscribers.subscribe(2, ['z'])
    await subscribers.subscribe(3, ['w'])
    await subscribers.unsubscribe(1, ['x'])
    subscribers.ping()
    expect(calls).toEqual(['a:1 + x,y', 'a:1 + z', 'b:1 + w', 'a:1 - x', 'a:1 ping', 'b:1 ping'])
    redises.get('b:1')?.emit('smessage', 'w', 'text')
    expect(onMessage).toHaveBeenCalledWith('w', 'text')
    subscribers.close()
    expect(calls.slice(-2)).toEqual(['a:1 closed', 'b:1 closed'])
  })

  test('that come to the wrong server are made at the right one, and nobody hears of a refusal', async () => {
    const { cluster, subscribers, calls, refused } = create()
    refused.set('a:1', 'MOVED 1 b:1')
    cluster.onAsk = () => {
      if (calls.length > 0) cluster.slots[1] = ['b:1']
    }
    await subscribers.subscribe(1, ['x'])
    expect(calls).toEqual(['a:1 + x', 'b:1 + x'])
  })

  test('of a server that has just started wait until it is one of the cluster', async () => {
    const { cluster, subscribers, calls, refused } = create()
    refused.set('a:1', 'CLUSTERDOWN The cluster is down')
    cluster.onAsk = () => calls.length > 0 && refused.clear()
    await subscribers.subscribe(1, ['x'])
    expect(calls).toEqual(['a:1 + x', 'a:1 + x'])
  })

  test('that a server refuses are refused', async () => {
    const { subscribers, refused } = create()
    refused.set('a:1', 'NOPERM no')
    await expect(subscribers.subscribe(1, ['x'])).rejects.toThrow('NOPERM no')
  })

  test('of a slot that nobody admits to having fail in the end', async () => {
    const { subscribers, calls, refused } = create()
    refused.set('a:1', 'MOVED 1 a:1')
    await expect(subscribers.subscribe(1, ['x'])).rejects.toThrow('slot 1 is on the move')
    expect(calls).toHaveLength(5)
  })

  test('are lost with the connection, and with the slot; a server that is of no use any more is left', async () => {
    const { cluster, subscribers, calls, redises, lost } = create()
    await subscribers.subscribe(1, ['x'])
    await subscribers.subscribe(2, ['y'])
    redises.get('a:1')?.emit('ready')
    expect(lost).toEqual([[1, 2]])
    cluster.slots[1] = ['b:1']
    cluster.emit('refresh')
    expect(lost).toEqual([[1, 2], [1]])
    cluster.emit('refresh')
    expect(lost).toHaveLength(2)
    cluster.slots[2] = ['b:1']
    cluster.emit('refresh')
    expect(lost.at(-1)).toEqual([2])
    expect(calls.at(-1)).toBe('a:1 closed')
  })

  test('that the server has taken back are asked for again, also where the slot has come back meanwhile', async () => {
    const { cluster, subscribers, redises, lost } = create()
    await subscribers.subscribe(1, ['x'])
    redises.get('a:1')?.emit('moved')
    expect([cluster.refreshes, lost]).toEqual([1, []])
    cluster.emit('refresh')
    expect(lost).toEqual([[1]])
    cluster.emit('refresh')
    expect(lost).toHaveLength(1)
  })

  test('a server that cannot be reached is looked for, until the subscriptions are closed', async () => {
    const { cluster, subscribers, redises } = create()
    await subscribers.subscribe(1, ['x'])
    redises.get('a:1')?.emit('close')
    expect(cluster.refreshes).toBe(1)
    subscribers.close()
    redises.get('a:1')?.emit('close')
    expect(cluster.refreshes).toBe(1)
  })
})

describe('the runs of a log with several parts', () => {
  /** Parts whose runs answer when the test lets them. */
  function create() {
    const clock = fakeClock()
    const calls: string[] = []
    const state = { silent: new Set<string>(), failing: new Set<string>() }
    const answer = async (name: string, what: string) => {
      calls.push(`${name} ${what}`)
      if (state.silent.has(name)) await new Promise(() => {})
      if (state.failing.has(name)) throw new Error('down')
    }
    const parts = ['a', 'b'].map((name) => {
      const log: Partial<RunLog> = {
        renew: () => answer(name, 'renew'),
        overdue: async () => {
          await answer(name, 'overdue')
          return [{ sessionId: `${name}1`, process: 'dead' }]
        },
        postpone: ({ sessionId }) => answer(name, `postpone ${sessionId}`),
      }
      return { runs: { join: () => log } } as unknown as Part
    }) as [Part, Part]
    const of = (name: string) => parts[name.startsWith('a') ? 0 : 1] as Part
    const runs = joinRunLogs({ parts: { all: parts, of }, process: {} as never, clock })
    return { runs, calls, state, clock }
  }

  test('are those of all of them', async () => {
    const { runs, calls, clock } = create()
    await runs.renew()
    expect((await runs.overdue()).map(({ sessionId }) => sessionId)).toEqual(['a1', 'b1'])
    await runs.postpone({ sessionId: 'b1', process: 'dead' })
    expect(calls).toEqual(['a renew', 'b renew', 'a overdue', 'b overdue', 'b postpone b1'])
    expect(clock.timers).toBe(0)
  })

  test('a part that is silent holds up no lease elsewhere, is not asked twice, and judges nobody', async () => {
    const { runs, calls, state, clock } = create()
    state.silent.add('b')
    const renewing = runs.renew()
    await settle()
    await clock.advance(500)
    await renewing
    expect((await runs.overdue()).map(({ sessionId }) => sessionId)).toEqual(['a1'])
    await runs.renew()
    expect(calls).toEqual(['a renew', 'b renew', 'a overdue', 'a renew'])
  })

  test('a part that fails judges nobody until its lease is renewed', async () => {
    const { runs, calls, state } = create()
    state.failing.add('a')
    await runs.renew()
    state.failing.clear()
    expect((await runs.overdue()).map(({ sessionId }) => sessionId)).toEqual(['b1'])
    await runs.renew()
    await runs.overdue()
    expect(calls.slice(-4)).toEqual(['a renew', 'b renew', 'a overdue', 'b overdue'])
  })
})
