import { type Cursor, HEAD, isText } from '../protocol'
import type { Backlog } from './backlog'
import type { SessionMessage } from './frames'
import { type Hole, MAX_RESUMES, resumesAt } from './hole'

export type Party = 'app' | 'server'
/**
 * Why a session is tracked. The app asks for it by `watch`, or a cursor that it gives; what it did
 * not ask for is bounded.
 */
export type Opener = Party | 'storage'

/**
 * A tracked session: its cursor, and what keeps the cursor from moving. It has two states beside
 * it:
 *
 * | happens | `wantedBy`: must the next resume carry it | `answer`: that of the server to the last resume |
 * | --- | --- | --- |
 * | a new stream opens, or the app wants it | `app` | |
 * | a resume carries it | null | `awaited` |
 * | its `watch` is answered | null | |
 * | the answer to the resume comes | | `given` |
 * | it is reset | `server`, if events beyond the reset were seen and dropped, or wait | `given` |
 *
 * Tracking ends in four ways:
 *
 * | in `Sessions` | who | the session's later events on this stream |
 * | --- | --- | --- |
 * | `unwatch` | the app | are dropped |
 * | `lose` | the server: `gone`, `forbidden` | are dropped; the app is told |
 * | `release` | time: nobody asked for it, and it is quiet | track it anew; the app is told |
 * | `forget` | the app, which lets it begin anew (`holdline/compat`) | track it anew |
 */
export class Session {
  declare readonly sessionId: string
  declare lastSeq: number
  declare epoch: string | undefined
  declare openedBy: Opener
  /** `left`: it is tracked no more, or anew as another one. */
  state: 'tracked' | 'left' = 'tracked'
  /**
   * `lost` by a reset since the cursor was placed: the app reloads it, and may place the cursor
   * anew.
   */
  history: 'kept' | 'lost' = 'kept'
  /** One for each `watch` that was not taken back. */
  watchers: Set<unknown> | undefined
  /** Who is the cause that the next resume must carry it; null if it need not. */
  wantedBy: Party | null = null
  /**
   * The server's to the last resume. One that comes when it is `given`, or when another resume is
   * wanted, is about an old cursor.
   */
  answer: 'awaited' | 'given' = 'awaited'
  /** The last one, closed or not. */
  hole: Hole | null = null
  /**
   * The first `seq` that was dropped for lack of room in the backlog: a hole, whatever the server
   * promises. Undefined: there was room for all.
   */
  overflowedAt: number | undefined
  /** The highest `seq` that was dropped as old while an `answer` was awaited; 0: none was. */
  maxDropped = 0
  /** The lowest cursor that this stream was told; Infinity before the first. */
  lowestTold = Infinity
  /**
   * How many events were dropped as older than the cursor, while it stood at `lowestTold`.
   * `settled`: one of them reached it, or the app was told of them.
   */
  stale: number | 'settled' = 0
  /** Where the cursor was at the last `look`; undefined: that one does not count. */
  cursorAtLook: number | undefined
  /** Exists while listeners throw at a message. */
  backlog: Backlog | null = null

  constructor(sessionId: string, lastSeq: number, epoch: string | undefined, openedBy: Opener) {
    Object.assign(this, { sessionId, lastSeq, epoch, openedBy })
  }

  get cursor(): Cursor {
    const { sessionId, lastSeq, epoch } = this
    return { sessionId, lastSeq, ...(epoch !== undefined && { epoch }) }
  }

  get hasHole(): boolean {
    return (this.hole?.seen ?? 0) > this.lastSeq
  }

  /** For `Quiet`: whether no event came since the last look, and none is known to be due. */
  look(): boolean {
    const { lastSeq, cursorAtLook, wantedBy, hasHole, backlog } = this
    this.cursorAtLook = lastSeq
    return cursorAtLook === lastSeq && !(wantedBy || hasHole || backlog)
  }

  /** The stream may not send its events any more: the next resume carries it. */
  letGo() {
    this.wantedBy ||= 'app'
  }

  /** A new stream, which was told no cursor yet. */
  welcome() {
    this.lowestTold = Infinity
    this.stale = 0
  }

  /** Returns the cursor, for the stream. */
  tell(): Cursor {
    this.lowestTold = Math.min(this.lowestTold, this.lastSeq)
    return this.cursor
  }

  /** Returns the cursor, for a resume. */
  ask(): Cursor {
    this.wantedBy = null
    this.answer = 'awaited'
    this.maxDropped = 0
    if (this.hole) this.hole.seen = 0
    return this.tell()
  }

  /**
   * An event came from behind a hole. Returns whether a resume has to be asked for: one that is due
   * brings this one too.
   */
  miss(seq: number): boolean {
    const { hole, hasHole, lastSeq } = this
    if (seq === this.overflowedAt) this.overflowedAt = undefined
    if (hole && hasHole) hole.seen = Math.max(hole.seen, seq)
    else this.hole = { at: lastSeq, resumes: resumesAt(lastSeq, hole), seen: seq }
    return !hasHole
  }

  /** Some of the history is lost. */
  reset(to: number, epoch: string | undefined) {
    if (this.maxDropped > to || (this.overflowedAt ?? 0) > to || this.backlog?.reaches(to)) this.wantedBy = 'server'
    this.answer = 'given'
    if (this.lastSeq !== HEAD) this.history = 'lost'
    this.lastSeq = to
    this.epoch = epoch
    this.maxDropped = 0
    this.overflowedAt = undefined
    this.hole = null
    this.endBacklog()
  }

  endBacklog() {
    this.backlog?.rest()
    this.backlog = null
  }
}

/**
 * The rules for an event, in the order in which they are asked.
 *
 * | step | when | what follows |
 * | --- | --- | --- |
 * | `wait` | a listener throws at an earlier one | it waits behind that one (`Backlog`) |
 * | `turn` | it is of another epoch | the session is reset to just before it, if it had an epoch; then it is asked again |
 * | `old` | it is not above the cursor | it is dropped |
 * | `deliver` | it follows the cursor, as far as the server promises | the listeners, then the cursor |
 * | `miss` | there is a hole before it | it is dropped, and a resume from the cursor brings the hole and it |
 * | `skip` | three resumes in a row have not closed that hole | the session is reset to just before it (the app is told), and it is delivered |
 *
 * So a reset is decided here, by an event, or by the server's answer to a resume
 * (`Inbox.takeVerdicts`).
 */
export type Step = 'wait' | 'turn' | 'old' | 'deliver' | 'miss' | 'skip'

/** Pure, and without an object of its own: it is asked for every event. */
export function step(session: Session, message: SessionMessage, isContiguous: boolean, dedupe: boolean): Step {
  const { lastSeq, overflowedAt = Infinity } = session
  const { seq, prevSeq, epoch } = message
  if (session.backlog) return 'wait'
  if (isText(epoch) && epoch !== session.epoch) return 'turn'
  if (seq <= lastSeq && dedupe) return 'old'
  const follows = prevSeq === undefined ? !isContiguous || seq <= lastSeq + 1 : prevSeq <= lastSeq
  if (follows && seq <= overflowedAt) return 'deliver'
  return !session.hasHole && resumesAt(lastSeq, session.hole) >= MAX_RESUMES ? 'skip' : 'miss'
}
