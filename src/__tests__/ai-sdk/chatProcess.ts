import type { UIMessage, UIMessageChunk } from 'ai'
import { listen } from '../../../tools/shared/listen'
import { uiMessageRuns } from '../../ai-sdk/server'
import { createChatServer } from '../../server'
import { redisLog } from '../../server/redis'
import { createRuns } from '../../server/runs'
import { streamOf } from '../support/children'

// A node whose sessions are chats, until it is ended: `chatProcess.ts <Redis> <name>`. It answers
// `long` with 40 words, `ask` with a call of a client's tool, anything else, and a tool's output,
// with its name; but `slow`, if it is the first one, with words without an end.

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
const onCommand = uiMessageRuns({ runs, stream: ({ messages }) => streamOf(answer(messages)) })

const COUNTS: Readonly<Record<string, number>> = {
  long: 40,
  ...(name === 'first' && { slow: Number.POSITIVE_INFINITY }),
}

async function* answer(messages: readonly UIMessage[]): AsyncGenerator<UIMessageChunk> {
  const last = messages.at(-1)
  const part = last?.parts.at(-1)
  const said = last?.role === 'user' && part?.type === 'text' ? part.text : ''
  yield { type: 'start' }
  yield { type: 'start-step' }
  if (said === 'ask') {
    yield { type: 'tool-input-available', toolCallId: 'c1', toolName: 'place', input: {} }
    return
  }
  yield { type: 'text-start', id: 't' }
  const count = COUNTS[said]
  if (count === undefined) yield { type: 'text-delta', id: 't', delta: `from ${name}` }
  for (let n = 0; n < (count ?? 0); n += 1) {
    yield { type: 'text-delta', id: 't', delta: `${n} ` }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  yield { type: 'text-end', id: 't' }
  yield { type: 'finish-step' }
  yield { type: 'finish', finishReason: 'stop' }
}

// As docs/runs.md says.
process.once('SIGTERM', async () => {
  await server.close()
  await runs.idle()
  log.close()
  process.exit()
})

void listen((request) => server.fetch(request)).then(({ url }) => process.send?.({ url }))
