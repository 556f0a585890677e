import type { EventSourceFactory } from '../adapters/eventSource'
import { beaconTo } from '../adapters/fetchUpstream'
import { eventSourceTransport, type Transport } from '../adapters/transport'
import type { Connection } from '../connection/api'
import { being, isDelay, isFunction, isName, isPersistence, isUrl, read } from '../connection/checks'
import type { OutboundMessage } from '../connection/messages'
import { partsOf } from '../connection/publicConnection'
import type { Persistence } from '../connection/store'
import { createConnection } from '../createConnection'
import type { ConnectionError } from '../errors'
import { CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER, isCursor, isText, type JsonObject, newId } from '../protocol'
import { Deliveries } from './deliveries'

export interface ChatConnectionOptions {
  /**
   * Where the server is: its endpoints are `{baseUrl}/api/chat/…`. Empty: the page's own origin.
   */
  readonly baseUrl: string
  /** For every POST. Its `headers` are a plain object; the answer has to be a `Response`. */
  readonly fetch: (url: string, init?: RequestInit) => Promise<Response>
  /** Default: `EventSource` where it exists, else the `eventsource` package. */
  readonly createEventSource?: EventSourceFactory | undefined
  /**
   * The retry number n, from 0, comes after a random part of this × 2ⁿ, and of 30 s at most. ms,
   * default 500.
   */
  readonly reconnectDelayMs?: number | undefined
  /**
   * Where the suspend signal goes, with the `connectionId` in its body, over a transport that posts
   * by `fetch`. Default: `{baseUrl}/api/chat/suspend`.
   */
  readonly suspendUrl?: string | undefined
  /**
   * Where the queue survives a reload: `persist(localStorage)`, with `persist` from
   * `holdline/storage`. Default: none.
   */
  readonly storage?: Persistence | null | undefined
  /**
   * What carries the connection, from `holdline/adapters`. Default: an EventSource, and `fetch`.
   */
  readonly transport?: Transport | undefined
}

/**
 * Told of every message of the server, and of what the line itself says:
 *
 * | `type` | means | fields |
 * | --- | --- | --- |
 * | `_open`, `_close` | it is connected, and is no more | |
 * | `_stopped` | it does not come back by itself | `code`, `error` |
 * | `_foreground` | the page is visible again | |
 * | `_rejected` | a message for which `send` was true was not, and will not be, applied | `code`, `error`, `id`, `message` |
 * | `_unknown` | such a message was given up, and may have been applied | the same |
 *
 * `error` is a `ConnectionError`, `code` its code, `message` as it was sent.
 */
export type ChatListener = (message: JsonObject) => unknown

/**
 * The interface of the client that this library replaces. docs/migration.md says what is different
 * behind it.
 */
export interface ChatConnection {
  connect(): void
  disconnect(): void
  /**
   * False in `idle`, and for what can never be posted. The queue holds 100 messages and drops the
   * oldest.
   */
  send(message: JsonObject): boolean
  /** One listener; the next one takes its place. */
  onMessage(listener: ChatListener): void
  /** Whether POSTs may start: not between a welcome and the end of the resume. */
  isConnected(): boolean
  /** Null while there is no welcomed stream. */
  getConnectionId(): string | null
  /**
   * The app has this session up to `seq`. Only forward, and never a reason to post: the next resume
   * tells the server.
   */
  trackSeq(sessionId: string, seq: number): void
  /** 0 if untracked. */
  getLastSeq(sessionId: string): number
  /** It is resumed no more; its next event tracks it anew. */
  clearSession(sessionId: string): void
  getTrackedSessions(): string[]
  /** Gives up what waits in the queue. What is under way stays under way. */
  clearPendingSends(): void
  sendSuspend(): void
  /**
   * Sees to it that there is a stream, or is one soon; does nothing while connected. `force`: a
   * fresh one in any case.
   */
  checkAndReconnect(force?: boolean): void
  /** What this stands on: the way from here to there, call by call. */
  readonly connection: Connection
}

/** @throws {ConnectionError} `invalid-option`; the message names the option. */
export function createChatConnection(options: ChatConnectionOptions): ChatConnection {
  const settings = read(
    {
      baseUrl: [being('an http(s) URL, or empty', (value) => isText(value) && isUrl(`${value}/api/chat`)), null],
      fetch: [isFunction, null],
      createEventSource: [isFunction],
      reconnectDelayMs: [isDelay, 500],
      suspendUrl: [isName],
      storage: [isPersistence],
      transport: [isFunction, eventSourceTransport],
    },
    options ?? null,
  ) as ChatSettings
  let listener: ChatListener | undefined
  let warned: ConnectionError | null = null
  const tell: ChatListener = (message) => listener?.(message)

  const connection = createLine(settings)
  const { inbox } = partsOf(connection)

  /** Outside of the line's own listeners: what is thrown, now or later, ends no process. */
  async function tellAlone(message: JsonObject) {
    try {
      await tell(message)
    } catch (cause) {
      warn(cause)
    }
  }

  function onVisibility() {
    if (globalThis.document.visibilityState !== 'hidden') void tellAlone({ type: '_foreground' })
  }

  const deliveries = new Deliveries(connection, (verdict, message) => {
    const { status, error, id } = verdict
    if (error.code !== 'cancelled') warn(error)
    void tellAlone({ type: `_${status}`, code: error.code, error, id, message })
  })

  connection.on('message', (message) => OWN.includes(message.type) || tell(message))
  connection.on('opened', () => tell({ type: '_open' }))
  connection.on('closed', () => tell({ type: '_close' }))
  connection.on('stopped', ({ error }) => tell({ type: '_stopped', code: error.code, error }))
  connection.on('phase', ({ phase, previous }) => {
    const { document } = globalThis
    // Added after the line's own, so the line has looked after itself when the app hears of it.
    if (previous === 'idle') document?.addEventListener('visibilitychange', onVisibility)
    if (phase === 'idle') document?.removeEventListener('visibilitychange', onVisibility)
    const { lastError } = connection
    if (lastError && lastError !== warned) warn(lastError)
    warned = lastError
  })

  return {
    connect: connection.connect,
    disconnect: connection.disconnect,
    send(message) {
      if (connection.phase === 'idle') return false
      const delivery = connection.send(message as OutboundMessage, { lane: laneOf(Object(message)) })
      if (delivery.status === 'rejected') return false
      deliveries.follow(delivery)
      return true
    },
    onMessage(next) {
      listener = next
    },
    isConnected: () => connection.isOpen,
    getConnectionId: () => connection.connectionId,
    trackSeq(sessionId, seq) {
      if (isCursor({ sessionId, lastSeq: seq })) inbox.skip(sessionId, seq)
    },
    getLastSeq: (sessionId) => connection.cursor(sessionId)?.lastSeq ?? 0,
    clearSession(sessionId) {
      inbox.forget(sessionId)
      deliveries.clear(sessionId)
    },
    getTrackedSessions: () => connection.cursors.map(({ sessionId }) => sessionId),
    clearPendingSends() {
      for (const delivery of connection.pending) if (delivery.status === 'queued') delivery.cancel()
    },
    sendSuspend: connection.suspend,
    checkAndReconnect(force = false) {
      if (connection.phase === 'idle') connection.connect()
      else if (force) connection.reconnect()
      else if (!connection.isOpen) connection.wake()
    },
    connection,
  }
}

/** The options, checked and complete. */
type ChatSettings = ChatConnectionOptions & { readonly reconnectDelayMs: number; readonly transport: Transport }

/** The connection below, with what its users know of the one of old. */
function createLine({
  baseUrl,
  fetch,
  createEventSource,
  reconnectDelayMs,
  suspendUrl,
  storage,
  transport,
}: ChatSettings) {
  return createConnection<JsonObject, OutboundMessage>({
    url: `${baseUrl.replace(/\/+$/, '')}/api/chat`,
    fetch(input, init = {}) {
      const headers = toPlainObject(new Headers(init.headers))
      // The line's own suspend signal, and nothing else, has no key.
      const isSignal = String(input).endsWith('/suspend') && !headers[IDEMPOTENCY_KEY_HEADER]
      return fetch(suspendUrl && isSignal ? suspendUrl : String(input), { ...init, headers })
    },
    createEventSource: createEventSource as EventSourceFactory,
    transport(setup) {
      const carrier = transport(setup)
      if (suspendUrl) carrier.beacon = (_, body) => beaconTo(suspendUrl, body)
      return carrier
    },
    backoff: { base: reconnectDelayMs },
    storage,
    outbox: { maxMessages: 100, maxBytes: Infinity, overflow: 'drop-oldest', maxInFlight: Infinity },
  })
}

/** What no server tells. */
const OWN: readonly unknown[] = ['_open', '_close', '_stopped', '_foreground', '_rejected', '_unknown']

const NAMES = ['Content-Type', CONNECTION_ID_HEADER, IDEMPOTENCY_KEY_HEADER]

/** They answer to what runs now. */
const AT_ONCE: readonly unknown[] = ['interrupt', 'permission_response']

/**
 * The messages of a session stay in order, and so do two `switch_session`. All else goes out at
 * once, as it always did.
 */
const laneOf = ({ type, sessionId }: JsonObject) =>
  AT_ONCE.includes(type) || (!(isText(sessionId) && sessionId) && type !== 'stop' && type !== 'switch_session')
    ? newId()
    : undefined

/**
 * What a wrapper of `fetch` may spread, and look up by the names as they are written. A `Headers`
 * can do neither.
 */
const toPlainObject = (headers: Headers): Record<string, string> =>
  Object.fromEntries(
    [...headers].map(([name, value]) => [NAMES.find((own) => own.toLowerCase() === name) ?? name, value]),
  )

const warn = (what: unknown) => console.warn('holdline/compat:', what)
