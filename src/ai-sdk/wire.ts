import type { UIMessage, UIMessageChunk } from 'ai'
import { isObject, type JsonObject } from '../protocol'
import type { RESUME } from '../threads/line'

// What the two halves of `holdline/ai-sdk` say to each other.

/** A message that asks for a run, or for the one that is active. */
export interface ChatCommand {
  readonly type: 'send'
  readonly sessionId: string
  readonly trigger: 'submit-message' | 'regenerate-message' | typeof RESUME
  /** The suspended run that `request` answers. */
  readonly answers?: string
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
