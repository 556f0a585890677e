/**
 * What went wrong, for a `switch`. The list may grow in a minor version, so keep a `default`; the
 * codes of a verdict (`SendErrorCode`) and of `stopped` (`StopErrorCode`) do not.
 *
 * | code | meaning |
 * | --- | --- |
 * | `invalid-option` | an option has the wrong type or value, or does not exist; the message names it |
 * | `network` | the request did not reach a server, or its answer was cut off |
 * | `timeout` | no (complete) answer within the phase's timeout |
 * | `http` | an HTTP status without a code of its own; see `status` |
 * | `unauthorized` | 401, and the `headers` hook had nothing better (or there is none) |
 * | `forbidden` | 403: this message, this resume or this stream is not allowed |
 * | `ended` | 204 on the stream: the server wants this client to stay away |
 * | `unknown-stream` | 404/410: the server does not know the stream (any more) |
 * | `redirected` | a request was redirected to another origin, another page (a login?), or in a way that makes it a GET; the message names the target |
 * | `bad-response` | a 2xx whose body is not what the protocol says, e.g. the HTML of a captive portal |
 * | `bad-welcome` | the `welcome` frame is malformed, or speaks another protocol version |
 * | `bad-message` | an inbound frame that is not JSON, not an object, or has malformed `sessionId`, `seq`, `prevSeq`; or a message or receipt that does not fit the `protocol` |
 * | `poison-message` | a `message` listener threw three times for one message; it was skipped |
 * | `listener-failed` | a listener threw; nothing else was harmed |
 * | `stream-failed` | the EventSource reported an error; `status` where it is known |
 * | `stream-silent` | no frame for twice the heartbeat |
 * | `stale-events` | after a resume only events came that are older than its cursor, and were dropped: the server's log has started over under the same `epoch`, or without one; or it did not answer `after: 'head'` with a `reset` |
 * | `no-progress` | two resumes in a row replayed nothing of what was missing |
 * | `flapping` | the server caused resumes or resets (holes, second welcomes, epochs that change) faster than an honest one would: the line is paced by `backoff` |
 * | `too-many-sessions` | the server sent events of more sessions than `inbound.maxSessions`, and those beyond are dropped; or it sends a stream no more sessions |
 * | `probe-timeout` | the stream did not answer a probe, or gave no sign of life after a suspend |
 * | `goodbye` | the server asked to come back later |
 * | `exhausted` | failed, or its stream dropped, as often as `outbox` allows; repeat it under the same id |
 * | `unknown-endpoint` | the server answers 404 for the message's endpoint, on streams that it knows |
 * | `load-failed` | the `load` of a session rejected, or returned no cursor; it is called again |
 * | `not-shared` | of `holdline/tabs`: this tab has a line of its own; the message says why |
 * | `no-state` | the cursor of a session is ahead of its state, which has no `load`: the events between are asked for again |
 * | `run-failed` | of `holdline/ai-sdk`: the server failed while it made an answer |
 * | `run-interrupted` | of `holdline/ai-sdk`: the process that made an answer is gone, or its history is; the rest will not come |
 * | `gave-up` | no attempts left (`backoff.maxAttempts`) |
 * | `unknown-type` | `message.type` has no endpoint, is reserved for the library, or is not in the `protocol` |
 * | `invalid-message` | an outbound message that is no object, does not survive `JSON.stringify`, or does not fit the `protocol` |
 * | `outbox-full` | over `outbox.maxMessages` or `outbox.maxBytes` |
 * | `id-reused` | the server has seen another message under this id |
 * | `storage-failed` | `storage` threw, is full, or did not answer within 2 s, and memory goes on; or its `locks` failed. Each is reported once |
 * | `storage-corrupt` | a stored entry is not what was stored; it was set aside under `<key>.corrupt` |
 * | `cancelled` | given up by `cancel()`, `clearOutbox()` or `dispose()` |
 * | `expired` | older than its `maxAge` before it could be sent |
 * | `disposed` | the connection was disposed before the call |
 * | `internal` | a part of this library threw, or a `clock` or `random` of yours; else please report it, with `cause` |
 * | `bad-trace` | what was given to `parseTrace` is no trace; the message names the field |
 * | `hook-failed` | the `headers` function threw, rejected, or returned something that is no header map |
 */
export type ConnectionErrorCode =
  | SendErrorCode
  | StopErrorCode
  | LineErrorCode
  | ReportErrorCode
  | RunErrorCode
  | UsageErrorCode

/**
 * Why a message was not accepted: the codes of a verdict. A `switch` over them may do without a
 * `default`: one more is a major version. A `fetch` or transport of your own that rejects with a
 * `ConnectionError` of another code brings that.
 */
export type SendErrorCode =
  | 'cancelled'
  | 'disposed'
  | 'exhausted'
  | 'expired'
  | 'forbidden'
  | 'http'
  | 'id-reused'
  | 'invalid-message'
  | 'outbox-full'
  | 'unknown-endpoint'
  | 'unknown-stream'
  | 'unknown-type'

/**
 * Why the connection will not come back by itself: the codes of `stopped`. The same promise, under
 * the same condition, and with a server that keeps to the protocol.
 */
export type StopErrorCode = 'ended' | 'forbidden' | 'gave-up' | 'http' | 'internal' | 'unauthorized'

/**
 * Why the line was lost, or a POST has to be repeated: what the connection goes on after. More may
 * come.
 */
export type LineErrorCode =
  | 'bad-response'
  | 'bad-welcome'
  | 'flapping'
  | 'goodbye'
  | 'hook-failed'
  | 'network'
  | 'no-progress'
  | 'probe-timeout'
  | 'redirected'
  | 'stream-failed'
  | 'stream-silent'
  | 'timeout'
  | 'unknown-stream'

/** What is reported beside the line, which it does not touch. More may come. */
export type ReportErrorCode =
  | 'bad-message'
  | 'listener-failed'
  | 'load-failed'
  | 'no-state'
  | 'not-shared'
  | 'poison-message'
  | 'stale-events'
  | 'storage-corrupt'
  | 'storage-failed'
  | 'too-many-sessions'

/** How an answer of `holdline/ai-sdk` ended. More may come. */
export type RunErrorCode = 'run-failed' | 'run-interrupted'

/** What is wrong with a call. More may come. */
export type UsageErrorCode = 'bad-trace' | 'invalid-option'

/** Of a verdict. */
export type SendError = ConnectionError & { readonly code: SendErrorCode }
/** Of `stopped`. */
export type StopError = ConnectionError & { readonly code: StopErrorCode }

export interface ConnectionErrorDetails {
  /** Whether trying again, unchanged, can help. Default: what the code says. */
  readonly retryable?: boolean
  /** The HTTP status, where one was seen. */
  readonly status?: number | undefined
  /** How long the server asked to wait, in ms (from `Retry-After`, already clamped to 5 min). */
  readonly retryAfter?: number | undefined
  /** The server's own word for it, the `error` of its JSON, e.g. `busy`. */
  readonly reason?: string | undefined
  readonly cause?: unknown
}

/** What passes by itself, or with a fresh stream. */
const RETRYABLE: readonly ConnectionErrorCode[] = [
  'network',
  'timeout',
  'unknown-stream',
  'redirected',
  'bad-response',
  'bad-welcome',
  'stream-failed',
  'stream-silent',
  'no-progress',
  'flapping',
  'probe-timeout',
  'goodbye',
  'hook-failed',
]

/**
 * The one error class of this library. Switch on `code`; the message tells people what was seen and
 * what to do.
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError'
  declare readonly code: ConnectionErrorCode
  declare readonly retryable: boolean
  declare readonly status: number | undefined
  declare readonly retryAfter: number | undefined
  /** The server's own word for it, the `error` of its JSON, e.g. `busy`. */
  declare readonly reason: string | undefined

  constructor(code: ConnectionErrorCode, message: string, details: ConnectionErrorDetails = {}) {
    super(message, details)
    const { retryable = RETRYABLE.includes(code), status, retryAfter, reason } = details
    Object.assign(this, { code, retryable, status, retryAfter, reason })
  }
}
