import { createChatServer } from '../../../server'
import { redisLog } from '../../../server/redis'
import { createRuns } from '../../../server/runs'

// A process that closes everything while its producer has more to say.

const log = redisLog({ url: String(process.argv[2]) })
const server = createChatServer({ log, authenticate: () => null, authorize: () => true, onCommand: () => null })
const runs = createRuns({ server })

async function main() {
  let goOn = () => {}
  const closed = new Promise<void>((resolve) => {
    goOn = resolve
  })
  await runs.start({ principal: { id: 'alice' }, sessionId: 's1', idempotencyKey: 'k1' }, async function* () {
    yield { type: 'text', text: 'a' }
    await closed
    yield { type: 'text', text: 'b' }
  })
  await server.close()
  log.close()
  goOn()
  process.send?.('closed')
}

void main()
