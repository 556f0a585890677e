import type { Carrier } from '../adapters/transport'
import type { ConnectionError } from '../errors'
import type { Settings } from '../options'
import type { OutboxState } from '../types'
import { batchBody, batchFrom, isPostedAlone } from './batch'
import { BatchSize } from './batchSize'
import type { Desk } from './desk'
import { Ends } from './ends'
import { Evidence } from './streamTrust'
import { Flight, type Gate } from './flight'
import { type Lane, stoppedBy } from './lane'
import { Lanes } from './lanes'
import type { Message } from './message'
import { Patience } from './givingUp'
import { nameCancelled } from './stop'
import { nextOf, waitsForStop } from './turn'
import { WaitTimer } from './waitTimer'

/** How long a POST that outlived its stream may hold up its lane once the line is open again, ms. */
const GRACE = 1_000
/** [spec] HTTP/1.1 gives a page six connections per origin; the stream takes one. */
const LANES_AT_A_TIME = 3

/** Posts what is in the lanes while the gate is open. */
export class Poster {
  readonly lanes = new Lanes()
  readonly patience: Patience
  readonly evidence: Evidence
  /** The same reference until it changes. */
  state: OutboxState = { state: 'held', retryAt: null }
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #desk: Desk
  readonly #batchSize = new BatchSize()
  readonly #ends: Ends
  readonly #flights = new Set<Flight>()
  #lanesAtWork = 0
  #gate: Gate | null = null
  /** In place of a gate on a suspended stream, until a message has asked for a resume. */
  #suspended: Gate | null = null
  readonly #timer: WaitTimer
  #grace: unknown
  /** In `quiet` nothing new leaves, e.g. while the queue is restored. */
  #mode: 'posting' | 'quiet' = 'posting'

  constructor(settings: Settings, carrier: Carrier, desk: Desk) {
    this.#settings = settings
    this.#carrier = carrier
    this.#desk = desk
    this.patience = new Patience(settings.outbox)
    this.evidence = new Evidence(desk.tellMachine)
    this.#timer = new WaitTimer(settings.clock, this.lanes, () => this.pump())
    const { lanes, patience, evidence } = this
    const isCurrent = ({ connectionId }: Gate) => this.#gate?.connectionId === connectionId
    this.#ends = new Ends({ settings, desk, lanes, patience, evidence, batchSize: this.#batchSize, isCurrent })
  }

  // The gate

  start(gate: Gate) {
    const { clock } = this.#settings
    this.#gate = gate
    this.patience.opened(clock.now())
    const isFresh = this.evidence.begin(gate)
    // A resume, or a probe.
    if (gate.isProven || !isFresh) this.patience.answered()
    if (isFresh) this.#batchSize.renew()
    if (isFresh) this.lanes.renew()
    else this.lanes.readyAll()
    const old = [...this.#flights].filter((flight) => flight.gate.connectionId !== gate.connectionId)
    for (const flight of old) if (flight.state === 'preparing') this.land(flight)
    // The answer of a POST on the dead stream may still be on its way; where a repeat does no harm, not for long.
    if (old.length && gate.features.includes('idempotency')) {
      this.#grace = clock.setTimeout(() => {
        for (const flight of old) this.land(flight)
      }, GRACE)
    }
    this.pump()
  }

  suspend(gate: Gate) {
    this.#suspended = gate
    this.pump()
  }

  stop() {
    const { clock } = this.#settings
    if (this.#gate) this.patience.closed(clock.now())
    this.#gate = null
    this.#suspended = null
    this.#timer.stop()
    clock.clearTimeout(this.#grace)
    this.refresh()
  }

  /** Ends everything in flight. */
  abort() {
    for (const flight of this.#flights) this.land(flight)
  }

  /** Nothing leaves until `speak`. */
  hush() {
    this.#mode = 'quiet'
  }

  speak() {
    this.#mode = 'posting'
    this.pump()
  }

  // Turns

  pump() {
    const gate = this.#turns
    if (gate && this.#mode === 'posting') this.#takeTurns(gate)
    this.refresh()
  }

  /** For what messages have their turn. */
  get #turns(): Gate | null {
    return this.#gate ?? this.#suspended
  }

  #takeTurns(gate: Gate) {
    this.lanes.wake(this.#settings.clock.now())
    const depth = this.#carrier.maxInFlight?.(gate.features) ?? 1
    const most = this.#settings.outbox.maxInFlight ?? Math.max(depth, LANES_AT_A_TIME)
    while (this.#turns === gate && this.#lanesAtWork < most) {
      const lane = this.lanes.take()
      if (!lane) break
      this.#takeTurn(lane, gate, depth)
    }
    if (this.#turns === gate) this.#timer.watch()
  }

  #takeTurn(lane: Lane, gate: Gate, depth: number) {
    const message = nextOf(lane, depth, this.patience)
    if (!message) return
    const reason = this.#whyNotPosted(message, gate)
    if (reason) this.#desk.giveUp(message, reason)
    else if (gate === this.#suspended) {
      // Once: the resume opens another gate.
      this.#suspended = null
      this.#desk.tellMachine({ type: 'upstream.wanted' })
    } else {
      const withLanes = gate.features.includes('lanes')
      // What follows something of its own lane would have other lanes wait for that, too.
      const messages = this.#carriedWith(message, gate, withLanes && !lane.flights.size ? this.lanes.queued : [])
      // Once the probe is answered, every lane has its turn again.
      if (this.evidence.asksAbout(messages.length > 1 ? 'batch' : message.endpoint)) return
      this.#post(new Flight(gate, messages), withLanes).catch(this.#desk.crash)
    }
    this.lanes.ready(lane)
  }

  #carriedWith(message: Message, gate: Gate, more: Iterable<Lane>): readonly Message[] {
    const { features } = gate
    if (!features.includes('batch') || isPostedAlone(message) || this.patience.isExhausted(message)) return [message]
    const mayFollow = (next: Message) =>
      !next.flight &&
      !this.#whyNotPosted(next, gate) &&
      !waitsForStop(next, this.patience) &&
      !this.patience.isExhausted(next)
    return batchFrom(message, { most: this.#batchSize.size, more, mayFollow })
  }

  #whyNotPosted(message: Message, { features }: Gate): 'expired' | 'cancelled' | undefined {
    const { stoppedBy } = message
    // It may have stopped something: where the server does not say so, a repeat would run after it.
    const isStopped = stoppedBy?.attempts && stoppedBy.status !== 'rejected' && !features.includes('cancels')
    return isStopped ? 'cancelled' : this.#isExpired(message) ? 'expired' : undefined
  }

  #isExpired({ expiresAt, deadline, triedAt = Infinity }: Message) {
    const { clock } = this.#settings
    if (clock.now() - triedAt > (this.#gate?.receiptAge ?? Infinity)) return true
    // The first to run out: the wall clock may have been set back, and most engines' other one stands still while the machine sleeps.
    return clock.now() >= expiresAt || (clock.elapsed?.() ?? 0) >= deadline
  }

  // Waits

  /** Tells what is waited for, if it has changed. */
  refresh() {
    const { retryAt: before, state: last } = this.state
    const retryAt = this.lanes.nextAt
    const isPausing = retryAt !== null && !this.#flights.size
    const state = this.#gate ? (isPausing ? 'pausing' : 'flowing') : 'held'
    if (state === last && retryAt === before) return
    this.state = { state, retryAt }
    if (isPausing !== (last === 'pausing')) this.#gate?.tell(isPausing ? 'pause' : 'flow')
    this.#desk.waits()
  }

  retryAt({ lane, isEnded, flight }: Message): number | null {
    return isEnded || flight ? null : this.lanes.retryAt(lane)
  }

  // Flights

  async #post(flight: Flight, withLanes: boolean) {
    const { messages, gate, isBatch } = flight
    const [first] = messages as [Message]
    // A repeat carries the same list: it has the same key.
    if (first.isStop && first.attempts === 0) nameCancelled(first, this.#desk.cancelledBy(first))
    for (const message of messages) message.state = { name: 'carried', flight }
    for (const lane of flight.lanes) lane.flights.add(flight)
    this.#flights.add(flight)
    if (!flight.leader.leads++) this.#lanesAtWork++
    const body = isBatch ? batchBody(messages, withLanes) : first.json
    const outcome = await this.#carrier
      .post(isBatch ? 'batch' : first.endpoint, body, flight.abort, {
        timeout: this.#settings.timeouts.send,
        needsReceipt: isBatch || gate.features.includes('receipts'),
        idempotencyKey: isBatch ? undefined : first.id,
        lane: withLanes && !isBatch ? first.lane.name : undefined,
        onStart: () => this.#depart(flight),
      })
      .catch((error: ConnectionError) => error)
    // Given up meanwhile, or posted again: nobody waits for the answer.
    if (flight.state === 'over') return
    this.#finish(flight)
    if (isBatch) this.#ends.batch(flight, outcome, withLanes)
    else this.#ends.one(first, flight, outcome)
    for (const message of messages) if (!message.isEnded) this.#desk.changed(message)
    this.pump()
  }

  #depart(flight: Flight) {
    // What was given up, or got too old, while the headers were waited for must not be carried.
    const isStale = flight.messages.some(
      (message) => message.isEnded || this.#isExpired(message) || waitsForStop(message, this.patience),
    )
    if (this.#gate !== flight.gate || isStale) this.land(flight)
    if (flight.state === 'over') return
    flight.state = 'underWay'
    for (const message of flight.messages) {
      message.attempts++
      this.patience.posted(message)
      message.triedAt ??= this.#settings.clock.now()
      message.expiresAt = message.deadline = Infinity
      this.#desk.starting(message)
      if (message.isStop && !flight.gate.features.includes('cancels')) this.#takeBack(message)
    }
    for (const lane of flight.lanes) this.lanes.ready(lane)
    this.pump()
  }

  /** This server does not know what a stop takes back: at least it is not posted again. */
  #takeBack(stop: Message) {
    for (const message of this.#desk.cancelledBy(stop))
      if (message.flight?.state !== 'underWay') this.#desk.giveUp(message, 'cancelled')
  }

  #finish(flight: Flight) {
    flight.state = 'over'
    this.#flights.delete(flight)
    if (!--flight.leader.leads) this.#lanesAtWork--
    for (const lane of flight.lanes) lane.flights.delete(flight)
    for (const message of flight.messages) if (message.flight === flight) message.state = { name: 'queued' }
    for (const lane of flight.lanes) {
      this.lanes.ready(lane)
      this.lanes.readyNamed(stoppedBy(lane.name))
      this.lanes.release(lane)
    }
  }

  /** Ends a POST; what it carried keeps its place. */
  land(flight: Flight) {
    if (flight.state === 'over') return
    const wasUnderWay = flight.state === 'underWay'
    this.#finish(flight)
    flight.abort.abort()
    for (const message of flight.messages) {
      if (message.isEnded) continue
      if (wasUnderWay) message.isInDoubt = true
      if (wasUnderWay && this.#gate && this.patience.dropped(message)) this.#desk.giveUp(message, 'exhausted')
      else this.#desk.changed(message)
    }
    this.pump()
  }
}
