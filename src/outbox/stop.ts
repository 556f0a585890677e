import { MAX_CANCELS } from '../protocol'
import { laneHeldUpBy } from './lane'
import type { Message } from './message'

/** Endpoints of the protocol that start no work: a stop does not take them back. */
const KEPT = ['stop', 'interrupt', 'mode', 'watch', 'unwatch', 'switch', 'close', 'suspend']

/** The messages of its session that a stop takes back: those before it that may start work. */
export function cancelledBy(stop: Message, queue: Iterable<Message>): readonly Message[] {
  const cancelled: Message[] = []
  for (const message of queue) {
    if (message === stop) break
    if (message.sessionId === stop.sessionId && !KEPT.includes(message.endpoint)) cancelled.push(message)
  }
  return cancelled
}

/**
 * Names in the stop the messages that it takes back. The server may have each of them (the others
 * ended when the stop was sent), and a late copy of one must not run.
 */
export function nameCancelled(stop: Message, cancelled: readonly Message[]) {
  const cancels = cancelled.map(({ id }) => id)
  if (cancels.length) stop.json = JSON.stringify({ ...JSON.parse(stop.json), cancels: cancels.slice(-MAX_CANCELS) })
}

/** Which stop the messages of a lane must not overtake: the last one without a verdict. */
export class Stops {
  readonly #last = new Map<string, Message>()

  enter(message: Message) {
    const { name } = message.lane
    const heldUp = laneHeldUpBy(name)
    if (heldUp === undefined) message.after = this.#last.get(name)
    else this.#last.set(heldUp, message)
  }

  /** Returns the name of the lane that waited for the message, if it was a stop. */
  leave(message: Message): string | undefined {
    const heldUp = laneHeldUpBy(message.lane.name)
    if (heldUp !== undefined && this.#last.get(heldUp) === message) this.#last.delete(heldUp)
    return heldUp
  }
}
