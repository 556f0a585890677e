/**
 * The wire format, shared by the client and the server half. docs/protocol.md is its specification.
 * Nothing that comes from the wire leaves this file without having been checked field by field.
 */

export const PROTOCOL_VERSION = 2

/** Optional abilities, announced by the server in `welcome.features`. docs/protocol.md says what each one buys. */
export const FEATURES = [
  'replay-marker',
  'contiguous-seq',
  'watch-replay',
  'probe',
  'receipts',
  'idempotency',
  'batch',
] as const
export type Feature = (typeof FEATURES)[number]

/** An outbound message's `type` names the endpoint under the base URL that it is posted to. */
export const ENDPOINTS: Readonly<Record<string, string>> = {
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
}

/** Endpoints that only the library itself posts to. */
export const RESERVED_TYPES: readonly string[] = ['reconnect', 'probe', 'batch']

export const CONNECTION_ID_HEADER = 'X-Connection-ID'
export const IDEMPOTENCY_KEY_HEADER = 'Idempotency-Key'
export const SESSION_ID = /^[A-Za-z0-9_-]{1,128}$/

/** The last event of a session that the app has applied. */
export interface Cursor {
  readonly sessionId: string
  readonly lastSeq: number
  /** The life of the server's log that `lastSeq` counts in. */
  readonly epoch?: string
}

export type SessionStatus = 'resumed' | 'reset' | 'gone' | 'forbidden'

/** The server's word on one session of a resume. */
export interface SessionVerdict {
  readonly sessionId: string
  readonly status: SessionStatus
  readonly epoch?: string
  /** The cursor that the replay starts after. */
  readonly from: number
  /** The last event that belongs to the replay; after a `reset`, the new cursor. */
  readonly to: number
}

export interface Welcome {
  readonly connectionId: string
  /** Promised distance of signs of life on the stream, ms. */
  readonly heartbeat: number | undefined
  readonly features: readonly Feature[]
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
  | { readonly type: 'goodbye'; readonly retryAfter: number | undefined; readonly spread: number | undefined }

export type JsonObject = Readonly<Record<string, unknown>>

const STATUSES: readonly unknown[] = ['resumed', 'reset', 'gone', 'forbidden'] satisfies SessionStatus[]

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const duration = (value: unknown) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
const text = (value: unknown) => (typeof value === 'string' ? value : undefined)

/** `undefined` if the frame is no welcome of this protocol version. Unknown features are ignored: they are for later clients. */
export function parseWelcome(json: string): Welcome | undefined {
  const frame = parseObject(json)
  if (!frame || frame.protocolVersion !== PROTOCOL_VERSION) return undefined
  if (typeof frame.connectionId !== 'string' || frame.connectionId === '') return undefined
  const announced: readonly unknown[] = Array.isArray(frame.features) ? frame.features : []
  return {
    connectionId: frame.connectionId,
    heartbeat: duration(frame.heartbeat) || undefined,
    features: FEATURES.filter((feature) => announced.includes(feature)),
  }
}

/** `undefined` if the frame is for the app. */
export function parseControl(frame: JsonObject): Control | undefined {
  switch (frame.type) {
    case 'ping':
      return { type: 'ping' }
    case 'probe':
      return { type: 'probe', nonce: text(frame.nonce) ?? '' }
    case 'reconnected':
      return { type: 'reconnected', resumeId: text(frame.resumeId), sessions: parseVerdicts(frame.sessions) }
    case 'goodbye':
      return { type: 'goodbye', retryAfter: duration(frame.retryAfter), spread: duration(frame.spread) }
    default:
      return undefined
  }
}

/** Malformed entries are left out: one bad session never fails a resume. */
export function parseVerdicts(value: unknown): readonly SessionVerdict[] {
  if (!Array.isArray(value)) return []
  return value.filter(isObject).flatMap((entry): SessionVerdict[] => {
    const { sessionId, status, epoch, from = 0, to = from } = entry
    if (typeof sessionId !== 'string' || !STATUSES.includes(status) || !isSeq(from) || !isSeq(to)) return []
    const verdict = { sessionId, status: status as SessionStatus, from, to }
    return [typeof epoch === 'string' ? { ...verdict, epoch } : verdict]
  })
}

function parseObject(json: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
