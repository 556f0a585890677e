import { type BatchResult, parseResults } from '../protocol'
import { type Message, sizeOf } from './message'

/**
 * Endpoints that a server acts on itself, or that must not wait behind other messages of a batch.
 */
const POSTED_ALONE = ['watch', 'unwatch', 'suspend', 'stop']
/** Brackets and field names of one message of a batch, bytes. */
const OVERHEAD = 64

export const isPostedAlone = ({ isAlone, endpoint, isStop }: Message) =>
  isAlone || isStop || POSTED_ALONE.includes(endpoint)

/** Bytes. */
export const sizeInBatch = ({ bytes, id, endpoint, lane }: Message) =>
  bytes + sizeOf(JSON.stringify([id, endpoint, lane.name])) + OVERHEAD

export function batchBody(messages: readonly Message[], withLanes: boolean): string {
  const elements = messages.map(({ id, endpoint, json, lane }) => {
    const where = withLanes ? `,"lane":${JSON.stringify(lane.name)}` : ''
    return `{"id":${JSON.stringify(id)},"endpoint":"${endpoint}"${where},"body":${json}}`
  })
  return `{"messages":[${elements}]}`
}

/**
 * The results of a batch by their messages. Without lanes they come in order, and end at the first
 * message that was not run.
 */
export function resultsOf(
  messages: readonly Message[],
  answer: unknown,
  withLanes: boolean,
): ReadonlyMap<Message, BatchResult> {
  const told = new Map<Message, BatchResult>()
  const results = parseResults(answer)
  if (withLanes) {
    const byId = new Map(messages.map((message) => [message.id, message]))
    for (const result of results) {
      const message = byId.get(result.id)
      if (message && !told.has(message)) told.set(message, result)
    }
    return told
  }
  for (const [index, message] of messages.entries()) {
    const result = results[index]
    if (result?.id !== message.id) break
    told.set(message, result)
  }
  return told
}
