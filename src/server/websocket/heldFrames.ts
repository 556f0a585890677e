import { type Account, Budget } from '../limits/budget'
import { FRAME_WEIGHT, LANE_WEIGHT, textWeight } from '../limits/weights'
import { type Frame, FrameOrder, type Perform, TOO_EARLY } from './frameOrder'
import type { FrameAnswer } from './webSocketFrames'

/**
 * How many frames without an answer are kept, and what they hold, bytes. It is what a client has in
 * flight, and some.
 */
const MAX_HELD = 80
export const MAX_HELD_BYTES = 4_194_304
const TOO_MANY: FrameAnswer = { status: 429, error: 'too-many', retryAfter: 1_000 }

/** A frame, and what it holds until it is answered, bytes. */
export interface Held extends Frame {
  readonly weight: number
}

/** The frames of one socket that have no answer yet: in their order, and on their account. */
export class HeldFrames {
  readonly #order: FrameOrder
  #memory = new Budget(0)
  #count = 0

  /** @param onFull only a fresh socket can keep the order now */
  constructor(onFull: () => void) {
    this.#order = new FrameOrder({
      account: { take: (bytes) => this.#memory.take(bytes), give: (bytes) => this.#memory.give(bytes) },
      onFull,
    })
  }

  /** From now on there is room for frames. */
  open(account: Account) {
    this.#memory = new Budget(MAX_HELD_BYTES, account)
  }

  /** @param bytes of what it holds beside its place here */
  hold(frame: Frame, bytes: number): Held | FrameAnswer {
    const weight = FRAME_WEIGHT + bytes + lanesWeight(frame)
    const isTooEarly = this.#order.isTooEarly(frame)
    if (!isTooEarly && this.#count < MAX_HELD && this.#memory.take(weight)) {
      this.#count += 1
      return { ...frame, weight }
    }
    this.#order.turnAway(frame)
    return isTooEarly ? TOO_EARLY : TOO_MANY
  }

  /** Performs it in its turn, and lets go of it then. Rejects with what `perform` rejects with. */
  perform(frame: Held, perform: Perform): Promise<void> {
    return this.#order.add(frame, async (instead) => {
      const answer = await perform(instead)
      this.#count -= 1
      this.#memory.give(frame.weight)
      return answer
    })
  }

  /** The socket has ended. Nothing that waits is performed. */
  clear() {
    this.#order.clear()
    this.#memory.close()
  }
}

/** The memory that its lanes take until its turn, bytes. */
const lanesWeight = ({ lanes }: Frame): number =>
  [...lanes.keys()].reduce((sum, lane) => sum + (lane === undefined ? 0 : LANE_WEIGHT + textWeight(lane)), 0)
