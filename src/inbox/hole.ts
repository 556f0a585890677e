/** A hole at which this many resumes in a row have ended will not be closed. */
export const MAX_RESUMES = 3

/**
 * A hole is what is missing between a session's cursor and an event that came too early. Such
 * events are dropped: a resume from the cursor brings them too.
 *
 * | happens | what follows |
 * | --- | --- |
 * | the first event from behind it comes (`Session.miss`) | `InboxHooks.onHole`: the machine's `stream.gapped` leads to a resume; during a resume it is a left-over of that one |
 * | a resume carries the session (`Session.ask`) | `seen` begins anew: the replay may close it |
 * | the cursor reaches `seen` | it is closed |
 * | an event comes from behind another cursor | that is a new hole |
 * | three resumes in a row have ended at it, and an event comes from behind it | `step` says `skip`: the session is reset to just before that event |
 * | the session is reset | it is forgotten |
 * | there is no room for an event in the backlog (`Session.overflowedAt`) | what comes from there on is behind a hole too, whatever the server promises |
 */
export interface Hole {
  /** The cursor before it. */
  readonly at: number
  /** How many resumes in a row have ended at it. */
  readonly resumes: number
  /** The last `seq` from behind it since the last resume; 0 if there was none. */
  seen: number
}

/**
 * How many resumes in a row will have ended at the hole behind the cursor. `last` is the session's
 * last one, closed or not.
 */
export const resumesAt = (cursor: number, last: Hole | null) => (last?.at === cursor ? last.resumes + 1 : 0)
