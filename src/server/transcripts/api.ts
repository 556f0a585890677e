import type { Defined, InboundOf } from '../../protocol/define/types'
import type { Clock } from '../clock'
import type { MaybePromise, SessionEvent, SessionLog } from '../log/sessionLog'

/** The last event that a state contains. */
export interface TranscriptCursor {
  readonly lastSeq: number
  readonly epoch: string
}

/**
 * A state, and the last event that is in it: of one moment. As JSON it is what `load` of
 * `useSession` returns.
 */
export interface Transcript<State = unknown> {
  readonly state: State
  readonly cursor: TranscriptCursor
}

/**
 * Where transcripts are kept. Several processes may share one. `memoryStore` is one, `fileStore` of
 * `holdline/server/node` another; docs/history.md has one for SQLite, in 30 lines.
 */
export interface TranscriptStore {
  /** What was saved last; `undefined` if nothing was. */
  load(sessionId: string): MaybePromise<Transcript | undefined>
  /**
   * Replaces what is saved, state and cursor together, if the cursor that is saved still is
   * `before` (`undefined`: if nothing is saved); all of that in one step. False: another one was
   * faster, and nothing was done. So an older state never takes the place of a newer one.
   */
  save(sessionId: string, transcript: Transcript, before: TranscriptCursor | undefined): MaybePromise<boolean>
}

/** An event as the page hears it. */
export type LoggedEvent = SessionEvent & {
  readonly sessionId: string
  readonly seq: number
  readonly epoch: string
}

export interface TranscriptsOptions<State, Event> {
  /**
   * Where the events are: `memoryLog` or `redisLog`. Give the server the `log` that is returned.
   */
  readonly log: SessionLog
  /** The state before the first event. JSON, as every state. */
  readonly initial: State
  /**
   * Applies one event. Pure, and most often the one of the page, in a module that both read. An
   * event that it throws at is left out, and told to `onError`.
   */
  reduce(state: State, event: Event): State
  /**
   * Says of a state that nothing more comes of what was under way in it, e.g. ends the answer that
   * is still `running` as `interrupted`. Called where the log has begun anew, as one in memory does
   * with its process, or has lost events: no answer of an old epoch is still running. Default: the
   * state stays as it is.
   */
  breakOff?(state: State): State
  /** Default: the memory of this process, which grows with every session. */
  readonly store?: TranscriptStore
  /**
   * Something could not be saved, and is tried again every second (told once, until it succeeds);
   * or an event was left out. Default: the console.
   */
  onError?(error: unknown): unknown
  /** Default: the global timers. */
  readonly clock?: Pick<Clock, 'setTimeout' | 'clearTimeout'>
}

/** With the message types of the app: `reduce` gets the events as the page does, checked. */
export type TypedTranscripts<State, P extends Defined> = TranscriptsOptions<State, InboundOf<P>> & {
  readonly protocol: P
}

export interface Transcripts<State> {
  /**
   * The log, for `createChatServer`. A session to which something was appended is saved within a
   * second.
   */
  readonly log: SessionLog
  /**
   * The transcript as it is now: what was saved, and what the log has after that. It is saved
   * before this resolves, so a command that awaits it before its receipt loses nothing that it has
   * published. Reading a session without events creates nothing.
   *
   * Rejects with a TypeError if the session id is not valid, and with whatever the log or the store
   * rejects with.
   */
  read(sessionId: string): Promise<Transcript<State>>
  /**
   * Saves what is not saved yet. Call it when nothing is published any more, before the log is
   * closed.
   */
  close(): Promise<void>
}
