import type { Message, RunAgentInput } from '@ag-ui/client'
import { isObject, isText, type JsonObject } from '../../protocol'
import { nameOf } from '../../protocol/sessionName'
import { CommandRejected } from '../../server/errors'

/**
 * The input of a run, checked as far as this module reads it. Its thread is the session's, whatever
 * it says.
 *
 * @throws CommandRejected 400 `bad-request`
 */
export function parseInput(input: unknown, sessionId: string): RunAgentInput {
  if (!isObject(input) || !isText(input.runId) || !isListOf(input.messages, isMessage)) throw badRequest()
  const { tools = [], context = [], forwardedProps = {}, state = {}, resume } = input
  if (!isListOf(tools, isObject) || !isListOf(context, isObject)) throw badRequest()
  if (resume !== undefined && !isListOf(resume, isEntry)) throw badRequest()
  const threadId = nameOf(sessionId)
  return { ...input, threadId, tools, context, forwardedProps, state } as unknown as RunAgentInput
}

const isListOf = (value: unknown, isOne: (item: unknown) => boolean) => Array.isArray(value) && value.every(isOne)
const isEntry = (item: unknown) => isObject(item) && isText(item.interruptId)
const isMessage = (item: unknown) =>
  isObject(item) && isText(item.id) && isText(item.role) && (item.role !== 'tool' || isText(item.toolCallId))

export const badRequest = () => new CommandRejected(400, 'bad-request')

/**
 * The messages that the thread did not have before this input: those after the last that an agent
 * said.
 */
export function newMessages({ messages }: RunAgentInput): readonly Message[] {
  const last = messages.findLastIndex(({ role }) => role === 'assistant' || role === 'reasoning')
  return messages.slice(last + 1)
}

export const isEmptyState = (state: unknown): state is JsonObject => isObject(state) && Object.keys(state).length === 0
