import { join } from 'node:path'
import type { SessionLog } from 'holdline/server'
import type { ChatEvent } from '../shared/protocol'
import { breakOff, EMPTY, isAnswering, reduce, type Transcript } from '../shared/transcript'
import { folderOf, readJson, writeJson } from './files'

// What was said in each session. A transcript and the cursor that it belongs to are one file, which
// is replaced as a whole: so they are of one moment, as in a transaction. It is a file, because
// that runs on Node 20 without a package. With a database, make it one row with the same two
// values.

/** What was said, and the last event that is in it. */
interface Saved {
  readonly state: Transcript
  readonly cursor: { readonly lastSeq: number; readonly epoch: string }
}

export type Transcripts = ReturnType<typeof createTranscripts>

const NOTHING: Saved = { state: EMPTY, cursor: { lastSeq: 0, epoch: '' } }
/** How often a transcript is saved while its answer is being made, ms. */
const SAVE_EVERY = 1_000

export function createTranscripts({ data, log }: { readonly data: string; readonly log: SessionLog }) {
  const inTurn = createTurns()
  /** Sessions in which an answer is being made, and whose they are. */
  const unfinished = new Map<string, string>()

  /** The transcript as it is now: what was saved, and what the log has after that. */
  const read = (user: string, session: string) =>
    inTurn(session, async () => {
      const path = join(folderOf(data, user), session, 'transcript.json')
      const saved = (await readJson<Saved>(path)) ?? NOTHING
      const now = await catchUp(log, session, saved)
      if (now !== saved) await writeJson(path, now)
      return now
    })

  async function saveUnfinished() {
    for (const [session, user] of [...unfinished]) {
      // Before it is read, so that a run that begins meanwhile is not forgotten.
      unfinished.delete(session)
      const isDone = await read(user, session).then(
        ({ state }) => !isAnswering(state),
        () => false,
      )
      if (!isDone) unfinished.set(session, user)
    }
  }

  let saving = Promise.resolve()
  const timer = setInterval(() => {
    saving = saving.then(saveUnfinished)
  }, SAVE_EVERY)

  return {
    read,

    /** Saves the transcript from time to time, until its answer has ended. */
    follow(user: string, session: string) {
      unfinished.set(session, user)
    },

    async close() {
      clearInterval(timer)
      await saving
      await saveUnfinished()
    },
  }
}

/** The same object, if there is nothing new. */
async function catchUp(log: SessionLog, session: string, saved: Saved): Promise<Saved> {
  const { epoch, head, isUnreadable } = await log.head(session)
  if (isUnreadable) return saved
  // Else the log has begun anew, as one in memory does with its process: no event of the new one is
  // in the transcript, and no answer of the old one goes on.
  const isSame = epoch === saved.cursor.epoch
  let state = isSame ? saved.state : breakOff(saved.state)
  let lastSeq = isSame ? saved.cursor.lastSeq : 0
  if (isSame && lastSeq === head) return saved
  while (lastSeq < head) {
    const entries = await log.read(session, lastSeq, 500)
    // Events are missing that the log was to keep for a day.
    if (entries[0]?.seq !== lastSeq + 1) state = breakOff(state)
    for (const { event, seq } of entries) state = reduce(state, { ...event, sessionId: session, seq } as ChatEvent)
    lastSeq = entries.at(-1)?.seq ?? head
  }
  return { state, cursor: { lastSeq, epoch } }
}

/** Work of one session is done one after the other. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return <Result>(session: string, work: () => Promise<Result>): Promise<Result> => {
    const turn = (last.get(session) ?? Promise.resolve()).then(work, work)
    last.set(session, turn)
    const forget = () => void (last.get(session) === turn && last.delete(session))
    turn.then(forget, forget)
    return turn
  }
}
