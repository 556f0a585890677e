import type { LogEntry, SessionLog } from '../log/sessionLog'
import type { Transcript } from './api'

export interface Reading<State> {
  readonly log: SessionLog
  apply(state: State, entry: LogEntry): State
  breakOff(state: State): State
}

const PAGE = 500

/** With what the log has after it. The same object, if there is nothing new. */
export async function catchUp<State>(
  sessionId: string,
  from: Transcript<State>,
  reading: Reading<State>,
): Promise<Transcript<State>> {
  const { log, apply, breakOff } = reading
  const { epoch, head, isUnreadable } = await log.head(sessionId)
  const { cursor } = from
  const isSame = epoch === cursor.epoch
  if (isUnreadable || (isSame && cursor.lastSeq >= head)) return from
  // No event of a log that has begun anew is in the state, and no answer of the old one goes on.
  let state = isSame || cursor.epoch === '' ? from.state : breakOff(from.state)
  let lastSeq = isSame ? cursor.lastSeq : 0
  while (lastSeq < head) {
    const entries = await log.read(sessionId, lastSeq, PAGE)
    // It has begun anew since.
    if (entries.some((entry) => entry.epoch !== epoch)) return catchUp(sessionId, from, reading)
    // The log has lost some, and the end of an answer may be one of them.
    if (entries[0]?.seq !== lastSeq + 1) state = breakOff(state)
    for (const entry of entries) state = apply(state, entry)
    lastSeq = entries.at(-1)?.seq ?? head
  }
  return { state, cursor: { lastSeq, epoch } }
}
