import { CommandRejected, createChatServer } from 'holdline/server'
import { type Bubble, openTranscripts } from './transcript'

export function createHistoryServer(path: string) {
  const transcripts = openTranscripts(path)
  const chat = createChatServer({
    // Yours: from the request's cookie, or null.
    authenticate: () => ({ id: 'everybody' }),
    authorize: () => true,
    async onCommand({ sessionId, message, publish }) {
      if (!sessionId) throw new CommandRejected(400, 'no-session')
      // Published first: the log gives the event its number. Where the process ends before it is
      // saved, the transcript is behind its log, and the page gets the event from there.
      const say = async (bubble: Bubble) =>
        transcripts.save(sessionId, bubble, await publish(sessionId, { type: 'bubble', ...bubble }))
      await say({ from: 'me', text: String(message.prompt) })
      await say({ from: 'agent', text: `echo of ${message.prompt}` })
    },
  })
  return {
    chat,
    /** `GET /history/<session>`; ask who it is first, as `authenticate` and `authorize` do. */
    history: (sessionId: string) => Response.json(transcripts.read(sessionId)),
    async close() {
      await chat.close()
      transcripts.close()
    },
  }
}
