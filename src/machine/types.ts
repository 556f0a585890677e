import type { ConnectionError } from '../errors'
import type { Cursor, Feature } from '../protocol'

/** What the outside sees. Every state carries its phase as a tag. */
export type Phase = 'idle' | 'connecting' | 'awaitingWelcome' | 'reconnecting' | 'open' | 'backoff'

/** Why an open connection closed. What comes next is told by the phase. */
export type CloseReason =
  | 'disconnect'
  | 'reconnect'
  | 'wake'
  | 'welcome'
  | 'gap'
  | 'goodbye'
  | 'failed'
  | 'silent'
  | 'disowned'
  | 'unauthorized'
  | 'probe-timeout'

/** How fast to come back. Durations are in ms. */
export interface BackoffPolicy {
  /** Upper bound of the first delay; doubled with every attempt. Default 500. */
  readonly base: number
  /** No delay that the client chooses is longer. Default 30 000. */
  readonly cap: number
  /** Attempts in a row before the connection gives up. Default `Infinity`. */
  readonly maxAttempts: number
  /** `open` must last this long before the attempt count is reset. Default 5 000. */
  readonly stableDelay: number
}

/** How long each phase may take, ms. */
export interface Timeouts {
  /** From creating the EventSource to its `open` event. Default 15 000. */
  readonly connect: number
  /** From `open` to the welcome frame. Default 10 000. */
  readonly welcome: number
  /** For the answer of the resume, then between two messages of the replay. Default 15 000. */
  readonly resume: number
  /** For one POST, its whole body included. Default 15 000. */
  readonly send: number
  /** From the probe to its answer on the stream. Default 2 000. */
  readonly probe: number
}

/**
 * Everything the machine needs to know about the world. It has no clock, no random source and no
 * I/O of its own.
 */
export interface ConnectionInput {
  readonly backoff: BackoffPolicy
  readonly timeouts: Timeouts
  /** ≥ 0 and < 1, like `Math.random`. */
  readonly random: () => number
  /**
   * Wall-clock time, ms since the epoch, like `Date.now`: for `retryAt`. Timers are those of the
   * actor's clock.
   */
  readonly now: () => number
}

/** A wait that the server asked for, ms. */
export interface ServerDelay {
  readonly retryAfter?: number | undefined
  readonly spread?: number | undefined
}

/** What the `resume` actor is asked to do. */
export type ResumeInput = { readonly resumeId: string; readonly cursors: readonly Cursor[] }
/** What the `probe` actor is asked to do. */
export type ProbeInput = { readonly nonce: string }

export interface ConnectionContext {
  readonly policy: ConnectionInput
  /** Failures in a row; reset by `stableDelay` of `open`. */
  readonly attempt: number
  /**
   * `lost` after a line that read open and took no POST: then time alone does not reset the
   * attempts, but a POST that succeeds.
   */
  readonly trust: 'kept' | 'lost'
  /** The current wait in `backoff`, ms. */
  readonly delay: number
  /** When the last `backoff` ends, or ended, ms since the epoch. */
  readonly retryAt: number
  /** What the server asked for when it failed or said goodbye; used by the next backoff only. */
  readonly serverDelay: ServerDelay
  /** The server's name for the current stream; null before its welcome. */
  readonly connectionId: string | null
  readonly heartbeat: number | null
  readonly features: readonly Feature[]
  /** The sessions of the resume in flight. */
  readonly cursors: readonly Cursor[]
  /** Resumes of this stream; part of the `resumeId`. */
  readonly resumes: number
  readonly resumeId: string | null
  /**
   * `said` from a suspend on: the server may have detached the sessions, and no resume has
   * succeeded on this stream since.
   */
  readonly farewell: 'none' | 'said'
  /** Resumes in a row that moved none of their cursors. */
  readonly fruitless: number
  /** Resumes and resets that the server has caused since `stableDelay` of `open` without any. */
  readonly flaps: number
  /** 403s in a row that streams were refused with. */
  readonly refusals: number
  /** Probes so far; the nonce of the current one. */
  readonly probes: number
  readonly lastError: ConnectionError | null
}

/** Commands of the app. */
export type CommandEvent = { type: 'connect' } | { type: 'disconnect' } | { type: 'reconnect' }

/** Facts about the page and the machine it runs on. */
export type PageEvent =
  | { type: 'wake'; awayFor: number }
  | { type: 'reconnect' }
  /**
   * The server is being told that the page goes away. The cursors are those that a resume will have
   * to carry.
   */
  | { type: 'page.suspended'; cursors: readonly Cursor[] }

/** Facts about the live stream. */
export type StreamEvent =
  | { type: 'stream.opened' }
  | {
      type: 'stream.welcomed'
      connectionId: string
      heartbeat: number | null
      features: readonly Feature[]
      /** As they are at this moment, so the machine needs no access to mutable state. */
      cursors: readonly Cursor[]
    }
  | { type: 'stream.replayed'; resumeId: string | null; leftOvers: readonly Cursor[]; isByServer?: boolean }
  /**
   * There is something to be resumed. `isByServer`: the server has left one; else it is the app
   * that wants it.
   */
  /**
   * The stream does not bring all that it should: there is a hole, or a session that it was not
   * asked for yet, also one that the app watches.
   */
  | { type: 'stream.gapped'; cursors: readonly Cursor[]; isByServer?: boolean }
  /** An event of another epoch has reset a session. */
  | { type: 'stream.reset' }
  | { type: 'stream.probed'; nonce: string }
  | { type: 'stream.drained'; delay: ServerDelay; error: ConnectionError }
  | { type: 'stream.failed'; error: ConnectionError }
  | { type: 'stream.silent'; error: ConnectionError }
  /** Instead of a welcome: 401, 403 or 204. `retryable` if it may pass. */
  | { type: 'stream.refused'; error: ConnectionError }

/** Facts about POSTs other than the resume. */
export type UpstreamEvent =
  | { type: 'upstream.disowned'; error: ConnectionError }
  | { type: 'upstream.unauthorized'; error: ConnectionError }
  /** POSTs fail as they would on a dead line: is the stream alive? */
  | { type: 'upstream.doubtful'; error: ConnectionError }
  /** The first POST that succeeds while the line is not trusted. */
  | { type: 'upstream.proved' }
  /** On a suspended stream: it is a message's turn to leave. */
  | { type: 'upstream.wanted' }

/** How the resume in flight ended. */
export type ResumeEvent =
  | {
      type: 'resume.succeeded'
      /** Holes that opened and sessions that were watched while the resume was in flight. */
      leftOvers: readonly Cursor[]
      isByServer?: boolean
    }
  | { type: 'resume.failed'; error: ConnectionError }

export type ConnectionEvent = CommandEvent | PageEvent | StreamEvent | UpstreamEvent | ResumeEvent

export type ConnectionEmitted =
  | { type: 'opened'; connectionId: string }
  | { type: 'closed'; reason: CloseReason; error?: ConnectionError }
  | { type: 'stopped'; error: ConnectionError }

export type OutboxEvent =
  | { type: 'release' }
  | { type: 'hold' }
  | { type: 'suspend' }
  | { type: 'pause' }
  | { type: 'flow' }
