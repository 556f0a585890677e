import type { Clock } from '../environment'
import type { JsonObject } from '../protocol'
import type { SessionMessage } from './frames'

/** When a message is offered to a listener that throws: at once, and again after these delays, ms. */
const REPEATS = [100, 1_000]
/** How much of a session waits behind such a message; what is beyond is dropped and fetched again. */
const MAX_WAITING = 256
const MAX_WAITING_CHARACTERS = 2_097_152

export type MessageListener = (message: JsonObject) => unknown

export interface Subscription {
  /** Null once it has unsubscribed. */
  listener: MessageListener | null
  /** Undefined: of every message. */
  readonly session: string | undefined
}

/** A message that listeners threw at, and what came after it. */
export class Backlog {
  declare readonly message: SessionMessage
  /** The listeners that threw. */
  declare listeners: readonly Subscription[]
  readonly later: [SessionMessage, characters: number][] = []
  #repeats = 0
  #characters = 0

  constructor(message: SessionMessage, listeners: readonly Subscription[]) {
    this.message = message
    this.listeners = listeners
  }

  /** A replay brings again what stands here already; it must not take the room of what is new. */
  has({ seq, epoch }: SessionMessage): boolean {
    const [newest] = this.later.at(-1) ?? [this.message]
    return seq <= newest.seq && epoch === newest.epoch
  }

  /** Returns whether there was room. */
  add(message: SessionMessage, characters: number): boolean {
    this.#characters += characters
    const hasRoom = this.later.length < MAX_WAITING && this.#characters <= MAX_WAITING_CHARACTERS
    if (hasRoom) this.later.push([message, characters])
    return hasRoom
  }

  /** Whether something of it is beyond that `seq`. */
  reaches(to: number): boolean {
    return this.later.some(([{ seq }]) => seq > to)
  }

  /** Offers it again when that is due. */
  arm(clock: Clock, repeat: () => void) {
    const timer = clock.setTimeout(repeat, REPEATS[this.#repeats] ?? 0)
    this.rest = () => clock.clearTimeout(timer)
  }

  /** It is not offered again, before it is armed again. */
  rest() {}

  /** The listeners threw once more. Returns whether it was the last time. */
  isSpent(): boolean {
    return ++this.#repeats >= REPEATS.length
  }
}
