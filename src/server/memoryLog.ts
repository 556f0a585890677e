import { checkMethods, checkNames, checkNumber } from './check'
import { CommandRejected } from './commands'
import type { LogEntry, Once, SessionEvent, SessionHead, SessionLog } from './sessionLog'

export interface MemoryLogOptions {
  /** Events kept per session; the oldest are dropped first. Default: 10,000. */
  readonly maxEvents?: number
  /**
   * How long an event is kept, ms. Default: 3,600,000 (1 h). A session whose events are all older than that, and that no
   * stream is attached to, is forgotten with its numbering: it starts again at 1 in another epoch, and a client that
   * comes back with a cursor of the old one is told `reset`. `Infinity` keeps every session for ever.
   */
  readonly maxAge?: number
  /** Default: the wall clock. */
  readonly clock?: { now(): number }
}

interface Session {
  readonly epoch: string
  readonly entries: Map<number, LogEntry & { readonly at: number; readonly once: Once | undefined }>
  /** The entries that were appended with `once`, by its id; as long as they are kept. */
  readonly once: Map<string, LogEntry & { readonly once: Once }>
  readonly listeners: Set<() => void>
  first: number
  head: number
  /** When it was opened or last appended to. */
  usedAt: number
}

/**
 * A `SessionLog` in the memory of this process. Reading costs O(limit), appending O(1); there are no timers: what is
 * too old goes when the log is used the next time.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function memoryLog(options: MemoryLogOptions = {}): SessionLog {
  checkNames('memoryLog', options, ['maxEvents', 'maxAge', 'clock'])
  const { maxEvents = 10_000, maxAge = 3_600_000, clock = Date } = options
  if (maxEvents !== Infinity) checkNumber('maxEvents', maxEvents, { integer: true })
  if (maxAge !== Infinity) checkNumber('maxAge', maxAge)
  checkMethods('clock', clock, ['now'])

  /** The least recently used first, so that what is to be forgotten stands in front. */
  const sessions = new Map<string, Session>()

  function open(sessionId: string, now: number): Session {
    forgetIdle(now)
    const known = sessions.get(sessionId)
    if (known) return known
    const session = {
      epoch: crypto.randomUUID(),
      entries: new Map(),
      once: new Map(),
      listeners: new Set<() => void>(),
      first: 1,
      head: 0,
      usedAt: now,
    }
    sessions.set(sessionId, session)
    return session
  }

  function markUsed(sessionId: string, session: Session, now: number) {
    session.usedAt = now
    sessions.delete(sessionId)
    sessions.set(sessionId, session)
  }

  function forgetIdle(now: number) {
    for (const [sessionId, session] of sessions) {
      if (session.usedAt + maxAge > now) return
      if (session.listeners.size === 0) {
        sessions.delete(sessionId)
      } else {
        trim(session, now)
        markUsed(sessionId, session, now)
      }
    }
  }

  function trim(session: Session, now: number) {
    const oldest = Math.max(session.first, session.head - maxEvents + 1)
    while (session.first <= session.head) {
      const { at = 0, once } = session.entries.get(session.first) ?? {}
      if (session.first >= oldest && at + maxAge > now) return
      session.entries.delete(session.first)
      if (once) session.once.delete(once.id)
      session.first += 1
    }
  }

  return {
    append(sessionId: string, event: SessionEvent, once?: Once) {
      const now = clock.now()
      const session = open(sessionId, now)
      const known = once && session.once.get(once.id)
      if (known && known.once.fingerprint !== once.fingerprint) throw new CommandRejected(409, 'id-reused')
      if (known) return known
      session.head += 1
      const entry = { sessionId, seq: session.head, epoch: session.epoch, event, at: now, once }
      session.entries.set(entry.seq, entry)
      if (once) session.once.set(once.id, { ...entry, once })
      markUsed(sessionId, session, now)
      trim(session, now)
      for (const listener of session.listeners) listener()
      return entry
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
      const session = open(sessionId, now)
      trim(session, now)
      return { epoch: session.epoch, first: session.first, head: session.head }
    },

    subscribe(sessionId: string, listener: () => void) {
      // A wrapper of its own, so that subscribing one function twice gives two subscriptions.
      const notify = () => listener()
      const { listeners } = open(sessionId, clock.now())
      listeners.add(notify)
      return () => void listeners.delete(notify)
    },
  }
}
