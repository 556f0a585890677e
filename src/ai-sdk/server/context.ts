import type { UIMessage } from 'ai'
import type { Principal } from '../../server/request/principal'

/** A message to a chat that is to be answered. */
export interface UIMessageContext<M extends UIMessage = UIMessage, P extends Principal = Principal> {
  readonly chatId: string
  readonly sessionId: string
  /** Who sent it; may `write` the session. */
  readonly principal: P
  readonly trigger: 'submit-message' | 'regenerate-message'
  /**
   * The `messages` of `body`, or its one `message`. They come from the client: check them with
   * `validateUIMessages`.
   */
  readonly messages: M[]
  /** What an `/api/chat` route gets as its JSON. */
  readonly body: Readonly<Record<string, unknown>>
  /**
   * What `sendMessage` was given as `headers`, without those that belong to a connection (`cookie`,
   * `host`, `origin`, `sec-*` …).
   */
  readonly headers: Headers
  /** The id of the answer, for `generateMessageId`. An answer without one of its own gets it. */
  readonly responseId: string
  readonly run: string
  /** For `abortSignal`: the run has been stopped. */
  readonly signal: AbortSignal
}
