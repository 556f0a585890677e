import { IDEMPOTENCY_KEY_HEADER, isObject, isText, type JsonObject, MAX_CANCELS, MESSAGE_ID } from '../../protocol'
import { type Answer, refusalOf } from '../answer'
import type { Contract } from '../contract'
import { isControl } from '../endpoints'
import { badRequest } from '../errors'
import { LANE_WEIGHT, textWeight } from '../limits/weights'
import { parseMessage } from '../request/body'
import { isSessionId, SESSION_ID_RULE } from '../request/cursors'
import { parseBatch } from './batch'
import { checkedLane } from './lanes'

/** A command before its turn: as text, because parsed it may be twenty times as large. */
export interface Posted {
  readonly endpoint: string
  readonly type: string
  readonly sessionId: string | undefined
  readonly key: string | undefined
  readonly lane: string | undefined
  /** The same for the same JSON in another notation. */
  readonly json: string
}

export interface BatchMessage {
  readonly id: string
  readonly lane: string | undefined
  /** Or why it is none. */
  readonly posted: Posted | Answer
}

/** The fields of a command that its request or batch names. */
export type Envelope = Pick<Posted, 'endpoint' | 'key' | 'lane'>

export interface Rules {
  /** By message type. */
  readonly typeEndpoints: ReadonlyMap<unknown, string>
  readonly contract: Contract
  onError(error: unknown): void
}

/** @throws Refusal 400 if it is none */
export function toCommand({ typeEndpoints, contract }: Rules, message: JsonObject, envelope: Envelope): Posted {
  const { type, sessionId } = message
  const { endpoint, key } = envelope
  contract.refuseUnknown(message)
  if (typeEndpoints.get(type) !== endpoint) throw badRequest('type must be one that is posted to this endpoint')
  if (sessionId !== undefined && !isSessionId(sessionId)) throw badRequest(`sessionId ${SESSION_ID_RULE}`)
  if (key !== undefined && !MESSAGE_ID.test(key))
    throw badRequest(`${IDEMPOTENCY_KEY_HEADER} must match ${MESSAGE_ID.source}`)
  if (type === 'stop' && !areCancels(message.cancels))
    throw badRequest(
      `cancels must be an array of at most ${MAX_CANCELS} ids, each of which matches ${MESSAGE_ID.source}`,
    )
  return { ...envelope, type: String(type), sessionId, json: JSON.stringify(message) }
}

/** @throws Refusal 400 if it is none as a whole */
export function toBatch(rules: Rules, text: string): readonly BatchMessage[] {
  return parseBatch(parseMessage(text)).map(({ id, endpoint, lane: name, body }) => {
    let lane: string | undefined
    try {
      lane = checkedLane(name)
      if (!isText(endpoint) || isControl(endpoint)) throw badRequest('endpoint must be one that takes commands')
      if (!isObject(body)) throw badRequest('body must be a JSON object')
      return { id, lane, posted: toCommand(rules, body, { endpoint, key: id, lane }) }
    } catch (error) {
      return { id, lane, posted: refusalOf(error, rules.onError) }
    }
  })
}

const areCancels = (value: unknown) =>
  value === undefined ||
  (Array.isArray(value) && value.length <= MAX_CANCELS && value.every((id) => isText(id) && MESSAGE_ID.test(id)))

/** The keys of the commands that a stop takes back. */
export function cancelsOf({ type, key, json }: Posted): readonly string[] {
  const { cancels } = type === 'stop' ? parseMessage(json) : {}
  return Array.isArray(cancels) ? [...new Set(cancels.filter(isText))].filter((id) => id !== key) : []
}

/** The memory that it takes until its turn, bytes. */
export function weightOf(posted: Posted | readonly BatchMessage[]): number {
  const messages = 'json' in posted ? [{ lane: posted.lane, posted }] : posted
  const lanes = new Set(messages.flatMap(({ lane }) => lane ?? []))
  const texts = messages.map(({ posted: { json } }) => textWeight(json))
  return [...texts, ...[...lanes].map((lane) => LANE_WEIGHT + textWeight(lane))].reduce((sum, bytes) => sum + bytes, 0)
}
