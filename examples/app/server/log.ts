import { memoryLog, type SessionLog } from 'holdline/server'

// Where the events of the sessions are until every page has them: here, in the memory of this
// process. It is a buffer for replays; what was said is kept by the transcripts of main.ts. This is
// the only file that has to change for several processes: see docs/scaling.md of holdline.

/** A day. */
export const log: SessionLog = memoryLog({ maxAge: 86_400_000 })

export const closeLog = () => {}
