import type { Timers } from '../options'
import type { LogEntry } from '../sessionLog'
import { type Announcement, SessionFeed } from './sessionFeed'

export interface FeedsOptions {
  /** Resolves when whatever is published from then on arrives. */
  subscribe(sessionIds: readonly string[]): Promise<unknown>
  unsubscribe(sessionId: string): void
  readHead(sessionId: string): Promise<{ readonly epoch: string; readonly head: number }>
  /** Events were missed, and found. */
  onRepair(): void
  onError(error: unknown): void
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
export function createFeeds({ subscribe, unsubscribe, readHead, onRepair, onError, onCheck, clock }: FeedsOptions) {
  const feeds = new Map<string, Known[1]>()
  let timer: unknown = clock.setTimeout(check, CHECK_INTERVAL)
  let isClosed = false

  function start(sessionId: string) {
    const feed = new SessionFeed(() => readHead(sessionId))
    const known = { feed, subscribed: subscribe([sessionId]) }
    feeds.set(sessionId, known)
    return known
  }

  function leave(sessionId: string, feed: SessionFeed) {
    if (feed.listeners.size > 0 || feeds.get(sessionId)?.feed !== feed) return
    feeds.delete(sessionId)
    unsubscribe(sessionId)
  }

  const refreshAll = (some: readonly Known[]) =>
    Promise.all(
      some.map(async ([, { feed }]) => {
        if (await feed.sync()) onRepair()
      }),
    )

  async function inChunks(visit: (chunk: readonly Known[]) => Promise<unknown>) {
    const all = [...feeds]
    for (let index = 0; index < all.length; index += CHUNK) {
      const chunk = all.slice(index, index + CHUNK).filter(([sessionId]) => feeds.has(sessionId))
      if (chunk.length > 0) await visit(chunk).catch(onError)
    }
  }

  async function check() {
    onCheck()
    for (const { feed } of feeds.values()) feed.tidy()
    await inChunks(refreshAll)
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
        // In this order: what is appended in between is announced.
        await subscribed
        await feed.sync()
        return stop
      } catch (error) {
        stop()
        throw error
      }
    },

    /** After the connection was lost, and with it every subscription and what was published meanwhile. */
    resubscribe: () =>
      inChunks(async (chunk) => {
        await subscribe(chunk.map(([sessionId]) => sessionId))
        await refreshAll(chunk)
      }),

    close() {
      isClosed = true
      clock.clearTimeout(timer)
      feeds.clear()
    },
  }
}
