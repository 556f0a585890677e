import { ConnectionError } from './errors'
import type { Notifier } from './notifier'
import type { Settings } from './options'
import {
  type Control,
  type Cursor,
  isObject,
  isText,
  type JsonObject,
  MAX_SESSIONS_PER_RESUME,
  malformedField,
  parseControl,
  parseJson,
  type SessionVerdict,
} from './protocol'
import type { Store } from './store'

/** When a message is offered to a listener that throws: at once, and again after these delays, ms. */
const REPEATS = [100, 1_000]
/** How much of a session waits behind such a message; what is beyond is dropped and fetched again. */
const MAX_WAITING = 256
const MAX_WAITING_CHARACTERS = 2_097_152
/** A hole that this many resumes in a row did not close will not be closed. */
const MAX_FRUITLESS_RESUMES = 3
/** A replay that repeats old events has reached the cursor by then, ms. */
const STALE_AFTER = 1_000

export type MessageListener = (message: JsonObject) => unknown

type SessionMessage = JsonObject & { readonly sessionId: string; readonly seq: number; readonly prevSeq?: number }

export interface InboxHooks {
  /** There are left-overs to resume. */
  onHole(): void
  /** An event of another epoch has reset the session. */
  onReset(): void
}

/** A message that listeners threw at, and what came after it. */
interface Waiting {
  readonly message: SessionMessage
  readonly later: [SessionMessage, characters: number][]
  /** The listeners that threw. */
  listeners: readonly MessageListener[]
  repeats: number
  characters: number
  timer?: unknown
}

interface Session {
  readonly sessionId: string
  lastSeq: number
  epoch: string | undefined
  /** The app wants it: `watch`, or a cursor that it gave. Those that the server has opened are bounded. */
  isOwn: boolean
  /** Not yet part of a resume: since the last one the app has watched it, or something of it was cut off, or reset. */
  wanted: false | 'by app' | 'by server'
  /** The last `seq` seen behind a hole since the last resume. */
  missing: number
  /** Where the last hole was, and how many resumes in a row ended at it. */
  holeAt: number
  fruitless: number
  /** The first `seq` for which there was no room behind a waiting message; it is a hole whatever the server promises. */
  dropped: number
  /** The last `seq` that was dropped as old before the resume was judged. */
  overtook: number
  /** The lowest cursor that this stream was told; -1 once there is nothing to suspect any more, or it was told. */
  asked: number
  /** How many events were dropped while the cursor stood there, all of them older. */
  stale: number
  /** The server has said of this resume what became of the session. */
  judged: boolean
  waiting: Waiting | null
}

/**
 * The data plane: EventSource → parse → dedupe by cursor → the app's listeners → advance the cursor. It outlives every
 * stream and never crosses the machine. A class, because closures in its place were 2 KiB per connection.
 */
export class Inbox {
  readonly #sessions = new Map<string, Session>()
  /** Untracked on purpose: what still arrives for them is dropped. */
  #closed: Set<string> | undefined
  #listeners: readonly MessageListener[] = NONE
  #contiguous = false
  #resumeId: string | null = null
  /** Runs while events that are older than a resume asked for are counted. */
  #staleTimer: unknown
  #signs = 0
  #events = 0
  /** How often all sessions had to be attached anew. */
  #attachments = 0
  #isResting = false
  /** Sessions that the server has opened, and whether there was no room for another one. */
  #opened = 0
  #isFull = false
  /** Sessions whose cursor is to be stored. */
  #changed: Set<string> | undefined
  readonly #settings: Settings
  readonly #store: Store | null
  readonly #notifier: Notifier
  readonly #hooks: InboxHooks

  /** `store` keeps the cursors. */
  constructor(settings: Settings, store: Store | null, notifier: Notifier, hooks: InboxHooks) {
    this.#settings = settings
    this.#store = store
    this.#notifier = notifier
    this.#hooks = hooks
    // What the app says is nearer to what it has applied.
    for (const { sessionId, lastSeq, epoch } of store?.cursors() ?? []) this.#track(sessionId, lastSeq, epoch)
    for (const { sessionId, lastSeq, epoch } of settings.cursors) this.#track(sessionId, lastSeq, epoch, true)
  }

  /** How many frames, and other signs of life, have come. */
  readonly signs = () => this.#signs
  readonly sign = () => {
    this.#signs++
  }
  /** How many of them were events of a session. */
  readonly events = () => this.#events

  /** One frame's data. Returns what is for the library. */
  receive(data: string, message = parseJson(data)): Control | undefined {
    this.#signs++
    if (!isObject(message)) return this.#refuse(`no JSON object, but ${data.length} characters`)
    const field = malformedField(message)
    // Its type and no more: a value from the wire may throw when it is made a text.
    if (field) return this.#refuse(`malformed ${field} (${typeof message[field]}): the event is dropped`)
    const { sessionId, seq } = message as Partial<SessionMessage>
    if (seq === undefined || sessionId === undefined) {
      const control = parseControl(message)
      if (!control) this.#offer(message, this.#listeners)
      return control
    }
    if (this.#closed?.has(sessionId)) return undefined
    const session = this.#sessions.get(sessionId) ?? this.#open(sessionId, seq - 1)
    if (session) this.#accept(session, message as SessionMessage, data.length)
    return undefined
  }

  /** A session that the app has not asked for, if there is room for it. */
  #open(sessionId: string, lastSeq: number): Session | undefined {
    const { maxSessions } = this.#settings.inbound
    if (this.#opened < maxSessions) return this.#track(sessionId, lastSeq)
    if (!this.#isFull) {
      const why = `events of new sessions like ${sessionId} are dropped: watch() it, or raise inbound.maxSessions`
      this.#notifier.report(new ConnectionError('too-many-sessions', why))
    }
    this.#isFull = true
    return undefined
  }

  #refuse(why: string): undefined {
    this.#notifier.report(new ConnectionError('bad-message', why))
  }

  #track(sessionId: string, lastSeq: number, epoch?: string, isOwn = false): Session {
    this.#leave(sessionId)
    if (!isOwn) this.#opened++
    const session: Session = {
      sessionId,
      lastSeq,
      epoch,
      isOwn,
      wanted: false,
      missing: 0,
      holeAt: -1,
      fruitless: 0,
      overtook: 0,
      dropped: 0,
      asked: Infinity,
      stale: 0,
      judged: false,
      waiting: null,
    }
    this.#sessions.set(sessionId, session)
    this.#keep(sessionId)
    return session
  }

  /** Makes room, if it was the server that opened it. */
  #leave(sessionId: string) {
    if (this.#sessions.get(sessionId)?.isOwn !== false) return
    this.#opened--
    this.#isFull = false
  }

  /** Once for all events of one chunk, and before the page can go away. */
  #keep(sessionId: string) {
    const store = this.#store
    if (!store) return
    if (!this.#changed) {
      const changed = new Set<string>()
      this.#changed = changed
      queueMicrotask(() => {
        this.#changed = undefined
        for (const id of changed) store.putCursor(id, this.cursor(id))
      })
    }
    this.#changed.add(sessionId)
  }

  #stopWaiting(session: Session | undefined) {
    if (!session?.waiting) return
    this.#settings.clock.clearTimeout(session.waiting.timer)
    session.waiting = null
  }

  /** A listener may have untracked the session, or watched it anew. */
  #isCurrent(session: Session) {
    return this.#sessions.get(session.sessionId) === session
  }

  #accept(session: Session, message: SessionMessage, characters: number) {
    this.#events++
    const { waiting } = session
    if (waiting) return this.#queue(session, waiting, message, characters)
    const { sessionId, seq, epoch, prevSeq } = message
    if (isText(epoch) && epoch !== session.epoch) {
      if (session.epoch !== undefined) {
        this.#reset(session, seq - 1, epoch)
        this.#hooks.onReset()
      }
      session.epoch = epoch
      this.#keep(sessionId)
      if (!this.#isCurrent(session)) return
    }
    const { lastSeq } = session
    if (seq <= lastSeq && this.#settings.dedupe) {
      // It may be news after all: the verdict that resets this cursor may be on its way.
      if (!session.judged) session.overtook = Math.max(session.overtook, seq)
      if (lastSeq === session.asked) this.#suspect(session, seq)
      return
    }
    let follows = prevSeq === undefined ? !this.#contiguous || seq <= lastSeq + 1 : prevSeq <= lastSeq
    if (session.dropped > 0) {
      if (seq > session.dropped) follows = false
      else if (seq === session.dropped) session.dropped = 0
    }
    if (!follows && !this.#giveUpHole(session, seq)) return
    const failed = this.#offer(message, this.#listeners)
    if (!this.#isCurrent(session)) return
    if (failed.length) {
      session.waiting = { message, later: [], listeners: failed, repeats: 0, characters: 0 }
      this.#arm(session, session.waiting)
    } else this.#advance(session, seq)
  }

  /**
   * An event that the resume did not ask for. A server may repeat its whole log, and so gets to the cursor; one whose log has
   * started over does not, and what it sends until then is lost.
   */
  #suspect(session: Session, seq: number) {
    if (seq === session.asked) session.asked = -1
    else session.stale++
    this.#staleTimer ??= this.#settings.clock.setTimeout(() => {
      this.#staleTimer = undefined
      for (const session of this.#sessions.values()) {
        const { sessionId, stale, asked, lastSeq } = session
        if (!stale || asked !== lastSeq) continue
        session.asked = -1
        const why = `${stale} events of session ${sessionId} were older than its cursor ${lastSeq}: a new log needs a new epoch`
        this.#notifier.report(new ConnectionError('stale-events', why))
      }
    }, STALE_AFTER)
  }

  /** Behind a message that waits. A replay brings again what stands there already; it must not take the room of what is new. */
  #queue(session: Session, waiting: Waiting, message: SessionMessage, characters: number) {
    const [newest] = waiting.later.at(-1) ?? [waiting.message]
    const isOld = message.seq <= newest.seq && message.epoch === newest.epoch
    if (isOld && this.#settings.dedupe) return
    waiting.characters += characters
    if (waiting.later.length < MAX_WAITING && waiting.characters <= MAX_WAITING_CHARACTERS) {
      waiting.later.push([message, characters])
      // In hand again: the next one without room is another hole.
      if (message.seq === session.dropped) session.dropped = 0
    } else if (!isOld) session.dropped ||= message.seq
  }

  #advance(session: Session, seq: number) {
    if (seq <= session.lastSeq) return
    session.lastSeq = seq
    if (this.#store) this.#keep(session.sessionId)
  }

  /** Returns the listeners that threw. */
  #offer(message: JsonObject, to: readonly MessageListener[]): readonly MessageListener[] {
    let failed = NONE
    for (const listener of to) {
      // Another one may have unsubscribed it.
      if (!this.#listeners.includes(listener)) continue
      if (!this.#notifier.call('message', listener, message)) failed = [...failed, listener]
    }
    return failed
  }

  /** Nothing is delivered over a hole, unless the server has had its chances to fill it. */
  #giveUpHole(session: Session, seq: number): boolean {
    const isNews = session.missing <= session.lastSeq
    if (isNews) {
      session.fruitless = session.holeAt === session.lastSeq ? session.fruitless + 1 : 0
      session.holeAt = session.lastSeq
      if (session.fruitless >= MAX_FRUITLESS_RESUMES) {
        this.#reset(session, seq - 1, session.epoch)
        return this.#isCurrent(session)
      }
    }
    session.missing = Math.max(session.missing, seq)
    if (isNews) this.#hooks.onHole()
    return false
  }

  #arm(session: Session, waiting: Waiting) {
    if (this.#isResting) return
    const delay = REPEATS[waiting.repeats] ?? 0
    waiting.timer = this.#settings.clock.setTimeout(() => this.#repeat(session, waiting), delay)
  }

  #repeat(session: Session, waiting: Waiting) {
    const { message, later } = waiting
    waiting.listeners = this.#offer(message, waiting.listeners)
    if (session.waiting !== waiting) return
    if (waiting.listeners.length) {
      if (++waiting.repeats < REPEATS.length) return this.#arm(session, waiting)
      const which = `skipped message ${message.seq} of session ${session.sessionId}`
      this.#notifier.report(new ConnectionError('poison-message', which))
    }
    session.waiting = null
    this.#advance(session, message.seq)
    for (const [next, characters] of later) {
      if (this.#isResting || !this.#isCurrent(session)) return
      this.#accept(session, next, characters)
    }
    if (!session.dropped) return
    session.wanted = 'by app'
    this.#hooks.onHole()
  }

  #reset(session: Session, to: number, epoch: string | undefined) {
    const { sessionId, lastSeq: from, overtook, dropped, waiting } = session
    this.#stopWaiting(session)
    const isBehind = overtook > to || dropped > to || waiting?.later.some(([{ seq }]) => seq > to)
    Object.assign(session, {
      lastSeq: to,
      epoch,
      wanted: isBehind ? 'by server' : session.wanted,
      dropped: 0,
      missing: 0,
      overtook: 0,
      holeAt: -1,
      fruitless: 0,
      judged: true,
    })
    this.#keep(sessionId)
    this.#notifier.tell('session', { sessionId, status: 'reset', from, to })
  }

  leftOvers(): readonly Cursor[] {
    return [...this.#sessions.values()]
      .filter(({ wanted, missing, lastSeq }) => wanted || missing > lastSeq)
      .slice(0, MAX_SESSIONS_PER_RESUME)
      .map(cursorOf)
  }

  /** Whether the server has made one of them necessary. */
  hasHole(): boolean {
    for (const { wanted, missing, lastSeq } of this.#sessions.values())
      if (wanted === 'by server' || (!wanted && missing > lastSeq)) return true
    return false
  }

  /** The server's word on the sessions of a resume; it may come with the answer, with the marker, or with both. */
  judge(id: string | undefined, verdicts: readonly SessionVerdict[]) {
    if (id !== undefined && id !== this.#resumeId) return
    for (const { sessionId, status, epoch, from, to } of verdicts) {
      const session = this.#sessions.get(sessionId)
      // Watched anew since: the verdict is about another cursor then.
      if (!session || session.judged || session.wanted) continue
      if (status === 'reset') {
        this.#reset(session, to, epoch)
        continue
      }
      session.judged = true
      if (status === 'resumed') {
        session.epoch ??= epoch
        this.#keep(sessionId)
      } else this.unwatch(sessionId)
      this.#notifier.tell('session', { sessionId, status, from, to })
    }
  }

  listen(listener: MessageListener): () => void {
    const own: MessageListener = (message) => listener(message)
    this.#listeners = [...this.#listeners, own]
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== own)
    }
  }

  /** A new stream: everything tracked has to be resumed on it. Returns what the first resume is to carry. */
  welcome(isContiguous: boolean): readonly Cursor[] {
    this.#contiguous = isContiguous
    this.#resumeId = null
    const wasResting = this.#isResting
    this.#isResting = false
    for (const session of this.#sessions.values()) {
      session.asked = Infinity
      session.stale = 0
      if (wasResting && session.waiting) this.#arm(session, session.waiting)
    }
    return this.letGo()
  }

  /** None is attached any more, as far as is known, whatever is still answered. Returns what the next resume is to carry. */
  letGo(): readonly Cursor[] {
    this.#attachments++
    for (const session of this.#sessions.values()) session.wanted ||= 'by app'
    return this.leftOvers()
  }

  /**
   * What arrives from now on is part of, or comes after, the replay of this resume. Returns the cursors as they are now:
   * the app may have watched a session anew since they were told.
   */
  beginResume(id: string, told: readonly Cursor[]): readonly Cursor[] {
    this.#resumeId = id
    return told.map((cursor) => {
      const session = this.#sessions.get(cursor.sessionId)
      if (!session) return cursor
      const asked = Math.min(session.asked, session.lastSeq)
      Object.assign(session, { wanted: false, missing: 0, overtook: 0, judged: false, asked })
      return cursorOf(session)
    })
  }

  /** Whether the session is tracked, and was taken for attached: then the next resume takes it along. */
  want(sessionId: string): boolean {
    const session = this.#sessions.get(sessionId)
    if (!session || session.wanted) return false
    session.wanted = 'by app'
    return true
  }

  /** False if this changes nothing: the session is tracked already, from this cursor. */
  watch(sessionId: string, after: number | undefined): boolean {
    this.#closed?.delete(sessionId)
    const known = this.#sessions.get(sessionId)
    if (known && (after ?? known.lastSeq) === known.lastSeq) {
      this.#leave(sessionId)
      known.isOwn = true
      return false
    }
    this.#stopWaiting(known)
    this.#track(sessionId, after ?? 0, known?.epoch, true).wanted = 'by app'
    return true
  }

  /** For a `watch` POST: what to post, if the session is not part of a resume yet, and what its answer confirms. */
  attachment(sessionId: string) {
    const session = this.#sessions.get(sessionId)
    const attachments = this.#attachments
    if (!session?.wanted) return undefined
    session.asked = Math.min(session.asked, session.lastSeq)
    return {
      cursor: cursorOf(session),
      confirm: (verdicts: readonly SessionVerdict[]) => {
        // Watched anew, or resumed since: the answer is about something that is over.
        if (!this.#isCurrent(session) || !session.wanted || attachments !== this.#attachments) return false
        session.wanted = false
        this.judge(undefined, verdicts)
        return this.#isCurrent(session) && session.wanted
      },
    }
  }

  unwatch(sessionId: string) {
    this.forget(sessionId)
    this.#closed ??= new Set()
    const { size } = this.#closed.add(sessionId)
    // A server may close what it has opened, over and over.
    for (const oldest of this.#closed) if (size > this.#settings.inbound.maxSessions) return this.#closed.delete(oldest)
  }

  /** As if it had never been tracked: its next event tracks it anew. */
  forget(sessionId: string) {
    this.#closed?.delete(sessionId)
    this.#stopWaiting(this.#sessions.get(sessionId))
    this.#leave(sessionId)
    this.#sessions.delete(sessionId)
    this.#keep(sessionId)
  }

  /** The app has it up to here from elsewhere. Nothing is asked of the server before the next resume. */
  skip(sessionId: string, seq: number) {
    this.#closed?.delete(sessionId)
    this.#advance(this.#sessions.get(sessionId) ?? this.#track(sessionId, seq, undefined, true), seq)
  }

  cursor(sessionId: string): Cursor | undefined {
    const session = this.#sessions.get(sessionId)
    return session && cursorOf(session)
  }

  cursors(): readonly Cursor[] {
    return Array.from(this.#sessions.values(), cursorOf)
  }

  /** Idle: what waits to be offered again does so after the next welcome. */
  rest() {
    this.#isResting = true
    this.#settings.clock.clearTimeout(this.#staleTimer)
    this.#staleTimer = undefined
    for (const { waiting } of this.#sessions.values()) this.#settings.clock.clearTimeout(waiting?.timer)
  }
}

const NONE: readonly MessageListener[] = []

const cursorOf = ({ sessionId, lastSeq, epoch }: Session): Cursor => ({
  sessionId,
  lastSeq,
  ...(epoch !== undefined && { epoch }),
})
