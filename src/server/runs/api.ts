import type { AnyMessages, Defined, IsUntyped, Messages, Published, WireOf } from '../../protocol/define/types'
import type { ChatServer } from '../create'
import type { MaybePromise, SessionEvent } from '../log/sessionLog'
import type { CommandCall } from '../options'

export type { RunEndReason, RunError, RunEvent } from '../../protocol/runEvent'

/**
 * Makes the events of a run. Called at most once for a `start` or a `resume`, in the process that
 * called it, after `run.started` or `run.resumed` was appended.
 *
 * An event is a JSON object with a `type`, as for `server.publish`; it must fit the server's
 * `protocol`. The next one is asked for only
 * when the log has room for it. The last one may be `suspend(waitsFor)`. If this throws, or its
 * stream does, the run ends `failed`, and `onError` is told.
 *
 * @param signal is aborted when the run has ended without its producer: nothing that it yields
 * after that is published. Its `reason` is an `AbortError`
 * @param run the name of the run
 */
export type Produce<Wire extends Messages = AnyMessages> = (
  signal: AbortSignal,
  run: string,
) => MaybePromise<AsyncIterable<Produced<Wire>> | ReadableStream<Produced<Wire>>>

/** What a producer may yield. */
export type Produced<Wire extends Messages> =
  IsUntyped<Wire> extends true ? ProducedEvent : Published<Wire> | ReturnType<typeof suspend>

/** A JSON object. */
export interface ProducedEvent {
  readonly type: string
}

/** How events that come in a burst become fewer. */
export interface Coalesce {
  /**
   * The event that stands for both, or `undefined` if the second must stay for itself. `next`
   * follows `previous` at once. It is called with copies, and must not change them.
   *
   * @example
   * join: (a, b) => (a.type === 'text' && b.type === 'text' ? { ...a, text: `${a.text}${b.text}` }
   * : undefined)
   */
  join(previous: SessionEvent, next: SessionEvent): ProducedEvent | undefined
  /**
   * How far apart two appends of a run are at least, ms. The first event of a burst leaves at once.
   * Default: 25.
   */
  readonly delay?: number
}

export interface RunsOptions {
  /** Of `createChatServer`, with a log that keeps runs: `memoryLog` and `redisLog` do. */
  readonly server: ChatServer
  /**
   * How long a process that says nothing is believed to live, ms. Its runs end as `interrupted` at
   * most two leases after it died. For all processes of a log the same. The memory log has one
   * process, and needs none. Default: 5,000; at least 1,000.
   */
  readonly lease?: number
  /** Default: events are not joined. A start may have its own. */
  readonly coalesce?: Coalesce
  /**
   * What `start` does in a session whose run has not ended (a suspended one has not): `reject` it
   * as a command with 409 `busy`; `queue` it behind the others, at most 8, then 409 `busy`; or
   * `interrupt`: end the other one as `stopped`, and start in the same step. Default: `reject`.
   */
  readonly onBusy?: 'reject' | 'queue' | 'interrupt'
  /**
   * How long a suspended run waits for its answer, ms. Then it ends: `interrupted`, `expired`.
   * Default: 86,400,000 (24 h).
   */
  readonly suspendAge?: number
}

export interface StartOptions<Wire extends Messages = AnyMessages> {
  /**
   * The name of the run, `^[A-Za-z0-9_-]{1,128}$`. Two starts with one name in one session are one
   * run, as long as it has not ended and for the age of a receipt after that. Default: a hash of
   * the principal, the Idempotency-Key and how many starts of this command came before; so a
   * command that is repeated after a crash finds its run. Random without a key.
   */
  readonly id?: string
  /** Default: the one of `createRuns`. */
  readonly coalesce?: Coalesce
  /**
   * The event that the run answers, e.g. what the user has typed. It is published in the step in
   * which the run starts or is queued, directly before its `run.started` or `run.queued`; and only
   * in that step: a repeat, and a start that is rejected, publish nothing. So it is in the log once
   * or, with the run, not at all. The cursor `after` of the run is behind it. Default: none.
   */
  readonly prompt?: IsUntyped<Wire> extends true ? ProducedEvent | SessionEvent : Published<Wire>
}

export interface ResumeOptions {
  /**
   * What is answered, as it stands in `run.suspended`. If the run waits for something else by now,
   * this is a late answer to an earlier question: 409 `answered`. Default: whatever it waits for.
   */
  readonly waitsFor?: unknown
  /** Default: the one of `createRuns`. */
  readonly coalesce?: Coalesce
}

/** Where a run stands: a receipt, ready to be returned by `onCommand`. */
export interface RunReceipt {
  readonly run: string
  readonly state: 'running' | 'queued' | 'suspended' | 'ended'
  /**
   * Of a run that is `running` or `suspended`, the cursor before its first event, as in
   * `ActiveRun`.
   */
  readonly after?: number
  /**
   * The run, or the answer, was there already: this call did nothing, and its `produce` is not
   * called.
   */
  readonly isRepeat?: true
}

/** A session and its run, as they were at one moment. */
export interface ActiveRuns {
  /**
   * The `seq` of the newest event of the session, and the life of its numbering: a cursor to follow
   * it from now on.
   */
  readonly head: number
  readonly epoch: string
  /** The run that has started and not ended. */
  readonly run: ActiveRun | null
  /** The names of those that wait behind it, the next one first. */
  readonly queued: readonly string[]
  /**
   * The last run, if it ended as `failed` or `interrupted` and no other has begun since: what it
   * answered has no answer. Remembered for `suspendAge` at least, as long as the log has the
   * session.
   */
  readonly broken?: BrokenRun
}

export interface BrokenRun {
  readonly id: string
  readonly reason: 'failed' | 'interrupted'
}

export interface ActiveRun {
  readonly id: string
  readonly state: 'running' | 'suspended'
  /**
   * The cursor before its first event, which is `run.started`: `watch(sessionId, { after })`
   * replays the run from its begin.
   */
  readonly after: number
  /** Of a suspended run. */
  readonly waitsFor?: unknown
}

/** The runs of a server with a shared `protocol`: their producers yield the events of it. */
export type RunsOf<P extends Defined> = Runs<WireOf<P>>

/** What `start` and `resume` need of the command that they are called in. */
export type RunCall = Pick<CommandCall, 'principal' | 'sessionId'> & {
  readonly idempotencyKey?: string | undefined
}

/**
 * The runs of a server's sessions: one answer each to a command, with a begin and an end that every
 * client sees.
 */
export interface Runs<Wire extends Messages = AnyMessages> {
  /**
   * Begins a run in the command's session. Resolves when `run.started` (or `run.queued`) is in the
   * log; `produce` is called then, and goes on after the command has returned. So return this as
   * the receipt.
   *
   * Hand on the `call` itself, not a copy: the starts of a command are counted by it.
   *
   * Rejects with `CommandRejected`: 409 `busy` (see `onBusy`), 400 `no-session` if the command
   * names none; with a TypeError if an argument is invalid, or a `ProtocolError` if `prompt` does
   * not fit the protocol; and with whatever the log rejects with:
   * then the command may be repeated.
   */
  start(call: RunCall, produce: Produce<Wire>, options?: StartOptions<Wire>): Promise<RunReceipt>
  /**
   * Goes on with a suspended run of the command's session, in whichever process. Resolves when
   * `run.resumed` is in the log. The first answer takes the run.
   *
   * Rejects with `CommandRejected`: 409 `answered` if another answer came first, 409 `ended` if the
   * run has ended, or there is none of that name, 400 `bad-run` if that is no name, 409
   * `too-many-answers` after 256. Otherwise as `start`.
   */
  resume(call: RunCall, run: string, produce: Produce<Wire>, options?: ResumeOptions): Promise<RunReceipt>
  /**
   * Ends a run as `stopped`, in whichever process it runs; its producer's signal is aborted, and
   * nothing of it is published any more. A queued or suspended one too. Without `run`, the one that
   * is active on arrival. Resolves with the name of the run that it ended, when `run.ended` is in
   * the log; `undefined` if there was none. Rejects with `CommandRejected` 400 `bad-run` if `run`
   * is no name of one, with a TypeError if the session id is invalid, and with whatever the log
   * rejects with.
   */
  stop(sessionId: string, run?: string): Promise<string | undefined>
  /** Reads the session and its run in one step. Reading creates nothing. */
  active(sessionId: string): Promise<ActiveRuns>
  /**
   * Resolves when this process has no run, queued or running: for a graceful stop, after
   * `server.close()` and before the log is closed. Suspended runs belong to no process.
   */
  idle(): Promise<void>
}

/**
 * The last event of a producer that waits for somebody: a client's tool, an approval. `waitsFor` is
 * JSON, and stands in `run.suspended`.
 */
export const suspend = (waitsFor: unknown) => ({ type: 'run.suspended', waitsFor }) as const
