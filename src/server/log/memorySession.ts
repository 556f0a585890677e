import type { LogEntry, Once } from './sessionLog'
import { StoredEntry } from './storedEntry'

/**
 * About what V8 takes for a session, for an event beside its text, and for the id of one that is
 * appended once, bytes.
 */
export const SESSION_BYTES = 1_024
const EVENT_BYTES = 192
const ONCE_BYTES = 128

export interface NewEvent {
  readonly json: string
  readonly once: Once | undefined
  /** When it is appended. */
  readonly at: number
  /** As `weightOf` says. */
  readonly bytes: number
}

/** The memory that an event takes in a memory log, bytes. */
export const weightOf = (json: string, once: Once | undefined): number =>
  EVENT_BYTES + bytesOf(json) + (once ? ONCE_BYTES + once.id.length + once.fingerprint.length : 0)

/** V8 keeps a text in one byte for each character as long as all of them are of Latin-1. */
const bytesOf = (text: string) => (/[^\0-\xff]/.test(text) ? 2 : 1) * text.length

class KeptEntry extends StoredEntry {
  readonly at: number
  readonly bytes: number
  readonly once: Once | undefined

  constructor({ id, epoch, head }: MemorySession, { json, once, at, bytes }: NewEvent) {
    super(id, head, epoch, json)
    this.at = at
    this.bytes = bytes
    this.once = once
  }
}

/** The events of one session. */
export class MemorySession {
  readonly id: string
  readonly epoch: string = crypto.randomUUID()
  /** When it was last appended to or followed. */
  usedAt: number
  /** Where it stands in `Shelves`. */
  shelf: Set<MemorySession> | undefined
  /** The event from which on all are to be kept, and the memory that these take. 0: none. */
  #keptFrom = 0
  #keptBytes = 0
  readonly #entries = new Map<number, KeptEntry>()
  /**
   * The `seq` of the events that were appended with `once`, by its id; as long as they are kept.
   */
  readonly #once = new Map<string, number>()
  #first = 1
  #head = 0
  #bytes = SESSION_BYTES

  constructor(id: string, now: number) {
    this.id = id
    this.usedAt = now
  }

  get first() {
    return this.#first
  }

  get head() {
    return this.#head
  }

  get bytes() {
    return this.#bytes
  }

  /** How many events are kept. */
  get size() {
    return this.#head - this.#first + 1
  }

  get keptFrom() {
    return this.#keptFrom
  }

  /** Whether none is missing of those that are to be kept. */
  get isWhole() {
    return this.#keptFrom >= this.#first
  }

  get keptBytes() {
    return this.#keptBytes
  }

  /** From this event on, which was appended last or before that. 0: no longer. */
  keepFrom(seq: number) {
    this.#keptFrom = seq
    this.#keptBytes = 0
    for (let at = seq; seq > 0 && at <= this.#head; at += 1) this.#keptBytes += this.#entries.get(at)?.bytes ?? 0
  }

  get oldest(): KeptEntry | undefined {
    return this.#entries.get(this.#first)
  }

  /** The event that was appended under this id, if it is still kept. */
  findOnce(id: string): KeptEntry | undefined {
    const seq = this.#once.get(id)
    return seq === undefined ? undefined : this.#entries.get(seq)
  }

  append(event: NewEvent) {
    this.#head += 1
    const entry = new KeptEntry(this, event)
    this.#entries.set(entry.seq, entry)
    if (entry.once) this.#once.set(entry.once.id, entry.seq)
    this.#bytes += entry.bytes
    this.#keptBytes += entry.bytes
  }

  /** Returns how many bytes that frees. */
  dropOldest(): number {
    const entry = this.oldest
    this.#entries.delete(this.#first)
    this.#first += 1
    if (!entry) return 0
    if (entry.once) this.#once.delete(entry.once.id)
    this.#bytes -= entry.bytes
    return entry.bytes
  }

  read(after: number, limit: number): readonly LogEntry[] {
    const entries: LogEntry[] = []
    for (let seq = Math.max(after + 1, this.#first); seq <= this.#head && entries.length < limit; seq += 1) {
      const entry = this.#entries.get(seq)
      if (entry) entries.push(entry)
    }
    return entries
  }
}
