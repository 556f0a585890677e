import type { RunEvent } from 'holdline/server/runs'

/**
 * What the demo's agent and its page say to each other. Types only, so that both sides can import
 * them.
 */

/** Published by the agent. The chat server adds `sessionId`, `seq` and `epoch`. */
export type AgentEvent = AnswerEvent | RunEvent | PromptEvent

/**
 * The echo of a prompt that was taken on. `turnId` is the id that the page gave its message,
 * `received` how many prompts of that page have reached an agent: restarts of the server included.
 */
export type PromptEvent =
  | ({ readonly type: 'prompt'; readonly turnId: string; readonly text: string } & (Counted | NotCounted))
  /** It ended before the agent began to answer. */
  | { readonly type: 'prompt.dropped'; readonly turnId: string; readonly reason: 'stopped' | 'failed' }

type Counted = Numbered & { readonly received: number }
type NotCounted = { readonly [Field in keyof Counted]?: undefined }

/**
 * A page numbers its prompts, so that it can count which of them arrive, how often and in which
 * order.
 */
export interface Numbered {
  /** Random: tells this page from others. */
  readonly page: string
  /** 0, 1, 2 … in the order in which they were written. */
  readonly number: number
}

/** Told in the run that is the answer, between `run.started` and `run.ended`. */
export type AnswerEvent =
  | { readonly type: 'answer.started'; readonly turnId: string; readonly run: string }
  /** The whole answer at once, without a run; of servers that do not stream. */
  | { readonly type: 'answer'; readonly turnId: string; readonly text: string }
  /** `n` is its place in the answer, from 0 on. */
  | { readonly type: 'token'; readonly turnId: string; readonly n: number; readonly text: string }
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
      readonly result: string
      readonly tookMs: number
    }

/** An event as it arrives in the page. */
export type InboundEvent = AgentEvent & {
  readonly sessionId: string
  readonly seq: number
  readonly epoch: string
  readonly [field: string]: unknown
}

/** Sent by the page. */
export type PageMessage =
  | ({ readonly type: 'send'; readonly sessionId: string; readonly prompt: string } & Numbered)
  /**
   * Ends the answer of one turn; of a turn that is over it changes nothing, however late it
   * arrives.
   */
  | { readonly type: 'stop'; readonly sessionId: string; readonly turnId: string }
  /** Ends whatever is being answered. */
  | { readonly type: 'interrupt'; readonly sessionId: string }

/** The answer to a prompt that was accepted: where in the session its echo stands. */
export interface PromptReceipt {
  readonly turnId: string
  readonly seq: number
  readonly epoch: string
}

export const MISHAPS = ['drop', 'fail-resume', 'late-resume', 'second-welcome', 'silence', 'restart'] as const
export type Mishap = (typeof MISHAPS)[number]

/** Where the connections of a page connect to: the chat's own, and the second one, to compare. */
export const LINES = ['/api/chat', '/api/chat/second'] as const
