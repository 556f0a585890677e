import type { SessionVerdict } from '../../protocol'
import { tooMany } from '../errors'
import { SESSION_WEIGHT } from '../limits/weights'
import type { ChatStreamOptions } from './api'

/** How many events of one session are read at first: few, because their size is not known yet. */
const FIRST_TURN = 4

export interface Attached {
  epoch: string
  /** The `seq` that was written last. */
  position: number
  /** Up to here it is a replay. */
  readonly head: number
  /** How many events are read at a time: fewer where they are big. */
  turn: number
  /** `command`: a command for it has been let in, which may bring its first events. */
  usedBy: 'reader' | 'command'
  unsubscribe(): void
}

/** Where a session is to be attached. */
export interface Place {
  readonly sessionId: string
  readonly after: number
  readonly epoch: string
  readonly head: number
}

/** The stream that the sessions are attached to. */
export interface AttachmentsHost {
  /** There may be something to write. */
  announceWork(): void
}

/** The sessions that one stream carries, and which of them have events to be written. */
export class Attachments {
  /**
   * Sessions that may have unwritten events. The first one is next: a Set keeps its order, so this
   * is round-robin.
   */
  readonly unread = new Set<string>()
  /** The sessions whose replay waits until their principal may be written more. */
  paced: Set<string> | undefined
  readonly #options: Pick<ChatStreamOptions, 'log' | 'account' | 'maxSessions'>
  readonly #host: AttachmentsHost
  readonly #attached = new Map<string, Attached>()

  constructor(options: Pick<ChatStreamOptions, 'log' | 'account' | 'maxSessions'>, host: AttachmentsHost) {
    this.#options = options
    this.#host = host
  }

  get ids(): readonly string[] {
    return [...this.#attached.keys()]
  }

  get(sessionId: string): Attached | undefined {
    return this.#attached.get(sessionId)
  }

  hasBegun(sessionId: string): boolean {
    const session = this.#attached.get(sessionId)
    return session !== undefined && (session.position > 0 || session.usedBy === 'command')
  }

  begin(sessionId: string) {
    const session = this.#attached.get(sessionId)
    if (session) session.usedBy = 'command'
  }

  /**
   * False if the session is one too many. Rejects with `Refusal` 429 if there is no room for it.
   */
  async attach({ sessionId, after, epoch, head }: Place): Promise<boolean> {
    const { log, account, maxSessions } = this.#options
    if (this.#attached.has(sessionId)) this.detach(sessionId)
    if (this.#attached.size >= maxSessions) return false
    if (!account.take(SESSION_WEIGHT)) throw tooMany()
    const session: Attached = {
      epoch,
      position: after,
      head,
      turn: FIRST_TURN,
      usedBy: 'reader',
      unsubscribe: () => {},
    }
    const readOn = () => {
      if (this.#attached.get(sessionId) !== session || this.paced?.has(sessionId)) return
      this.unread.add(sessionId)
      this.#host.announceWork()
    }
    /**
     * Attached without a subscription it would stay silent for ever; detached it is asked for
     * again.
     */
    const giveUp = (error: unknown): never => {
      if (this.#attached.get(sessionId) === session) this.detach(sessionId)
      throw error
    }
    this.#attached.set(sessionId, session)
    readOn()
    const subscribing = log.subscribe(sessionId, readOn)
    const unsubscribe = subscribing instanceof Promise ? await subscribing.catch(giveUp) : subscribing
    // Detached, attached anew or ended while the log was subscribing.
    if (this.#attached.get(sessionId) !== session) unsubscribe()
    else session.unsubscribe = unsubscribe
    // Again: events from before the subscription took hold are read now, later ones are announced.
    readOn()
    return true
  }

  detach(sessionId: string) {
    this.#attached.get(sessionId)?.unsubscribe()
    if (this.#attached.delete(sessionId)) this.#options.account.give(SESSION_WEIGHT)
    this.unread.delete(sessionId)
    this.paced?.delete(sessionId)
    // A marker may have waited for this session alone.
    this.#host.announceWork()
  }

  /** Whether all of these were written up to their `to`, or as far as the log still reaches. */
  areReplayed(sessions: readonly SessionVerdict[]): boolean {
    return sessions.every(({ sessionId, to }) => {
      const session = this.#attached.get(sessionId)
      return !session || session.position >= to || !(this.unread.has(sessionId) || this.paced?.has(sessionId))
    })
  }

  /** The stream has ended. */
  clear() {
    for (const session of this.#attached.values()) session.unsubscribe()
    this.#attached.clear()
    this.unread.clear()
    this.paced = undefined
  }
}
