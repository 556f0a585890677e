import type { BaseEvent, RunAgentInput } from '@ag-ui/client'
import { listen } from '../../../tools/shared/listen'
import { aguiRuns } from '../../ag-ui/server'
import { createChatServer } from '../../server'
import { redisLog } from '../../server/redis'
import { createRuns } from '../../server/runs'

// A node whose sessions are threads, until it is ended: `agentProcess.ts <Redis> <name>`. It
// answers `slow` with words without an end, `long` with 40 of them, anything else with its name.

const [, , redis = '', name = ''] = process.argv
const log = redisLog({ url: redis })
const server = createChatServer({
  log,
  authenticate: () => ({ id: 'alice' }),
  authorize: () => true,
  onCommand: (call) => onCommand(call),
  allowedHosts: 'any',
  limits: { bodyRate: 2 ** 30 },
})
const runs = createRuns({ server, lease: 3_000 })
const onCommand = aguiRuns({ runs, run: (input) => answer(input) as AsyncGenerator<BaseEvent> })

const COUNTS: Readonly<Record<string, number>> = { slow: Number.POSITIVE_INFINITY, long: 40 }

async function* answer({ threadId, runId, messages }: RunAgentInput) {
  const messageId = `m-${runId}`
  const saying = (delta: string) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta })
  yield { type: 'RUN_STARTED', threadId, runId }
  yield { type: 'TEXT_MESSAGE_START', messageId, role: 'assistant' }
  const count = COUNTS[String(messages.at(-1)?.content)]
  if (count === undefined) yield saying(`from ${name}`)
  for (let n = 0; n < (count ?? 0); n += 1) {
    yield saying(`${n} `)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  yield { type: 'TEXT_MESSAGE_END', messageId }
  yield { type: 'RUN_FINISHED', threadId, runId }
}

// As docs/runs.md says.
process.once('SIGTERM', async () => {
  await server.close()
  await runs.idle()
  log.close()
  process.exit()
})

void listen((request) => server.fetch(request)).then(({ url }) => process.send?.({ url }))
