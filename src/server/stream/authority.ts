import type { Clock } from '../clock'
import { unknownStream } from '../errors'
import type { MaybePromise } from '../log/sessionLog'
import type { Principal } from '../request/principal'
import type { ChatStream } from './api'
import { RecentRevocations } from './recentRevocations'
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

/** Streams that are asked about at the same time. */
const CONCURRENCY = 8
/** How long `authorize` may take about what is attached, ms. Later, it counts as thrown. */
const ASK_TIMEOUT = 10_000
/** Looks in a row at one stream that `authorize` may fail before the stream ends. */
const MAX_FAILURES = 3
/** When a stream is looked at next, and how many looks in a row have failed. */
interface Watch {
  dueAt: number
  failures: number
}

/**
 * Whether what is attached may still be read. Whatever may not ends its stream, because that is
 * what clients of each version understand: they come back, and the resume tells them `forbidden` or
 * `gone`.
 */
export class Authority<P extends Principal> {
  readonly #options: AuthorityOptions<P>
  readonly #watches = new WeakMap<ChatStream, Watch>()
  readonly #waiting: (() => Promise<void>)[] = []
  #looking = 0
  readonly #revocations = new RecentRevocations()
  /** An outage is told once in each interval, and not by each stream. */
  #tellAt = -Infinity

  constructor(options: AuthorityOptions<P>) {
    this.#options = options
  }

  /** Often enough for the interval, ms. */
  get beatAtMost() {
    return this.#options.interval / 4
  }

  /**
   * Called when a stream opens, and by the stream from then on: asks anew what it may read, if it
   * is time for that.
   */
  beat(principal: P, stream: ChatStream): void {
    const watch = this.#watches.get(stream) ?? { dueAt: this.#nextLook(), failures: 0 }
    this.#watches.set(stream, watch)
    if (this.#options.clock.now() < watch.dueAt) return
    watch.dueAt = Infinity
    this.#waiting.push(() => this.#look(principal, stream, watch))
    this.#lookOn()
  }

  /**
   * Asks anew about sessions that are attached; ends the stream if one may not be read. Returns
   * those that may not.
   */
  async recheck(principal: P, stream: StreamRef, sessionIds: readonly string[]): Promise<readonly string[]> {
    const permissions = await Promise.all(sessionIds.map((sessionId) => this.#mayRead(principal, sessionId)))
    const refused = sessionIds.filter((_, index) => permissions[index] === false)
    if (refused.length > 0) await stream.call({ type: 'revoke', sessionIds: refused })
    return refused
  }

  /** A revocation, wherever it was made. */
  apply(principalId: string, sessionId: string | undefined): void {
    this.#revocations.add({ principalId, sessionId })
    for (const stream of this.#options.streamsOf(principalId)) {
      if (sessionId === undefined || stream.isAttached(sessionId)) stream.end()
    }
  }

  /**
   * To be taken before a right is asked for, and handed to `wasRevoked` when it has been made use
   * of.
   */
  mark(): number {
    return this.#revocations.count
  }

  /** Whether the right was taken away since the mark. */
  wasRevoked(mark: number, principalId: string, sessionIds: readonly string[] = []): boolean {
    return this.#revocations.includes(mark, principalId, sessionIds)
  }

  /** A right may be taken away between the answer of `authorize` and the attaching. */
  async refuseIfRevoked(mark: number, { id }: P, stream: StreamRef, sessionIds: readonly string[]) {
    if (!this.wasRevoked(mark, id, sessionIds)) return
    await stream.call({ type: 'revoke', sessionIds })
    throw unknownStream()
  }

  #nextLook(): number {
    const { clock, interval, random } = this.#options
    return clock.now() + interval * (0.9 + 0.2 * random())
  }

  #fails(error: unknown) {
    const { clock, interval, onError } = this.#options
    const now = clock.now()
    if (now < this.#tellAt) return
    this.#tellAt = now + interval
    onError(error)
  }

  /** `undefined`: `authorize` did not say. */
  async #mayRead(principal: P, sessionId: string): Promise<boolean | undefined> {
    const { authorize, clock } = this.#options
    let timer: unknown
    const late = new Promise<never>((_, reject) => {
      const sentence = `authorize has not answered within ${ASK_TIMEOUT} ms whether what is attached may still be read`
      timer = clock.setTimeout(() => reject(new Error(sentence)), ASK_TIMEOUT)
    })
    try {
      const permission = await Promise.race([authorize(principal, sessionId, 'read'), late])
      return permission === true
    } catch (error) {
      this.#fails(error)
      return undefined
    } finally {
      clock.clearTimeout(timer)
    }
  }

  async #look(principal: P, stream: ChatStream, watch: Watch): Promise<void> {
    let failures = 0
    for (const sessionId of stream.sessionIds) {
      const permission = await this.#mayRead(principal, sessionId)
      if (permission === true || !stream.isAttached(sessionId)) continue
      if (permission === false) return stream.end()
      failures = watch.failures + 1
      break
    }
    watch.failures = failures
    if (failures >= MAX_FAILURES) stream.end()
    watch.dueAt = this.#nextLook()
  }

  #lookOn() {
    while (this.#looking < CONCURRENCY) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#looking += 1
      void next().then(() => {
        this.#looking -= 1
        this.#lookOn()
      })
    }
  }
}
