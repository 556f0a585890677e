import type { Clock } from '../clock'
import { unknownStream } from '../errors'
import type { MaybePromise } from '../log/sessionLog'
import type { Principal } from '../request/principal'
import type { ChatStream } from './api'
import type { StreamRef } from './streams'

export interface AuthorityOptions<P extends Principal> {
  authorize(principal: P, sessionId: string, action: 'read'): MaybePromise<boolean | 'gone'>
  /** The live streams of a principal in this process. */
  streamsOf(principalId: string): readonly ChatStream[]
  /** Distance of two looks at one stream, ms, ± 10 %. */
  readonly interval: number
  readonly clock: Clock
  random(): number
  onError(error: unknown): void
}

/** The loss of a right to read: one session, or all of them. */
interface Revocation {
  readonly principalId: string
  readonly sessionId: string | undefined
}

/** Streams that are asked about at the same time. */
const CONCURRENCY = 8
/** How long `authorize` may take about what is attached, ms. Later, it counts as thrown. */
const ASK_TIMEOUT = 10_000
/** Looks in a row at one stream that `authorize` may fail before the stream ends. */
const MAX_FAILURES = 3
/** Revocations that requests under way are held against. */
const MAX_RECENT = 1_000

/** When a stream is looked at next, and how many looks in a row have failed. */
interface Watch {
  dueAt: number
  failures: number
}

/**
 * Whether what is attached may still be read. Whatever may not ends its stream, because that is what clients of each version
 * understand: they come back, and the resume tells them `forbidden` or `gone`.
 */
export function createAuthority<P extends Principal>(options: AuthorityOptions<P>) {
  const { authorize, streamsOf, interval, clock, random, onError } = options
  const watches = new WeakMap<ChatStream, Watch>()
  const waiting: (() => Promise<void>)[] = []
  let looking = 0
  /** The newest ones; `count` is how many there have ever been. */
  const recent: Revocation[] = []
  let count = 0
  /** An outage is told once in each interval, and not by each stream. */
  let tellAt = -Infinity

  const nextLook = () => clock.now() + interval * (0.9 + 0.2 * random())

  function fails(error: unknown) {
    const now = clock.now()
    if (now < tellAt) return
    tellAt = now + interval
    onError(error)
  }

  /** `undefined`: `authorize` did not say. */
  async function mayRead(principal: P, sessionId: string): Promise<boolean | undefined> {
    let timer: unknown
    const late = new Promise<never>((_, reject) => {
      const sentence = `authorize has not answered within ${ASK_TIMEOUT} ms whether what is attached may still be read`
      timer = clock.setTimeout(() => reject(new Error(sentence)), ASK_TIMEOUT)
    })
    try {
      const permission = await Promise.race([authorize(principal, sessionId, 'read'), late])
      return permission === true
    } catch (error) {
      fails(error)
      return undefined
    } finally {
      clock.clearTimeout(timer)
    }
  }

  async function look(principal: P, stream: ChatStream, watch: Watch): Promise<void> {
    let failures = 0
    for (const sessionId of stream.sessionIds) {
      const permission = await mayRead(principal, sessionId)
      if (permission === true || !stream.isAttached(sessionId)) continue
      if (permission === false) return stream.end()
      failures = watch.failures + 1
      break
    }
    watch.failures = failures
    if (failures >= MAX_FAILURES) stream.end()
    watch.dueAt = nextLook()
  }

  function lookOn() {
    while (looking < CONCURRENCY) {
      const next = waiting.shift()
      if (!next) return
      looking += 1
      void next().then(() => {
        looking -= 1
        lookOn()
      })
    }
  }

  /** Whether the right was taken away since the mark. If that is no longer known, it counts as taken away. */
  function wasRevoked(mark: number, principalId: string, sessionIds: readonly string[] = []): boolean {
    const since = count - mark
    if (since === 0) return false
    const isMeant = ({ principalId: whose, sessionId }: Revocation) =>
      whose === principalId && (sessionId === undefined || sessionIds.includes(sessionId))
    return since > recent.length || recent.slice(-since).some(isMeant)
  }

  return {
    /** Often enough for the interval, ms. */
    beatAtMost: interval / 4,

    /** Called when a stream opens, and by the stream from then on: asks anew what it may read, if it is time for that. */
    beat(principal: P, stream: ChatStream): void {
      const watch = watches.get(stream) ?? { dueAt: nextLook(), failures: 0 }
      watches.set(stream, watch)
      if (clock.now() < watch.dueAt) return
      watch.dueAt = Infinity
      waiting.push(() => look(principal, stream, watch))
      lookOn()
    },

    /** Asks anew about sessions that are attached; ends the stream if one may not be read. Returns those that may not. */
    async recheck(principal: P, stream: StreamRef, sessionIds: readonly string[]): Promise<readonly string[]> {
      const permissions = await Promise.all(sessionIds.map((sessionId) => mayRead(principal, sessionId)))
      const refused = sessionIds.filter((_, index) => permissions[index] === false)
      if (refused.length > 0) await stream.call({ type: 'revoke', sessionIds: refused })
      return refused
    },

    /** A revocation, wherever it was made. */
    apply(principalId: string, sessionId: string | undefined): void {
      count += 1
      recent.push({ principalId, sessionId })
      if (recent.length > MAX_RECENT) recent.shift()
      for (const stream of streamsOf(principalId)) {
        if (sessionId === undefined || stream.isAttached(sessionId)) stream.end()
      }
    },

    /** To be taken before a right is asked for, and handed to `wasRevoked` when it has been made use of. */
    mark: () => count,

    wasRevoked,

    /** A right may be taken away between the answer of `authorize` and the attaching. */
    async refuseIfRevoked(mark: number, { id }: P, stream: StreamRef, sessionIds: readonly string[]) {
      if (!wasRevoked(mark, id, sessionIds)) return
      await stream.call({ type: 'revoke', sessionIds })
      throw unknownStream()
    },
  }
}

export type Authority<P extends Principal> = ReturnType<typeof createAuthority<P>>
