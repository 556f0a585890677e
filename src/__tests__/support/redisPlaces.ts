import type { Redis } from 'ioredis'
import { startRedisCluster } from '../../../tools/shared/redisCluster'
import type { RedisLogOptions } from '../../server/redis'
import { createPartitions, partitionOf } from '../../server/redis/partitions'
import { type RedisServer, startRedis } from './redis'

/** Redis, as a log is given it. */
export interface RedisPlace {
  /** For `redisLog`. */
  options(): RedisLogOptions
  /** Commands that have a key. */
  readonly admin: Redis
  /** Of all servers. */
  keys(pattern: string): Promise<readonly string[]>
  /** Whatever somebody is subscribed to. */
  channels(): Promise<readonly string[]>
  /** Sets it in all servers. */
  config(name: string, value: string): Promise<void>
  cut(): Promise<void>
  /** What the keys and channels begin with of a session, or of whoever else has a name. */
  prefixOf(name: string): string
  stop(): Promise<void>
}

export function placeOf(redis: RedisServer): RedisPlace {
  const { admin } = redis
  return {
    options: () => ({ url: redis.url }),
    admin,
    keys: (pattern) => admin.keys(pattern),
    channels: async () => (await admin.call('PUBSUB', 'CHANNELS')) as string[],
    config: async (name, value) => void (await admin.config('SET', name, value)),
    cut: redis.cut,
    prefixOf: () => 'holdline',
    stop: redis.stop,
  }
}

export const startPrimary = async () => placeOf(await startRedis())

export async function startShards(): Promise<RedisPlace> {
  const cluster = await startRedisCluster()
  const admins = cluster.servers.map(({ admin }) => admin)
  const partitions = createPartitions()
  return {
    options: () => ({ client: cluster.createClient() }),
    admin: cluster.admin as unknown as Redis,
    keys: cluster.keys,
    async channels() {
      const lists = await Promise.all(admins.map((admin) => admin.call('PUBSUB', 'SHARDCHANNELS')))
      return (lists as string[][]).flat()
    },
    async config(name, value) {
      await Promise.all(admins.map((admin) => admin.config('SET', name, value)))
    },
    cut: cluster.cut,
    prefixOf: (name) => `holdline:{${partitions[partitionOf(name)]?.tag}}`,
    stop: cluster.stop,
  }
}

/** The kinds of places, for `describe.each`. */
export const PLACES: readonly (readonly [name: string, start: () => Promise<RedisPlace>])[] = [
  ['one primary', startPrimary],
  ['a cluster of three shards', startShards],
]
