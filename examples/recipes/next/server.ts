import { type ChatServer, CommandRejected, createChatServer } from 'holdline/server'
import type { ChatNews } from '../chat'

/** Yours: whatever makes the answer. */
async function* answerTo(prompt: unknown) {
  for (const word of ['echo ', 'of ', String(prompt)]) yield word
}

function createServer(): ChatServer {
  const server = createChatServer({
    // Yours: from the request's cookie, or null.
    authenticate: () => ({ id: 'everybody' }),
    authorize: () => true,
    async onCommand({ type, sessionId, idempotencyKey: id, message, publish }) {
      if (type !== 'send' || !sessionId || !id) throw new CommandRejected(400, 'no-prompt')
      await publish(sessionId, { type: 'prompt', id, text: String(message.prompt) } satisfies ChatNews)
      // Not awaited: the command is taken on, and its answer comes as events.
      void answer(sessionId, id, message.prompt)
      return { taken: true }
    },
  })
  async function answer(sessionId: string, id: string, prompt: unknown) {
    for await (const text of answerTo(prompt))
      await server.publish(sessionId, { type: 'token', answer: id, text } satisfies ChatNews)
  }
  // Next ends after the last response, and a stream is one that would not end by itself.
  process.once('SIGTERM', () => void server.close())
  return server
}

// One for the whole process: Next may evaluate a module more than once, and each copy would have
// streams and a log of its own.
const shared = globalThis as { chat?: ChatServer }
shared.chat ??= createServer()
export const { chat } = shared as { chat: ChatServer }
