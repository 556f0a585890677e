import { uiMessageRuns } from 'holdline/ai-sdk/server'
import { createChatServer } from 'holdline/server'
import { redisLog } from 'holdline/server/redis'
import { createRuns } from 'holdline/server/runs'
import type { Stack } from './world'

/** As docs/ai-sdk.md sets it up, with the log in Redis. */
export const holdline: Stack = (world) => {
  const server = createChatServer({
    authenticate: () => ({ id: 'somebody' }),
    authorize: () => true,
    log: redisLog({ url: world.redisUrl }),
    onCommand: (call) => onCommand(call),
  })
  const runs = createRuns({ server })
  const onCommand = uiMessageRuns({
    runs,
    async stream({ chatId, messages, responseId, signal }) {
      await world.saveChat({ id: chatId, messages })
      return world.answer({ chatId, messages, id: responseId, signal })
    },
  })
  return { fetch: (request) => server.fetch(request) }
}
