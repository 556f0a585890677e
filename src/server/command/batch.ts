import { isObject, isText, type JsonObject, MAX_BATCH_MESSAGES, MESSAGE_ID } from '../../protocol'
import { isToBeRepeated } from '../../protocol/status'
import type { Answer } from '../answer'
import type { Timers } from '../clock'
import { badRequest } from '../errors'

/** A lane that is through waits so long for the others, ms. */
const PATIENCE = 1_000

/**
 * @throws Refusal 400 if it is the whole that is wrong; whatever else is wrong with a message
 * concerns that message alone
 */
export function parseBatch({ messages }: JsonObject): readonly (JsonObject & { readonly id: string })[] {
  if (
    !Array.isArray(messages) ||
    messages.length === 0 ||
    messages.length > MAX_BATCH_MESSAGES ||
    !messages.every(hasId) ||
    new Set(messages.map(({ id }) => id)).size < messages.length
  ) {
    throw badRequest(
      `messages must be an array of 1 to ${MAX_BATCH_MESSAGES}, each with an id of its own that matches ${MESSAGE_ID.source}`,
    )
  }
  return messages
}

const hasId = (value: unknown): value is JsonObject & { readonly id: string } =>
  isObject(value) && isText(value.id) && MESSAGE_ID.test(value.id)

interface InLane {
  readonly id: string
  readonly lane: string | undefined
}

/** By their lanes. Those that name none have one of their own. */
export function byLane<M extends InLane>(messages: readonly M[]): ReadonlyMap<string | undefined, readonly M[]> {
  const lanes = new Map<string | undefined, M[]>()
  for (const message of messages) {
    const lane = lanes.get(message.lane)
    if (lane) lane.push(message)
    else lanes.set(message.lane, [message])
  }
  return lanes
}

export interface BatchHost<M> {
  /** Never rejects. */
  perform(message: M, isLast: boolean): Promise<Answer>
  /** Nothing more of this lane is performed. */
  leave(lane: string | undefined): void
  readonly clock: Timers
}

/** A command or a batch under way. Neither of its promises rejects. */
export interface Work {
  readonly answer: Promise<Answer>
  /** Nothing of it waits or runs any more. */
  readonly over: Promise<unknown>
}

/**
 * Lane by lane at the same time, and within a lane one after the other. The first that must be
 * repeated is the last of its lane: what follows it must not overtake the repeat. A slow lane does
 * not withhold the verdicts of the others: where they have waited for it long enough, it has no
 * results, is not gone on with, and the client posts it again.
 */
export function runBatch<M extends InLane>(messages: readonly M[], { perform, leave, clock }: BatchHost<M>): Work {
  const results = new Map<string, string>()
  const lanes = [...byLane(messages).values()]
  let state: 'running' | 'answered' = 'running'
  let left = lanes.length
  let timer: unknown
  let resolve: (answer: Answer) => void = () => {}
  const answer = new Promise<Answer>((settle) => {
    resolve = settle
  })

  const answerNow = () => {
    state = 'answered'
    clock.clearTimeout(timer)
    const told = messages.flatMap(({ id }) => results.get(id) ?? [])
    resolve({ status: 200, json: `{"results":[${told.join()}]}` })
  }
  const run = async (lane: readonly M[]) => {
    for (const [index, message] of lane.entries()) {
      const answer = await perform(message, index === lane.length - 1)
      results.set(message.id, toResult(message.id, answer))
      if (isToBeRepeated(answer.status) || state === 'answered') break
    }
    leave(lane[0]?.lane)
    left -= 1
    if (left === 0) answerNow()
    else timer ??= clock.setTimeout(answerNow, PATIENCE)
  }
  return { answer, over: Promise.all(lanes.map(run)) }
}

/**
 * Not parsed and written anew, so that nothing can go wrong with the receipt of what was applied.
 */
function toResult(id: string, { status, json, headers }: Answer): string {
  const retryAfter = headers?.['Retry-After'] ? `,"retryAfter":${Number(headers['Retry-After']) * 1_000}` : ''
  const outcome = status === 200 ? `"receipt":${json}` : json.slice(1, -1) + retryAfter
  return `{"id":${JSON.stringify(id)},"status":${status},${outcome}}`
}
