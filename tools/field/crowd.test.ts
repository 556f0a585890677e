import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { crowd as agents } from '../../src/__tests__/ag-ui/crowd'
import { crowd as chats } from '../../src/__tests__/ai-sdk/crowd'
import { memoryLog, type SessionLog } from '../../src/server'
import { redisLog } from '../../src/server/redis'
import { hasRedis, startRedis } from '../shared/redisServer'
import { describeWith } from './tools'

// The crowds of `npm test`, full.

function full(createLog: () => SessionLog) {
  chats(createLog, { chats: 200, chunks: 20_000 })
  agents(createLog, { agents: 200, deltas: 20_000 })
}

describe('200 at once, and an answer of 20,000 chunks, the log in memory', () => full(() => memoryLog()))

describeWith(
  '200 at once, and an answer of 20,000 chunks, the log in Redis',
  { 'redis-server': hasRedis ? 'redis-server' : undefined },
  () => {
    let redis: Awaited<ReturnType<typeof startRedis>>
    const logs: { close(): void }[] = []
    beforeAll(async () => {
      redis = await startRedis()
    })
    afterEach(() => {
      for (const log of logs.splice(0)) log.close()
    })
    afterAll(() => redis.stop())
    full(() => {
      const log = redisLog({ url: redis.url })
      logs.push(log)
      return log
    })
  },
)
