import { type BatchResult, MAX_BATCH_BYTES, parseResults } from '../protocol'
import type { Lane } from './lane'
import type { Message } from './message'
import type { Node } from './queue'

/** A server acts on these itself, or must not let them wait behind others. */
const POSTED_ALONE = ['watch', 'unwatch', 'suspend', 'stop']
/** Brackets and field names of one message of a batch, bytes. */
const OVERHEAD = 64

/** In UTF-8. */
export const sizeOf = (json: string) => new TextEncoder().encode(json).length

export const isPostedAlone = ({ isAlone, endpoint, isStop }: Message) =>
  isAlone || isStop || POSTED_ALONE.includes(endpoint)

export interface BatchRules {
  readonly most: number
  /** Other lanes that have their turn. */
  readonly more: Iterable<Lane>
  /** Whether it may leave behind the one before it. */
  readonly mayFollow: (message: Message) => boolean
}

/** What may go in one POST with `first`: what follows it in its lane, then other lanes that are ready too. */
export function batchFrom(first: Message, { most, more, mayFollow }: BatchRules): readonly Message[] {
  const batch = [first]
  let size = sizeInBatch(first)
  const take = (from: Node<Message> | undefined) => {
    for (let node = from; node; node = node.next) {
      const { value: message } = node
      if (batch.length >= most || isPostedAlone(message) || !mayFollow(message)) return
      size += sizeInBatch(message)
      if (size > MAX_BATCH_BYTES) return
      batch.push(message)
    }
  }
  take(first.inLane?.next)
  for (const lane of more) {
    if (batch.length >= most) break
    if (!lane.wait && !lane.flights.size) take(lane.messages.first)
  }
  return batch
}

const sizeInBatch = ({ bytes, id, endpoint, lane }: Message) =>
  bytes + sizeOf(JSON.stringify([id, endpoint, lane.name])) + OVERHEAD

export function batchBody(messages: readonly Message[], withLanes: boolean): string {
  const elements = messages.map(({ id, endpoint, json, lane }) => {
    const where = withLanes ? `,"lane":${JSON.stringify(lane.name)}` : ''
    return `{"id":${JSON.stringify(id)},"endpoint":"${endpoint}"${where},"body":${json}}`
  })
  return `{"messages":[${elements}]}`
}

/** The result of each message that the server says something of. Without lanes they come in order, up to the first that is missing. */
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
