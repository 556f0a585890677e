import type { ActorRef, InspectionEvent, Observer, Snapshot } from 'xstate'
import type { HeadersHook } from '../adapters/credentials'
import type { EventSourceFactory } from '../adapters/eventSourceStream'
import type { PageLifecycle } from '../adapters/pageLifecycle'
import type { Transport } from '../adapters/transport'
import type { ConnectionError, ConnectionErrorCode, SendError, StopError } from '../errors'
import type {
  BackoffPolicy,
  CloseReason,
  ConnectionContext,
  ConnectionEmitted,
  ConnectionEvent,
  Phase,
  Timeouts,
} from '../machine/types'
import type { Cursor, ENDPOINTS, Feature, JsonObject, SessionStatus } from '../protocol'

/** Time, injected. The default is `Date.now`, `performance.now` and the global timers. */
export interface Clock {
  /** Wall-clock time, ms since the epoch. */
  now(): number
  /** ms since any moment, by a clock that cannot be set. `maxAge` goes on by it where `now` is set back. Default: `now` alone. */
  elapsed?(): number
  setTimeout(callback: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

/** What `persist()` of `holdline/storage` returns. */
export interface Persistence {
  /** Called by `createConnection`. */
  open(setup: never): unknown
}

/** Bounds of the queue. It holds the messages without a verdict, those in flight included. */
export interface OutboxLimits {
  /** Default 1 000. */
  readonly maxMessages: number
  /** Of the messages' JSON in UTF-8. Default 4 194 304 (4 MiB). */
  readonly maxBytes: number
  /**
   * A message that has not been posted for this long is `rejected` (`expired`) when its turn comes, ms. A sleep of the machine counts;
   * across a reload it is told by the wall clock. Default: no limit.
   */
  readonly maxAge: number
  /**
   * Over the bounds, `reject` rejects the new message (`outbox-full`), `drop-oldest` the oldest one that was never posted;
   * if there is none, or the new one alone is too large, the new one. Default `reject`.
   */
  readonly overflow: 'reject' | 'drop-oldest'
  /**
   * How many lanes post at the same time, from 1 to `Infinity`. Each has one POST under way; over a transport that keeps order, up to 64.
   * Default: 3, because HTTP/1.1 gives a page six connections per origin; over a WebSocket 64.
   */
  readonly maxInFlight: number
  /**
   * A message that failed this often, posted alone on a stream that lived, is given up (`unknown`, `exhausted`) once the server
   * has taken another one meanwhile. Default 12.
   */
  readonly maxFailures: number
  /** A message whose stream dropped this often in a row while it was posted is given up (`unknown`, `exhausted`). Default 24. */
  readonly maxDrops: number
  /**
   * Where no other message can prove that the fault is the message's own, it is given up after this long on an open line whose server
   * answers other POSTs, ms. Default 600,000 (10 min).
   */
  readonly giveUpAfter: number
}

/** What a server can make a client keep. */
export interface InboundLimits {
  /**
   * Sessions that are tracked because events of them came: those that the app watches, or gave `cursors` of, do not count; those
   * restored from `storage` do, until it watches them. Events of one more are dropped, which is reported (`too-many-sessions`) once.
   * From 1 to `Infinity`. Default 1 000.
   */
  readonly maxSessions: number
  /**
   * Of one event of the stream, and of one answer to a POST, bytes. An event that is longer ends the stream (`stream-failed`), which
   * comes back with backoff; an answer is cancelled and is none (`bad-response`), unless its status alone says enough. The browser's own
   * EventSource and WebSocket have bounds of their own instead. Default 8 388 608 (8 MiB).
   */
  readonly maxBytes: number
}

/** Some of the fields; `undefined` is as good as leaving one out. */
export type Some<T> = { readonly [Field in keyof T]?: T[Field] | undefined }

/** An option that is `undefined` is not given: its default is used. */
export interface ConnectionOptions<Own extends string = string> {
  /**
   * Base URL, absolute or relative to the page. The stream is `GET {url}/events`; commands are `POST {url}/send`,
   * `POST {url}/reconnect` and so on. No query string, no fragment. A relative one may be given where there is no page, e.g. by a
   * module that a server renders; `connect()` throws there.
   */
  readonly url: string
  /** For every POST, and for the stream where the `eventsource` package reads it. Default: `globalThis.fetch`, looked up at each call. */
  readonly fetch?: typeof fetch | undefined
  /**
   * Creates a stream. Default: `globalThis.EventSource` where it exists and no `headers` are given (the native one
   * cannot send any), else the `eventsource` package, loaded on demand.
   */
  readonly createEventSource?: EventSourceFactory | undefined
  /** What carries the connection, from `holdline/adapters`. Default: Server-Sent Events read by an EventSource, and `fetch`. */
  readonly transport?: Transport | undefined
  /**
   * Request headers, or a (possibly async) function that is asked before every request. After a 401 it is asked once
   * more, with `reason: 'unauthorized'`, and the request is repeated; a second 401 in a row stops the connection.
   */
  readonly headers?: Readonly<Record<string, string>> | HeadersHook | undefined
  /**
   * As in `fetch`; the stream is created `withCredentials` for `'include'`. Default: requests name none, which to `fetch` is
   * `'same-origin'`.
   */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined
  /** Where to resume from, e.g. saved by the app before a reload. Default: none. */
  readonly cursors?: readonly Cursor[] | undefined
  readonly outbox?: Some<OutboxLimits> | undefined
  readonly inbound?: Some<InboundLimits> | undefined
  /**
   * Where unsettled messages survive a reload or a crash: `persist(localStorage)`, with `persist` from `holdline/storage`. A storage
   * that is full or throws is reported (`storage-failed`), and memory goes on; what is corrupt is reported (`storage-corrupt`) and set
   * aside under `<key>.corrupt`. Default: none.
   */
  readonly storage?: Persistence | null | undefined
  readonly timeouts?: Some<Timeouts> | undefined
  readonly backoff?: Some<BackoffPolicy> | undefined
  /** For servers that send signs of life but do not announce it, ms. What the server announces wins. Default: no watchdog. */
  readonly heartbeat?: number | undefined
  /** Drop events at or below the cursor. Default `true`. */
  readonly dedupe?: boolean | undefined
  /** Visibility, back/forward cache, network and clock jumps. `false` turns it off. Default: the browser's, where there is one. */
  readonly pageLifecycle?: PageLifecycle | false | undefined
  /** Passed to XState as it is: every event and snapshot of every actor. What it throws is reported, not thrown. */
  readonly inspect?: ((event: InspectionEvent) => void) | Observer<InspectionEvent> | undefined
  readonly clock?: Clock | undefined
  /** ≥ 0 and < 1; draws the jitter. Default `Math.random`. */
  readonly random?: (() => number) | undefined
  readonly protocol?:
    | {
        /** Message types of your own and the endpoint under `url` that each is posted to. Added to the built-in ones. */
        readonly endpoints?: { readonly [Type in Own]: string } | undefined
      }
    | undefined
}

/** What comes down: any JSON object. Session events carry `sessionId` and `seq`. */
export type InboundMessage = JsonObject
/** What goes up: any JSON object whose `type` names an endpoint. */
export type OutboundMessage<Type extends string = string> = { readonly type: Type; readonly [field: string]: unknown }
/** The least that a message type of the app's own must have. */
export type Typed = { readonly type: string }

/** The types that have an endpoint already. */
export type BuiltInType = keyof typeof ENDPOINTS
/** Every other type that the app's messages can have needs one. Nothing is asked of messages whose `type` is any string. */
export type EndpointsFor<Outbound extends Typed> = string extends Outbound['type']
  ? unknown
  : Exclude<Outbound['type'], BuiltInType> extends never
    ? unknown
    : { readonly protocol: { readonly endpoints: Readonly<Record<Exclude<Outbound['type'], BuiltInType>, string>> } }

export type DeliveryStatus = 'queued' | 'sending' | 'accepted' | 'rejected' | 'unknown'

/** How a message ended. */
export type Verdict =
  /** The server took it: a 2xx. `receipt` is its JSON answer, or null. */
  | { readonly status: 'accepted'; readonly id: string; readonly attempts: number; readonly receipt: unknown }
  /** It was not, and will not be, applied. */
  | { readonly status: 'rejected'; readonly id: string; readonly attempts: number; readonly error: SendError }
  /** It was posted, and given up before an answer came: it may have been applied. */
  | { readonly status: 'unknown'; readonly id: string; readonly attempts: number; readonly error: SendError }

/** One message on its way. */
export interface Delivery<Outbound = OutboundMessage> {
  /** Also its `Idempotency-Key`. */
  readonly id: string
  readonly message: Outbound
  readonly status: DeliveryStatus
  /** Never rejects. */
  readonly settled: Promise<Verdict>
  /** How often it was posted. */
  readonly attempts: number
  /** Why it was not accepted when it was posted last; null if that is not known, or has not happened. */
  readonly error: ConnectionError | null
  /** When it is tried again at the earliest, ms since the epoch; null if it need not wait, is on its way, or has its verdict. */
  readonly retryAt: number | null
  /** Give up on it: `rejected` (`cancelled`), or `unknown` if it was attempted. False if it has its verdict already. */
  cancel(): boolean
}

/** What the queue does. */
export interface OutboxState {
  /** `held`: the line is not open, or its POSTs fail as on a dead one and it has to prove itself. `pausing`: nothing that is queued may leave before `retryAt`. */
  readonly state: 'held' | 'flowing' | 'pausing'
  /** The earliest next try of any message that waits, ms since the epoch; null if none waits. */
  readonly retryAt: number | null
}

export interface SendOptions {
  /** 1–255 visible ASCII characters. Default: 128 random bits, in hex. Two unsettled messages must not share one. */
  readonly id?: string | undefined
  /** Not posted for the first time after this long, ms: then it is `rejected` (`expired`). Default: `outbox.maxAge`. */
  readonly maxAge?: number | undefined
  /**
   * Messages of one lane stay in order with each other, and none of another lane waits for them. Default: the message's
   * `sessionId`; messages without one share a lane, and `switch_session` has its own. 1 to 200 characters, none of them for control;
   * else `send` throws `invalid-option`.
   */
  readonly lane?: string | undefined
  /** Its abort is `cancel()`. */
  readonly signal?: AbortSignal | undefined
}

export interface WatchOptions {
  /**
   * Where to begin: the `seq` of the last event that the app has, or its cursor with the `epoch`; `'head'`: with what happens from now on,
   * and no `session` event tells of that. It moves the cursor only if the session is not tracked yet, or was `reset` since. Default: the known
   * cursor, or 0, which is before the first event.
   */
  readonly after?: number | 'head' | Cursor | undefined
}

export interface SessionNews {
  readonly sessionId: string
  /**
   * `reset`: history was lost, reload it. `gone`, `forbidden`: no longer tracked. `released`: the app has not asked for the session, and
   * no event came for 15 to 30 min, so it is tracked no more; `watch` it to follow it again.
   */
  readonly status: SessionStatus | 'released'
  readonly from: number
  readonly to: number
}

/** Listeners run after the snapshot is new, in this order: `phase`, `opened`/`closed`, `stopped`, `delivery`. */
export interface ConnectionEvents<Inbound = InboundMessage, Outbound = OutboundMessage> {
  /** Each message for the app. The cursor moves after all listeners returned; one that throws is offered it twice more. */
  message: Inbound
  opened: { readonly connectionId: string; readonly sessions: readonly string[] }
  /** Strictly alternates with `opened`. */
  closed: { readonly reason: CloseReason; readonly error?: ConnectionError }
  /**
   * The connection will not come back by itself; `connect()` starts again. Without a listener the console is told, once. Where the machine itself has ended (the message says so;
   * a clock that throws can do it, or what an app sends to `actor`), the connection is disposed of: only a new one helps.
   */
  stopped: { readonly error: StopError }
  phase: { readonly phase: Phase; readonly previous: Phase }
  session: SessionNews
  delivery: { readonly id: string; readonly status: DeliveryStatus; readonly message: Outbound }
  /** A lifecycle event that the current state refused. A diagnostic: ordinary use produces it. */
  refused: { readonly event: string; readonly phase: Phase }
  /** Something the line survived, e.g. a POST that is repeated, or a first connect that failed. Without a listener it is `console.warn`ed, once per code. */
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

/** One event at one of the two machines, and what it did. Facts only: no ids, no texts, no headers. */
export interface TraceStep {
  /** ms since `startedAt`. */
  readonly at: number
  readonly machine: 'connection' | 'outbox'
  readonly event: string
  /** The path of the state, e.g. `active.streaming.open.steady`, `held`. */
  readonly from: string
  /** The same as `from` where the event was refused, or moved nothing. */
  readonly to: string
  /** The state had no transition for it. */
  readonly refused: boolean
  /** What the connection knew before the step: failures in a row, resumes in a row without progress, resumes of this stream … */
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
  /** Whether it answers what was asked last: this resume, this probe. null: a marker that does not say which resume it ends. */
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

/** What the flight recorder holds: the last 256 steps. It survives `JSON.stringify`; `holdline/inspect` reads it. */
export interface Trace {
  readonly format: 'holdline-trace'
  readonly version: 1
  /** When the connection was created, ms since the epoch. */
  readonly startedAt: number
  /** `backoff.maxAttempts`; no limit is null in JSON. */
  readonly maxAttempts: number | null
  /** How many steps came before these. */
  readonly dropped: number
  readonly steps: readonly TraceStep[]
}

/** The machine's snapshot, written by hand: an inferred machine type breaks on another minor version of XState. */
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

/** What `watch` returns: takes that `watch` back. Where the language knows `Symbol.dispose`, it fits `using` as well. */
export type Unwatch = (() => void) & Disposability

/** A plain object: safe to destructure. */
export interface Connection<Inbound = InboundMessage, Outbound extends Typed = OutboundMessage> extends Disposability {
  /** @throws {ConnectionError} `invalid-option`, where `url` is relative and there is no page. */
  connect(): void
  /** Ends the stream, aborts POSTs in flight; the queue and the cursors are kept. */
  disconnect(): void
  /** A fresh stream, at once. Does nothing in `idle`. */
  reconnect(): void
  /** The page or the network is back: check the stream, or skip the rest of a backoff. `awayFor` in ms. */
  wake(options?: { readonly awayFor?: number | undefined }): void
  /**
   * Disconnect for good. Unsettled deliveries end `unknown` (attempted, or stored and so may go out later) or `rejected`
   * (`cancelled`). Afterwards nothing does anything. What is stored stays.
   */
  dispose(): void

  readonly phase: Phase
  /** Whether POSTs may start now. */
  readonly isOpen: boolean
  /** The server's name for the stream; null before its welcome. Not a credential. */
  readonly connectionId: string | null
  /** Why the line is not open, or was last lost; null once it is open. */
  readonly lastError: ConnectionError | null
  /** Failures in a row; reset after `backoff.stableDelay` of `open`. */
  readonly attempt: number
  /** When `backoff` ends, ms since the epoch; null in every other phase. */
  readonly retryAt: number | null

  /**
   * Works in every phase. A message that can never be one is `rejected`, not thrown.
   *
   * @throws {ConnectionError} `invalid-option`, for an `id` that is malformed or in use, or a `maxAge` that is not above 0.
   */
  send(message: Outbound, options?: SendOptions): Delivery<Outbound>
  /** The unsettled deliveries, oldest first, those restored from `storage` included. */
  readonly pending: readonly Delivery<Outbound>[]
  /** Give up on all of them, and delete the messages in `storage`. Another page that is open posts its own all the same. */
  clearOutbox(): void

  /**
   * Track a session: its events after `after`, and from now on. On an open line this is a POST where the server announced
   * `watch-replay`; else it is a resume, which holds sends until it is through and is told as `closed` with the reason `gap`.
   *
   * Returns the function that takes this `watch` back: the session is untracked when each of them was called. It works once, and not
   * after `unwatch(sessionId)`, `gone` or `forbidden`.
   *
   * @throws {ConnectionError} `invalid-option`, for a `sessionId` that is no string or empty, or an `after` that is none.
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
   * @throws {ConnectionError} `invalid-option`, for a `name` that is none of the events, or a `listener` that is no function.
   */
  on<Name extends keyof ConnectionEvents>(
    name: Name,
    listener: (event: ConnectionEvents<Inbound, Outbound>[Name]) => void,
  ): () => void
  /** Hears the messages of one session only: those whose `sessionId` it is. */
  on(name: 'message', scope: { readonly session: string }, listener: (message: Inbound) => void): () => void
  /**
   * Resolves when the line is open: at once, if it is. Rejects with a `ConnectionError` when the connection stops (with what `stopped`
   * tells), at `disconnect()` (`cancelled`) and at `dispose()` (`disposed`); with the reason of `signal` when that aborts.
   * In `idle` it waits for a `connect()`.
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
