/**
 * The wire format, shared by the client and the server half. docs/protocol.md is its specification.
 * Nothing that comes from the wire leaves this file without having been checked field by field.
 */

export const PROTOCOL_VERSION = 2

/**
 * Optional abilities, announced by the server in `welcome.features`. docs/protocol.md says what
 * each one buys.
 */
export const FEATURES = [
  'replay-marker',
  'contiguous-seq',
  'watch-replay',
  'probe',
  'receipts',
  'idempotency',
  'batch',
  'lanes',
  'cancels',
  'suspend-keeps',
] as const
export type Feature = (typeof FEATURES)[number]

/** An outbound message's `type` names the endpoint under the base URL that it is posted to. */
export const ENDPOINTS = {
  send: 'send',
  stop: 'stop',
  interrupt: 'interrupt',
  permission_response: 'permission',
  set_mode: 'mode',
  watch: 'watch',
  unwatch: 'unwatch',
  switch_session: 'switch',
  session_suspend: 'suspend',
  session_close: 'close',
} as const satisfies Readonly<Record<string, string>>

/** Endpoints that only the library itself posts to. */
export const RESERVED_TYPES: readonly string[] = ['reconnect', 'probe', 'batch']

export const CONNECTION_ID_HEADER = 'X-Connection-ID'
export const IDEMPOTENCY_KEY_HEADER = 'Idempotency-Key'
/** With the feature `lanes`: the order that a POST belongs to. */
export const LANE_HEADER = 'X-Lane'
/** A client with more sends several resumes, behind the same barrier. */
export const MAX_SESSIONS_PER_RESUME = 100
/** A longer queue takes several batches, one after the other. */
export const MAX_BATCH_MESSAGES = 50
/** Bytes of the whole body that a server takes by default. */
export const MAX_BATCH_BYTES = 262_144
/** A message's id, which is its Idempotency-Key too. */
export const MESSAGE_ID = /^[!-~]{1,255}$/
/** The name of a lane, as it is in a frame or a batch. */
export const LANE = /^[^\p{Cc}\p{Cs}]{0,256}$/u
/** Messages that one stop names at most. */
export const MAX_CANCELS = 1_000
export const SESSION_ID = /^[A-Za-z0-9_-]{1,128}$/

/** The last event of a session that the app has applied. */
export interface Cursor {
  readonly sessionId: string
  readonly lastSeq: number
  /** The life of the server's log that `lastSeq` counts in. */
  readonly epoch?: string
}

/**
 * As a cursor: from now on. No log has got there, so every server answers it with a `reset` to its
 * own head.
 */
export const HEAD = 2 ** 53 - 1
/** Of a session: its stream has as many as it may. */
export const TOO_MANY_SESSIONS = 'too-many-sessions'

export type SessionStatus = 'resumed' | 'reset' | 'gone' | 'forbidden'

export const isCursor = (value: unknown): value is Cursor =>
  isObject(value) &&
  isText(value.sessionId) &&
  value.sessionId !== '' &&
  isSeq(value.lastSeq) &&
  (value.epoch === undefined || isText(value.epoch))

/** The server's word on one session of a resume. */
export interface SessionVerdict {
  readonly sessionId: string
  readonly status: SessionStatus
  readonly epoch?: string | undefined
  /**
   * The cursor that the replay starts after; after a `reset`, the one that what the server still
   * has starts after.
   */
  readonly from: number
  /** The last event that belongs to the replay; after a `reset`, the new cursor. */
  readonly to: number
  /** Why it is `forbidden`, where that is not the principal's right. */
  readonly error?: typeof TOO_MANY_SESSIONS | undefined
}

export interface Welcome {
  readonly connectionId: string
  /** Promised distance of signs of life on the stream, ms. */
  readonly heartbeat: number | undefined
  readonly features: readonly Feature[]
  /** How long the server remembers what it took, ms. */
  readonly receiptAge: number | undefined
}

/** A frame that speaks to the library, not to the app. */
export type Control =
  | { readonly type: 'ping' }
  | { readonly type: 'probe'; readonly nonce: string }
  | {
      readonly type: 'reconnected'
      readonly resumeId: string | undefined
      readonly sessions: readonly SessionVerdict[]
    }
  /** A command was to attach these, and could not. */
  | { readonly type: 'unattached'; readonly sessions: readonly SessionVerdict[] }
  | { readonly type: 'goodbye'; readonly retryAfter: number | undefined; readonly spread: number | undefined }

export type JsonObject = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const duration = (value: unknown) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
export const isText = (value: unknown): value is string => typeof value === 'string'
/** A server's text that is kept, an id or an epoch, has at most 1,024 characters. */
export const isShort = (value: unknown): value is string => isText(value) && value.length <= 1_024
export const text = (value: unknown) => (isText(value) ? value : undefined)

/** `undefined` if the frame is no welcome of this protocol version. */
export function parseWelcome(json: string): Welcome | undefined {
  const { protocolVersion, connectionId, heartbeat, features, receiptAge }: JsonObject = Object(parseJson(json))
  // It has to go into a header.
  if (protocolVersion !== PROTOCOL_VERSION || !isShort(connectionId) || !/^[ -~]+$/.test(connectionId)) return undefined
  return {
    connectionId,
    heartbeat: duration(heartbeat) || undefined,
    receiptAge: duration(receiptAge) || undefined,
    // Those that this version does not know are for later ones.
    features: FEATURES.filter((feature) => Array.isArray(features) && features.includes(feature)),
  }
}

/** `undefined` if the frame is for the app. */
export function parseControl(frame: JsonObject): Control | undefined {
  const { type } = frame
  if (type === 'ping') return { type }
  if (type === 'probe') return { type, nonce: text(frame.nonce) ?? '' }
  if (type === 'reconnected') return { type, resumeId: text(frame.resumeId), sessions: parseVerdicts(frame) }
  if (type === 'unattached') return { type, sessions: parseVerdicts(frame).filter(isLost) }
  if (type === 'goodbye') return { type, retryAfter: duration(frame.retryAfter), spread: duration(frame.spread) }
  return undefined
}

const isLost = ({ status }: SessionVerdict) => status === 'gone' || status === 'forbidden'

const STATUSES: readonly unknown[] = ['resumed', 'reset', 'gone', 'forbidden'] satisfies SessionStatus[]

/**
 * The field of an event's envelope that is not of its type; none if all are. Null is how servers of
 * other languages say that there is no `epoch`, and no `sessionId` where there is no `seq` either.
 */
export function malformedField({ type, sessionId, seq, prevSeq, epoch }: JsonObject): string | undefined {
  if (type !== undefined && !isText(type)) return 'type'
  if (sessionId !== undefined && !(isShort(sessionId) && sessionId) && (sessionId !== null || seq !== undefined))
    return 'sessionId'
  if (seq !== undefined && !(isSeq(seq) && seq > 0)) return 'seq'
  if (prevSeq !== undefined && !isSeq(prevSeq)) return 'prevSeq'
  return epoch == null || isShort(epoch) ? undefined : 'epoch'
}

/**
 * The `sessions` of an answer or a marker. A malformed entry is left out: one bad session never
 * fails a resume.
 */
export function parseVerdicts(answer: unknown): readonly SessionVerdict[] {
  const { sessions }: JsonObject = Object(answer)
  if (!Array.isArray(sessions)) return []
  return sessions.flatMap((entry: unknown) => {
    const verdict: JsonObject = Object(entry)
    const { sessionId, status, epoch, error, to = verdict.from ?? 0 } = verdict
    // A reset that does not tell what is left promises nothing.
    const { from = status === 'reset' ? to : 0 } = verdict
    return isText(sessionId) && STATUSES.includes(status) && isSeq(from) && isSeq(to)
      ? [
          {
            sessionId,
            status: status as SessionStatus,
            from,
            to,
            epoch: isShort(epoch) ? epoch : undefined,
            ...(error === TOO_MANY_SESSIONS && { error: TOO_MANY_SESSIONS }),
          },
        ]
      : []
  })
}

/** How one message of a batch ended. */
export interface BatchResult {
  readonly id: string
  readonly status: number
  readonly receipt: unknown
  readonly error: string | undefined
  /** ms. */
  readonly retryAfter: number | undefined
}

/** The `results` of a batch, up to the first one that is malformed. */
export function parseResults(answer: unknown): readonly BatchResult[] {
  const { results }: JsonObject = Object(answer)
  if (!Array.isArray(results)) return []
  const parsed: BatchResult[] = []
  for (const result of results) {
    const { id, status, receipt, error, retryAfter }: JsonObject = Object(result)
    if (!isText(id) || !isSeq(status) || status < 200 || status > 599) break
    parsed.push({ id, status, receipt, error: text(error), retryAfter: duration(retryAfter) })
  }
  return parsed
}

/** `undefined` if it is no JSON. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** 128 random bits. Not crypto.randomUUID: browsers have that on secure origins only. */
export const newId = () =>
  crypto.getRandomValues(new Uint8Array(16)).reduce((id, byte) => id + byte.toString(16).padStart(2, '0'), '')
