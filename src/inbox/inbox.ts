import type { Notifier } from '../connection/notifier'
import type { Settings } from '../connection/options'
import type { CursorStore } from '../connection/store'
import { ConnectionError } from '../errors'
import { type Control, type Cursor, HEAD, type JsonObject, parseJson, type SessionVerdict } from '../protocol'
import { Backlog } from './backlog'
import { complaintOf, type SessionMessage, sortOf } from './frames'
import { Listeners, type MessageListener } from './listeners'
import { type Session, step } from './session'
import { Sessions } from './sessions'

export interface InboxHooks {
  /** There are left-overs to resume. */
  onHole(): void
  /** An event of another epoch has reset the session. */
  onReset(): void
  /** The app has not asked for these sessions, and they have had no event for 15 min. */
  onQuiet(sessionIds: readonly string[]): void
}

/**
 * The data plane: EventSource → parse → dedupe by cursor → the app's listeners → advance the
 * cursor. It outlives every stream and never crosses the machine. A class, because closures in its
 * place were 2 KiB per connection.
 */
export class Inbox extends Sessions {
  readonly #listeners: Listeners
  #isContiguous = false
  #resumeId: string | null = null
  #signs = 0
  #events = 0
  /** How often all sessions had to be attached anew. */
  #attachments = 0
  #isResting = false
  readonly #hooks: InboxHooks

  /** `store` keeps the cursors. */
  constructor(settings: Settings, store: CursorStore | null, notifier: Notifier, hooks: InboxHooks) {
    super(settings, store, notifier, hooks.onQuiet)
    this.#listeners = new Listeners(notifier, settings.check)
    this.#hooks = hooks
    this.load(() => {
      if (this.#attachments) hooks.onHole()
    })
  }

  /** How many frames, and other signs of life, have come. */
  readonly signs = () => this.#signs
  readonly sign = () => {
    this.#signs++
  }
  /** How many of them were events of a session. */
  readonly events = () => this.#events

  /** One frame's data. Returns what is for the library. */
  receive(data: string, frame = parseJson(data)): Control | undefined {
    this.#signs++
    const sort = sortOf(frame)
    if (sort === 'event') {
      const message = frame as SessionMessage
      const session = this.of(message.sessionId, message.seq)
      if (session) this.#accept(session, message, data.length)
    } else if (sort === 'plain') this.#listeners.offer(frame as JsonObject)
    else if (sort === 'malformed') {
      this.notifier.report(new ConnectionError('bad-message', complaintOf(frame, data.length)))
    } else if (sort.type !== 'unattached') return sort
    else for (const verdict of sort.sessions) this.lose(verdict)
    return undefined
  }

  #accept(session: Session, message: SessionMessage, characters: number) {
    this.#events++
    this.#take(session, message, characters)
  }

  /** Does what `step` says. */
  #take(session: Session, message: SessionMessage, characters: number) {
    const next = step(session, message, this.#isContiguous, this.settings.dedupe)
    if (next === 'deliver') return this.#deliver(session, message)
    const { seq, epoch } = message
    if (next === 'wait') this.#queue(session, message, characters)
    else if (next === 'old') {
      // It may be news after all: the answer that resets this cursor may be on its way.
      if (session.answer === 'awaited') session.maxDropped = Math.max(session.maxDropped, seq)
      this.stale.count(session, seq)
    } else if (next === 'miss') {
      if (session.miss(seq)) this.#hooks.onHole()
    } else if (next === 'turn') {
      this.#enter(session, seq, epoch as string)
      if (this.isCurrent(session)) this.#take(session, message, characters)
    } else {
      this.#reset(session, seq - 1, session.epoch)
      if (this.isCurrent(session)) this.#deliver(session, message)
    }
  }

  #enter(session: Session, seq: number, epoch: string) {
    if (session.epoch !== undefined) {
      this.#reset(session, seq - 1, epoch)
      this.#hooks.onReset()
    }
    session.epoch = epoch
    this.save(session.sessionId)
  }

  /**
   * The server still has what is after `from`, as far as is known: an event that resets a session
   * tells of nothing before it.
   */
  #reset(session: Session, to: number, epoch: string | undefined, from = to) {
    const { sessionId, lastSeq } = session
    session.reset(to, epoch)
    this.save(sessionId)
    // It has lost nothing: it asked to be told where the head is.
    if (lastSeq !== HEAD) this.notifier.tell('session', { sessionId, status: 'reset', from, to })
  }

  #deliver(session: Session, message: SessionMessage) {
    if (message.seq === session.overflowedAt) session.overflowedAt = undefined
    const failed = this.#listeners.offer(message)
    if (!this.isCurrent(session)) return
    if (failed.length) {
      session.backlog = new Backlog(message, failed)
      this.#arm(session, session.backlog)
    } else this.advance(session, message.seq)
  }

  #queue(session: Session, message: SessionMessage, characters: number) {
    const backlog = session.backlog as Backlog
    const { seq } = message
    const isOld = backlog.has(message)
    if (isOld && this.settings.dedupe) return
    if (backlog.add(message, characters)) {
      // In hand again: the next one without room is another hole.
      if (seq === session.overflowedAt) session.overflowedAt = undefined
    } else if (!isOld) session.overflowedAt ??= seq
  }

  #arm(session: Session, backlog: Backlog) {
    if (!this.#isResting) backlog.arm(this.settings.clock, () => this.#repeat(session, backlog))
  }

  #repeat(session: Session, backlog: Backlog) {
    const { message, later } = backlog
    backlog.listeners = this.#listeners.offer(message, backlog.listeners)
    if (session.backlog !== backlog) return
    if (backlog.listeners.length) {
      if (!backlog.isSpent()) return this.#arm(session, backlog)
      const which = `a listener threw three times at message ${message.seq} of session ${session.sessionId}: it is skipped`
      this.notifier.report(new ConnectionError('poison-message', which))
    }
    session.backlog = null
    this.advance(session, message.seq)
    for (const [next, characters] of later) {
      if (this.#isResting || !this.isCurrent(session)) return
      this.#accept(session, next, characters)
    }
    if (!session.overflowedAt) return
    session.wantedBy = 'app'
    this.#hooks.onHole()
  }

  /** The server's word on the sessions of a resume, in the answer, in the marker, or in both. */
  takeVerdicts(id: string | undefined, verdicts: readonly SessionVerdict[]) {
    if (id !== undefined && id !== this.#resumeId) return
    for (const verdict of verdicts) {
      const { sessionId, status, epoch, from, to } = verdict
      const session = this.tracked.get(sessionId)
      // Watched anew since: the verdict is about another cursor then.
      if (!session || session.answer === 'given' || session.wantedBy) continue
      if (status === 'reset') {
        this.#reset(session, to, epoch, Math.min(from, to))
        continue
      }
      session.answer = 'given'
      if (status === 'resumed') {
        session.epoch ??= epoch
        this.save(sessionId)
        this.notifier.tell('session', { sessionId, status, from, to })
      } else this.lose(verdict)
    }
  }

  listen(listener: MessageListener, session: string | undefined): () => void {
    return this.#listeners.add(listener, session)
  }

  /** A new stream. Returns the cursors for its first resume: everything that is tracked. */
  welcome(isContiguous: boolean): readonly Cursor[] {
    this.#isContiguous = isContiguous
    this.#resumeId = null
    const wasResting = this.#isResting
    this.#isResting = false
    for (const session of this.tracked.values()) {
      session.welcome()
      if (wasResting && session.backlog) this.#arm(session, session.backlog)
      if (session.openedBy === 'server') this.quiet.watch()
    }
    return this.letGo()
  }

  /**
   * None is attached any more, as far as is known, whatever is still answered. Returns what the
   * next resume is to carry.
   */
  letGo(): readonly Cursor[] {
    this.#attachments++
    for (const session of this.tracked.values()) session.letGo()
    return this.leftOvers()
  }

  /**
   * What arrives from now on is part of, or comes after, the replay of this resume. Returns the
   * cursors as they are now: the app may have watched a session anew since they were told.
   */
  beginResume(id: string, told: readonly Cursor[]): readonly Cursor[] {
    this.#resumeId = id
    return told.map((cursor) => this.tracked.get(cursor.sessionId)?.ask() ?? cursor)
  }

  /**
   * For a `watch` POST: what to post, if the session is not part of a resume yet, and what follows
   * from its answer. `behind`: a resume has to carry the session.
   */
  attachment(sessionId: string) {
    const session = this.tracked.get(sessionId)
    const attachments = this.#attachments
    if (!session?.wantedBy) return undefined
    return {
      cursor: session.tell(),
      confirm: (verdicts: readonly SessionVerdict[]): 'attached' | 'behind' | 'outdated' => {
        const isCurrent = () => this.isCurrent(session) && session.wantedBy
        // Watched anew, or resumed since: the answer is about something that is over.
        if (!isCurrent() || attachments !== this.#attachments) return 'outdated'
        session.wantedBy = null
        this.takeVerdicts(undefined, verdicts)
        return isCurrent() ? 'behind' : 'attached'
      },
    }
  }

  /** Idle: what waits to be offered again does so after the next welcome. */
  override rest() {
    this.#isResting = true
    super.rest()
  }
}
