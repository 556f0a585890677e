import type { InspectionEvent, Observer } from 'xstate'
import type { HeaderMap, HeadersHook } from '../adapters/credentials'
import type { EventSourceFactory } from '../adapters/eventSource'
import { defaultEventSource } from '../adapters/eventSourceStream'
import { MAX_INBOUND_BYTES } from '../adapters/fetchUpstream'
import { type PageLifecycle, pageLifecycle } from '../adapters/pageLifecycle'
import { eventSourceTransport, type Transport } from '../adapters/transport'
import type { Clock } from '../environment'
import type { BackoffPolicy, Timeouts } from '../machine/types'
import { type Cursor, ENDPOINTS, isCursor, RESERVED_TYPES } from '../protocol'
import type { Check } from '../protocol/define/types'
import {
  being,
  has,
  invalid,
  isAge,
  isAtLeastOne,
  isBoolean,
  isCount,
  isDelay,
  isFunction,
  isPersistence,
  isTimeout,
  isUrl,
  maps,
  oneOf,
  REQUIRED,
  read,
  resolveUrl,
  type Table,
} from './checks'
import type { InboundLimits, OutboxLimits } from './limits'
import type { Persistence, StoreMaker } from './store'

/** Some of the fields; `undefined` is as good as leaving one out. */
export type Some<T> = { readonly [Field in keyof T]?: T[Field] | undefined }

/** An option that is `undefined` is not given: its default is used. */
export interface ConnectionOptions<Own extends string = string> {
  /**
   * Base URL, absolute or relative to the page. The stream is `GET {url}/events`; commands are
   * `POST {url}/send`, `POST {url}/reconnect` and so on. No query string, no fragment. A relative
   * one may be given where there is no page, e.g. by a module that a server renders; `connect()`
   * throws there.
   */
  readonly url: string
  /**
   * For every POST, and for the stream where the `eventsource` package reads it. Default:
   * `globalThis.fetch`, looked up at each call.
   */
  readonly fetch?: typeof fetch | undefined
  /**
   * Creates a stream. Default: `globalThis.EventSource` where it exists and no `headers` are given
   * (the native one cannot send any), else the `eventsource` package, loaded on demand.
   */
  readonly createEventSource?: EventSourceFactory | undefined
  /**
   * What carries the connection, from `holdline/adapters`. Default: Server-Sent Events read by an
   * EventSource, and `fetch`.
   */
  readonly transport?: Transport | undefined
  /**
   * Request headers, or a (possibly async) function that is asked before every request. After a 401
   * it is asked once more, with `reason: 'unauthorized'`, and the request is repeated; a second 401
   * in a row stops the connection.
   */
  readonly headers?: Readonly<Record<string, string>> | HeadersHook | undefined
  /**
   * As in `fetch`; the stream is created `withCredentials` for `'include'`. Default: requests name
   * none, which to `fetch` is `'same-origin'`.
   */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined
  /** Where to resume from, e.g. saved by the app before a reload. Default: none. */
  readonly cursors?: readonly Cursor[] | undefined
  readonly outbox?: Some<OutboxLimits> | undefined
  readonly inbound?: Some<InboundLimits> | undefined
  /**
   * Where unsettled messages survive a reload or a crash: `persist(localStorage)`, with `persist`
   * from `holdline/storage`. A storage that is full or throws is reported (`storage-failed`), and
   * memory goes on; what is corrupt is reported (`storage-corrupt`) and set aside under
   * `<key>.corrupt`. Default: none.
   */
  readonly storage?: Persistence | null | undefined
  readonly timeouts?: Some<Timeouts> | undefined
  readonly backoff?: Some<BackoffPolicy> | undefined
  /**
   * For servers that send signs of life but do not announce it, ms. What the server announces wins.
   * Default: no watchdog.
   */
  readonly heartbeat?: number | undefined
  /** Drop events at or below the cursor. Default `true`. */
  readonly dedupe?: boolean | undefined
  /**
   * Visibility, back/forward cache, network and clock jumps. `false` turns it off. Default: the
   * browser's, where there is one.
   */
  readonly pageLifecycle?: PageLifecycle | false | undefined
  /**
   * Passed to XState as it is: every event and snapshot of every actor. What it throws is reported,
   * not thrown.
   */
  readonly inspect?: ((event: InspectionEvent) => void) | Observer<InspectionEvent> | undefined
  readonly clock?: Clock | undefined
  /** ≥ 0 and < 1; draws the jitter. Default `Math.random`. */
  readonly random?: (() => number) | undefined
  /**
   * The message types of your app, shared with the server: what `defineProtocol` of
   * `holdline/protocol` returns, or a plain object of the type `Protocol`. Or just the endpoints.
   */
  readonly protocol?:
    | {
        /**
         * Message types of your own and the endpoint under `url` that each is posted to. Added to
         * the built-in ones.
         */
        readonly endpoints?: { readonly [Type in Own]: string } | undefined
      }
    | undefined
}

/** The options, checked and complete. */
export interface Settings
  extends Omit<ConnectionOptions, 'headers' | 'heartbeat' | 'inspect' | 'pageLifecycle' | 'protocol' | 'storage'> {
  readonly fetch: typeof fetch
  readonly createEventSource: EventSourceFactory
  readonly transport: Transport
  readonly headers?: HeaderMap | HeadersHook
  readonly cursors: readonly Cursor[]
  readonly outbox: Omit<OutboxLimits, 'maxInFlight'> & Partial<OutboxLimits>
  readonly inbound: InboundLimits
  readonly storage?: StoreMaker | null
  readonly timeouts: Timeouts
  readonly backoff: BackoffPolicy
  readonly heartbeat?: number
  readonly dedupe: boolean
  readonly pageLifecycle: PageLifecycle | null
  readonly inspect?: NonNullable<ConnectionOptions['inspect']>
  readonly clock: Clock
  readonly random: () => number
  readonly endpoints: Readonly<Record<string, string>>
  /** Of the `protocol`; without it every message fits. */
  readonly check: Check | undefined
}

const CLOCK: Clock = {
  now: () => Date.now(),
  elapsed: () => globalThis.performance?.now() ?? 0,
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
}

const isHeaders = being(
  'a function or a map of strings',
  (value) => isFunction(value) || (maps(/^/)(value) && new Headers(value as HeadersInit)),
)
const isEndpoints = being(
  'a map of types, not reserved, to paths',
  (value) => maps(/^[\w-]+$/)(value) && !RESERVED_TYPES.some((type) => type in Object(value)),
)

/**
 * The checks and the defaults, but for those that the environment decides when the connection is
 * made.
 */
const TABLE = {
  url: [isUrl, REQUIRED],
  createEventSource: [isFunction],
  transport: [isFunction, eventSourceTransport],
  headers: [isHeaders],
  credentials: [oneOf('omit, same-origin, include')],
  cursors: [being('a list of cursors', (value) => Array.isArray(value) && value.every(isCursor)), []],
  outbox: {
    maxMessages: [isAtLeastOne, 1_000],
    maxBytes: [isAtLeastOne, 4_194_304],
    maxAge: [isAge, Infinity],
    overflow: [oneOf('reject, drop-oldest'), 'reject'],
    maxInFlight: [isAtLeastOne],
    maxFailures: [isAtLeastOne, 12],
    maxDrops: [isAtLeastOne, 24],
    giveUpAfter: [isAtLeastOne, 600_000],
  },
  inbound: {
    maxSessions: [isAtLeastOne, 1_000],
    maxBytes: [isAtLeastOne, MAX_INBOUND_BYTES],
  },
  storage: [isPersistence],
  timeouts: {
    connect: [isTimeout, 15_000],
    welcome: [isTimeout, 10_000],
    resume: [isTimeout, 15_000],
    send: [isTimeout, 15_000],
    probe: [isTimeout, 2_000],
  },
  backoff: {
    base: [isDelay, 500],
    cap: [isDelay, 30_000],
    maxAttempts: [isCount, Infinity],
    stableDelay: [isDelay, 5_000],
  },
  heartbeat: [isTimeout],
  dedupe: [isBoolean, true],
  pageLifecycle: [being('false or a PageLifecycle', (value) => value === false || has('subscribe')(value))],
  inspect: [being('a function or an observer', (value) => isFunction(value) || has('next')(value))],
  clock: [has('now, setTimeout, clearTimeout'), CLOCK],
  protocol: { endpoints: [isEndpoints], check: [isFunction] },
} satisfies Table

export function readOptions(options: ConnectionOptions): Settings {
  const { protocol, ...settings } = read(
    {
      ...TABLE,
      // Looked up at each call: request mocks and instrumentation replace it.
      fetch: [
        isFunction,
        globalThis.fetch ? (...given: Parameters<typeof fetch>) => globalThis.fetch(...given) : REQUIRED,
      ],
      random: [isFunction, Math.random],
    },
    options ?? null,
  ) as Settings & { readonly protocol: Partial<Settings> }
  if (!globalThis.crypto?.getRandomValues)
    throw invalid(
      'crypto.getRandomValues',
      "there is none; in React Native import 'react-native-get-random-values' first",
    )
  const url = resolveUrl(settings.url).replace(/\/+$/, '')
  // Not a spread: V8 gives each clone that is added to a hidden class of its own, 0.5 KiB.
  return Object.assign(settings, {
    url,
    createEventSource: settings.createEventSource ?? defaultEventSource(!!settings.headers),
    pageLifecycle: (settings.pageLifecycle ?? pageLifecycle(settings.clock)) || null,
    endpoints: { ...ENDPOINTS, ...protocol.endpoints },
    check: protocol.check,
  })
}
