import { type MemorySession, SESSION_BYTES, weightOf } from './memorySession'
import type { Overdue, RunBatch, RunChange, RunLog, RunPage, RunProcess } from './runLog'
import type { LogEntry, SessionHead } from './sessionLog'

export interface MemoryRunsOptions {
  readonly clock: { now(): number }
  /** Memory for one session, bytes. */
  readonly maxSessionBytes: number
  append(sessionId: string, json: string): LogEntry
  /** @throws TypeError if `append` would refuse it, however empty the log is */
  refuseTooLarge(json: string): void
  head(sessionId: string): SessionHead
  find(sessionId: string): MemorySession | undefined
  /** The session keeps a run from now on, or none any more. */
  onKept(session: MemorySession): void
}

interface Known {
  readonly version: string
  readonly record: string
  readonly token: string
  /** When it is overdue. */
  readonly due: number | undefined
  /** Whether the process has something in it. */
  readonly isHeld: boolean
  /** The number of the last batch. */
  batch: number
}

/** More ended runs are forgotten, the oldest first. */
const MAX_ENDED = 10_000

/** The runs in a memory log. A step is one because nothing else runs meanwhile. */
export class MemoryRuns {
  readonly #options: MemoryRunsOptions
  readonly #sessions = new Map<string, Known>()
  /** When each name that has ended did so, the oldest first. */
  readonly #ended = new Map<string, number>()
  readonly #processes = new Map<string, RunProcess>()
  /**
   * Part of the version of a session without runs: one that had a run and ended it meanwhile is
   * another one.
   */
  #removals = 0

  constructor(options: MemoryRunsOptions) {
    this.#options = options
  }

  join(process: RunProcess): RunLog {
    this.#processes.set(process.name, process)
    return {
      read: (sessionId, names) => this.#read(sessionId, names),
      change: (sessionId, change) => this.#change(sessionId, change, process),
      append: (sessionId, batch) => this.#append(sessionId, batch),
      // The process is the log: they die together.
      renew() {},
      overdue: () => this.#overdue(),
      // It tells of all at once.
      postpone() {},
    }
  }

  /**
   * The session's events are gone. A suspended run goes with them: at once, or, if others wait
   * behind it, when it is looked at. One that runs is told when it appends.
   */
  forget(sessionId: string) {
    const known = this.#sessions.get(sessionId)
    if (known?.token !== '') return
    if (known.isHeld) this.#sessions.set(sessionId, { ...known, due: 0 })
    else this.#remove(sessionId)
  }

  #find(sessionId: string): Known {
    const none = { version: `none ${this.#removals}`, record: '', token: '', due: undefined, isHeld: false, batch: 0 }
    return this.#sessions.get(sessionId) ?? none
  }

  #remove(sessionId: string) {
    this.#sessions.delete(sessionId)
    this.#removals += 1
  }

  #read(sessionId: string, names: readonly string[]): RunPage {
    const { clock, head: headOf } = this.#options
    const { epoch, head } = headOf(sessionId)
    const { version, record } = this.#find(sessionId)
    const ended = names.filter((name) => this.#ended.has(endedKey(sessionId, name)))
    return { epoch, head, record, version, kept: this.#keptOf(sessionId), ended, now: clock.now() }
  }

  #keptOf(sessionId: string): number {
    return this.#options.find(sessionId)?.keptFrom ?? 0
  }

  #change(sessionId: string, change: RunChange, process: RunProcess) {
    const { version, next, token, events, keep, due, holds } = change
    const known = this.#find(sessionId)
    if (known.version === next.version) return { kept: this.#keptOf(sessionId) }
    if (known.version !== version) return undefined
    // All of them are appended, or none is.
    for (const json of events) this.#options.refuseTooLarge(json)
    const seqs = events.map((json) => this.#options.append(sessionId, json).seq)
    const batch = token === known.token ? known.batch : 0
    this.#sessions.set(sessionId, { ...next, token, due, isHeld: holds.length > 0, batch })
    this.#keep(sessionId, keep, seqs)
    this.#remember(sessionId, change.ended, process.remembers)
    if (next.record === '') this.#remove(sessionId)
    for (const name of change.wakes) this.#processes.get(name)?.onWake(sessionId)
    return { kept: this.#keptOf(sessionId) }
  }

  #append(sessionId: string, { token, number, events }: RunBatch): 'appended' | 'lost' | 'full' {
    const { append, find, maxSessionBytes } = this.#options
    const known = this.#sessions.get(sessionId)
    if (known?.token !== token) return 'lost'
    if (known.batch >= number) return 'appended'
    const session = find(sessionId)
    const bytes = events.reduce((sum, json) => sum + weightOf(json, undefined), SESSION_BYTES)
    if (!session?.isWhole || session.keptBytes + bytes > maxSessionBytes) return 'full'
    for (const json of events) append(sessionId, json)
    known.batch = number
    return 'appended'
  }

  #overdue(): readonly Overdue[] {
    const now = this.#options.clock.now()
    return [...this.#sessions]
      .filter(([, { due = Infinity }]) => due <= now)
      .map(([sessionId]) => ({ sessionId, process: undefined }))
  }

  #keep(sessionId: string, keep: RunChange['keep'], seqs: readonly number[]) {
    const session = this.#options.find(sessionId)
    if (keep === 'same' || !session) return
    session.keepFrom(keep === 'none' ? 0 : (seqs[keep] ?? 0))
    this.#options.onKept(session)
  }

  #remember(sessionId: string, names: readonly string[], age: number) {
    const now = this.#options.clock.now()
    for (const name of names) this.#ended.set(endedKey(sessionId, name), now)
    for (const [key, at] of this.#ended) {
      if (at + age > now && this.#ended.size <= MAX_ENDED) return
      this.#ended.delete(key)
    }
  }
}

const endedKey = (sessionId: string, name: string) => `${sessionId} ${name}`
