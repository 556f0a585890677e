import type { InboundMessage } from '../connection/messages'

/**
 * How far `state` can be trusted. It speaks of the session; `useConnectionStatus` tells how the
 * line is.
 *
 * | status | meaning |
 * | --- | --- |
 * | `loading` | there is no state yet, or it is not complete: `load` is under way, or the replay is |
 * | `live` | `state` is complete, and every event that comes is applied to it |
 * | `reset` | the server has lost history: it is loaded again, or a part of it cannot be had any more |
 * | `gone` | the server does not have the session (any more) |
 * | `forbidden` | the user may not read it |
 */
export type SessionViewStatus = 'loading' | 'live' | 'reset' | 'gone' | 'forbidden'

/** Immutable; the same reference until something changes, at most once per frame. */
export interface SessionView<State> {
  readonly state: State
  readonly status: SessionViewStatus
  /** Why `load` failed last, as it was thrown; null once it has succeeded. It is tried again. */
  readonly error: unknown
}

/** The last event that a state contains. A `Cursor` fits. */
export interface StatePlace {
  readonly lastSeq: number
  readonly epoch?: string | undefined
}

export interface Loaded<State> {
  readonly state: State
  /** The last event that `state` contains: its `seq`, or the cursor with its `epoch`. */
  readonly cursor: number | StatePlace
}

/** There is no history to load: what the server that has it knows of the session. */
export type SessionEnd = 'gone' | 'forbidden'

/**
 * How the state of a session is made. There is one state per session and connection, so all who use
 * a session have to give the same `reduce`: keep it in a module.
 */
export interface SessionOptions<State, Message extends object = InboundMessage> {
  /** The state before the first event; with `cursor`, the state at that cursor. */
  readonly initial: State
  /** Applies one event. Pure: it returns the new state, and the old one where nothing changes. */
  readonly reduce: (state: State, message: Message) => State
  /**
   * The last event that `initial` contains, e.g. of a history that a server has rendered: its
   * `seq`, or the cursor with its `epoch`. Default: none.
   */
  readonly cursor?: number | StatePlace | undefined
  /**
   * Reads the history from where you keep it, with the cursor that it belongs to. Called once when
   * the session is used first, unless `cursor` is given, and after a `reset`. One that rejects is
   * called again after 1 s, 2 s … 30 s, and when the line opens. For a session that is not there,
   * or not the user's, it returns `gone` or `forbidden`, and that is the `status`.
   */
  readonly load?: ((sessionId: string) => Promise<Loaded<State> | SessionEnd>) | undefined
  /**
   * How long the session is followed, and its state kept, after the last user has left, ms. Default
   * 300,000 (5 min).
   */
  readonly keepFor?: number | undefined
}
