import { type ChatServer, createChatServer } from 'holdline/server'

// One for the whole process: Next may evaluate a module more than once, and each copy would have streams and a log of its own.
const shared = globalThis as { chat?: ChatServer }
shared.chat ??= createChatServer({
  authenticate: () => ({ id: 'everybody' }),
  authorize: () => true,
  async onCommand({ sessionId = '', message, publish }) {
    await publish(sessionId, { type: 'token', text: `echo of ${message.prompt}` })
    return { taken: true }
  },
})
export const chat = shared.chat
