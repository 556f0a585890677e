import type { Timers } from '../options'
import type { LogEntry } from '../sessionLog'
import { type Announcement, type Head, SessionFeed } from './sessionFeed'

export interface FeedsOptions {
  /** Resolves when whatever is published from then on arrives, or when that is refused: the look finds it then. */
  subscribe(sessionId: string): Promise<void>
  unsubscribe(sessionId: string): void
  /** Subscribes what is missing. */
  repair(): Promise<void>
  /** `undefined`: that session cannot be read, though others can. */
  readHead(sessionId: string): Promise<Head | undefined>
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

type Known = readonly [sessionId: string, { readonly feed: SessionFeed; readonly subscribed: Promise<unknown> }]

/** The sessions that somebody in this process listens to. */
export function createFeeds({ subscribe, unsubscribe, repair, readHead, onRepair, onCheck, clock }: FeedsOptions) {
  const feeds = new Map<string, Known[1]>()
  let timer: unknown = clock.setTimeout(check, CHECK_INTERVAL)
  let isClosed = false

  function start(sessionId: string) {
    const feed = new SessionFeed(() => readHead(sessionId))
    const known = { feed, subscribed: subscribe(sessionId) }
    feeds.set(sessionId, known)
    return known
  }

  function leave(sessionId: string, feed: SessionFeed) {
    if (feed.listeners.size > 0 || feeds.get(sessionId)?.feed !== feed) return
    feeds.delete(sessionId)
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

    take(sessionId: string, announcement: Announcement) {
      feeds.get(sessionId)?.feed.take(announcement)
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
