import { isObject, isText, type JsonObject, MAX_CANCELS, MESSAGE_ID } from '../../protocol'
import { type Answer, refusalOf } from '../answer'
import { isControl } from '../endpoints'
import { Refusal } from '../errors'
import { LANE_WEIGHT, textWeight } from '../limits/weights'
import { parseMessage } from '../request/body'
import { isSessionId } from '../request/cursors'
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

/** Of the request or the batch that a command came in. */
export type Envelope = Pick<Posted, 'endpoint' | 'key' | 'lane'>

export interface Rules {
  /** By message type. */
  readonly typeEndpoints: ReadonlyMap<unknown, string>
  onError(error: unknown): void
}

/** @throws Refusal 400 if it is none */
export function toCommand({ typeEndpoints }: Rules, message: JsonObject, envelope: Envelope): Posted {
  const { type, sessionId } = message
  const { endpoint, key } = envelope
  const isValid =
    typeEndpoints.get(type) === endpoint &&
    (sessionId === undefined || isSessionId(sessionId)) &&
    (key === undefined || MESSAGE_ID.test(key)) &&
    (type !== 'stop' || areCancels(message.cancels))
  if (!isValid) throw new Refusal(400, 'bad-request')
  return { ...envelope, type: String(type), sessionId: sessionId as string | undefined, json: JSON.stringify(message) }
}

/** @throws Refusal 400 if it is none as a whole */
export function toBatch(rules: Rules, text: string): readonly BatchMessage[] {
  return parseBatch(parseMessage(text)).map(({ id, endpoint, lane: name, body }) => {
    let lane: string | undefined
    try {
      lane = checkedLane(name)
      const isCommand = isText(endpoint) && !isControl(endpoint)
      if (!isCommand || !isObject(body)) throw new Refusal(400, 'bad-request')
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

/** What is held of it until its turn, bytes. */
export function weightOf(posted: Posted | readonly BatchMessage[]): number {
  const messages = 'json' in posted ? [{ lane: posted.lane, posted }] : posted
  const lanes = new Set(messages.flatMap(({ lane }) => lane ?? []))
  const texts = messages.map(({ posted: { json } }) => textWeight(json))
  return [...texts, ...[...lanes].map((lane) => LANE_WEIGHT + textWeight(lane))].reduce((sum, bytes) => sum + bytes, 0)
}
