import type { Timers } from '../clock'
import type { LogEntry } from '../log/sessionLog'
import { type News, type Numbered, SessionFeed } from './sessionFeed'

export interface FeedsOptions {
  /** Resolves when whatever is published from then on arrives, or when that is refused: the look finds it then. */
  subscribe(sessionId: string): Promise<void>
  unsubscribe(sessionId: string): void
  /** Subscribes what is missing. */
  repair(): Promise<void>
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
/** The most that the events of all feeds take. Beyond, feeds let go of theirs until it is half of that. */
const MAX_CHARS = 16_777_216

type Known = readonly [sessionId: string, { readonly feed: SessionFeed; readonly subscribed: Promise<unknown> }]

/** The sessions that somebody in this process listens to. */
export function createFeeds({ subscribe, unsubscribe, repair, readNews, onRepair, onCheck, clock }: FeedsOptions) {
  const feeds = new Map<string, Known[1]>()
  let timer: unknown = clock.setTimeout(check, CHECK_INTERVAL)
  let isClosed = false
  let chars = 0

  function onResize(more: number) {
    chars += more
    if (more < 0 || chars <= MAX_CHARS) return
    for (const { feed } of feeds.values()) {
      feed.clear()
      if (chars <= MAX_CHARS / 2) return
    }
  }

  function start(sessionId: string) {
    const feed = new SessionFeed({ read: (after, limit) => readNews(sessionId, after, limit), onResize })
    const known = { feed, subscribed: subscribe(sessionId) }
    feeds.set(sessionId, known)
    return known
  }

  function leave(sessionId: string, feed: SessionFeed) {
    if (feed.listeners.size > 0 || feeds.get(sessionId)?.feed !== feed) return
    feeds.delete(sessionId)
    feed.clear()
    unsubscribe(sessionId)
  }

  async function refresh([sessionId, { feed }]: Known) {
    if (!feeds.has(sessionId)) return
    // One that fails has told why, and the next look asks again.
    const hasMissed = await feed.sync().catch(() => false)
    if (hasMissed) onRepair()
  }

  /** In this order: what is appended in between is announced. */
  async function renew() {
    await repair()
    const all = [...feeds]
    for (let index = 0; index < all.length; index += CHUNK) {
      await Promise.all(all.slice(index, index + CHUNK).map(refresh))
    }
  }

  async function check() {
    onCheck()
    for (const { feed } of feeds.values()) feed.tidy()
    await renew()
    if (!isClosed) timer = clock.setTimeout(check, CHECK_INTERVAL)
  }

  return {
    entriesAfter: (sessionId: string, after: number, limit: number): readonly LogEntry[] | undefined =>
      feeds.get(sessionId)?.feed.entriesAfter(after, limit),

    /** Somebody says that the session reaches so far. */
    wake(sessionId: string, epoch: string, seq: number) {
      feeds.get(sessionId)?.feed.wake(epoch, seq)
    },

    /** This process has appended it. `create` is called if it is listened to. */
    take(sessionId: string, epoch: string, create: () => Numbered) {
      feeds.get(sessionId)?.feed.take(epoch, create())
    },

    /** Resolves when all that was appended before the call can be read, and all that comes later will be told. */
    async listen(sessionId: string, listener: () => void): Promise<() => void> {
      const { feed, subscribed } = feeds.get(sessionId) ?? start(sessionId)
      // A wrapper of its own, so that listening twice with one function is listening twice.
      const notify = () => listener()
      feed.listeners.add(notify)
      const stop = () => {
        feed.listeners.delete(notify)
        leave(sessionId, feed)
      }
      try {
        await subscribed
        await feed.sync()
        return stop
      } catch (error) {
        stop()
        throw error
      }
    },

    /** After the connection was lost, and with it every subscription and what was published meanwhile. */
    resubscribe: renew,

    close() {
      isClosed = true
      clock.clearTimeout(timer)
      feeds.clear()
    },
  }
}
