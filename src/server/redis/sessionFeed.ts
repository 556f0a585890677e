import type { LogEntry } from '../sessionLog'

/** What Pub/Sub tells of an event. The entry is missing where it is too big to be sent around. */
export interface Announcement {
  readonly epoch: string
  readonly seq: number
  readonly entry: LogEntry | undefined
}

/** How far a session reaches in Redis. */
export type Head = { readonly epoch: string; readonly head: number }

/** Who is further behind reads from Redis. */
const RING_EVENTS = 64

/**
 * The newest events of a session that somebody in this process listens to. Announcements are hints and not the log: whatever
 * does not follow on what is here leads back to Redis, and readers see only what stands there, in its order.
 */
export class SessionFeed {
  readonly listeners = new Set<() => void>()
  /** Without a gap, up to `head`. */
  #ring: LogEntry[] = []
  #epoch: string | undefined
  #head = 0
  /** False where only Redis knows. */
  #isLive = false
  #refreshing: Promise<boolean> | undefined
  /** What was told meanwhile. */
  #held: Announcement[] = []
  #isQuiet = true

  constructor(private readonly readHead: () => Promise<Head | undefined>) {}

  /** `undefined`: only Redis knows. */
  entriesAfter(after: number, limit: number): readonly LogEntry[] | undefined {
    const index = after - (this.#head - this.#ring.length)
    return this.#isLive && index >= 0 ? this.#ring.slice(index, index + limit) : undefined
  }

  take(announcement: Announcement): void {
    const { epoch, seq, entry } = announcement
    // The first event of a session begins its epoch.
    if (this.#epoch === '' && seq === 1) this.#epoch = epoch
    if (this.#refreshing) this.#held.push(announcement)
    else if (!this.#isLive || epoch !== this.#epoch || seq > this.#head + 1) this.refresh().catch(() => {})
    else if (seq === this.#head + 1) this.#follow(seq, entry)
  }

  /** Finds out where the log is, and says whether anything was missed. */
  refresh(): Promise<boolean> {
    this.#refreshing ??= this.#catchUp().finally(() => {
      this.#refreshing = undefined
      for (const announcement of this.#held.splice(0)) this.take(announcement)
    })
    return this.#refreshing
  }

  /** Resolves when all that was in Redis before the call can be read here. */
  async sync(): Promise<unknown> {
    // One that is under way may have asked too early.
    await this.#refreshing?.catch(() => {})
    return this.refresh()
  }

  /** Frees what is kept of a session in which nothing happened since the last time. */
  tidy(): void {
    if (this.#isQuiet) this.#ring = []
    this.#isQuiet = true
  }

  async #catchUp(): Promise<boolean> {
    const known = await this.readHead().catch((error: unknown) => {
      this.#isLive = false
      throw error
    })
    if (!known) {
      // Whatever it says when it can be read again is news to its listeners.
      this.#epoch = ''
      this.#head = 0
      this.#ring = []
      this.#isLive = false
      return false
    }
    const { epoch, head } = known
    for (const { seq, entry, ...told } of this.#held) {
      if (told.epoch === this.#epoch && seq === this.#head + 1) this.#follow(seq, entry)
    }
    const isBehind = epoch !== this.#epoch || head > this.#head
    const hasMissed = isBehind && this.#epoch !== undefined
    if (isBehind) {
      // Whoever lacks something reads it.
      this.#ring = []
      this.#epoch = epoch
      this.#head = head
    }
    this.#isLive = true
    if (hasMissed) this.#notify()
    return hasMissed
  }

  #follow(seq: number, entry: LogEntry | undefined) {
    if (entry) this.#ring.push(entry)
    else this.#ring = []
    if (this.#ring.length > RING_EVENTS) this.#ring.shift()
    this.#head = seq
    this.#isQuiet = false
    this.#notify()
  }

  #notify() {
    for (const listener of this.listeners) listener()
  }
}
