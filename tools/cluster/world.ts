import { setTimeout as sleep } from 'node:timers/promises'
import { type ChatServer, createChatServer, memoryLog } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import type { Redis } from 'ioredis'
import { createPartitions, partitionOf } from '../../src/server/redis/partitions'
import { startRedisCluster } from '../shared/redisCluster'
import { type RedisServer, startRedis } from '../shared/redisServer'
import type { Log } from './check'
import { startNode } from './node'
import { type Nodes, type NodesOptions, startNodes } from './nodes'
import { type RedisAddress, toLogOptions } from './redisAddress'
import { tell } from './runs'

/** What the clients talk to. */
export interface World {
  readonly ports: readonly number[]
  /** For the producer. */
  publish: ChatServer['publish']
  /** What stands in the log, seen past everything that is under test. */
  read(sessionId: string): Promise<Log>
  readonly cluster?: { readonly nodes: Nodes; readonly redis: RedisHouse }
  close(): Promise<void>
}

/** The servers of a world, and what can be done to them. */
export interface RedisHouse {
  /** All that hold data. */
  readonly servers: readonly RedisServer[]
  /** One that holds data loses all, or what its replica has not got yet. */
  lose(nth: number): Promise<void>
  /** A part of the sessions changes its server. */
  move(nth: number): Promise<void>
}

interface Store {
  readonly address: RedisAddress
  readonly house: RedisHouse
  readonly admin: Redis
  /** What the keys of a session begin with. */
  prefixOf(sessionId: string): string
  stop(): Promise<void>
}

type WorldOptions = Omit<NodesOptions, 'redis'>

export const redisWorld = async (options: WorldOptions) => createWorld(options, await startOne())
export const shardsWorld = async (options: WorldOptions, isLone: boolean) =>
  createWorld(options, await startShards(isLone))

async function startOne(): Promise<Store> {
  const redis = await startRedis({ args: ['--enable-debug-command', 'yes'] })
  const house = { servers: [redis], lose: () => redis.restartEmpty(), move: async () => {} }
  return { address: redis.url, house, admin: redis.admin, prefixOf: () => 'holdline', stop: redis.stop }
}

const SHARDS = 3
/** How long a lone primary is away, ms: long enough for the others to notice. */
const AWAY = 2_000

async function startShards(isLone: boolean): Promise<Store> {
  const cluster = await startRedisCluster({ shards: SHARDS, hasReplicas: !isLone })
  const partitions = createPartitions()
  const slotOf = (index: number) => partitions[index % partitions.length]?.slot ?? 0
  return {
    address: cluster.ports,
    house: {
      servers: cluster.servers,
      async lose(nth) {
        const slot = slotOf(Math.floor((partitions.length * ((nth % SHARDS) + 0.5)) / SHARDS))
        const victim = await cluster.ownerOf(slot)
        await cluster.servers[victim]?.down()
        await (isLone ? sleep(AWAY) : cluster.promoted(slot, victim))
        await cluster.servers[victim]?.up()
      },
      async move(nth) {
        const slot = slotOf(nth * 7)
        const from = await cluster.ownerOf(slot)
        const others = (await cluster.owners()).filter((index) => index !== from)
        await cluster.moveSlot(slot, others[nth % others.length] ?? from)
      },
    },
    admin: cluster.admin as unknown as Redis,
    prefixOf: (sessionId) => `holdline:{${partitions[partitionOf(sessionId)]?.tag}}`,
    stop: cluster.stop,
  }
}

async function createWorld(options: WorldOptions, { address, house, admin, prefixOf, stop }: Store): Promise<World> {
  const nodes = await startNodes({ ...options, redis: address })
  const log = redisLog({ ...toLogOptions(address), maxEvents: 1_000_000 })
  // A process that serves nobody. That Redis is away for a moment is what this is about.
  const peer = createChatServer({
    log,
    authenticate: () => null,
    authorize: () => false,
    onCommand: () => null,
    onError: () => {},
  })
  return {
    ports: nodes.ports,
    publish: peer.publish,
    async read(sessionId) {
      const key = `${prefixOf(sessionId)}:{${sessionId}}`
      const entries = await admin.xrange(`${key}:log`, '-', '+')
      const events = entries.map(([id, [, json = '']]) => `${id.split('-')[1]} ${tell(JSON.parse(json))}`)
      return { epoch: (await admin.hget(`${key}:meta`, 'epoch')) ?? '', events }
    },
    cluster: { nodes, redis: house },
    async close() {
      await peer.close()
      log.close()
      await nodes.close()
      await stop()
    },
  }
}

/** One node, in this very process. */
export async function memoryWorld(onSurprise: (what: string) => void): Promise<World> {
  const log = memoryLog({ maxEvents: 1_000_000 })
  const node = await startNode({ log, port: 0, onError: (error) => onSurprise(`an error in the server: ${error}`) })
  return {
    ports: [node.port],
    publish: node.publish,
    async read(sessionId) {
      const entries = await log.read(sessionId, 0, Number.POSITIVE_INFINITY)
      const { epoch } = await log.head(sessionId)
      return { epoch, events: entries.map(({ seq, event }) => `${seq} ${tell(event)}`) }
    },
    close: node.close,
  }
}
