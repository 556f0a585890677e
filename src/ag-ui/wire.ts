import type { BaseEvent, RunAgentInput } from '@ag-ui/client'
import { isObject, isText } from '../protocol'
import type { RESUME } from '../threads/line'

// What the two halves of `holdline/ag-ui` say to each other.

/** A message that asks for a run, or for the one that is active. */
export interface AgentCommand {
  readonly type: 'send'
  readonly sessionId: string
  readonly trigger?: typeof RESUME
  readonly input?: RunAgentInput
  /** The suspended run that `input` answers. */
  readonly answers?: string
}

/** A session event between `run.started` and `run.ended`. */
export interface AgentEvent {
  readonly type: 'agui'
  readonly event?: BaseEvent
  /** The first one after `run.started` and `run.resumed` names the message that asked for it, */
  readonly for?: string
  /** the last message of its input, */
  readonly last?: string
  /** and the state that it began with, unless that is empty. */
  readonly state?: unknown
}

export const isEvent = (value: unknown): value is BaseEvent => isObject(value) && isText(value.type)

/** It ends an AG-UI run; only another `RUN_STARTED` may follow. */
export const isTerminal = ({ type }: BaseEvent) =>
  (type as string) === 'RUN_FINISHED' || (type as string) === 'RUN_ERROR'

/**
 * The calls and interrupts that an input answers: its `resume`, and the results of tools at the end
 * of its messages.
 */
export function answersOf({ resume, messages }: Pick<RunAgentInput, 'resume' | 'messages'>): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const { interruptId } of resume ?? []) ids.add(interruptId)
  for (const message of [...messages].reverse()) {
    if (message.role !== 'tool') break
    ids.add(message.toolCallId)
  }
  return ids
}
