import { parseResults } from '../protocol'
import { isToBeRepeated } from '../protocol/status'
import { Line } from './line'
import type { FrameAnswer } from './webSocketFrames'

export interface Frame {
  readonly endpoint: string
  /** The id of the message that it begins with: a batch has another one. Undefined if it has none, and so can have no repeat. */
  readonly first: string | undefined
}

/** One after the other, and commands wait for them: they say what the stream carries. */
const ATTACHING = ['reconnect', 'watch', 'unwatch']
/** No commands either, and in nobody's way. */
const AT_ONCE = ['probe', 'suspend']
export const TOO_EARLY: FrameAnswer = { status: 425, error: 'too-early' }
/** What a server itself acts on has no use for a key. */
export const isCommand = (endpoint: string) => isOrdered(endpoint) && endpoint !== 'batch'
const isOrdered = (endpoint: string) => ![...ATTACHING, ...AT_ONCE].includes(endpoint)
/** More than a client has in flight. One that makes it more has no order to lose. */
const MAX_REFUSED = 256

/** Performs a frame, or answers it with `instead`. Resolves with its answer, once that is on the socket. */
export type Perform = (instead?: FrameAnswer) => Promise<FrameAnswer>

/**
 * The order of one socket's frames. Commands are run one after the other. What follows one that is to be repeated must not overtake
 * the repeat; the client sent it before it knew, so it is to be repeated too. As in a batch, but over many frames.
 */
export class FrameOrder {
  readonly #attaching = new Line()
  readonly #commands = new Line()
  /** The messages that a repeat may begin with. Until one does, whatever has its turn was sent too early. */
  readonly #refused = new Set<string>()
  /** Those that were not let in; what arrived before them goes on. Until one is repeated, whatever arrives is too early. */
  readonly #turnedAway = new Set<string>()

  /** Whether it has to be turned away, because one before it was. */
  isTooEarly({ endpoint, first }: Frame): boolean {
    if (!isOrdered(endpoint)) return false
    const isRepeat = first !== undefined && (this.#turnedAway.has(first) || this.#refused.has(first))
    if (isRepeat || this.#turnedAway.size >= MAX_REFUSED) this.#turnedAway.clear()
    return this.#turnedAway.size > 0
  }

  turnAway({ endpoint, first }: Frame) {
    if (isOrdered(endpoint) && first !== undefined) this.#turnedAway.add(first)
  }

  /** In its turn. If that rejects, nothing after it has one. */
  async add(frame: Frame, perform: Perform): Promise<void> {
    if (AT_ONCE.includes(frame.endpoint)) return void (await perform())
    const isAttaching = ATTACHING.includes(frame.endpoint)
    const place = isAttaching ? undefined : this.#commands.join()
    const attaching = this.#attaching.join()
    await attaching.reached
    if (isAttaching) await perform()
    attaching.leave()
    if (!place) return
    await place.reached
    await this.#run(frame, perform)
    place.leave()
  }

  /** Of what waits for its turn nothing is kept, and nothing performed. */
  clear() {
    this.#attaching.clear()
    this.#commands.clear()
  }

  async #run({ endpoint, first }: Frame, perform: Perform) {
    const isRepeat = first !== undefined && this.#refused.has(first)
    if (isRepeat || this.#refused.size >= MAX_REFUSED) this.#refused.clear()
    const { status, receipt } = await perform(this.#refused.size > 0 ? TOO_EARLY : undefined)
    // Turned down as a whole, a batch is repeated, message by message.
    const isWhole = endpoint === 'batch' && status !== 200
    const last = endpoint === 'batch' && !isWhole ? parseResults(receipt).at(-1) : { id: first, status }
    if (last?.id !== undefined && (isWhole || isToBeRepeated(last.status))) this.#refused.add(last.id)
  }
}
