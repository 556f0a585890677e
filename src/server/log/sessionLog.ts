import type { Cluster, ClusterHost } from './cluster'
import type { MaybePromise } from './maybePromise'
import type { JoinRuns } from './runLog'

export type { MaybePromise }

/**
 * An event that the app publishes: a plain JSON object. `type` must not be one of the protocol's
 * own frame types.
 */
export interface SessionEvent {
  readonly type: string
  readonly [field: string]: unknown
}

/** One event of a session, as the log numbered it. */
export interface LogEntry<Event = SessionEvent> {
  readonly sessionId: string
  readonly seq: number
  readonly epoch: string
  readonly event: Event
  /**
   * The event as JSON, without the fields `sessionId`, `seq`, `epoch` and `prevSeq`: of a log that
   * keeps text. Streams then write it as it is; without it they serialise `event`, each stream
   * anew.
   */
  readonly json?: string
  /** In the answer to `append` alone: the event was appended before, under the same `Once`. */
  readonly isRepeat?: true
}

/** How far a session's log reaches. */
export interface SessionHead {
  /**
   * The life of the numbering. When a session's numbering starts again, it has another epoch. `''`
   * if it begins with the first event, and there was none yet.
   */
  readonly epoch: string
  /** The `seq` of the oldest event that can still be read; `head + 1` if there is none. */
  readonly first: number
  /** The `seq` of the newest event ever appended; `0` for a session without events. */
  readonly head: number
  /**
   * This one session cannot be read now, so nothing else here is known. `read` finds nothing in it,
   * and the listeners of `subscribe` are called when that is over.
   */
  readonly isUnreadable?: boolean
}

/**
 * The mark by which an event is known when it is appended again, by a command that did not get to
 * its end.
 */
export interface Once {
  readonly id: string
  /** Says whether it is the same command. */
  readonly fingerprint: string
}

/**
 * Where the events of all sessions are kept. `memoryLog` is one; a log shared by several processes
 * fits the same interface, which is why everything may be asynchronous. A rejected promise ends the
 * stream, or answers 5xx.
 */
export interface SessionLog {
  /**
   * Numbers and keeps one event: contiguous per session and epoch, in the order of the calls. With
   * `once`, an event that was appended to this session under the same id is not appended again: its
   * number is the answer, with `isRepeat`. Rejects with `CommandRejected` (409, `id-reused`) if
   * that one had another fingerprint. `json` is the event as JSON, for a log that keeps text.
   */
  append(sessionId: string, event: SessionEvent, once?: Once, json?: string): MaybePromise<LogEntry>
  /**
   * The events with `seq > after`, oldest first, at most `limit`. Fewer than `limit` means: there
   * are no more now. Events that were trimmed are skipped. Reading an unknown session creates
   * nothing.
   */
  read(sessionId: string, after: number, limit: number): MaybePromise<readonly LogEntry[]>
  /** An unknown session has epoch `''`, head 0 and first 1. Asking creates nothing. */
  head(sessionId: string): MaybePromise<SessionHead>
  /**
   * `listener` is called after each `append` to that session, in whichever process it happened. It
   * never throws and may be called too often. Once the returned function was called, it is not
   * called any more. When `subscribe` resolves, `read` finds all that was appended before it was
   * called, in whichever process.
   */
  subscribe(sessionId: string, listener: () => void): MaybePromise<() => void>
  /**
   * Only of a log that several processes share: makes this process one of them. `createChatServer`
   * calls it, once.
   */
  join?(host: ClusterHost): Cluster
  /** Only of a log that keeps runs. Their events do not pass through `append`. */
  readonly joinRuns?: JoinRuns
}
