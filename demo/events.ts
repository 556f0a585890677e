/**
 * What the demo's agent and its page say to each other. Types only, so that both sides can import
 * them.
 */

/** Published by the agent. The chat server adds `sessionId`, `seq` and `epoch`. */
export type AgentEvent =
  /** The echo of a prompt that was taken on. `turnId` is the id that the page gave its message. */
  | { readonly type: 'prompt'; readonly turnId: string; readonly text: string }
  | { readonly type: 'answer.started'; readonly turnId: string }
  | { readonly type: 'token'; readonly turnId: string; readonly text: string }
  | {
      readonly type: 'tool.started'
      readonly turnId: string
      readonly toolId: string
      readonly name: string
      readonly input: string
      /** ms since the epoch. */
      readonly at: number
      /** How long it will take, ms. */
      readonly expectedMs: number
    }
  | { readonly type: 'tool.progress'; readonly turnId: string; readonly toolId: string; readonly note: string }
  | {
      readonly type: 'tool.ended'
      readonly turnId: string
      readonly toolId: string
      readonly outcome: 'done' | 'stopped'
      readonly result: string
      readonly tookMs: number
    }
  | { readonly type: 'answer.ended'; readonly turnId: string; readonly outcome: 'done' | 'stopped' }

/** An event as it arrives in the page. */
export type InboundEvent = AgentEvent & {
  readonly sessionId: string
  readonly seq: number
  readonly epoch: string
  readonly [field: string]: unknown
}

/** Sent by the page. */
export type PageMessage =
  | { readonly type: 'send'; readonly sessionId: string; readonly prompt: string }
  /**
   * Ends the answer of one turn; of a turn that is over it changes nothing, however late it
   * arrives.
   */
  | { readonly type: 'stop'; readonly sessionId: string; readonly turnId: string }
  /** Ends whatever is being answered. */
  | { readonly type: 'interrupt'; readonly sessionId: string }

export const MISHAPS = ['drop', 'fail-resume', 'late-resume', 'second-welcome', 'silence', 'restart'] as const
export type Mishap = (typeof MISHAPS)[number]

/** Where the connections of a page connect to: the chat's own, and the second one, to compare. */
export const LINES = ['/api/chat', '/api/chat/second'] as const
