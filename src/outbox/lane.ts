import { isText } from '../protocol'
import type { Flight } from './flight'
import type { Message, MessageText } from './message'
import { type Node, Queue } from './queue'

/**
 * A delay before the next POST. One that the client has chosen ends with the stream; one that the
 * server asked for does not.
 */
export class Wait {
  readonly askedBy: 'client' | 'server'
  /** Wall-clock ms. */
  until: number
  readonly #delay: number

  constructor(askedBy: Wait['askedBy'], now: number, delay: number) {
    this.askedBy = askedBy
    this.until = now + delay
    this.#delay = delay
  }

  /** Not more than was asked for: the clock may have been set back. */
  leftAt(now: number): number {
    this.until = Math.min(this.until, now + this.#delay)
    return this.until - now
  }
}

/**
 * The messages that stay in order with each other: one in flight, and a failure holds up no other
 * lane.
 */
export class Lane {
  readonly name: string
  readonly messages = new Queue<Message>()
  readonly flights = new Set<Flight>()
  /** How many flights have a message of this lane as their first. */
  leads = 0
  wait: Wait | undefined
  /** The message whose failure began the wait, which ends with it. */
  cause: Message | undefined
  /** In a row. */
  failures = 0
  /** Its node among the lanes that may have something to post. */
  inQueue: Node<Lane> | undefined

  constructor(name: string) {
    this.name = name
  }
}

/** The names that an app gives, and the ids of sessions, do not run into each other. */
export function laneName({ type, sessionId }: Pick<MessageText, 'type' | 'sessionId'>, given?: string): string {
  if (given) return `lane:${given}`
  if (type === 'switch_session') return 'switch'
  const session = isText(sessionId) ? toWireName(`session:${sessionId}`) : ''
  // It does not wait behind the message that it stops.
  return type === 'stop' ? `stop:${session}` : session
}

/**
 * As `LANE` has it, whatever is in the id: no header, frame or batch carries more. Sessions whose
 * ids differ only in what is lost share an order, which does no harm.
 */
const toWireName = (name: string) => name.slice(0, 250).replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd')

/** The lane whose messages wait for those of this one, if this one is that of a stop. */
export const laneHeldUpBy = (name: string) => (name.startsWith('stop:') ? name.slice(5) : undefined)
