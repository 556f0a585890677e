import type { RedisLogOptions } from 'holdline/server/redis'
import { Cluster } from 'ioredis'

/** Where Redis is, as a process is told: a URL, or the ports of a Redis Cluster. */
export type RedisAddress = string | readonly number[]

export const toLogOptions = (redis: RedisAddress): RedisLogOptions =>
  typeof redis === 'string'
    ? { url: redis }
    : {
        client: new Cluster(
          redis.map((port) => ({ host: '127.0.0.1', port })),
          { lazyConnect: true },
        ),
      }
