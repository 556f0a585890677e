import type { Carrier } from '../adapters/transport'
import type { OutboxState } from '../connection/messages'
import type { Settings } from '../connection/options'
import type { ConnectionError } from '../errors'
import { batchBody } from './batch'
import { BatchSize } from './batchSize'
import type { Desk } from './desk'
import { Ends } from './ends'
import { Flight, type Gate } from './flight'
import { GivingUp } from './givingUp'
import type { Lane } from './lane'
import { Lanes } from './lanes'
import type { Message } from './message'
import { nameCancelled } from './stop'
import { StreamTrust } from './streamTrust'
import { Turns } from './turns'
import { WaitTimer } from './waitTimer'

/**
 * How long a POST that outlived its stream may hold up its lane once the line is open again, ms.
 */
const GRACE = 1_000
/** [spec] HTTP/1.1 gives a page six connections per origin; the stream takes one. */
const LANES_AT_A_TIME = 3

/**
 * As the gate of the outbox is. In `suspended` the first message whose turn it is asks for a
 * resume, which leads to `held`.
 */
type GateState = { readonly name: 'held' } | { readonly name: 'open' | 'suspended'; readonly gate: Gate }

const HELD = { name: 'held' } as const

/** Posts the messages of the lanes while the gate is open. */
export class Poster {
  readonly lanes = new Lanes()
  readonly givingUp: GivingUp
  readonly trust: StreamTrust
  /** The same reference until it changes. */
  state: OutboxState = { state: 'held', retryAt: null }
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #desk: Desk
  readonly #batchSize = new BatchSize()
  readonly #turns: Turns
  readonly #ends: Ends
  readonly #flights = new Set<Flight>()
  readonly #timer: WaitTimer
  #gate: GateState = HELD
  #grace: unknown

  constructor(settings: Settings, carrier: Carrier, desk: Desk) {
    this.#settings = settings
    this.#carrier = carrier
    this.#desk = desk
    this.givingUp = new GivingUp(settings.outbox)
    this.trust = new StreamTrust(desk.tellMachine)
    this.#timer = new WaitTimer(settings.clock, this.lanes, () => this.pump())
    const { lanes, givingUp, trust } = this
    const batchSize = this.#batchSize
    this.#turns = new Turns(settings.clock, lanes, givingUp, batchSize)
    const isCurrent = ({ connectionId }: Gate) => this.#openGate?.connectionId === connectionId
    this.#ends = new Ends({ settings, desk, lanes, givingUp, trust, batchSize, isCurrent })
  }

  // The gate

  start(gate: Gate) {
    const { clock } = this.#settings
    this.#gate = { name: 'open', gate }
    this.givingUp.opened(clock.now())
    const isFresh = this.trust.begin(gate)
    // By its answer to a resume or a probe.
    if (this.trust.isProven) this.givingUp.answered()
    if (isFresh) this.#batchSize.renew()
    if (isFresh) this.lanes.renew()
    this.lanes.readyAll()
    const old = [...this.#flights].filter((flight) => flight.gate.connectionId !== gate.connectionId)
    for (const flight of old) if (flight.state === 'preparing') this.land(flight)
    // A POST of the last stream may still be answered. Where a repeat does no harm, it is not
    // waited for long.
    if (old.length && gate.features.includes('idempotency')) {
      this.#grace = clock.setTimeout(() => {
        for (const flight of old) this.land(flight)
      }, GRACE)
    }
    this.pump()
  }

  suspend(gate: Gate) {
    this.#gate = { name: 'suspended', gate }
    this.pump()
  }

  hold() {
    const { clock } = this.#settings
    if (this.#openGate) this.givingUp.closed(clock.now())
    this.#gate = HELD
    this.#timer.set()
    clock.clearTimeout(this.#grace)
    this.refresh()
  }

  get #openGate(): Gate | null {
    return this.#gate.name === 'open' ? this.#gate.gate : null
  }

  /** Ends everything in flight. */
  abort() {
    for (const flight of this.#flights) this.land(flight)
  }

  // Turns

  pump() {
    if (this.#gate.name !== 'held' && this.#desk.mayPost()) this.#takeTurns(this.#gate.gate)
    this.refresh()
  }

  #takeTurns(gate: Gate) {
    this.lanes.wake(this.#settings.clock.now())
    const depth = this.#carrier.maxInFlight?.(gate.features) ?? 1
    const most = this.#settings.outbox.maxInFlight ?? Math.max(depth, LANES_AT_A_TIME)
    const before = this.#gate
    while (this.#gate === before && this.lanes.atWork < most) {
      const lane = this.lanes.take()
      if (!lane) break
      this.#takeTurn(lane, gate, depth)
    }
    if (this.#gate === before) this.#timer.set(this.lanes.firstWait)
  }

  #takeTurn(lane: Lane, gate: Gate, depth: number) {
    const message = this.#turns.next(lane, depth)
    if (!message) return
    const reason = this.#turns.whyNot(message, gate)
    if (reason) this.#desk.giveUp(message, reason)
    else if (this.#gate.name === 'suspended') {
      this.#gate = HELD
      this.#desk.tellMachine({ type: 'upstream.wanted' })
    } else {
      const messages = this.#turns.together(message, gate)
      // `start` gives every lane its turn again, once the probe is answered.
      if (this.trust.asksForProbe(messages.length > 1 ? 'batch' : message.endpoint)) return
      this.#post(new Flight(gate, messages)).catch(this.#desk.crash)
    }
    this.lanes.ready(lane)
  }

  // Waits

  /** Tells `state`, if it has changed. */
  refresh() {
    const { retryAt: before, state: last } = this.state
    const retryAt = this.lanes.nextAt
    const isPausing = retryAt !== null && !this.#flights.size
    const gate = this.#openGate
    const state = gate ? (isPausing ? 'pausing' : 'flowing') : 'held'
    if (state === last && retryAt === before) return
    this.state = { state, retryAt }
    if (isPausing !== (last === 'pausing')) gate?.tell(isPausing ? 'pause' : 'flow')
    this.#desk.waits()
  }

  retryAt({ lane, isEnded, flight }: Message): number | null {
    return isEnded || flight ? null : this.lanes.retryAt(lane)
  }

  // Flights

  async #post(flight: Flight) {
    const { messages, gate, isBatch } = flight
    const [first] = messages as [Message]
    const withLanes = gate.features.includes('lanes')
    // Not in a repeat: under the same key it has to be the same message.
    if (first.isStop && first.attempts === 0) nameCancelled(first, this.#desk.cancelledBy(first))
    for (const message of messages) message.state = { name: 'carried', flight }
    this.#flights.add(flight)
    this.lanes.begin(flight)
    const body = isBatch ? batchBody(messages, withLanes) : first.json
    const outcome = await this.#carrier
      .post(isBatch ? 'batch' : first.endpoint, body, flight.abort, {
        timeout: this.#settings.timeouts.send,
        receipt: isBatch || gate.features.includes('receipts') ? 'required' : 'none',
        idempotencyKey: isBatch ? undefined : first.id,
        lane: withLanes && !isBatch ? first.lane.name : undefined,
        onStart: () => this.#depart(flight),
      })
      .catch((error: ConnectionError) => error)
    // All of it was given up meanwhile, or is posted again: the answer changes nothing.
    if (flight.state === 'over') return
    this.#finish(flight)
    if (isBatch) this.#ends.batch(flight, outcome)
    else this.#ends.one(first, flight, outcome)
    for (const message of messages) this.#desk.changed(message)
    this.pump()
  }

  #depart(flight: Flight) {
    const turns = this.#turns
    // While the headers were waited for the gate may have closed, or the turn of a message may have
    // passed.
    const isStale = flight.messages.some(
      (message) => message.isEnded || turns.isExpired(message, flight.gate) || turns.waitsForStop(message),
    )
    if (this.#openGate !== flight.gate || isStale) this.land(flight)
    if (flight.state === 'over') return
    flight.state = 'underWay'
    for (const message of flight.messages) {
      message.attempts++
      this.givingUp.posted(message)
      message.triedAt ??= this.#settings.clock.now()
      message.expiresAt = message.deadline = Infinity
      this.#desk.starting(message)
      if (!message.isStop || flight.gate.features.includes('cancels')) continue
      // This server is not told what the stop takes back: at least the client does not post it
      // again.
      for (const other of this.#desk.cancelledBy(message))
        if (other.flight?.state !== 'underWay') this.#desk.giveUp(other, 'cancelled')
    }
    for (const lane of flight.lanes) this.lanes.ready(lane)
    this.pump()
  }

  #finish(flight: Flight) {
    flight.state = 'over'
    this.#flights.delete(flight)
    for (const message of flight.messages) if (message.flight === flight) message.state = { name: 'queued' }
    this.lanes.end(flight)
  }

  /** Ends a POST before its answer; its messages keep their places. */
  land(flight: Flight) {
    if (flight.state === 'over') return
    const wasUnderWay = flight.state === 'underWay'
    this.#finish(flight)
    flight.abort.abort()
    for (const message of flight.messages) {
      if (wasUnderWay) message.isInDoubt = true
      if (wasUnderWay && this.#openGate && this.givingUp.dropped(message)) this.#desk.giveUp(message, 'exhausted')
      else this.#desk.changed(message)
    }
    this.pump()
  }
}
