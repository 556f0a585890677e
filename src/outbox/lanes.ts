import type { Flight } from './flight'
import { Lane, laneHeldUpBy, type Wait } from './lane'
import type { Message } from './message'
import { Queue } from './queue'

/** All lanes with a message in them: which of them may post, and which wait. */
export class Lanes {
  readonly #byName = new Map<string, Lane>()
  /** Those that may have something to post, the one that has waited longest first. */
  readonly queued = new Queue<Lane>()
  readonly #waiting = new Set<Lane>()
  /** Lanes that lead a POST. */
  atWork = 0
  /** Of all lanes. */
  #waitOfAll: Wait | undefined
  /** The lane that the server told to wait last, if it has taken nothing since. */
  #toldToWait: Lane | undefined

  get(name: string): Lane {
    const known = this.#byName.get(name)
    if (known) return known
    const lane = new Lane(name)
    this.#byName.set(name, lane)
    return lane
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
    if (lane.cause === message) {
      lane.failures = 0
      this.#resume(lane)
    }
    this.ready(lane)
    this.#forgetIfUnused(lane)
  }

  /**
   * Forgets a lane that is empty, unless the server told it to wait: that holds for what is sent
   * next as well.
   */
  #forgetIfUnused(lane: Lane) {
    const isInUse = lane.messages.first || lane.flights.size || lane.wait?.askedBy === 'server'
    if (isInUse || this.#byName.get(lane.name) !== lane) return
    this.#unready(lane)
    this.#waiting.delete(lane)
    this.#byName.delete(lane.name)
  }

  // POSTs

  begin(flight: Flight) {
    for (const lane of flight.lanes) lane.flights.add(flight)
    if (!flight.leader.leads++) this.atWork++
  }

  end(flight: Flight) {
    if (!--flight.leader.leads) this.atWork--
    for (const lane of flight.lanes) lane.flights.delete(flight)
    for (const lane of flight.lanes) {
      this.ready(lane)
      this.readyNamed(laneHeldUpBy(lane.name))
      this.#forgetIfUnused(lane)
    }
  }

  // Turns

  ready(lane: Lane) {
    if (!lane.inQueue && lane.messages.first) lane.inQueue = this.queued.push(lane)
  }

  readyAll() {
    for (const lane of this.#byName.values()) this.ready(lane)
  }

  /** The stop that its messages waited for may have ended. */
  readyNamed(name: string | undefined) {
    const lane = name === undefined ? undefined : this.#byName.get(name)
    if (lane) this.ready(lane)
  }

  #unready(lane: Lane) {
    if (lane.inQueue) this.queued.remove(lane.inQueue)
    lane.inQueue = undefined
  }

  /**
   * The lane that has waited longest, unless all have to wait. It comes back by `ready`.
   */
  take(): Lane | undefined {
    const lane = this.#waitOfAll ? undefined : this.queued.first?.value
    if (lane) this.#unready(lane)
    return lane
  }

  /**
   * Every lane has its turn on a new stream, the oldest first. Our own waits end with the stream
   * that they were drawn on.
   */
  renew() {
    for (const lane of this.#byName.values()) {
      lane.failures = 0
      if (lane.wait?.askedBy === 'client') this.#resume(lane)
      this.#unready(lane)
      this.ready(lane)
    }
  }

  // Waits

  /** `cause` is the message that failed, where it was one alone. */
  wait(lane: Lane, wait: Wait, cause?: Message) {
    // Of two, what the server asked for counts, else the longer one.
    const isLess = lane.wait?.askedBy === wait.askedBy ? wait.until < lane.wait.until : wait.askedBy === 'client'
    if (lane.wait && isLess) return
    lane.wait = wait
    lane.cause = wait.askedBy === 'client' ? cause : undefined
    this.#waiting.add(lane)
    if (wait.askedBy === 'client') return
    // Two lanes told to wait, and nothing taken between: it is not about one of them.
    if (this.#toldToWait && this.#toldToWait !== lane) this.waitAll(wait)
    this.#toldToWait = lane
  }

  waitAll(wait: Wait) {
    if (wait.until > (this.#waitOfAll?.until ?? 0)) this.#waitOfAll = wait
  }

  /** The server has taken something of this lane. */
  succeeded(lane: Lane) {
    lane.failures = 0
    this.#toldToWait = undefined
  }

  /** Ends the waits that are over. */
  wake(now: number) {
    if (this.#waitOfAll && this.#waitOfAll.leftAt(now) <= 0) this.#waitOfAll = undefined
    for (const lane of this.#waiting) if (lane.wait && lane.wait.leftAt(now) <= 0) this.#resume(lane)
  }

  /** The clock was set back by so much, ms. */
  setBack(ms: number) {
    // All lanes may share one with one of them.
    for (const wait of new Set(this.#waits())) wait.until -= ms
  }

  /** The wait that ends first. */
  get firstWait(): Wait | undefined {
    let first: Wait | undefined
    for (const wait of this.#waits()) if (!first || wait.until < first.until) first = wait
    return first
  }

  *#waits(): Generator<Wait> {
    if (this.#waitOfAll) yield this.#waitOfAll
    for (const { wait } of this.#waiting) if (wait) yield wait
  }

  /** The earliest next try of any message, wall-clock ms; null where none waits. */
  get nextAt(): number | null {
    let next: number | null = null
    for (const lane of this.#waitOfAll ? this.#byName.values() : this.#waiting) {
      const at = lane.messages.first ? this.retryAt(lane) : null
      if (at !== null && (next === null || at < next)) next = at
    }
    return next
  }

  /**
   * When a message of this lane is tried next at the earliest, wall-clock ms; null where it need
   * not wait.
   */
  retryAt({ wait }: Lane): number | null {
    if (wait && this.#waitOfAll) return Math.max(wait.until, this.#waitOfAll.until)
    return (wait ?? this.#waitOfAll)?.until ?? null
  }

  #resume(lane: Lane) {
    lane.wait = undefined
    lane.cause = undefined
    this.#waiting.delete(lane)
    this.ready(lane)
    this.#forgetIfUnused(lane)
  }
}
