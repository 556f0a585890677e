import type { UIMessage, UIMessageChunk } from 'ai'
import { ConnectionError } from '../errors'
import { isObject, type JsonObject, SESSION_ID } from '../protocol'

// What the two halves of `holdline/ai-sdk` say to each other.

/** The trigger of a `send` that only asks for the run which is active. */
export const RESUME = 'resume-stream'

/** A message that asks for a run, or for the one that is active. */
export interface ChatCommand {
  readonly type: 'send'
  readonly sessionId: string
  readonly trigger: 'submit-message' | 'regenerate-message' | typeof RESUME
  /** The body that `DefaultChatTransport` would post. */
  readonly request?: object
  /** Of this message alone. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A session event between `run.started` and `run.ended`. */
export interface ChatEvent {
  readonly type: 'ui'
  readonly chunk?: UIMessageChunk
  /** The first one after `run.started` and `run.resumed` names the message that asked for it, */
  readonly for?: string
  /** and repeats what the user said. */
  readonly prompt?: UIMessage
}

/** Where to follow a run from: the cursor before it. */
export interface ChatReceipt {
  readonly run: string | null
  readonly state?: 'running' | 'queued' | 'suspended' | 'ended'
  readonly after: number
  /** What is beyond it happened after this was said. */
  readonly head: number
  readonly epoch: string
}

const ENCODED = 'b64_'

/**
 * The session of a chat. An id that can be one (`^[A-Za-z0-9_-]{1,128}$`) is one, unless it begins
 * with `b64_`; any other is its UTF-8 in base64url, after `b64_`.
 *
 * @throws {ConnectionError} `invalid-option`, for an id of more than 93 bytes that cannot be a
 * session's
 */
export function sessionIdOf(chatId: string): string {
  if (SESSION_ID.test(chatId) && !chatId.startsWith(ENCODED)) return chatId
  const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(chatId)))
  const sessionId = ENCODED + base64.replace(/[+/=]/g, (sign) => (sign === '+' ? '-' : sign === '/' ? '_' : ''))
  if (SESSION_ID.test(sessionId)) return sessionId
  throw new ConnectionError(
    'invalid-option',
    `the chat id ${chatId} has more than 93 bytes, or 128 letters, digits, _ and -`,
  )
}

/** The last message of a request: the user's, or the assistant's that is to be continued. */
export function lastOf(request: unknown): UIMessage | undefined {
  const { messages, message }: JsonObject = Object(request)
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : message
  return isObject(last) && Array.isArray(last.parts) ? (last as unknown as UIMessage) : undefined
}

/** What the user said, if the request ends with it. */
export function promptOf(request: unknown): UIMessage | undefined {
  const last = lastOf(request)
  return last?.role === 'user' ? last : undefined
}
