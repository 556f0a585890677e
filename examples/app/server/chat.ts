import { CommandRejected, createChatServer, type SessionLog } from 'holdline/server'
import { type Coalesce, createRuns, type RunsOf } from 'holdline/server/runs'
import { chat, type Upload } from '../shared/protocol'
import { answer } from './agent'
import type { Login, User } from './login'
import type { Sessions } from './sessions'
import type { Transcripts } from './transcripts'
import type { Uploads } from './uploads'

// The server half of the line: who may use which session, what a prompt and a stop do.

interface ChatParts {
  readonly log: SessionLog
  readonly login: Login
  readonly sessions: Sessions
  readonly transcripts: Transcripts
  readonly uploads: Uploads
  readonly origin: string | undefined
}

interface Prompt {
  readonly user: User
  readonly session: string
  readonly id: string
  readonly text: string
  readonly files: readonly Upload[]
}

/** Prompts that may wait for the answer before theirs. */
const MAX_WAITING = 8

/** Tokens that come in a burst are one event. */
const coalesce: Coalesce = {
  join: (a, b) => (a.type === 'token' && b.type === 'token' ? { ...a, text: `${a.text}${b.text}` } : undefined),
}

export function createChat({ log, login, sessions, transcripts, uploads, origin }: ChatParts) {
  const server = createChatServer({
    protocol: chat,
    log,
    ...(origin && { allowedOrigins: [origin], allowedHosts: [new URL(origin).hostname] }),
    authenticate: login.userOf,
    // That a session is somebody else's is nothing to tell.
    authorize: async (user, session) => (await sessions.has(user.id, session)) || 'gone',

    async onCommand(call) {
      const { sessionId: session } = call.message
      if (call.type === 'stop') return { run: await runs.stop(session, call.message.run) }
      const { principal: user, idempotencyKey: id } = call
      const { prompt: text, files: named } = call.message
      if (id === undefined) throw new CommandRejected(400, 'no-id')
      if ((await runs.active(session)).queued.length >= MAX_WAITING) throw new CommandRejected(409, 'busy')
      // As they were uploaded, whatever the page says of them.
      const files = await Promise.all(named.map((file) => uploads.find(user.id, session, file.id)))
      if (!files.every((file) => file !== undefined)) throw new CommandRejected(400, 'unknown-file')
      await call.publish(session, { type: 'prompt', id, text, files })
      const title = await sessions.nameAfter(user.id, session, text)
      if (title) await call.publish(session, { type: 'title', title })
      const receipt = await runs.start(call, (signal) => answerTo({ user, session, id, text, files }, signal))
      // Once the page has the receipt, the prompt is kept.
      await transcripts.read(user.id, session)
      transcripts.follow(user.id, session)
      return receipt
    },
  })

  // A prompt that is typed during an answer waits for its turn; with 'interrupt' it would end the
  // answer.
  const runs: RunsOf<typeof chat> = createRuns({ server, onBusy: 'queue', coalesce })

  async function* answerTo({ user, session, id, text: prompt, files }: Prompt, signal: AbortSignal) {
    const { state } = await transcripts.read(user.id, session)
    const before = state.slice(
      0,
      state.findIndex((entry) => entry.id === id),
    )
    const attached = files.map((file) => ({ ...file, path: uploads.pathOf(user.id, file.id) }))
    for await (const text of answer({ prompt, files: attached, before }, signal)) yield { type: 'token', text } as const
  }

  return { server, runs }
}
