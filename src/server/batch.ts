import { isObject, isText, type JsonObject, MAX_BATCH_MESSAGES, MESSAGE_ID } from '../protocol'
import { isToBeRepeated } from '../protocol/status'
import type { Answer } from './cluster'
import { Refusal } from './http'

/** @throws Refusal 400 if it is the whole that is wrong; whatever else is wrong with a message concerns that message alone */
export function parseBatch({ messages }: JsonObject): readonly (JsonObject & { readonly id: string })[] {
  if (
    !Array.isArray(messages) ||
    messages.length === 0 ||
    messages.length > MAX_BATCH_MESSAGES ||
    !messages.every(hasId) ||
    new Set(messages.map(({ id }) => id)).size < messages.length
  ) {
    throw new Refusal(400, 'bad-request')
  }
  return messages
}

const hasId = (value: unknown): value is JsonObject & { readonly id: string } =>
  isObject(value) && isText(value.id) && MESSAGE_ID.test(value.id)

/** One after the other. The first that must be repeated is the last: what follows it must not overtake the repeat. */
export async function answerBatch<M extends { readonly id: string }>(
  messages: readonly M[],
  perform: (message: M, isLast: boolean) => Promise<Answer>,
): Promise<Answer> {
  const results: string[] = []
  for (const [index, message] of messages.entries()) {
    const answer = await perform(message, index === messages.length - 1)
    results.push(toResult(message.id, answer))
    if (isToBeRepeated(answer.status)) break
  }
  return { status: 200, json: `{"results":[${results.join()}]}` }
}

/** Not parsed and written anew, so that nothing can go wrong with the receipt of what was applied. */
function toResult(id: string, { status, json, headers }: Answer): string {
  const retryAfter = headers?.['Retry-After'] ? `,"retryAfter":${Number(headers['Retry-After']) * 1_000}` : ''
  const outcome = status === 200 ? `"receipt":${json}` : json.slice(1, -1) + retryAfter
  return `{"id":${JSON.stringify(id)},"status":${status},${outcome}}`
}
