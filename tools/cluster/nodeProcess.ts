import { redisLog } from 'holdline/server/redis'
import { startNode } from './node'
import { toLogOptions } from './redisAddress'

// The program of a node: killed at any moment, drained by SIGTERM. Whoever has started it knows the
// rest.

async function start() {
  const { redis, port } = JSON.parse(process.argv[2] ?? '{}')
  const log = redisLog({ ...toLogOptions(redis), maxEvents: 1_000_000 })
  // That Redis is away for a moment is what this is about.
  const node = await startNode({ log, port, onError() {} })
  process.on('SIGTERM', async () => {
    await node.close({ retryAfter: 100, spread: 1_000 })
    log.close()
    process.exit()
  })
  process.on('disconnect', () => process.exit())
  process.send?.(node.port)
}

void start()
