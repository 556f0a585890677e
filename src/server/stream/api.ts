import type { SessionVerdict } from '../../protocol'
import type { Clock } from '../clock'
import type { Account } from '../limits/budget'
import type { Pacer } from '../limits/pacer'
import type { SessionLog } from '../log/sessionLog'

export interface ChatStreamOptions {
  readonly log: SessionLog
  readonly clock: Clock
  /** ms, as in `ChatServerOptions`. */
  readonly heartbeat: number
  readonly stall: number
  /** How long this stream lives, ms. */
  readonly age: number
  /** ms. */
  readonly beat: number
  readonly maxSessions: number
  readonly principalId: string
  readonly pacer: Pacer
  /**
   * The account of the memory that the stream holds for its client. The opener of the stream closes
   * it.
   */
  readonly account: Account
  readonly welcome: object
  /** Called once, however the stream ended, with the sessions that were attached. */
  onEnd(sessionIds: Iterable<string>): void
  /** Called before, if the stream was taken from its client. */
  onEvict(): void
  /** Called at least once in each `beat`. */
  onBeat(): void
  onError(error: unknown): void
}

/** When a client is to come back, ms. */
export interface Goodbye {
  readonly retryAfter?: number
  readonly spread?: number
}

/** The content of a replay marker. */
export interface Replayed {
  readonly resumeId?: string
  readonly sessions: readonly SessionVerdict[]
}

/**
 * One live SSE response. After its end every method but `say`, `attach` and `confirm` (which
 * refuse) does nothing.
 */
export interface ChatStream {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  /** For how long the client has not read, ms; 0 while a read is waiting. */
  readonly unreadFor: number
  /** The attached sessions. */
  readonly sessionIds: readonly string[]
  /** The `resumeId` of the last `reconnect`. */
  resumeId: string | undefined
  isAttached(sessionId: string): boolean
  /**
   * Whether it is attached, and has events, or a command has been let in that may bring its first
   * ones.
   */
  hasBegun(sessionId: string): boolean
  /** Such a command has been let in. */
  begin(sessionId: string): void
  /**
   * Writes what is in the log after `after`, and whatever follows. A session that is attached
   * starts over there. What comes up to `head` is a replay, and paced. False if the session is one
   * too many. Rejects with `Refusal` 429 if there is no room for it.
   */
  attach(sessionId: string, after: number, epoch: string, head?: number): Promise<boolean>
  detach(sessionId: string): void
  /** Queues a control frame; it is written before any event. */
  say(frame: object): void
  /**
   * Queues a replay marker; it is written as soon as each of its sessions has been written up to
   * its `to`.
   */
  confirm(marker: Replayed): void
  end(goodbye?: Goodbye): void
  /** Ends it in a moment: answers that are under way on the same socket get ahead of that. */
  retire(): void
  /** Takes the stream from its client. Without a goodbye, because the client does not read. */
  evict(goodbye?: Goodbye): void
}
