import { parseResults } from '../../protocol'
import { isToBeRepeated } from '../../protocol/status'
import { type Place, PlaceQueue } from '../command/placeQueue'
import { isAtOnce, isAttaching, isControl } from '../endpoints'
import { type Account, Budget } from '../limits/budget'
import { LANE_WEIGHT, textWeight } from '../limits/weights'
import type { FrameAnswer } from './webSocketFrames'

export interface Frame {
  readonly endpoint: string
  /** The ids of its messages, by their lanes. None of a frame that can have no repeat. */
  readonly lanes: ReadonlyMap<string | undefined, readonly string[]>
}

export const TOO_EARLY: FrameAnswer = { status: 425, error: 'too-early' }
/** Only a command has an Idempotency-Key. */
export const isCommand = (endpoint: string) => !isControl(endpoint) && endpoint !== 'batch'
/** More than a client has in flight of one lane. One that makes it more has no order to lose. */
const MAX_AWAITED = 256

/**
 * Performs a frame, or answers it with `instead`. Resolves with its answer, once that is on the
 * socket.
 */
export type Perform = (instead?: FrameAnswer) => Promise<FrameAnswer>

/**
 * The messages that a repeat may begin with. Until one does, whatever follows in their lane was
 * sent too early.
 */
class Awaited {
  readonly #ids = new Set<string>()
  readonly #account: Account
  /** The memory of one of them, beside its id. */
  readonly #weight: number
  #bytes = 0

  constructor(account: Account, weight: number) {
    this.#account = account
    this.#weight = weight
  }

  get isEmpty() {
    return this.#ids.size === 0
  }

  has(id: string | undefined) {
    return id !== undefined && this.#ids.has(id)
  }

  /** False if there is no room for it. */
  add(id: string): boolean {
    const bytes = this.#weight + textWeight(id)
    if (this.#ids.has(id)) return true
    if (!this.#account.take(bytes)) return false
    this.#bytes += bytes
    this.#ids.add(id)
    return true
  }

  /** Whether what comes now has to wait for a repeat. */
  isTooEarly(isRepeat: boolean): boolean {
    if (isRepeat || this.#ids.size >= MAX_AWAITED) {
      this.#ids.clear()
      this.#account.give(this.#bytes)
      this.#bytes = 0
    }
    return !this.isEmpty
  }
}

/** The order of one lane. */
class LaneOrder {
  readonly queue = new PlaceQueue()
  /** Messages that were run, or had their turn after such a one. */
  readonly refused: Awaited
  /** Messages that were not let in. Those that arrived before go on. */
  readonly turnedAway: Awaited

  constructor(name: string | undefined, account: Account) {
    const own = name === undefined ? new Budget(Infinity) : account
    const weight = LANE_WEIGHT + textWeight(name ?? '')
    this.refused = new Awaited(own, weight)
    this.turnedAway = new Awaited(own, weight)
  }

  get isIdle() {
    return this.queue.isEmpty && this.refused.isEmpty && this.turnedAway.isEmpty
  }
}

export interface FrameOrderOptions {
  /**
   * The account for the memory of lanes. Frames without a lane take little, and always have room.
   */
  readonly account: Account
  /**
   * There was no room to remember what has to be repeated first: only a fresh socket can keep the
   * order now.
   */
  onFull(): void
}

/**
 * The order of one socket's frames. Commands of one lane are run one after the other. What follows
 * one that is to be repeated must not overtake the repeat; the client sent it before it knew, so it
 * is to be repeated too. As in a batch, but over many frames. Of a lane in which nothing waits, and
 * nothing is to be repeated, nothing is kept.
 */
export class FrameOrder {
  readonly #options: FrameOrderOptions
  readonly #attaching = new PlaceQueue()
  readonly #lanes = new Map<string | undefined, LaneOrder>()

  constructor(options: FrameOrderOptions) {
    this.#options = options
  }

  /** The lanes that something is known of. */
  get size() {
    return this.#lanes.size
  }

  /** Whether it has to be turned away, because one before it was. */
  isTooEarly({ endpoint, lanes }: Frame): boolean {
    if (isControl(endpoint)) return false
    let isEarly = false
    for (const [name, [first]] of lanes) {
      const lane = this.#lanes.get(name)
      if (!lane) continue
      const isRepeat = lane.turnedAway.has(first) || lane.refused.has(first)
      if (lane.turnedAway.isTooEarly(isRepeat)) isEarly = true
      this.#forget(name, lane)
    }
    return isEarly
  }

  turnAway({ endpoint, lanes }: Frame) {
    if (isControl(endpoint)) return
    for (const [name, [first]] of lanes) {
      if (first !== undefined && !this.#lane(name).turnedAway.add(first)) return this.#options.onFull()
    }
  }

  /** In its turn. If that rejects, nothing after it has one. */
  async add(frame: Frame, perform: Perform): Promise<void> {
    if (isAtOnce(frame.endpoint)) return void (await perform())
    const isFirst = isAttaching(frame.endpoint)
    const places = isFirst ? [] : [...frame.lanes.keys()].map((name) => this.#lane(name).queue.join())
    const attaching = this.#attaching.join()
    await attaching.reached
    if (isFirst) await perform()
    attaching.leave()
    if (isFirst) return
    for (const { reached } of places) await reached
    await this.#run(frame, perform)
    this.#leave(frame, places)
  }

  /** Forgets all frames that wait for their turn; they are not performed. */
  clear() {
    this.#attaching.clear()
    for (const { queue } of this.#lanes.values()) queue.clear()
    this.#lanes.clear()
  }

  #lane(name: string | undefined): LaneOrder {
    const known = this.#lanes.get(name)
    if (known) return known
    const lane = new LaneOrder(name, this.#options.account)
    this.#lanes.set(name, lane)
    return lane
  }

  #leave({ lanes }: Frame, places: readonly Place[]) {
    for (const place of places) place.leave()
    for (const name of lanes.keys()) this.#forget(name, this.#lanes.get(name))
  }

  #forget(name: string | undefined, lane: LaneOrder | undefined) {
    if (lane?.isIdle) this.#lanes.delete(name)
  }

  async #run(frame: Frame, perform: Perform) {
    let isEarly = false
    for (const [name, [first]] of frame.lanes) {
      const { refused } = this.#lane(name)
      if (refused.isTooEarly(refused.has(first))) isEarly = true
    }
    const answer = await perform(isEarly ? TOO_EARLY : undefined)
    for (const [name, id] of toBeRepeated(frame, answer)) {
      if (!this.#lane(name).refused.add(id)) return this.#options.onFull()
    }
  }
}

/** The message that the repeat of each lane begins with, where there is one. */
function toBeRepeated({ endpoint, lanes }: Frame, { status, receipt }: FrameAnswer): Map<string | undefined, string> {
  const results = new Map(endpoint === 'batch' ? parseResults(receipt).map((result) => [result.id, result.status]) : [])
  // Turned down as a whole, a batch is repeated, message by message. Of one that was run, what has
  // no result is, too.
  const isOpen = (id: string) => status !== 200 || isToBeRepeated(results.get(id) ?? 0)
  const awaited = new Map<string | undefined, string>()
  for (const [name, ids] of lanes) {
    const id = endpoint === 'batch' ? ids.find(isOpen) : isToBeRepeated(status) ? ids[0] : undefined
    if (id !== undefined) awaited.set(name, id)
  }
  return awaited
}
