import type { Typed } from '../connection/messages'
import { isText } from '../protocol'
import type { Flight } from './flight'
import type { Message } from './message'
import { type Node, Queue } from './queue'

/** Until then nothing leaves. A wait of our own ends with the stream; one that the server asked for does not. */
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

/** The messages that stay in order with each other: one in flight, and a failure holds up no other lane. */
export class Lane {
  readonly name: string
  readonly messages = new Queue<Message>()
  readonly flights = new Set<Flight>()
  /** How many of them begin with a message of this lane. */
  leads = 0
  wait: Wait | undefined
  /** The message whose failure began the wait. Without it there is nothing to wait for. */
  cause: Message | undefined
  /** In a row. */
  failures = 0
  /** Its place among the lanes that may have something to post. */
  place: Node<Lane> | undefined

  constructor(name: string) {
    this.name = name
  }
}

/** The names that an app gives, and the ids of sessions, do not run into each other. */
export function laneName(message: Typed & { readonly sessionId?: unknown }, given: string | undefined): string {
  if (given !== undefined) return `lane:${given}`
  if (message.type === 'switch_session') return 'switch'
  const session = isText(message.sessionId) ? `session:${message.sessionId}` : ''
  // It does not wait behind what it stops.
  return message.type === 'stop' ? `stop:${session}` : session
}

/** The lane whose messages wait for this one, if it is that of a stop. */
export const stoppedBy = (name: string) => (name.startsWith('stop:') ? name.slice(5) : undefined)
