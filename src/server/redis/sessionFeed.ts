import type { LogEntry } from '../log/sessionLog'

/**
 * An event that is known to stand in Redis. The entry is missing where it is too big to be kept.
 */
export interface Numbered {
  readonly seq: number
  readonly entry: LogEntry | undefined
}

/** How far a session reaches in Redis, and the events that were asked for, oldest first. */
export interface News {
  readonly epoch: string
  readonly head: number
  readonly entries: readonly Numbered[]
}

export interface SessionFeedOptions {
  /**
   * Asks Redis for at most `limit` events after `after`. `undefined`: that session cannot be read.
   */
  read(after: number, limit: number): Promise<News | undefined>
  /** This many characters more are kept here, or fewer. */
  onResize(chars: number): void
}

/** A stream that is further behind reads from Redis. */
const RING_EVENTS = 64

/**
 * The newest events of a session that somebody in this process listens to. Pub/Sub is a wake-up and
 * not the log: it says that there is something to read, and whatever is kept here was read from
 * Redis or appended by this very process.
 */
export class SessionFeed {
  readonly listeners = new Set<() => void>()
  readonly #options: SessionFeedOptions
  /** Without a gap, up to `head`. */
  #ring: LogEntry[] = []
  #epoch: string | undefined
  #head = 0
  /** False where only Redis knows. */
  #isLive = false
  #reading: Promise<boolean> | undefined
  /** The furthest that was told of while Redis was read; `Infinity`: of another epoch. */
  #told = 0
  #isQuiet = true

  constructor(options: SessionFeedOptions) {
    this.#options = options
  }

  /** `undefined`: only Redis knows. */
  entriesAfter(after: number, limit: number): readonly LogEntry[] | undefined {
    const index = after - (this.#head - this.#ring.length)
    return this.#isLive && index >= 0 ? this.#ring.slice(index, index + limit) : undefined
  }

  /** Somebody says that the session reaches so far. It costs a look, if it is news. */
  wake(epoch: string, seq: number): void {
    const told = epoch === this.#epoch ? seq : Number.POSITIVE_INFINITY
    if (this.#reading) this.#told = Math.max(this.#told, told)
    else if (!this.#isLive || told > this.#head) this.refresh().catch(() => {})
  }

  /** This process has appended it. */
  take(epoch: string, { seq, entry }: Numbered): void {
    if (this.#isLive && this.#isFirst(epoch, seq)) this.#epoch = epoch
    if (!this.#isLive || epoch !== this.#epoch || seq > this.#head + 1) this.wake(epoch, seq)
    else if (seq === this.#head + 1) {
      this.#follow(seq, entry)
      this.#notify()
    }
  }

  /** Finds out where the log is, and says whether anything was missed. */
  refresh(): Promise<boolean> {
    this.#reading ??= this.#catchUp().finally(() => {
      this.#reading = undefined
      const told = this.#told
      this.#told = 0
      // Once, whatever it was: somebody may tell of what never comes.
      if (this.#isLive && told > this.#head) this.refresh().catch(() => {})
    })
    return this.#reading
  }

  /** Resolves when all that was in Redis before the call can be read here. */
  async sync(): Promise<unknown> {
    // One that is under way may have asked too early.
    await this.#reading?.catch(() => {})
    return this.refresh()
  }

  /** Frees what is kept of a session in which nothing happened since the last time. */
  tidy(): void {
    if (this.#isQuiet) this.clear()
    this.#isQuiet = true
  }

  /** A reader that lacks an event reads it from Redis. */
  clear(): void {
    const chars = this.#ring.reduce((sum, entry) => sum + charsOf(entry), 0)
    this.#ring = []
    if (chars > 0) this.#options.onResize(-chars)
  }

  async #catchUp(): Promise<boolean> {
    // No reader lacks an event before it is known where the log is.
    const limit = this.#epoch === undefined ? 0 : RING_EVENTS
    const news = await this.#options.read(this.#head, limit).catch((error: unknown) => {
      this.#isLive = false
      throw error
    })
    if (!news) {
      // Once it can be read again, its listeners have to look.
      this.clear()
      this.#epoch = ''
      this.#head = 0
      this.#isLive = false
      return false
    }
    const { epoch, head, entries } = news
    if (this.#isFirst(epoch, 1)) this.#epoch = epoch
    const isFirstLook = this.#epoch === undefined
    const isBehind = epoch !== this.#epoch || head > this.#head
    const hasMissed = isBehind && !isFirstLook && this.#told < head
    if (epoch === this.#epoch) {
      for (const { seq, entry } of entries) if (seq === this.#head + 1) this.#follow(seq, entry)
    }
    if (epoch !== this.#epoch || head > this.#head) {
      this.clear()
      this.#epoch = epoch
      this.#head = head
    }
    this.#isLive = true
    if (isBehind && !isFirstLook) this.#notify()
    return hasMissed
  }

  /** The first event of a session begins its epoch. */
  #isFirst(epoch: string, seq: number): boolean {
    return this.#epoch === '' && this.#head === 0 && seq === 1 && epoch !== ''
  }

  #follow(seq: number, entry: LogEntry | undefined) {
    this.#head = seq
    this.#isQuiet = false
    if (!entry) return this.clear()
    this.#ring.push(entry)
    const oldest = this.#ring.length > RING_EVENTS ? this.#ring.shift() : undefined
    this.#options.onResize(charsOf(entry) - (oldest ? charsOf(oldest) : 0))
  }

  #notify() {
    for (const listener of this.listeners) listener()
  }
}

const charsOf = ({ json = '' }: LogEntry) => json.length
