import type { Timers } from '../clock'
import type { LogEntry } from '../log/sessionLog'
import { type News, type Numbered, SessionFeed } from './sessionFeed'

/** `Part`: where several sessions are, e.g. at one server. */
export interface FeedsOptions<Part> {
  readonly parts: readonly Part[]
  partOf(sessionId: string): Part
  /**
   * Resolves when whatever is published from then on arrives, or when that is refused: the look
   * finds it then.
   */
  subscribe(sessionId: string): Promise<void>
  unsubscribe(sessionId: string): void
  /** Subscribes what is missing there. */
  repair(part: Part): Promise<void>
  /** `undefined`: that session cannot be read, though others can. */
  readNews(sessionId: string, after: number, limit: number): Promise<News | undefined>
  /** Events were missed, and found. */
  onRepair(): void
  /** It is time to look whether all is as it was. */
  onCheck(): void
  readonly clock: Timers
}

/** Pub/Sub promises nothing, so once in a while somebody looks. ms. */
const CHECK_INTERVAL = 10_000
/** Sessions that are asked about together. */
const CHUNK = 500
/**
 * The most that the events of all feeds take. Beyond, feeds let go of theirs until it is half of
 * that.
 */
const MAX_CHARS = 16_777_216

type Known = readonly [sessionId: string, { readonly feed: SessionFeed; readonly subscribed: Promise<unknown> }]

/** The sessions that somebody in this process listens to. */
export class Feeds<Part> {
  readonly #options: FeedsOptions<Part>
  readonly #feeds = new Map<string, Known[1]>()
  /** Of the next check; none after the end. */
  #timer: { readonly id: unknown } | undefined
  #chars = 0

  constructor(options: FeedsOptions<Part>) {
    this.#options = options
    this.#checkLater()
  }

  entriesAfter(sessionId: string, after: number, limit: number): readonly LogEntry[] | undefined {
    return this.#feeds.get(sessionId)?.feed.entriesAfter(after, limit)
  }

  /** Somebody says that the session reaches so far. */
  wake(sessionId: string, epoch: string, seq: number): void {
    this.#feeds.get(sessionId)?.feed.wake(epoch, seq)
  }

  /** This process has appended it. `create` is called if it is listened to. */
  take(sessionId: string, epoch: string, create: () => Numbered): void {
    this.#feeds.get(sessionId)?.feed.take(epoch, create())
  }

  /**
   * Resolves when all that was appended before the call can be read, and all that comes later will
   * be told.
   */
  async listen(sessionId: string, listener: () => void): Promise<() => void> {
    const { feed, subscribed } = this.#feeds.get(sessionId) ?? this.#start(sessionId)
    // A wrapper of its own, so that listening twice with one function is listening twice.
    const notify = () => listener()
    feed.listeners.add(notify)
    const stop = () => {
      feed.listeners.delete(notify)
      this.#leave(sessionId, feed)
    }
    try {
      await subscribed
      await feed.sync()
      return stop
    } catch (error) {
      stop()
      throw error
    }
  }

  /**
   * Subscribes what is missing, then reads, in this order: what is appended in between is
   * announced. To be called after the connection was lost, and with it every subscription and what
   * was published meanwhile.
   *
   * @param parts where that was. Default: everywhere
   */
  async resubscribe(parts: Iterable<Part> = this.#options.parts): Promise<void> {
    const { partOf, repair } = this.#options
    const byPart = new Map([...parts].map((part): [Part, Known[]] => [part, []]))
    for (const known of this.#feeds) byPart.get(partOf(known[0]))?.push(known)
    const restore = async ([part, some]: readonly [Part, readonly Known[]]) => {
      await repair(part)
      await this.#refreshAll(some)
    }
    // One that is silent holds up no other.
    await Promise.all([...byPart].map(restore))
  }

  close(): void {
    this.#options.clock.clearTimeout(this.#timer?.id)
    this.#timer = undefined
    this.#feeds.clear()
  }

  #checkLater() {
    this.#timer = { id: this.#options.clock.setTimeout(() => this.#check(), CHECK_INTERVAL) }
  }

  async #check() {
    this.#options.onCheck()
    for (const { feed } of this.#feeds.values()) feed.tidy()
    await this.resubscribe()
    if (this.#timer) this.#checkLater()
  }

  #start(sessionId: string): Known[1] {
    const { subscribe, readNews } = this.#options
    const feed = new SessionFeed({
      read: (after, limit) => readNews(sessionId, after, limit),
      onResize: (more) => this.#onResize(more),
    })
    const known = { feed, subscribed: subscribe(sessionId) }
    this.#feeds.set(sessionId, known)
    return known
  }

  #leave(sessionId: string, feed: SessionFeed) {
    if (feed.listeners.size > 0 || this.#feeds.get(sessionId)?.feed !== feed) return
    this.#feeds.delete(sessionId)
    feed.clear()
    this.#options.unsubscribe(sessionId)
  }

  #onResize(more: number) {
    this.#chars += more
    if (more < 0 || this.#chars <= MAX_CHARS) return
    for (const { feed } of this.#feeds.values()) {
      feed.clear()
      if (this.#chars <= MAX_CHARS / 2) return
    }
  }

  async #refreshAll(some: readonly Known[]) {
    for (let index = 0; index < some.length; index += CHUNK) {
      const outcomes = await Promise.all(some.slice(index, index + CHUNK).map((known) => this.#refresh(known)))
      // Each question to a server that is silent takes seconds, and the look at the others is due.
      if (!outcomes.includes('answered') && this.#options.parts.length > 1) return
    }
  }

  async #refresh([sessionId, { feed }]: Known): Promise<'answered' | 'failed'> {
    if (!this.#feeds.has(sessionId)) return 'answered'
    try {
      if (await feed.sync()) this.#options.onRepair()
      return 'answered'
    } catch {
      // It has told why, and the next look asks again.
      return 'failed'
    }
  }
}
