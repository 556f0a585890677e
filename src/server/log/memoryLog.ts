import { checkMethods, checkNames, checkNumber } from '../check'
import { CommandRejected } from '../errors'
import { MemoryRuns } from './memoryRuns'
import { MemorySession, SESSION_BYTES, weightOf } from './memorySession'
import type { LogEntry, Once, SessionEvent, SessionHead, SessionLog } from './sessionLog'
import { Shelves } from './shelves'
import { textOf } from './storedEntry'

export interface MemoryLogOptions {
  /** Events kept per session; the oldest are dropped first. Default: 10,000. */
  readonly maxEvents?: number
  /**
   * How long an event is kept, ms. Default: 3,600,000 (1 h). A session whose events are all older
   * than that, and that no stream is attached to, is forgotten with its numbering: it starts again
   * at 1 in another epoch, and a client that comes back with a cursor of the old one is told
   * `reset`. `Infinity` keeps every session for ever.
   */
  readonly maxAge?: number
  /**
   * Memory for all sessions together, bytes; each session and each event counts a few hundred
   * beside its text. Beyond, sessions that no stream is attached to give way, the longest unused
   * first; then, of the others, the biggest. Each loses its oldest events first, then its
   * numbering, and who lacks something is told `reset`. Default: 67,108,864 (64 MiB).
   */
  readonly maxBytes?: number
  /**
   * Memory for one session, bytes; its oldest events are dropped first. An event that is larger
   * alone is refused with a TypeError. Default: an eighth of `maxBytes` (8 MiB).
   */
  readonly maxSessionBytes?: number
  /** Default: the wall clock. */
  readonly clock?: { now(): number }
}

/**
 * A `SessionLog` in the memory of this process. Reading costs O(limit), appending O(1); there are
 * no timers: what is too old goes when the log is used the next time.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function memoryLog(options: MemoryLogOptions = {}): SessionLog {
  const log = new MemoryLog(resolve(options))
  // Own functions, so that `{ ...memoryLog(), append }` is a log too.
  return {
    append: (...given) => log.append(...given),
    read: (...given) => log.read(...given),
    head: (sessionId) => log.head(sessionId),
    subscribe: (...given) => log.subscribe(...given),
    joinRuns: (process) => log.runs.join(process),
  }
}

class MemoryLog {
  readonly #limits: ReturnType<typeof resolve>
  readonly #sessions = new Map<string, MemorySession>()
  readonly #shelves = new Shelves()
  /** The listeners of each session that is followed. The session need not exist. */
  readonly #listeners = new Map<string, Set<() => void>>()
  readonly runs: MemoryRuns
  /** The memory of all sessions together. */
  #bytes = 0

  constructor(limits: ReturnType<typeof resolve>) {
    this.#limits = limits
    this.runs = new MemoryRuns({
      clock: limits.clock,
      maxSessionBytes: limits.maxSessionBytes,
      append: (sessionId, json) => this.append(sessionId, JSON.parse(json), undefined, json),
      refuseTooLarge: (json) => this.#refuseTooLarge(weightOf(json, undefined)),
      head: (sessionId) => this.head(sessionId),
      find: (sessionId) => this.#sessions.get(sessionId),
      onKept: (session) => this.#sort(session),
    })
  }

  append(sessionId: string, event: SessionEvent, once?: Once, text?: string): LogEntry {
    const now = this.#limits.clock.now()
    this.#forgetOld(now)
    const json = textOf(event, text)
    const bytes = weightOf(json, once)
    this.#refuseTooLarge(bytes)
    const known = this.#sessions.get(sessionId)
    const before = once && known?.findOnce(once.id)
    if (before) {
      if (before.once?.fingerprint !== once.fingerprint) throw new CommandRejected(409, 'id-reused')
      return { sessionId, seq: before.seq, epoch: before.epoch, event, isRepeat: true }
    }
    const session = known ?? this.#open(sessionId, now)
    session.append({ json, once, at: now, bytes })
    this.#bytes += bytes
    this.#trim(session, now)
    this.#markUsed(session, now)
    this.#makeRoom(session)
    for (const listener of this.#listeners.get(sessionId) ?? []) listener()
    return { sessionId, seq: session.head, epoch: session.epoch, event }
  }

  read(sessionId: string, after: number, limit: number): readonly LogEntry[] {
    const session = this.#sessions.get(sessionId)
    if (!session) return []
    this.#trim(session, this.#limits.clock.now())
    return session.read(after, limit)
  }

  head(sessionId: string): SessionHead {
    const now = this.#limits.clock.now()
    this.#forgetOld(now)
    const session = this.#sessions.get(sessionId)
    if (!session) return { epoch: '', first: 1, head: 0 }
    this.#trim(session, now)
    return { epoch: session.epoch, first: session.first, head: session.head }
  }

  subscribe(sessionId: string, listener: () => void): () => void {
    // A wrapper of its own, so that subscribing one function twice gives two subscriptions.
    const notify = () => listener()
    const own = this.#listeners.get(sessionId) ?? new Set()
    this.#listeners.set(sessionId, own.add(notify))
    const session = this.#sessions.get(sessionId)
    if (session) this.#sort(session)
    return () => {
      if (!own.delete(notify) || own.size > 0) return
      this.#listeners.delete(sessionId)
      const left = this.#sessions.get(sessionId)
      if (left) this.#markUsed(left, this.#limits.clock.now())
    }
  }

  #refuseTooLarge(bytes: number) {
    const { maxSessionBytes } = this.#limits
    if (SESSION_BYTES + bytes <= maxSessionBytes) return
    throw new TypeError(
      `memoryLog: this event takes ${bytes} bytes, and a session has ${maxSessionBytes} ('maxSessionBytes')`,
    )
  }

  #open(id: string, now: number): MemorySession {
    const session = new MemorySession(id, now)
    this.#sessions.set(id, session)
    this.#bytes += SESSION_BYTES
    return session
  }

  #forget(session: MemorySession) {
    this.#sessions.delete(session.id)
    session.shelf?.delete(session)
    this.#bytes -= session.bytes
    this.runs.forget(session.id)
  }

  #markUsed(session: MemorySession, now: number) {
    session.usedAt = now
    this.#shelves.put(session, this.#listeners.has(session.id))
  }

  #sort(session: MemorySession) {
    this.#shelves.sort(session, this.#listeners.has(session.id))
  }

  #trim(session: MemorySession, now: number) {
    const { maxEvents, maxAge, maxSessionBytes } = this.#limits
    while (session.size > 0) {
      if (session.keptFrom === session.first && SESSION_BYTES + session.keptBytes <= maxSessionBytes) break
      const isWithin = session.size <= maxEvents && session.bytes <= maxSessionBytes
      if (isWithin && (session.oldest?.at ?? 0) + maxAge > now) break
      this.#bytes -= session.dropOldest()
    }
    this.#sort(session)
  }

  #forgetOld(now: number) {
    const { maxAge } = this.#limits
    for (const session of this.#shelves.idle) {
      if (session.usedAt + maxAge > now) break
      this.#forget(session)
    }
    for (const shelf of this.#shelves.followed) {
      for (const session of shelf) {
        if (session.usedAt + maxAge > now) break
        this.#trim(session, now)
        this.#markUsed(session, now)
      }
    }
  }

  #makeRoom(needy: MemorySession) {
    while (this.#bytes > this.#limits.maxBytes) {
      const victim = this.#shelves.victimFor(needy)
      if (!victim) return
      if (victim.size === 0) this.#forget(victim)
      else {
        this.#bytes -= victim.dropOldest()
        this.#sort(victim)
      }
    }
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
