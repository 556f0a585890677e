import { DatabaseSync } from 'node:sqlite'
import type { PublishedOf } from 'holdline/protocol'
import { createChatServer, memoryLog } from 'holdline/server'
import { createRuns, type RunsOf } from 'holdline/server/runs'
import { createTranscripts } from 'holdline/server/transcripts'
import { sqliteStore } from './sqliteStore'
import { breakOff, chat, initial, reduce } from './transcript'

export function createHistoryServer(path: string) {
  const database = new DatabaseSync(path)
  const transcripts = createTranscripts({
    protocol: chat,
    log: memoryLog(),
    initial,
    reduce,
    breakOff,
    store: sqliteStore(database),
  })
  const server = createChatServer({
    protocol: chat,
    // What is appended to this one is saved within a second.
    log: transcripts.log,
    // Yours: from the request's cookie, or null.
    authenticate: () => ({ id: 'everybody' }),
    authorize: () => true,
    async onCommand(call) {
      const { sessionId, prompt } = call.message
      const receipt = await runs.start(call, () => answer(prompt), { prompt: { type: 'prompt', text: prompt } })
      // Once the page has the receipt, the prompt is kept, whatever becomes of this process.
      await transcripts.read(sessionId)
      return receipt
    },
  })
  const runs: RunsOf<typeof chat> = createRuns({ server, onBusy: 'queue' })
  return {
    server,
    /** `GET /history/<session>`; ask who it is first, as `authenticate` and `authorize` do. */
    history: async (sessionId: string) => Response.json(await transcripts.read(sessionId)),
    async close() {
      await server.close()
      await runs.idle()
      await transcripts.close()
      database.close()
    },
  }
}

/** Yours: whatever makes the answer. */
async function* answer(prompt: string): AsyncGenerator<PublishedOf<typeof chat>> {
  for (const text of ['echo ', 'of ', prompt]) yield { type: 'token', text }
}
