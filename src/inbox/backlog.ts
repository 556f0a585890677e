import type { Clock } from '../environment'
import type { SessionMessage } from './frames'
import type { Subscription } from './listeners'

/**
 * After a listener threw, the message is offered to it again after each of these delays, ms; then
 * it is skipped.
 */
const REPEATS = [100, 1_000]
/**
 * How many later messages of the session wait meanwhile; those beyond are dropped, and fetched by a
 * resume.
 */
const MAX_WAITING = 256
const MAX_WAITING_CHARACTERS = 2_097_152

/**
 * A message at which a listener threw, and the later messages of its session, which wait so that
 * order holds. Other sessions flow.
 *
 * | the message is offered again, to the listeners that threw | what follows |
 * | --- | --- |
 * | none throws | the cursor moves, and the messages that wait are taken |
 * | one throws, for the second time | it is offered once more |
 * | one throws, for the third time | it is reported as `poison-message` and skipped, as if none had thrown |
 */
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

  /**
   * Whether it waits here already: a replay repeats it, and it must not take the room of a new one.
   */
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

  /** Whether a message that waits has a higher `seq`. */
  reaches(to: number): boolean {
    return this.later.some(([{ seq }]) => seq > to)
  }

  /** Offers the message again, after the delay that is due. */
  arm(clock: Clock, repeat: () => void) {
    const timer = clock.setTimeout(repeat, REPEATS[this.#repeats] ?? 0)
    this.rest = () => clock.clearTimeout(timer)
  }

  /** Takes `arm` back. */
  rest() {}

  /** They threw again. Returns whether that was the last try. */
  isSpent(): boolean {
    return ++this.#repeats >= REPEATS.length
  }
}
