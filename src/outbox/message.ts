import type { Delivery, DeliveryStatus, Typed, Verdict } from '../connection/messages'
import type { Settings } from '../connection/options'
import type { StoredMessage } from '../connection/store'
import type { ConnectionError } from '../errors'
import { isText, RESERVED_TYPES } from '../protocol'
import type { Flight } from './flight'
import type { Ending } from './judge'
import type { Lane } from './lane'
import type { Node } from './queue'

/** Bytes in UTF-8. */
export const sizeOf = (json: string) => new TextEncoder().encode(json).length

export type MessageState =
  | { readonly name: 'queued' }
  /** In a POST that is being prepared, or under way. */
  | { readonly name: 'carried'; readonly flight: Flight }
  | { readonly name: 'ended'; readonly status: Verdict['status'] }

/**
 * All that is read of an app's message, once, as it comes: it may change later, and any look at it
 * may throw.
 */
export interface MessageText {
  /** Why it can never be posted; its JSON or its endpoint is empty then. */
  readonly flaw?: 'invalid-message' | 'unknown-type' | undefined
  readonly json: string
  readonly type?: unknown
  readonly sessionId?: unknown
}

/** A message as this connection posts it. */
export interface MessageForm extends MessageText {
  readonly lane: Lane
  readonly endpoint: string
  readonly bytes: number
  readonly deadline: number
}

/** One message of the app's, from `send` to its verdict. */
export class Message {
  state: MessageState = { name: 'queued' }
  declare attempts: number
  /** Attempts of it alone that failed while their stream lived. */
  declare failures: number
  /** Attempts in a row whose stream dropped. */
  declare drops: number
  declare triedAt: number | undefined
  /**
   * At its first failure: how many messages the server had taken, how many POSTs it had answered,
   * and how long the line had been open, ms.
   */
  firstFailure: { readonly accepted: number; readonly answered: number; readonly openFor: number } | undefined
  /** An earlier POST may have been applied, and its answer was lost. */
  declare isInDoubt: boolean
  /** The stop before it, which it must not overtake. */
  after: Message | undefined
  /** The stop behind it, which takes it back. */
  stoppedBy: Message | undefined
  /** How many messages the server had taken when this one was posted last. */
  takenBefore = 0
  /** A batch has shown that it must go alone. */
  isAlone = false
  lastError: ConnectionError | null = null
  declare place: string | undefined
  number?: number
  /** Its nodes in the queue of all messages and in its lane. */
  inQueue: Node<Message> | undefined
  inLane: Node<Message> | undefined
  delivery!: Delivery
  /** The status that the app was told last. */
  told: DeliveryStatus | undefined
  settle: (verdict: Verdict) => void = () => {}

  declare readonly id: string
  declare readonly payload: Typed
  /** Once it has been posted it never expires by its own age. */
  declare expiresAt: number
  declare readonly lane: Lane
  declare readonly flaw: MessageForm['flaw']
  declare readonly endpoint: string
  declare readonly type: unknown
  declare readonly sessionId: unknown
  declare json: string
  declare readonly bytes: number
  /** `expiresAt` by the clock that cannot be set. */
  declare deadline: number

  constructor({ message, ...stored }: StoredMessage, form: MessageForm) {
    const isInDoubt = stored.attempts > 0
    Object.assign(this, { failures: 0, drops: 0, payload: message, isInDoubt }, stored, form)
  }

  get flight(): Flight | undefined {
    return this.state.name === 'carried' ? this.state.flight : undefined
  }

  get status(): DeliveryStatus {
    if (this.state.name === 'ended') return this.state.status
    return this.flight?.state === 'underWay' ? 'sending' : 'queued'
  }

  get isEnded(): boolean {
    return this.state.name === 'ended'
  }

  get isStop(): boolean {
    return this.type === 'stop'
  }

  end(ending: Ending) {
    this.state = { name: 'ended', status: ending.status }
    this.lastError = ending.status === 'accepted' ? null : ending.error
    this.settle({ ...ending, id: this.id, attempts: this.attempts })
  }
}

export function messageOf(data: StoredMessage, lane: Lane, text: MessageText, settings: Settings): Message {
  const { json, type } = text
  const { endpoints, clock } = settings
  const isKnown = isText(type) && Object.hasOwn(endpoints, type) && !RESERVED_TYPES.includes(type)
  const endpoint = isKnown ? (endpoints[type] as string) : ''
  const flaw = isKnown ? undefined : 'unknown-type'
  const deadline = (clock.elapsed?.() ?? 0) + data.expiresAt - clock.now()
  return new Message(data, { flaw, ...text, lane, endpoint, bytes: sizeOf(json), deadline })
}

export function textOf(message: unknown): MessageText {
  try {
    const { type, sessionId } = Object(message)
    const json = JSON.stringify(message)
    if (/^{/.test(json)) return { json, type, sessionId }
  } catch {}
  return { flaw: 'invalid-message', json: '' }
}
