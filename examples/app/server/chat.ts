import { CommandRejected, createChatServer } from 'holdline/server'
import { type Coalesce, createRuns, type RunsOf } from 'holdline/server/runs'
import type { Transcripts } from 'holdline/server/transcripts'
import { chat, type Upload } from '../shared/protocol'
import type { Transcript } from '../shared/transcript'
import { answer } from './agent'
import type { Login, User } from './login'
import type { Sessions } from './sessions'
import type { Uploads } from './uploads'

// The server half of the line: who may use which session, what a prompt and a stop do.

interface ChatParts {
  readonly login: Login
  readonly sessions: Sessions
  readonly transcripts: Transcripts<Transcript>
  readonly uploads: Uploads
  readonly origin: string | undefined
  readonly isDevelopment: boolean
}

interface Prompt {
  readonly user: User
  readonly session: string
  readonly id: string
  readonly text: string
  readonly files: readonly Upload[]
}

/** Tokens that come in a burst are one event. */
const coalesce: Coalesce = {
  join: (a, b) => (a.type === 'token' && b.type === 'token' ? { ...a, text: `${a.text}${b.text}` } : undefined),
}

export function createChat({ login, sessions, transcripts, uploads, origin, isDevelopment }: ChatParts) {
  const server = createChatServer({
    protocol: chat,
    log: transcripts.log,
    // Behind Vite's proxy a page learns of a server that was killed by its silence: after two of
    // them.
    heartbeat: isDevelopment ? 2_000 : 8_000,
    ...(origin && { allowedOrigins: [origin], allowedHosts: [new URL(origin).hostname] }),
    authenticate: login.userOf,
    // That a session is somebody else's is nothing to tell.
    authorize: async (user, session) => (await sessions.has(user.id, session)) || 'gone',

    async onCommand(call) {
      const { sessionId: session } = call.message
      if (call.type === 'stop') return { run: await runs.stop(session, call.message.run) }
      const { principal: user, idempotencyKey: id } = call
      const { prompt: text, files: named } = call.message
      // As they were uploaded, whatever the page says of them.
      const files = await Promise.all(named.map((file) => uploads.find(user.id, session, file.id)))
      if (!files.every((file) => file !== undefined)) throw new CommandRejected(400, 'unknown-file')
      // The prompt is in the log with the begin of its run, or not at all: a repeat, and one for
      // which there is no room, publish nothing.
      const receipt = await runs.start(call, (signal) => answerTo({ user, session, id, text, files }, signal), {
        prompt: { type: 'prompt', id, text, files },
      })
      const title = await sessions.nameAfter(user.id, session, text)
      if (title) await call.publish(session, { type: 'title', title })
      // Once the page has the receipt, the prompt is kept.
      await transcripts.read(session)
      return receipt
    },
  })

  // A prompt that is typed during an answer waits for its turn; with 'interrupt' it would end the
  // answer.
  const runs: RunsOf<typeof chat> = createRuns({ server, onBusy: 'queue', coalesce })

  async function* answerTo({ user, session, id, text: prompt, files }: Prompt, signal: AbortSignal) {
    const { state } = await transcripts.read(session)
    const before = state.slice(
      0,
      state.findIndex((entry) => entry.id === id),
    )
    const attached = files.map((file) => ({ ...file, path: uploads.pathOf(user.id, file.id) }))
    for await (const text of answer({ prompt, files: attached, before }, signal)) yield { type: 'token', text } as const
  }

  return { server, runs }
}
