/** Bounds of the queue. It holds the messages without a verdict, those in flight included. */
export interface OutboxLimits {
  /** Default 1 000. */
  readonly maxMessages: number
  /** Of the messages' JSON in UTF-8. Default 4 194 304 (4 MiB). */
  readonly maxBytes: number
  /**
   * A message that has not been posted for this long is `rejected` (`expired`) when its turn comes,
   * ms. A sleep of the machine counts; across a reload it is told by the wall clock. Default: no
   * limit.
   */
  readonly maxAge: number
  /**
   * Over the bounds, `reject` rejects the new message (`outbox-full`), `drop-oldest` the oldest one
   * that was never posted; if there is none, or the new one alone is too large, the new one.
   * Default `reject`.
   */
  readonly overflow: 'reject' | 'drop-oldest'
  /**
   * How many lanes post at the same time, from 1 to `Infinity`. Each has one POST under way; over a
   * transport that keeps order, up to 64. Default: 3, because HTTP/1.1 gives a page six connections
   * per origin; over a WebSocket 64.
   */
  readonly maxInFlight: number
  /**
   * A message that failed this often, posted alone on a stream that lived, is given up (`unknown`,
   * `exhausted`) once the server has taken another one meanwhile. Default 12.
   */
  readonly maxFailures: number
  /**
   * A message whose stream dropped this often in a row while it was posted is given up (`unknown`,
   * `exhausted`). Default 24.
   */
  readonly maxDrops: number
  /**
   * Where no other message can prove that the fault is the message's own, it is given up after this
   * long on an open line whose server answers other POSTs, ms. Default 600,000 (10 min).
   */
  readonly giveUpAfter: number
}

/** What a server can make a client keep. */
export interface InboundLimits {
  /**
   * Sessions that are tracked because events of them came: those that the app watches, or gave
   * `cursors` of, do not count; those restored from `storage` do, until it watches them. Events of
   * one more are dropped, which is reported (`too-many-sessions`) once. From 1 to `Infinity`.
   * Default 1 000.
   */
  readonly maxSessions: number
  /**
   * Of one event of the stream, and of one answer to a POST, bytes. An event that is longer ends
   * the stream (`stream-failed`), which comes back with backoff; an answer is cancelled and is none
   * (`bad-response`), unless its status alone says enough. The browser's own EventSource and
   * WebSocket have bounds of their own instead. Default 8 388 608 (8 MiB).
   */
  readonly maxBytes: number
}
