import type { ConnectionError, SendError } from '../errors'
import type { ENDPOINTS, JsonObject } from '../protocol'
import type { ReceiptOf } from '../protocol/define/types'

/** What comes down: any JSON object. Session events carry `sessionId` and `seq`. */
export type InboundMessage = JsonObject

/** What goes up: any JSON object whose `type` names an endpoint. */
export type OutboundMessage<Type extends string = string> = { readonly type: Type; readonly [field: string]: unknown }

/** Those messages of an app that have this type; all, where their types are not told apart. */
export type OfType<Outbound, Type> = [Extract<Outbound, { readonly type: Type }>] extends [never]
  ? Outbound
  : Extract<Outbound, { readonly type: Type }>

/** The least that a message type of the app's own must have. */
export type Typed = { readonly type: string }

/** The types that have an endpoint already. */
export type BuiltInType = keyof typeof ENDPOINTS

/**
 * Every other type that the app's messages can have needs one. Nothing is asked of messages whose
 * `type` is any string.
 */
export type EndpointsFor<Outbound extends Typed> = string extends Outbound['type']
  ? unknown
  : Exclude<Outbound['type'], BuiltInType> extends never
    ? unknown
    : { readonly protocol: { readonly endpoints: Readonly<Record<Exclude<Outbound['type'], BuiltInType>, string>> } }

export interface SendOptions {
  /**
   * 1–255 visible ASCII characters. Default: 128 random bits, in hex. Two unsettled messages must
   * not share one.
   */
  readonly id?: string | undefined
  /**
   * Not posted for the first time after this long, ms: then it is `rejected` (`expired`). Default:
   * `outbox.maxAge`.
   */
  readonly maxAge?: number | undefined
  /**
   * Messages of one lane stay in order with each other, and none of another lane waits for them.
   * Default: the message's `sessionId`; messages without one share a lane, and `switch_session` has
   * its own. 1 to 200 characters, none of them for control; else `send` throws `invalid-option`.
   */
  readonly lane?: string | undefined
  /** Its abort is `cancel()`. */
  readonly signal?: AbortSignal | undefined
}

export type DeliveryStatus = 'queued' | 'sending' | 'accepted' | 'rejected' | 'unknown'

/** How a message ended. */
export type Verdict<Receipt = unknown> =
  /** The server took it: a 2xx. `receipt` is its JSON answer, or null. */
  | { readonly status: 'accepted'; readonly id: string; readonly attempts: number; readonly receipt: Receipt }
  /** It was not, and will not be, applied. */
  | { readonly status: 'rejected'; readonly id: string; readonly attempts: number; readonly error: SendError }
  /** It was posted, and no answer tells whether it was applied. */
  | { readonly status: 'unknown'; readonly id: string; readonly attempts: number; readonly error: SendError }

/** One message on its way. */
export interface Delivery<Outbound = OutboundMessage> {
  /** Also its `Idempotency-Key`. */
  readonly id: string
  readonly message: Outbound
  readonly status: DeliveryStatus
  /** Never rejects. */
  readonly settled: Promise<Verdict<ReceiptOf<Outbound>>>
  /** How often it was posted. */
  readonly attempts: number
  /**
   * Why it was not accepted when it was posted last, then that of its verdict; null if that is not
   * known, or has not happened, and once it was accepted.
   */
  readonly error: ConnectionError | null
  /**
   * When it is tried again at the earliest, ms since the epoch; null if it need not wait, is on its
   * way, or has its verdict.
   */
  readonly retryAt: number | null
  /**
   * Give up on it: `rejected` (`cancelled`), or `unknown` if it was attempted. False if it has its
   * verdict already.
   */
  cancel(): boolean
}

/** What the queue does. */
export interface OutboxState {
  /**
   * `held`: the line is not open, or its POSTs fail as on a dead one and it has to prove itself.
   * `pausing`: nothing that is queued may leave before `retryAt`.
   */
  readonly state: 'held' | 'flowing' | 'pausing'
  /** The earliest next try of any message that waits, ms since the epoch; null if none waits. */
  readonly retryAt: number | null
}
