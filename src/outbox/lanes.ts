import { Lane, leftOf, startWait, type Wait } from './lane'
import type { Message } from './message'
import { Queue } from './queue'

/** All lanes with a message in them, and which of them wait for what. */
export class Lanes {
  readonly #byName = new Map<string, Lane>()
  /** Those that may have something to post, the one that has waited longest first. */
  readonly #ready = new Queue<Lane>()
  readonly #waiting = new Set<Lane>()
  /** Of the whole line. */
  #lineWait: Wait | undefined
  /** The lane that the server told to wait last, if it has taken nothing since. */
  #toldToWait: Lane | undefined

  get(name: string): Lane {
    const known = this.#byName.get(name)
    if (known) return known
    const lane = new Lane(name)
    this.#byName.set(name, lane)
    return lane
  }

  /** What they waited for has ended. */
  readyNamed(name: string) {
    const lane = this.#byName.get(name)
    if (lane) this.ready(lane)
  }

  /** Forgets a lane that is empty. */
  release(lane: Lane) {
    if (lane.messages.first || lane.flights.size || this.#byName.get(lane.name) !== lane) return
    this.#unready(lane)
    this.#waiting.delete(lane)
    this.#byName.delete(lane.name)
  }

  ready(lane: Lane) {
    if (!lane.place && lane.messages.first) lane.place = this.#ready.push(lane)
  }

  #unready(lane: Lane) {
    if (lane.place) this.#ready.remove(lane.place)
    lane.place = undefined
  }

  /** The lane that has waited longest, if the line is not told to wait. It comes back by `ready`. */
  take(now: number): Lane | undefined {
    if (leftOf(this.#lineWait, now) > 0) return undefined
    const lane = this.#ready.first?.value
    if (lane) this.#unready(lane)
    return lane
  }

  /** The lanes that may have something to post, without taking them. */
  get queued(): Iterable<Lane> {
    return this.#ready
  }

  wait(lane: Lane, now: number, delay: number, askedBy: Wait['askedBy']) {
    lane.wait = startWait(now, delay, askedBy)
    this.#waiting.add(lane)
    if (askedBy === 'client') return
    // Two lanes told to wait, and nothing taken between: it is not about one of them.
    if (this.#toldToWait && this.#toldToWait !== lane) this.waitAll(now, delay)
    this.#toldToWait = lane
  }

  waitAll(now: number, delay: number) {
    if (delay > leftOf(this.#lineWait, now)) this.#lineWait = startWait(now, delay, 'server')
  }

  /** The server has taken something of this lane. */
  succeeded(lane: Lane) {
    lane.failures = 0
    this.#toldToWait = undefined
  }

  /** Every lane has its turn on a new stream, the oldest first. Our own waits end with the stream that they were drawn on. */
  renew() {
    for (const lane of this.#byName.values()) {
      lane.failures = 0
      if (lane.wait?.askedBy === 'client') this.#resume(lane)
      this.#unready(lane)
      this.ready(lane)
    }
  }

  /** Ends the waits that are over. Returns how long the next one takes, ms. */
  wake(now: number): number | undefined {
    if (leftOf(this.#lineWait, now) <= 0) this.#lineWait = undefined
    for (const lane of this.#waiting) if (leftOf(lane.wait, now) <= 0) this.#resume(lane)
    const at = this.nextAt(now)
    return at === null ? undefined : at - now
  }

  /** The earliest next try of any lane, wall-clock ms; null where nothing waits. */
  nextAt(now: number): number | null {
    let next = Infinity
    for (const lane of this.#waiting) next = Math.min(next, this.#leftOf(lane, now))
    if (next === Infinity && this.#byName.size) next = leftOf(this.#lineWait, now)
    return next > 0 && next < Infinity ? now + next : null
  }

  /** When a message of this lane is tried next at the earliest, wall-clock ms; null where it need not wait. */
  retryAt(lane: Lane, now: number): number | null {
    const left = this.#leftOf(lane, now)
    return left > 0 ? now + left : null
  }

  #leftOf(lane: Lane, now: number) {
    return Math.max(leftOf(lane.wait, now), leftOf(this.#lineWait, now))
  }

  /** Nothing that is queued may leave, and nothing is on its way. */
  get areAllWaiting(): boolean {
    for (const { wait, flights } of this.#byName.values()) if (flights.size || !(wait || this.#lineWait)) return false
    return this.#byName.size > 0
  }

  #resume(lane: Lane) {
    lane.wait = undefined
    this.#waiting.delete(lane)
    this.ready(lane)
  }

  all(): IterableIterator<Lane> {
    return this.#byName.values()
  }

  enter(message: Message, where: 'first' | 'last') {
    const { lane } = message
    message.inLane = where === 'last' ? lane.messages.push(message) : lane.messages.unshift(message)
    this.ready(lane)
  }

  leave(message: Message) {
    const { lane, inLane } = message
    if (!inLane) return
    lane.messages.remove(inLane)
    message.inLane = undefined
    this.ready(lane)
    this.release(lane)
  }
}
