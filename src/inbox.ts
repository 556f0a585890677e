import { ConnectionError } from './errors'
import type { Settings } from './options'
import {
  type Control,
  type Cursor,
  isObject,
  isSeq,
  type JsonObject,
  parseControl,
  type SessionVerdict,
} from './protocol'
import type { SessionNews } from './types'

/** When a message is offered to a listener that throws: at once, and again after these delays, ms. */
const REPEATS = [100, 1_000]
/** How much of a session waits behind such a message; what is beyond is dropped and fetched again. */
const MAX_WAITING = { messages: 256, characters: 2 * 1024 * 1024 }
/** More sessions than this are resumed in turns, behind the same barrier. */
const MAX_SESSIONS_PER_RESUME = 100
/** A hole that this many resumes in a row did not close will not be closed. */
const MAX_FRUITLESS_RESUMES = 3

export type MessageListener = (message: JsonObject) => void

interface Waiting {
  readonly message: JsonObject
  listeners: readonly MessageListener[]
  throws: number
  readonly later: { readonly message: JsonObject; readonly characters: number }[]
  characters: number
  /** Something behind it was dropped. */
  overflowed: boolean
  timer: unknown
}

interface Session {
  readonly sessionId: string
  lastSeq: number
  epoch: string | undefined
  /** Not yet part of a resume: watched, or cut off, since the last one. */
  wanted: boolean
  /** The last `seq` seen behind a hole since the last resume. */
  missing: number
  /** Where the last hole was, and how many resumes in a row ended at it. */
  holeAt: number
  fruitless: number
  judgedBy: string | null
  waiting: Waiting | null
}

export type Inbox = ReturnType<typeof createInbox>

/**
 * The data plane: EventSource → parse → dedupe by cursor → the app's listeners → advance the cursor. It outlives every
 * stream and never crosses the machine. `report` hears of errors that the line survived, `onHole` that there are
 * left-overs to resume.
 */
export function createInbox(
  { clock, dedupe, cursors }: Settings,
  report: (error: ConnectionError) => void,
  tell: (news: SessionNews) => void,
  onHole: () => void,
) {
  const sessions = new Map<string, Session>()
  /** Untracked on purpose: what still arrives for them is dropped. */
  const closed = new Set<string>()
  let listeners: readonly MessageListener[] = []
  let contiguous = false
  let resumeId: string | null = null
  let lastSign = 0
  let duplicates = 0

  for (const { sessionId, lastSeq, epoch } of cursors) track(sessionId, lastSeq, epoch)

  function track(sessionId: string, lastSeq: number, epoch: string | undefined): Session {
    const session: Session = {
      sessionId,
      lastSeq,
      epoch,
      wanted: false,
      missing: 0,
      holeAt: -1,
      fruitless: 0,
      judgedBy: null,
      waiting: null,
    }
    sessions.set(sessionId, session)
    return session
  }

  function untrack(sessionId: string) {
    const session = sessions.get(sessionId)
    if (session) stopWaiting(session)
    sessions.delete(sessionId)
    closed.add(sessionId)
  }

  function stopWaiting(session: Session) {
    if (session.waiting) clock.clearTimeout(session.waiting.timer)
    session.waiting = null
  }

  function refuse(why: string, cause?: unknown): undefined {
    report(new ConnectionError('bad-message', why, { cause }))
  }

  function receive(data: string): Control | undefined {
    lastSign = clock.now()
    let message: unknown
    try {
      message = JSON.parse(data)
    } catch (cause) {
      return refuse(`a frame is not JSON (${data.length} characters)`, cause)
    }
    if (!isObject(message)) return refuse('a frame is not a JSON object')
    const { sessionId, seq } = message
    if (seq === undefined || sessionId === undefined) {
      const control = parseControl(message)
      if (control) return control
      offer(message, listeners)
      return undefined
    }
    if (typeof sessionId !== 'string' || sessionId === '') return refuse('a frame has a malformed sessionId')
    if (!isSeq(seq)) return refuse(`a frame of session ${sessionId} has a malformed seq`)
    if (message.prevSeq !== undefined && !isSeq(message.prevSeq))
      return refuse(`a frame of session ${sessionId} has a malformed prevSeq`)
    if (closed.has(sessionId)) return undefined
    const session = sessions.get(sessionId) ?? track(sessionId, seq - 1, undefined)
    if (session.waiting) queue(session.waiting, message, data.length)
    else accept(session, message, seq)
    return undefined
  }

  function accept(session: Session, message: JsonObject, seq: number) {
    const { epoch, prevSeq } = message
    if (typeof epoch === 'string' && epoch !== session.epoch) {
      if (session.epoch !== undefined) reset(session, seq - 1, epoch)
      session.epoch = epoch
    }
    if (seq <= session.lastSeq && dedupe) {
      duplicates++
      return
    }
    const follows = typeof prevSeq === 'number' ? prevSeq <= session.lastSeq : !contiguous || seq <= session.lastSeq + 1
    if (!follows && !giveUpHole(session, seq)) return
    const failed = offer(message, listeners)
    if (failed.length === 0) advance(session, seq)
    else wait(session, message, failed)
  }

  function advance(session: Session, seq: number) {
    if (seq > session.lastSeq) session.lastSeq = seq
  }

  /** Returns the listeners that threw. */
  function offer(message: JsonObject, to: readonly MessageListener[]): readonly MessageListener[] {
    let failed: MessageListener[] = NONE
    for (const listener of to) {
      try {
        listener(message)
      } catch (cause) {
        failed = [...failed, listener]
        report(new ConnectionError('listener-failed', 'a message listener threw', { cause }))
      }
    }
    return failed
  }

  /** Nothing is delivered over a hole, unless the server has had its chances to fill it. */
  function giveUpHole(session: Session, seq: number): boolean {
    if (session.missing === 0) {
      session.fruitless = session.holeAt === session.lastSeq ? session.fruitless + 1 : 0
      session.holeAt = session.lastSeq
      if (session.fruitless >= MAX_FRUITLESS_RESUMES) {
        reset(session, seq - 1, session.epoch)
        return true
      }
    }
    const isNews = session.missing === 0
    session.missing = Math.max(session.missing, seq)
    if (isNews) onHole()
    return false
  }

  function wait(session: Session, message: JsonObject, failed: readonly MessageListener[]) {
    session.waiting = {
      message,
      listeners: failed,
      throws: 1,
      later: [],
      characters: 0,
      overflowed: false,
      timer: undefined,
    }
    repeatLater(session, session.waiting)
  }

  function repeatLater(session: Session, waiting: Waiting) {
    waiting.timer = clock.setTimeout(() => repeat(session, waiting), REPEATS[waiting.throws - 1] ?? 0)
  }

  function repeat(session: Session, waiting: Waiting) {
    waiting.listeners = offer(
      waiting.message,
      waiting.listeners.filter((listener) => listeners.includes(listener)),
    )
    // A listener may have untracked the session, or disconnected.
    if (session.waiting !== waiting) return
    if (waiting.listeners.length > 0) {
      waiting.throws++
      if (waiting.throws <= REPEATS.length) return repeatLater(session, waiting)
      report(
        new ConnectionError(
          'poison-message',
          `message ${waiting.message.seq} of session ${session.sessionId} was skipped: a listener threw ${waiting.throws} times`,
        ),
      )
    }
    session.waiting = null
    advance(session, waiting.message.seq as number)
    for (const { message, characters } of waiting.later) {
      if (sessions.get(session.sessionId) !== session) return
      if (session.waiting) queue(session.waiting, message, characters)
      else accept(session, message, message.seq as number)
    }
    if (waiting.overflowed) {
      session.wanted = true
      onHole()
    }
  }

  function queue(waiting: Waiting, message: JsonObject, characters: number) {
    waiting.characters += characters
    if (waiting.later.length < MAX_WAITING.messages && waiting.characters <= MAX_WAITING.characters) {
      waiting.later.push({ message, characters })
    } else waiting.overflowed = true
  }

  function reset(session: Session, to: number, epoch: string | undefined) {
    const from = session.lastSeq
    stopWaiting(session)
    Object.assign(session, { lastSeq: to, epoch, missing: 0, holeAt: -1, fruitless: 0, judgedBy: resumeId })
    tell({ sessionId: session.sessionId, status: 'reset', from, to })
  }

  function apply(session: Session, { sessionId, status, epoch, from, to }: SessionVerdict) {
    if (status === 'reset') return reset(session, to, epoch ?? session.epoch)
    session.judgedBy = resumeId
    if (status === 'resumed') session.epoch ??= epoch
    else untrack(sessionId)
    tell({ sessionId, status, from, to })
  }

  const cursorOf = ({ sessionId, lastSeq, epoch }: Session): Cursor =>
    epoch === undefined ? { sessionId, lastSeq } : { sessionId, lastSeq, epoch }

  function leftOvers(): readonly Cursor[] {
    const found: Cursor[] = []
    for (const session of sessions.values()) {
      if (found.length === MAX_SESSIONS_PER_RESUME) break
      if (session.wanted || session.missing > session.lastSeq) found.push(cursorOf(session))
    }
    return found
  }

  return {
    /** One frame's data. Returns what is for the library. */
    receive,
    /** Time of the last frame, ms. */
    lastSign: () => lastSign,
    /** Events dropped because their `seq` was not above the cursor. */
    duplicates: () => duplicates,
    listen(listener: MessageListener) {
      listeners = [...listeners, listener]
      return () => {
        listeners = listeners.filter((other) => other !== listener)
      }
    },
    /** A new stream: everything tracked has to be resumed on it. Returns what the first resume is to carry. */
    welcome(isContiguous: boolean): readonly Cursor[] {
      contiguous = isContiguous
      resumeId = null
      lastSign = clock.now()
      for (const session of sessions.values()) session.wanted = true
      return leftOvers()
    },
    /** What arrives from now on is part of, or comes after, the replay of this resume. */
    beginResume(id: string, resumed: readonly Cursor[]) {
      resumeId = id
      for (const { sessionId } of resumed) {
        const session = sessions.get(sessionId)
        if (session) Object.assign(session, { wanted: false, missing: 0, judgedBy: null })
      }
    },
    /** The server's word on the sessions of a resume; it may come with the answer, with the marker, or with both. */
    judge(id: string | undefined, verdicts: readonly SessionVerdict[]) {
      if (id !== undefined && id !== resumeId) return
      for (const verdict of verdicts) {
        const session = sessions.get(verdict.sessionId)
        // Not if it was watched anew since: the verdict is about another cursor then.
        if (session && !session.wanted && (resumeId === null || session.judgedBy !== resumeId)) apply(session, verdict)
      }
    },
    leftOvers,
    /** False if this changes nothing: the session is tracked already, from this cursor. */
    watch(sessionId: string, after: number | undefined): boolean {
      closed.delete(sessionId)
      const known = sessions.get(sessionId)
      if (known && (after === undefined || after === known.lastSeq)) return false
      if (known) stopWaiting(known)
      track(sessionId, after ?? 0, known?.epoch).wanted = true
      return true
    },
    /** Tracked, and not part of a resume yet. */
    wants: (sessionId: string) => sessions.get(sessionId)?.wanted ?? false,
    /** A `watch` POST of its own has attached the session to the stream. */
    attached(sessionId: string, verdicts: readonly SessionVerdict[]) {
      const session = sessions.get(sessionId)
      if (!session) return
      session.wanted = false
      for (const verdict of verdicts) if (verdict.sessionId === sessionId) apply(session, verdict)
    },
    unwatch: untrack,
    cursor(sessionId: string): Cursor | undefined {
      const session = sessions.get(sessionId)
      return session && cursorOf(session)
    },
    cursors: (): readonly Cursor[] => Array.from(sessions.values(), cursorOf),
    /** Idle: what waited to be offered again will be replayed by the server. */
    rest() {
      for (const session of sessions.values()) stopWaiting(session)
    },
  }
}

const NONE: MessageListener[] = []
