import type { Clock } from '../environment'
import { MAX_BATCH_BYTES } from '../protocol'
import { isPostedAlone, sizeInBatch } from './batch'
import type { BatchSize } from './batchSize'
import type { Gate } from './flight'
import type { GivingUp } from './givingUp'
import type { Lane } from './lane'
import type { Lanes } from './lanes'
import type { Message } from './message'
import type { Node } from './queue'

/** Decides which messages may leave next. */
export class Turns {
  readonly #clock: Clock
  readonly #lanes: Lanes
  readonly #givingUp: GivingUp
  readonly #batchSize: BatchSize

  constructor(clock: Clock, lanes: Lanes, givingUp: GivingUp, batchSize: BatchSize) {
    this.#clock = clock
    this.#lanes = lanes
    this.#givingUp = givingUp
    this.#batchSize = batchSize
  }

  /**
   * A stop has no verdict yet that the message must not overtake, or that takes it back. A stop
   * that is exhausted lets it pass.
   */
  waitsForStop({ after, stoppedBy }: Message): boolean {
    return [after, stoppedBy].some((stop) => stop && !stop.isEnded && !this.#givingUp.isExhausted(stop))
  }

  /**
   * The message of a lane whose turn it is: the first that is not exhausted; where all are, the
   * first.
   */
  next(lane: Lane, depth: number): Message | undefined {
    // A lane that failed has one POST under way at a time: those behind the failed one come back
    // with 425, and a new one would overtake them.
    if (lane.wait || lane.flights.size >= (lane.failures ? 1 : depth)) return undefined
    for (const { state } of lane.flights) if (state === 'preparing') return undefined
    let exhausted: Message | undefined
    for (const message of lane.messages) {
      if (message.flight) continue
      if (this.waitsForStop(message)) break
      if (!this.#givingUp.isExhausted(message)) return message
      exhausted ??= message
    }
    return exhausted
  }

  /**
   * All that goes in one POST with the first message: those that follow it in its lane, then other
   * lanes that may post now.
   */
  together(first: Message, gate: Gate): readonly Message[] {
    const { features } = gate
    if (!features.includes('batch') || isPostedAlone(first) || this.#givingUp.isExhausted(first)) return [first]
    const batch = [first]
    let size = sizeInBatch(first)
    const take = (from: Node<Message> | undefined) => {
      for (let node = from; node && batch.length < this.#batchSize.size; node = node.next) {
        const { value: message } = node
        const mayFollow = !(message.flight || isPostedAlone(message) || this.whyNot(message, gate))
        if (!mayFollow || this.waitsForStop(message) || this.#givingUp.isExhausted(message)) return
        size += sizeInBatch(message)
        if (size > MAX_BATCH_BYTES) return
        batch.push(message)
      }
    }
    const { lane, inLane } = first
    take(inLane?.next)
    // Behind another POST of its lane it may have to wait in the server, and with it the lanes that
    // it shares the batch with.
    if (features.includes('lanes') && !lane.flights.size)
      for (const { wait, flights, messages } of this.#lanes.queued) if (!wait && !flights.size) take(messages.first)
    return batch
  }

  /** Why a message is given up instead of being posted. */
  whyNot(message: Message, gate: Gate): 'expired' | 'cancelled' | undefined {
    const { stoppedBy } = message
    // The server may have carried out the stop. Without `cancels` it would run a repeat of the
    // message that the stop took back.
    const isStopped = stoppedBy?.attempts && stoppedBy.status !== 'rejected' && !gate.features.includes('cancels')
    return isStopped ? 'cancelled' : this.isExpired(message, gate) ? 'expired' : undefined
  }

  isExpired({ expiresAt, deadline, triedAt = Infinity }: Message, { receiptAge }: Gate): boolean {
    const now = this.#clock.now()
    // By either clock: the wall clock may be set back, and most engines' other one stands still
    // while the machine sleeps.
    return now - triedAt > receiptAge || now >= expiresAt || (this.#clock.elapsed?.() ?? 0) >= deadline
  }
}
