import { join } from 'node:path'
import type { SessionLog } from 'holdline/server'
import type { ChatEvent, SessionInfo } from '../shared/protocol'
import { breakOff, EMPTY, isAnswering, reduce, type Transcript } from '../shared/transcript'
import { folderOf, isId, namesIn, newId, readJson, writeJson } from './files'

// The sessions of each user, and what was said in them. A transcript and the cursor that it belongs
// to are one file, which is replaced as a whole: so they are of one moment, as in a transaction. It
// is a file, because that runs on Node 20 without a package. Where several machines serve one user,
// put your database in its place: one row for each session, with the same two values.

/** What was said, and the last event that is in it. */
interface Saved {
  readonly state: Transcript
  readonly cursor: { readonly lastSeq: number; readonly epoch: string }
}

export type Sessions = ReturnType<typeof createSessions>

const NOTHING: Saved = { state: EMPTY, cursor: { lastSeq: 0, epoch: '' } }
const TITLE_LENGTH = 60
/** How often a transcript is saved while its answer is being made, ms. */
const SAVE_EVERY = 1_000

export function createSessions({ data, log }: { readonly data: string; readonly log: SessionLog }) {
  const pathOf = (user: string, id: string, file: 'session' | 'transcript') =>
    join(folderOf(data, user), id, `${file}.json`)
  const info = (user: string, id: string) => readJson<SessionInfo>(pathOf(user, id, 'session'))
  const inTurn = createTurns()
  /** Sessions in which an answer is being made, and whose they are. */
  const unfinished = new Map<string, string>()

  /** The transcript as it is now: what was saved, and what the log has after that. */
  const read = (user: string, id: string) =>
    inTurn(id, async () => {
      const path = pathOf(user, id, 'transcript')
      const saved = (await readJson<Saved>(path)) ?? NOTHING
      const now = await catchUp(log, id, saved)
      if (now !== saved) await writeJson(path, now)
      return now
    })

  async function saveUnfinished() {
    for (const [id, user] of [...unfinished]) {
      // Before it is read, so that a run that begins meanwhile is not forgotten.
      unfinished.delete(id)
      const isDone = await read(user, id).then(
        ({ state }) => !isAnswering(state),
        () => false,
      )
      if (!isDone) unfinished.set(id, user)
    }
  }
  let saving = Promise.resolve()
  const timer = setInterval(() => {
    saving = saving.then(saveUnfinished)
  }, SAVE_EVERY)

  return {
    read,

    /** Whether it is a session of this user. */
    has: async (user: string, id: string) => isId(id) && (await info(user, id)) !== undefined,

    /** The newest first. */
    async list(user: string): Promise<readonly SessionInfo[]> {
      const ids = (await namesIn(folderOf(data, user))).filter(isId)
      const found = await Promise.all(ids.map((id) => info(user, id)))
      return found.filter((session) => session !== undefined).sort((a, b) => b.created - a.created)
    },

    async create(user: string): Promise<SessionInfo> {
      const session: SessionInfo = { id: newId(), title: null, created: Date.now() }
      await writeJson(pathOf(user, session.id, 'session'), session)
      return session
    },

    /** The title, if the first prompt gives it one. */
    async nameAfter(user: string, id: string, prompt: string): Promise<string | undefined> {
      const session = await info(user, id)
      const title = prompt.trim().slice(0, TITLE_LENGTH)
      if (!session || session.title !== null || title === '') return undefined
      await writeJson(pathOf(user, id, 'session'), { ...session, title })
      return title
    },

    /** Saves the transcript from time to time, until its answer has ended. */
    follow(user: string, id: string) {
      unfinished.set(id, user)
    },

    async close() {
      clearInterval(timer)
      await saving
      await saveUnfinished()
    },
  }
}

/** The same object, if there is nothing new. */
async function catchUp(log: SessionLog, id: string, saved: Saved): Promise<Saved> {
  const { epoch, head, isUnreadable } = await log.head(id)
  if (isUnreadable) return saved
  // Else the log has begun anew, as one in memory does with its process: no event of the new one is
  // in the transcript, and no answer of the old one goes on.
  const isSame = epoch === saved.cursor.epoch
  let state = isSame ? saved.state : breakOff(saved.state)
  let lastSeq = isSame ? saved.cursor.lastSeq : 0
  if (isSame && lastSeq === head) return saved
  while (lastSeq < head) {
    const entries = await log.read(id, lastSeq, 500)
    // Events are missing that the log was to keep for a day.
    if (entries[0]?.seq !== lastSeq + 1) state = breakOff(state)
    for (const { event, seq } of entries) state = reduce(state, { ...event, sessionId: id, seq } as ChatEvent)
    lastSeq = entries.at(-1)?.seq ?? head
  }
  return { state, cursor: { lastSeq, epoch } }
}

/** Work of one session is done one after the other. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return <Result>(id: string, work: () => Promise<Result>): Promise<Result> => {
    const turn = (last.get(id) ?? Promise.resolve()).then(work, work)
    last.set(id, turn)
    const forget = () => void (last.get(id) === turn && last.delete(id))
    turn.then(forget, forget)
    return turn
  }
}
