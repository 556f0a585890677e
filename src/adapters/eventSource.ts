import type { Clock } from '../environment'
import type { ConnectionError } from '../errors'

/**
 * The part of an EventSource's events that is used; which field is there depends on the event's
 * type.
 */
export interface StreamEvent {
  readonly data?: string
  readonly code?: number | undefined
  readonly message?: string | undefined
  /** Of an error. */
  readonly cause?: unknown
  /** Of the URL that the stream came from in the end. */
  readonly origin?: string | undefined
}

/** What is used of an EventSource. Both the native one and the `eventsource` package fit. */
export interface EventSourceLike {
  addEventListener(type: string, listener: (event: StreamEvent) => void): void
  close(): void
  readonly readyState?: number
}

export interface EventSourceSetup {
  readonly withCredentials: boolean
  /**
   * Sends the connection's `headers`, and repeats a 401 with fresh ones. For implementations that
   * take a `fetch`.
   */
  readonly fetch: (url: string | URL, init: RequestInit) => Promise<Response>
  /** `inbound.maxBytes`, for implementations that read by themselves. */
  readonly maxBytes?: number | undefined
  /** The connection's. Default: `Date`. */
  readonly clock?: Pick<Clock, 'now'>
}
export type EventSourceFactory = (url: string, setup: EventSourceSetup) => EventSourceLike | Promise<EventSourceLike>

export interface StreamHandlers {
  open(): void
  /** The data of the frame named `welcome`. */
  welcome(data: string): void
  /** The data of an unnamed frame; its JSON too, where that is parsed already. */
  message(data: string, json?: unknown): void
  /** Something that is no frame has come, e.g. a comment. Not every transport sees it. */
  sign(): void
  error(error: ConnectionError): void
}
