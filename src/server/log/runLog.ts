import type { MaybePromise } from './maybePromise'

/** A session and its runs, as they were at one moment. */
export interface RunPage {
  readonly epoch: string
  readonly head: number
  /** As the last change left it; `''` before the first one. */
  readonly record: string
  /** Another one after each change. `''` before the first one. */
  readonly version: string
  /** The `seq` of the event that the last `keep` named; 0 if nothing is kept. */
  readonly kept: number
  /** Those of the names that were asked about that have ended. */
  readonly ended: readonly string[]
  /** By the clock of the log, ms since the epoch of clocks. */
  readonly now: number
}

/** A step of a session's runs: either all of it is done or nothing. */
export interface RunChange {
  /**
   * Of the page that it is based on. If the session has another version by now, nothing is done.
   */
  readonly version: string
  readonly next: { readonly version: string; readonly record: string }
  /** Whoever has it may append from now on; `''`: nobody. */
  readonly token: string
  /** As JSON. */
  readonly events: readonly string[]
  /**
   * The index of the event from which on the log keeps all events, however old; `same` as before;
   * or `none`.
   */
  readonly keep: number | 'same' | 'none'
  /** Names that are remembered, for the age of a receipt. */
  readonly ended: readonly string[]
  /**
   * Processes that have something in this session from now on, and processes that have nothing in
   * it any more.
   */
  readonly holds: readonly string[]
  readonly frees: readonly string[]
  /** Processes that have to look at the session. */
  readonly wakes: readonly string[]
  /** When the session is overdue, by the clock of the log, ms. */
  readonly due: number | undefined
}

/** Events of one run that are appended together. */
export interface RunBatch {
  readonly token: string
  /** 1, 2, 3 … A batch with a number that was there already is a repeat, and appends nothing. */
  readonly number: number
  /** As JSON. */
  readonly events: readonly string[]
}

export interface RunProcess {
  /** No other process has it, now or later. */
  readonly name: string
  /** How long it is believed to live after `renew`, ms. */
  readonly lease: number
  /**
   * How long a session waits for an answer at most, ms: so long what is kept outlives its last
   * event.
   */
  readonly waits: number
  /** How long ended names are remembered, ms. */
  readonly remembers: number
  /**
   * Another process has changed something that concerns this one. May be called too often, or not
   * at all.
   */
  onWake(sessionId: string): void
}

/** Whose lease has run out, or `undefined`: the session is due. */
export interface Overdue {
  readonly sessionId: string
  readonly process: string | undefined
}

/** What `join` gives a process: the runs of a log. */
export interface RunLog {
  /** Reading creates nothing. */
  read(sessionId: string, names: readonly string[]): MaybePromise<RunPage>
  /**
   * `undefined`: the session has another version, and nothing was done. A change whose
   * `next.version` is the present one was done. `kept`: as in the page that is read after it.
   */
  change(sessionId: string, change: RunChange): MaybePromise<{ readonly kept: number } | undefined>
  /**
   * `lost`: the token is another one, and nothing was appended. `full`: the log cannot keep this
   * with all that it has kept since the event of `keep`, and nothing was appended.
   */
  append(sessionId: string, batch: RunBatch): MaybePromise<'appended' | 'lost' | 'full'>
  /** This process lives. */
  renew(): MaybePromise<void>
  /** Sessions that have to be looked at, some of them, until a change frees them. */
  overdue(): MaybePromise<readonly Overdue[]>
  /** It could not be looked at. `overdue` tells of all others before it. */
  postpone(overdue: Overdue): MaybePromise<void>
}

/**
 * Of a log that keeps runs beside the events, so that a step of a run and its events are one.
 * `holdline/server/runs` needs it.
 */
export type JoinRuns = (process: RunProcess) => RunLog
