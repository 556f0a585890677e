import { afterAll, afterEach, beforeAll } from 'vitest'
import { type RedisLog, redisLog } from '../../server/redis'
import { type RedisServer, startRedis } from './redis'

/**
 * A Redis for the tests of this block, empty for each of them. Returns what makes a log in it; the
 * log is closed after its test.
 */
export function redisLogs(): () => RedisLog {
  let redis: RedisServer
  const logs: RedisLog[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const log of logs.splice(0)) log.close()
    await redis.admin.flushall()
  })
  afterAll(() => redis.stop())
  return () => {
    const log = redisLog({ url: redis.url })
    logs.push(log)
    return log
  }
}
