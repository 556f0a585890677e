import { ConnectionError } from './errors'
import type { Settings } from './options'
import {
  type Control,
  type Cursor,
  isObject,
  isSeq,
  isText,
  type JsonObject,
  MAX_SESSIONS_PER_RESUME,
  parseControl,
  parseJson,
  type SessionVerdict,
} from './protocol'
import type { Store } from './store'
import type { SessionNews } from './types'

/** When a message is offered to a listener that throws: at once, and again after these delays, ms. */
const REPEATS = [100, 1_000]
/** How much of a session waits behind such a message; what is beyond is dropped and fetched again. */
const MAX_WAITING = 256
const MAX_WAITING_CHARACTERS = 2_097_152
/** A hole that this many resumes in a row did not close will not be closed. */
const MAX_FRUITLESS_RESUMES = 3

export type MessageListener = (message: JsonObject) => void

type SessionMessage = JsonObject & { readonly sessionId: string; readonly seq: number; readonly prevSeq?: number }

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
  /** Not yet part of a resume: watched, or cut off, since the last one. */
  wanted: boolean
  /** The last `seq` seen behind a hole since the last resume. */
  missing: number
  /** Where the last hole was, and how many resumes in a row ended at it. */
  holeAt: number
  fruitless: number
  /** The first `seq` for which there was no room behind a waiting message; it is a hole whatever the server promises. */
  dropped: number
  /** The last `seq` that was dropped as old before the resume was judged. */
  overtook: number
  /** The server has said of this resume what became of the session. */
  judged: boolean
  waiting: Waiting | null
}

export type Inbox = ReturnType<typeof createInbox>

/**
 * The data plane: EventSource → parse → dedupe by cursor → the app's listeners → advance the cursor. It outlives every
 * stream and never crosses the machine. `store` keeps the cursors, `report` hears of errors that the line survived, `onHole` that there are
 * left-overs to resume.
 */
export function createInbox(
  { clock, dedupe, cursors }: Settings,
  store: Store | null,
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
  let signs = 0
  let events = 0
  let streams = 0
  let isResting = false
  let duplicates = 0

  /** Sessions whose cursor is to be stored. */
  const changed = new Set<string>()

  // What the app says is nearer to what it has applied.
  for (const { sessionId, lastSeq, epoch } of [...(store?.cursors() ?? []), ...cursors])
    track(sessionId, lastSeq, epoch)

  function track(sessionId: string, lastSeq: number, epoch?: string): Session {
    const session: Session = {
      sessionId,
      lastSeq,
      epoch,
      wanted: false,
      missing: 0,
      holeAt: -1,
      fruitless: 0,
      overtook: 0,
      dropped: 0,
      judged: false,
      waiting: null,
    }
    sessions.set(sessionId, session)
    keep(sessionId)
    return session
  }

  /** Once for all events of one chunk, and before the page can go away. */
  function keep(sessionId: string) {
    if (!store) return
    if (!changed.size)
      queueMicrotask(() => {
        for (const id of changed) store.putCursor(id, cursor(id))
        changed.clear()
      })
    changed.add(sessionId)
  }

  function cursor(sessionId: string): Cursor | undefined {
    const session = sessions.get(sessionId)
    return session && cursorOf(session)
  }

  function untrack(sessionId: string) {
    stopWaiting(sessions.get(sessionId))
    sessions.delete(sessionId)
    closed.add(sessionId)
    keep(sessionId)
  }

  function stopWaiting(session: Session | undefined) {
    if (!session?.waiting) return
    clock.clearTimeout(session.waiting.timer)
    session.waiting = null
  }

  function receive(data: string): Control | undefined {
    signs++
    const message = parseJson(data)
    if (!isObject(message)) return refuse(`no JSON object, but ${data.length} characters`)
    const { sessionId, seq, prevSeq = 0 } = message
    if (seq === undefined || sessionId === undefined) {
      const control = parseControl(message)
      if (!control) offer(message, listeners)
      return control
    }
    if (!isText(sessionId) || !sessionId || !isSeq(seq) || seq === 0 || !isSeq(prevSeq)) {
      return refuse(`malformed sessionId, seq or prevSeq: ${sessionId}`)
    }
    if (closed.size > 0 && closed.has(sessionId)) return undefined
    accept(sessions.get(sessionId) ?? track(sessionId, seq - 1), message as SessionMessage, data.length)
    return undefined
  }

  function refuse(why: string): undefined {
    report(new ConnectionError('bad-message', why))
  }

  /** A listener may have untracked the session, or watched it anew. */
  const isCurrent = (session: Session) => sessions.get(session.sessionId) === session

  function accept(session: Session, message: SessionMessage, characters: number) {
    events++
    const { waiting } = session
    if (waiting) {
      waiting.characters += characters
      if (waiting.later.length < MAX_WAITING && waiting.characters <= MAX_WAITING_CHARACTERS) {
        waiting.later.push([message, characters])
      } else session.dropped ||= message.seq
      return
    }
    const { sessionId, seq, epoch, prevSeq } = message
    if (isText(epoch) && epoch !== session.epoch) {
      if (session.epoch !== undefined) reset(session, seq - 1, epoch)
      session.epoch = epoch
      keep(sessionId)
      if (!isCurrent(session)) return
    }
    const { lastSeq } = session
    if (seq <= lastSeq && dedupe) {
      duplicates++
      // It may be news after all: the verdict that resets this cursor may be on its way.
      if (!session.judged) session.overtook = Math.max(session.overtook, seq)
      return
    }
    let follows = prevSeq === undefined ? !contiguous || seq <= lastSeq + 1 : prevSeq <= lastSeq
    if (session.dropped > 0) {
      if (seq > session.dropped) follows = false
      else if (seq === session.dropped) session.dropped = 0
    }
    if (!follows && !giveUpHole(session, seq)) return
    const failed = offer(message, listeners)
    if (!isCurrent(session)) return
    if (failed.length) {
      session.waiting = { message, later: [], listeners: failed, repeats: 0, characters: 0 }
      wait(session, session.waiting)
    } else advance(session, seq)
  }

  function advance(session: Session, seq: number) {
    if (seq <= session.lastSeq) return
    session.lastSeq = seq
    if (store) keep(session.sessionId)
  }

  /** Returns the listeners that threw. */
  function offer(message: JsonObject, to: readonly MessageListener[]): readonly MessageListener[] {
    let failed = NONE
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
    const isNews = session.missing <= session.lastSeq
    if (isNews) {
      session.fruitless = session.holeAt === session.lastSeq ? session.fruitless + 1 : 0
      session.holeAt = session.lastSeq
      if (session.fruitless >= MAX_FRUITLESS_RESUMES) {
        reset(session, seq - 1, session.epoch)
        return isCurrent(session)
      }
    }
    session.missing = Math.max(session.missing, seq)
    if (isNews) onHole()
    return false
  }

  function wait(session: Session, waiting: Waiting) {
    waiting.repeats++
    arm(session, waiting)
  }

  function arm(session: Session, waiting: Waiting) {
    if (!isResting) waiting.timer = clock.setTimeout(() => repeat(session, waiting), REPEATS[waiting.repeats - 1] ?? 0)
  }

  function repeat(session: Session, waiting: Waiting) {
    const { message, later, repeats } = waiting
    waiting.listeners = offer(
      message,
      waiting.listeners.filter((listener) => listeners.includes(listener)),
    )
    if (session.waiting !== waiting) return
    if (waiting.listeners.length) {
      if (repeats < REPEATS.length) return wait(session, waiting)
      const which = `skipped message ${message.seq} of session ${session.sessionId}`
      report(new ConnectionError('poison-message', which))
    }
    session.waiting = null
    advance(session, message.seq)
    for (const [next, characters] of later) {
      if (isResting || !isCurrent(session)) return
      accept(session, next, characters)
    }
    if (!session.dropped) return
    session.wanted = true
    onHole()
  }

  function reset(session: Session, to: number, epoch: string | undefined) {
    const { sessionId, lastSeq: from, overtook, dropped, waiting } = session
    stopWaiting(session)
    const isBehind = overtook > to || dropped > to || waiting?.later.some(([{ seq }]) => seq > to)
    Object.assign(session, {
      lastSeq: to,
      epoch,
      wanted: session.wanted || !!isBehind,
      dropped: 0,
      missing: 0,
      overtook: 0,
      holeAt: -1,
      fruitless: 0,
      judged: true,
    })
    keep(sessionId)
    tell({ sessionId, status: 'reset', from, to })
  }

  const cursorOf = ({ sessionId, lastSeq, epoch }: Session): Cursor => ({
    sessionId,
    lastSeq,
    ...(epoch !== undefined && { epoch }),
  })

  const leftOvers = (): readonly Cursor[] =>
    [...sessions.values()]
      .filter(({ wanted, missing, lastSeq }) => wanted || missing > lastSeq)
      .slice(0, MAX_SESSIONS_PER_RESUME)
      .map(cursorOf)

  /** The server's word on the sessions of a resume; it may come with the answer, with the marker, or with both. */
  function judge(id: string | undefined, verdicts: readonly SessionVerdict[]) {
    if (id !== undefined && id !== resumeId) return
    for (const { sessionId, status, epoch, from, to } of verdicts) {
      const session = sessions.get(sessionId)
      // Watched anew since: the verdict is about another cursor then.
      if (!session || session.judged || session.wanted) continue
      if (status === 'reset') {
        reset(session, to, epoch ?? session.epoch)
        continue
      }
      session.judged = true
      if (status === 'resumed') {
        session.epoch ??= epoch
        keep(sessionId)
      } else untrack(sessionId)
      tell({ sessionId, status, from, to })
    }
  }

  return {
    /** One frame's data. Returns what is for the library. */
    receive,
    /** How many frames have come. */
    signs: () => signs,
    /** How many of them were events of a session. */
    events: () => events,
    /** Events dropped because their `seq` was not above the cursor. */
    duplicates: () => duplicates,
    listen(listener: MessageListener) {
      const own: MessageListener = (message) => listener(message)
      listeners = [...listeners, own]
      return () => {
        listeners = listeners.filter((other) => other !== own)
      }
    },
    /** A new stream: everything tracked has to be resumed on it. Returns what the first resume is to carry. */
    welcome(isContiguous: boolean): readonly Cursor[] {
      contiguous = isContiguous
      resumeId = null
      streams++
      const wasResting = isResting
      isResting = false
      for (const session of sessions.values()) {
        session.wanted = true
        if (wasResting && session.waiting) arm(session, session.waiting)
      }
      return leftOvers()
    },
    /** What arrives from now on is part of, or comes after, the replay of this resume. */
    beginResume(id: string, resumed: readonly Cursor[]) {
      resumeId = id
      for (const { sessionId } of resumed) {
        Object.assign(sessions.get(sessionId) ?? {}, { wanted: false, missing: 0, overtook: 0, judged: false })
      }
    },
    judge,
    leftOvers,
    /** False if this changes nothing: the session is tracked already, from this cursor. */
    watch(sessionId: string, after: number | undefined): boolean {
      closed.delete(sessionId)
      const known = sessions.get(sessionId)
      if (known && (after ?? known.lastSeq) === known.lastSeq) return false
      stopWaiting(known)
      track(sessionId, after ?? 0, known?.epoch).wanted = true
      return true
    },
    /** For a `watch` POST: what to post, if the session is not part of a resume yet, and what its answer confirms. */
    attachment(sessionId: string) {
      const session = sessions.get(sessionId)
      const stream = streams
      if (!session?.wanted) return undefined
      return {
        cursor: cursorOf(session),
        confirm(verdicts: readonly SessionVerdict[]) {
          // Watched anew, or resumed on another stream since: the answer is about something that is over.
          if (!isCurrent(session) || !session.wanted || stream !== streams) return false
          session.wanted = false
          judge(undefined, verdicts)
          return isCurrent(session) && session.wanted
        },
      }
    },
    unwatch: untrack,
    cursor,
    cursors: (): readonly Cursor[] => Array.from(sessions.values(), cursorOf),
    /** Idle: what waits to be offered again does so after the next welcome. */
    rest() {
      isResting = true
      for (const { waiting } of sessions.values()) clock.clearTimeout(waiting?.timer)
    },
  }
}

const NONE: readonly MessageListener[] = []
