import { createChatServer } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns } from '../../../server/runs'

// A process that runs something until it is killed. Who has started it knows where Redis is.

const log = redisLog({ url: String(process.argv[2]) })
const server = createChatServer({ log, authenticate: () => null, authorize: () => true, onCommand: () => null })
const runs = createRuns({ server, onBusy: 'queue' })
const call = { principal: { id: 'alice' }, sessionId: 's1', idempotencyKey: 'k1' }

async function* count() {
  for (let n = 0; ; n += 1) {
    yield { type: 'text', text: String(n) }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function main() {
  await runs.start(call, count)
  await runs.start(call, count)
  process.send?.('running')
}

void main()
