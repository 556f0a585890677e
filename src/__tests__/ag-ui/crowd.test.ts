import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { memoryLog } from '../../server'
import { redisLog } from '../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis'
import { crowd } from './crowd'

// tools/field/crowd.test.ts has 200 agents and 20,000 deltas.
const SIZE = { agents: 40, deltas: 5_000 }

describe('AG-UI agents, the log in memory', () => crowd(() => memoryLog(), SIZE))

describeWithRedis('AG-UI agents, the log in Redis', () => {
  let redis: RedisServer
  const logs: { close(): void }[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(() => {
    for (const log of logs.splice(0)) log.close()
  })
  afterAll(() => redis.stop())
  crowd(() => {
    const log = redisLog({ url: redis.url })
    logs.push(log)
    return log
  }, SIZE)
})
