import type { ActorRef, Snapshot } from 'xstate'
import type { ConnectionError, StopError } from '../errors'
import type { CloseReason, ConnectionContext, ConnectionEmitted, ConnectionEvent, Phase } from '../machine/types'
import type { Cursor, SessionStatus } from '../protocol'
import type { Trace } from '../trace/trace'
import type {
  Delivery,
  DeliveryStatus,
  InboundMessage,
  OfType,
  OutboundMessage,
  OutboxState,
  SendOptions,
  Typed,
} from './messages'

export interface WatchOptions {
  /**
   * Where to begin: the `seq` of the last event that the app has, or its cursor with the `epoch`;
   * `'head'`: with what happens from now on, and no `session` event tells of that. It moves the
   * cursor only if the session is not tracked yet, or was `reset` since. Default: the known cursor,
   * or 0, which is before the first event.
   */
  readonly after?: number | 'head' | Cursor | undefined
}

export interface SessionNews {
  readonly sessionId: string
  /**
   * `reset`: history was lost, reload it. `gone`, `forbidden`: no longer tracked. `released`: the
   * app has not asked for the session, and no event came for 15 to 30 min, so it is tracked no
   * more; `watch` it to follow it again.
   */
  readonly status: SessionStatus | 'released'
  /**
   * The replay starts after it. After a `reset`: what the server still has starts after it, as far
   * as is known, so where it is below `to`, `watch(sessionId, { after: from })` fetches that. Else
   * it is the cursor.
   */
  readonly from: number
  /** The end of the replay; after a `reset` the new cursor. */
  readonly to: number
}

/**
 * Listeners run after the snapshot is new, in this order: `phase`, `opened`/`closed`, `stopped`,
 * `delivery`.
 */
export interface ConnectionEvents<Inbound = InboundMessage, Outbound = OutboundMessage> {
  /**
   * Each message for the app. The cursor moves after all listeners returned; one that throws is
   * offered it twice more.
   */
  message: Inbound
  opened: { readonly connectionId: string; readonly sessions: readonly string[] }
  /** Strictly alternates with `opened`. */
  closed: { readonly reason: CloseReason; readonly error?: ConnectionError }
  /**
   * The connection will not come back by itself; `connect()` starts again. Without a listener the
   * console is told, once. Where the machine itself has ended (the message says so; a clock that
   * throws can do it, or what an app sends to `actor`), the connection is disposed of: only a new
   * one helps.
   */
  stopped: { readonly error: StopError }
  phase: { readonly phase: Phase; readonly previous: Phase }
  session: SessionNews
  /** `error`: as that of the `Delivery`, when its status became this one. */
  delivery: {
    readonly id: string
    readonly status: DeliveryStatus
    readonly message: Outbound
    readonly error: ConnectionError | null
  }
  /** A lifecycle event that the current state refused. A diagnostic: ordinary use produces it. */
  refused: { readonly event: string; readonly phase: Phase }
  /**
   * Something the line survived, e.g. a POST that is repeated, or a first connect that failed.
   * Without a listener it is `console.warn`ed, once per code.
   */
  error: { readonly error: ConnectionError }
}

/** Immutable; the same reference until something changes. */
export interface ConnectionSnapshot {
  readonly phase: Phase
  readonly connectionId: string | null
  /** Failures in a row. */
  readonly attempt: number
  /** When `backoff` ends, ms since the epoch; null in every other phase. */
  readonly retryAt: number | null
  /** The number of unsettled deliveries. */
  readonly pendingCount: number
  readonly outbox: OutboxState
  readonly lastError: ConnectionError | null
}

/**
 * The machine's snapshot, written by hand: an inferred machine type breaks on another minor version
 * of XState.
 */
export type MachineSnapshot = Snapshot<unknown> & {
  readonly value: unknown
  readonly context: ConnectionContext
  readonly tags: ReadonlySet<Phase>
  hasTag(tag: Phase): boolean
  matches(value: never): boolean
}

/** For `@xstate/react`, `@xstate/vue`, inspectors. */
export type ConnectionActor = ActorRef<MachineSnapshot, ConnectionEvent, ConnectionEmitted>

/** `[Symbol.dispose]`, for `using`, where TypeScript's `lib` knows of it. */
export type Disposability = SymbolConstructor extends { readonly dispose: infer Key extends symbol }
  ? { [Name in Key]: () => void }
  : object

/**
 * What `watch` returns: takes that `watch` back. Where the language knows `Symbol.dispose`, it fits
 * `using` as well.
 */
export type Unwatch = (() => void) & Disposability

/** A plain object: safe to destructure. */
export interface Connection<Inbound = InboundMessage, Outbound extends Typed = OutboundMessage> extends Disposability {
  /** @throws {ConnectionError} `invalid-option`, where `url` is relative and there is no page. */
  connect(): void
  /** Ends the stream, aborts POSTs in flight; the queue and the cursors are kept. */
  disconnect(): void
  /** A fresh stream, at once. Does nothing in `idle`. */
  reconnect(): void
  /**
   * The page or the network is back: check the stream, or skip the rest of a backoff. `awayFor` in
   * ms.
   */
  wake(options?: { readonly awayFor?: number | undefined }): void
  /**
   * Disconnect for good. Unsettled deliveries end `unknown` (attempted, or stored and so may go out
   * later) or `rejected` (`cancelled`). Afterwards nothing does anything. What is stored stays.
   */
  dispose(): void

  readonly phase: Phase
  /**
   * Whether the phase is `open`. POSTs may start then, unless the stream is in doubt or suspended
   * (`outbox.state`).
   */
  readonly isOpen: boolean
  /** The server's name for the stream; null before its welcome. Not a credential. */
  readonly connectionId: string | null
  /**
   * Why the line is not open, or was last lost; null once it is open, and after `disconnect()`.
   */
  readonly lastError: ConnectionError | null
  /** Failures in a row; reset after `backoff.stableDelay` of `open`. */
  readonly attempt: number
  /** When `backoff` ends, ms since the epoch; null in every other phase. */
  readonly retryAt: number | null

  /**
   * Works in every phase. A message that can never be one, or does not fit the `protocol`, is
   * `rejected`, not thrown.
   *
   * @throws {ConnectionError} `invalid-option`, for an `id` that is malformed or in use, or a
   * `maxAge` that is not above 0.
   */
  send<Type extends Outbound['type']>(
    message: { readonly type: Type } & OfType<Outbound, Type>,
    options?: SendOptions,
  ): Delivery<OfType<Outbound, Type>>
  send(message: Outbound, options?: SendOptions): Delivery<Outbound>
  /** The unsettled deliveries, oldest first, those restored from `storage` included. */
  readonly pending: readonly Delivery<Outbound>[]
  /**
   * Give up on all of them, and delete the messages in `storage`. Another page that is open posts
   * its own all the same.
   */
  clearOutbox(): void

  /**
   * Track a session: its events after `after`, and from now on. On an open line this is a POST
   * where the server announced `watch-replay`; else it is a resume, which holds sends until it is
   * through and is told as `closed` with the reason `gap`.
   *
   * Returns the function that takes this `watch` back: the session is untracked when each of them
   * was called. It works once, and not after `unwatch(sessionId)`, `gone` or `forbidden`.
   *
   * @throws {ConnectionError} `invalid-option`, for a `sessionId` that is no string or empty, or an
   * `after` that is none.
   */
  watch(sessionId: string, options?: WatchOptions): Unwatch
  /** Track it no more, however often it is watched: what still arrives for it is dropped. */
  unwatch(sessionId: string): void
  /** The last event of the session that the app has applied. */
  cursor(sessionId: string): Cursor | undefined
  /** Of all tracked sessions. */
  readonly cursors: readonly Cursor[]

  /**
   * Returns the function that unsubscribes.
   *
   * @throws {ConnectionError} `invalid-option`, for a `name` that is none of the events, or a
   * `listener` that is no function.
   */
  on<Name extends keyof ConnectionEvents>(
    name: Name,
    listener: (event: ConnectionEvents<Inbound, Outbound>[Name]) => void,
  ): () => void
  /** Hears the messages of one session only: those whose `sessionId` it is. */
  on(name: 'message', scope: { readonly session: string }, listener: (message: Inbound) => void): () => void
  /**
   * Resolves when the line is open: at once, if it is. Rejects with a `ConnectionError` when the
   * connection stops (with what `stopped` tells), at `disconnect()` (`cancelled`) and at
   * `dispose()` (`disposed`); with the reason of `signal` when that aborts. In `idle` it waits for
   * a `connect()`.
   *
   * @throws {ConnectionError} `invalid-option`, for a `signal` that is none.
   */
  whenOpen(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Tell the server now that the page may be frozen. The page lifecycle does it by itself. */
  suspend(): void
  /** What the machines did of late, to be attached to a bug report. */
  trace(): Trace

  readonly actor: ConnectionActor
  /** For `useSyncExternalStore` and Svelte: calls back at once and after each change. */
  subscribe(listener: (snapshot: ConnectionSnapshot) => void): () => void
  getSnapshot(): ConnectionSnapshot
}
