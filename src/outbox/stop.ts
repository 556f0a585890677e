import { MAX_CANCELS } from '../protocol'
import { stoppedBy } from './lane'
import type { Message } from './message'

/** Endpoints of the protocol that start no work: a stop does not take them back. */
const KEPT = ['stop', 'interrupt', 'mode', 'watch', 'unwatch', 'switch', 'close', 'suspend']

/** The messages of its session that a stop takes back: those before it that may start work. */
export function cancelledBy(stop: Message, line: Iterable<Message>): readonly Message[] {
  const cancelled: Message[] = []
  const { sessionId } = Object(stop.payload)
  for (const message of line) {
    if (message === stop) break
    if (Object(message.payload).sessionId === sessionId && !KEPT.includes(message.endpoint)) cancelled.push(message)
  }
  return cancelled
}

/** Names those that the server may have, so that a late copy of them does not run. */
export function nameCancelled(stop: Message, cancelled: readonly Message[]) {
  const cancels = cancelled.flatMap(({ id, attempts }) => (attempts ? [id] : []))
  if (cancels.length) stop.json = JSON.stringify({ ...stop.payload, cancels: cancels.slice(-MAX_CANCELS) })
}

/** Which stop the messages of a lane must not overtake: the last one without a verdict. */
export class Stops {
  readonly #last = new Map<string, Message>()

  enter(message: Message) {
    const { name } = message.lane
    const stopped = stoppedBy(name)
    if (stopped === undefined) message.after = this.#last.get(name)
    else this.#last.set(stopped, message)
  }

  /** Returns the lane that waited for it, if it was a stop. */
  leave(message: Message): string | undefined {
    const stopped = stoppedBy(message.lane.name)
    if (stopped !== undefined && this.#last.get(stopped) === message) this.#last.delete(stopped)
    return stopped
  }
}
