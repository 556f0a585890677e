import type { ConnectionErrorCode } from '../errors'
import type { Feature } from '../protocol'

/**
 * One event at one of the machines, and what it did. Facts only: no ids, no texts, no headers.
 */
export interface TraceStep {
  /** ms since `startedAt`. */
  readonly at: number
  /** `tab`: that of `holdline/tabs`; only its steps to another state. */
  readonly machine: 'connection' | 'outbox' | 'tab'
  readonly event: string
  /** The path of the state, e.g. `active.streaming.open.steady`, `held`. */
  readonly from: string
  /** The same as `from` where the event was refused, or moved nothing. */
  readonly to: string
  /** The state had no transition for it. */
  readonly refused: boolean
  /**
   * What the connection knew before the step: failures in a row, resumes in a row without progress,
   * resumes of this stream …
   */
  readonly attempt: number
  readonly trust?: 'kept' | 'lost' | undefined
  readonly farewell?: 'none' | 'said' | undefined
  readonly fruitless: number
  readonly resumes: number
  /** 403s in a row, if there were any. */
  readonly refusals?: number | undefined
  /** Resumes and resets that the server has caused without a pause, if there were any. */
  readonly flaps?: number | undefined
  /** … and what the last welcome announced. */
  readonly features: readonly Feature[]
  readonly heartbeat: number | null
  /** How many sessions the event names: to be resumed, or left over. */
  readonly sessions?: number | undefined
  /** Of left-overs: whether the resume got somewhere. */
  readonly moved?: boolean | undefined
  /** Whether the server has made the resume necessary. */
  readonly hole?: boolean | undefined
  /**
   * Whether it answers what was asked last: this resume, this probe. null: a marker that does not
   * say which resume it ends.
   */
  readonly own?: boolean | null | undefined
  /** Of a `wake`, ms; for ever is null in JSON. */
  readonly awayFor?: number | null | undefined
  /** The wait that is on, ms. */
  readonly delay?: number | undefined
  /** Of the error. */
  readonly code?: ConnectionErrorCode | undefined
  readonly status?: number | undefined
  readonly retryable?: boolean | undefined
}

/**
 * What the flight recorder holds: the last 256 steps. It survives `JSON.stringify`;
 * `holdline/inspect` reads it.
 */
export interface Trace {
  readonly format: 'holdline-trace'
  readonly version: 1
  /** When the connection was created, ms since the epoch. */
  readonly startedAt: number
  /** `backoff.maxAttempts`; no limit is null in JSON. */
  readonly maxAttempts: number | null
  /** How many steps came before these. */
  readonly dropped: number
  /** Of a shared line: the name of this tab, drawn for each connection, by which others know it. */
  readonly tab?: string | undefined
  /** The tab that holds the stream now; null where none is known. */
  readonly leader?: string | null | undefined
  readonly steps: readonly TraceStep[]
}
