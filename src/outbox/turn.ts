import type { Lane } from './lane'
import type { Message } from './message'
import type { Patience } from './givingUp'

/** The stop that it must not overtake, or that takes it back, has no verdict yet. One that has used up its failures lets it pass. */
export const waitsForStop = ({ after, stoppedBy }: Message, patience: Patience): boolean =>
  [after, stoppedBy].some((stop) => stop && !stop.isEnded && !patience.isExhausted(stop))

/**
 * The message of a lane whose turn it is. Where one has used up its failures, and nothing proves yet that the fault is its own, the next one
 * is tried in its place.
 */
export function nextOf(lane: Lane, depth: number, patience: Patience): Message | undefined {
  // What was under way behind one that failed comes back as too early: before that, the next new one would overtake it.
  if (lane.wait || lane.flights.size >= (lane.failures ? 1 : depth)) return undefined
  for (const { state } of lane.flights) if (state === 'preparing') return undefined
  let exhausted: Message | undefined
  for (const message of lane.messages) {
    if (message.flight) continue
    if (waitsForStop(message, patience)) break
    if (!patience.isExhausted(message)) return message
    exhausted ??= message
  }
  return exhausted
}
