import { checkMethods, checkNames, checkNumber } from '../check'
import { CommandRejected } from '../errors'
import type { LogEntry, Once, SessionEvent, SessionHead, SessionLog } from './sessionLog'
import { StoredEntry, textOf } from './storedEntry'

export interface MemoryLogOptions {
  /** Events kept per session; the oldest are dropped first. Default: 10,000. */
  readonly maxEvents?: number
  /**
   * How long an event is kept, ms. Default: 3,600,000 (1 h). A session whose events are all older than that, and that no
   * stream is attached to, is forgotten with its numbering: it starts again at 1 in another epoch, and a client that
   * comes back with a cursor of the old one is told `reset`. `Infinity` keeps every session for ever.
   */
  readonly maxAge?: number
  /**
   * Memory for all sessions together, bytes; each session and each event counts a few hundred beside its text. Beyond, sessions that
   * no stream is attached to give way, the longest unused first; then, of the others, the biggest. Each loses its oldest events
   * first, then its numbering, and who lacks something is told `reset`. Default: 67,108,864 (64 MiB).
   */
  readonly maxBytes?: number
  /**
   * Memory for one session, bytes; its oldest events are dropped first. An event that is larger alone is refused with a
   * TypeError. Default: an eighth of `maxBytes` (8 MiB).
   */
  readonly maxSessionBytes?: number
  /** Default: the wall clock. */
  readonly clock?: { now(): number }
}

/** About what V8 takes for a session, for an event beside its text, and for the id of one that is appended once, bytes. */
const SESSION_BYTES = 1_024
const EVENT_BYTES = 192
const ONCE_BYTES = 128

class KeptEntry extends StoredEntry {
  constructor(
    { id, epoch, head }: Session,
    json: string,
    readonly at: number,
    readonly bytes: number,
    readonly once: Once | undefined,
  ) {
    super(id, head, epoch, json)
  }
}

interface Session {
  readonly id: string
  readonly epoch: string
  readonly entries: Map<number, KeptEntry>
  /** The `seq` of the events that were appended with `once`, by its id; as long as they are kept. */
  readonly once: Map<string, number>
  first: number
  head: number
  bytes: number
  /** When it was last appended to or followed. */
  usedAt: number
  shelf: Set<Session>
}

/**
 * A `SessionLog` in the memory of this process. Reading costs O(limit), appending O(1); there are no timers: what is
 * too old goes when the log is used the next time.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function memoryLog(options: MemoryLogOptions = {}): SessionLog {
  const { maxEvents, maxAge, maxBytes, maxSessionBytes, clock } = resolve(options)
  const sessions = new Map<string, Session>()
  /** Of whoever follows a session, which need not exist. */
  const listeners = new Map<string, Set<() => void>>()
  /** Sessions that nobody follows, the longest unused first. */
  const idle = new Set<Session>()
  /** The others by size: each shelf begins at four times the size of the one before. The longest unused first here too. */
  const followed = Array.from({ length: 27 }, () => new Set<Session>())
  const byNeed = [idle, ...followed.toReversed()]
  let bytes = 0

  function open(id: string, now: number): Session {
    const session: Session = {
      id,
      epoch: crypto.randomUUID(),
      entries: new Map(),
      once: new Map(),
      first: 1,
      head: 0,
      bytes: SESSION_BYTES,
      usedAt: now,
      shelf: idle,
    }
    sessions.set(id, session)
    bytes += SESSION_BYTES
    return session
  }

  function shelfOf(session: Session): Set<Session> {
    const size = Math.floor(Math.log2(session.bytes) / 2)
    return (listeners.has(session.id) && followed[size]) || idle
  }

  function putOn(shelf: Set<Session>, session: Session) {
    session.shelf.delete(session)
    session.shelf = shelf.add(session)
  }

  function markUsed(session: Session, now: number) {
    session.usedAt = now
    putOn(shelfOf(session), session)
  }

  /** Unused as long as before, but of another size, or followed by somebody. */
  function sort(session: Session) {
    const shelf = shelfOf(session)
    if (shelf !== session.shelf) putOn(shelf, session)
  }

  function forget(session: Session) {
    sessions.delete(session.id)
    session.shelf.delete(session)
    bytes -= session.bytes
  }

  function keep(session: Session, entry: KeptEntry) {
    session.entries.set(entry.seq, entry)
    if (entry.once) session.once.set(entry.once.id, entry.seq)
    session.bytes += entry.bytes
    bytes += entry.bytes
  }

  function dropOldest(session: Session) {
    const entry = session.entries.get(session.first)
    session.entries.delete(session.first)
    session.first += 1
    if (!entry) return
    if (entry.once) session.once.delete(entry.once.id)
    session.bytes -= entry.bytes
    bytes -= entry.bytes
  }

  function trim(session: Session, now: number) {
    const { head } = session
    while (session.first <= head) {
      const { at = 0 } = session.entries.get(session.first) ?? {}
      const isWithin = head - session.first < maxEvents && session.bytes <= maxSessionBytes
      if (isWithin && at + maxAge > now) break
      dropOldest(session)
    }
    sort(session)
  }

  function forgetOld(now: number) {
    for (const session of idle) {
      if (session.usedAt + maxAge > now) break
      forget(session)
    }
    for (const shelf of followed) {
      for (const session of shelf) {
        if (session.usedAt + maxAge > now) break
        trim(session, now)
        markUsed(session, now)
      }
    }
  }

  /** Who gives way next. The one that needs the room keeps its newest event. */
  function victimFor(needy: Session): Session | undefined {
    const canGive = (session: Session) => session !== needy || session.first < session.head
    for (const shelf of byNeed) for (const session of shelf) if (canGive(session)) return session
    return undefined
  }

  function makeRoom(needy: Session) {
    while (bytes > maxBytes) {
      const victim = victimFor(needy)
      if (!victim) return
      if (victim.first > victim.head) forget(victim)
      else {
        dropOldest(victim)
        sort(victim)
      }
    }
  }

  return {
    append(sessionId: string, event: SessionEvent, once?: Once, text?: string): LogEntry {
      const now = clock.now()
      forgetOld(now)
      const json = textOf(event, text)
      const size = EVENT_BYTES + bytesOf(json) + (once ? ONCE_BYTES + once.id.length + once.fingerprint.length : 0)
      if (SESSION_BYTES + size > maxSessionBytes) {
        throw new TypeError(
          `memoryLog: this event takes ${size} bytes, and a session has ${maxSessionBytes} ('maxSessionBytes')`,
        )
      }
      const known = sessions.get(sessionId)
      const seq = once && known?.once.get(once.id)
      const session = known ?? open(sessionId, now)
      if (once && seq !== undefined) {
        if (session.entries.get(seq)?.once?.fingerprint !== once.fingerprint)
          throw new CommandRejected(409, 'id-reused')
        return { sessionId, seq, epoch: session.epoch, event }
      }
      session.head += 1
      keep(session, new KeptEntry(session, json, now, size, once))
      trim(session, now)
      markUsed(session, now)
      makeRoom(session)
      for (const listener of listeners.get(sessionId) ?? []) listener()
      return { sessionId, seq: session.head, epoch: session.epoch, event }
    },

    read(sessionId: string, after: number, limit: number) {
      const session = sessions.get(sessionId)
      if (!session) return []
      trim(session, clock.now())
      const entries: LogEntry[] = []
      for (let seq = Math.max(after + 1, session.first); seq <= session.head && entries.length < limit; seq += 1) {
        const entry = session.entries.get(seq)
        if (entry) entries.push(entry)
      }
      return entries
    },

    head(sessionId: string): SessionHead {
      const now = clock.now()
      forgetOld(now)
      const session = sessions.get(sessionId)
      if (!session) return { epoch: '', first: 1, head: 0 }
      trim(session, now)
      return { epoch: session.epoch, first: session.first, head: session.head }
    },

    subscribe(sessionId: string, listener: () => void) {
      // A wrapper of its own, so that subscribing one function twice gives two subscriptions.
      const notify = () => listener()
      const own = listeners.get(sessionId) ?? new Set()
      listeners.set(sessionId, own.add(notify))
      const session = sessions.get(sessionId)
      if (session) sort(session)
      return () => {
        if (!own.delete(notify) || own.size > 0) return
        listeners.delete(sessionId)
        const left = sessions.get(sessionId)
        if (left) markUsed(left, clock.now())
      }
    },
  }
}

function resolve(options: MemoryLogOptions) {
  checkNames('memoryLog', options, ['maxEvents', 'maxAge', 'maxBytes', 'maxSessionBytes', 'clock'])
  const { maxEvents = 10_000, maxAge = 3_600_000, maxBytes = 67_108_864, clock = Date } = options
  const { maxSessionBytes = maxBytes / 8 } = options
  if (maxEvents !== Infinity) checkNumber('maxEvents', maxEvents, { integer: true })
  if (maxAge !== Infinity) checkNumber('maxAge', maxAge)
  checkNumber('maxBytes', maxBytes, { integer: true })
  checkNumber('maxSessionBytes', maxSessionBytes, { max: maxBytes })
  checkMethods('clock', clock, ['now'])
  return { maxEvents, maxAge, maxBytes, maxSessionBytes, clock }
}

/** V8 keeps a text in one byte for each character as long as all of them are of Latin-1. */
const bytesOf = (text: string) => (/[^\0-\xff]/.test(text) ? 2 : 1) * text.length
