import { toHttpError } from '../adapters/fetchUpstream'
import type { Carrier } from '../adapters/transport'
import { ConnectionError } from '../errors'
import { backoffDelay } from '../machine/backoff'
import type { UpstreamEvent } from '../machine/types'
import type { Settings } from '../options'
import type { OutboxState } from '../types'
import { batchBody, batchFrom, resultsOf } from './batch'
import { BatchSize } from './batchSize'
import { Endpoints } from './endpoints'
import { Flight, type Gate } from './flight'
import { type Ending, type Judgement, judge } from './judge'
import type { Lane } from './lane'
import { Lanes } from './lanes'
import type { Message } from './message'
import { Patience } from './patience'
import { nameCancelled } from './stop'
import { nextOf } from './turn'

/** What the queue is told of its messages, and where the verdicts go. */
export interface Desk {
  end(message: Message, ending: Ending): void
  giveUp(message: Message, code: 'expired' | 'exhausted' | 'cancelled'): void
  /** `fetch` is about to be called with it. */
  starting(message: Message): void
  /** The prompts that a stop takes back. */
  cancelledBy(stop: Message): readonly Message[]
  /** What is waited for may have changed. */
  waits(): void
  changed(message: Message): void
  report(error: ConnectionError): void
  tellMachine(fact: UpstreamEvent): void
  crash(cause: unknown): void
}

/** How long a POST that outlived its stream may hold up its lane once the line is open again, ms. */
const GRACE = 1_000
/** Failures in a row without a word from a server of ours, after which the line itself is in doubt. */
const OMINOUS = 2
/** [spec] HTTP/1.1 gives a page six connections per origin; the stream takes one. */
const LANES_AT_A_TIME = 3

/** Posts what is in the lanes while the gate is open. */
export class Poster {
  readonly lanes = new Lanes()
  readonly patience: Patience
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #desk: Desk
  readonly #batchSize = new BatchSize()
  readonly #endpoints = new Endpoints()
  readonly #flights = new Set<Flight>()
  #gate: Gate | null = null
  /** The stream of the last gate, and whether it has answered a POST. */
  #stream: { readonly id: string | null; isProven: boolean; ominous: number } = {
    id: null,
    isProven: false,
    ominous: 0,
  }
  /** What the machine was told of this gate. */
  #told: 'flow' | 'pause' = 'flow'
  #timer: unknown
  #grace: unknown
  /** In `quiet` nothing new leaves, e.g. while the queue is restored. */
  #mode: 'posting' | 'quiet' = 'posting'

  constructor(settings: Settings, carrier: Carrier, desk: Desk) {
    this.#settings = settings
    this.#carrier = carrier
    this.#desk = desk
    this.patience = new Patience(settings.outbox)
  }

  // The gate

  start(gate: Gate) {
    const { clock } = this.#settings
    this.#gate = gate
    this.#told = 'flow'
    const isFresh = this.#stream.id !== gate.connectionId
    if (isFresh) {
      this.#stream = { id: gate.connectionId, isProven: gate.isProven, ominous: 0 }
      this.#batchSize.renew()
      this.lanes.renew()
      // What let this one through again was a resume, or the answer to a probe.
    } else this.#prove()
    for (const lane of this.lanes.all()) this.lanes.ready(lane)
    if (gate.isProven) this.patience.answered()
    this.patience.opened(clock.now())
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

  stop() {
    const { clock } = this.#settings
    if (this.#gate) this.patience.closed(clock.now())
    this.#gate = null
    clock.clearTimeout(this.#timer)
    clock.clearTimeout(this.#grace)
  }

  /** Ends everything in flight. */
  abort() {
    for (const flight of this.#flights) this.land(flight)
  }

  // Turns

  /** Lets nothing leave while `work` is done, or until it has settled. */
  hush() {
    this.#mode = 'quiet'
  }

  speak() {
    this.#mode = 'posting'
    this.pump()
  }

  pump() {
    const gate = this.#gate
    if (gate && this.#mode === 'posting') this.#takeTurns(gate)
    this.#desk.waits()
  }

  #takeTurns(gate: Gate) {
    const { clock, outbox } = this.#settings
    clock.clearTimeout(this.#timer)
    const due = this.lanes.wake(clock.now())
    if (due !== undefined) this.#timer = clock.setTimeout(() => this.pump(), due)
    const order = this.#carrier.maxInFlight?.(gate.features) ?? 1
    const most = outbox.maxInFlight ?? Math.max(order, LANES_AT_A_TIME)
    while (this.#gate === gate && this.#busyLanes() < most) {
      const lane = this.lanes.take(clock.now())
      if (!lane) break
      this.#takeTurn(lane, gate, order)
    }
    if (this.#gate === gate) this.#announce(gate)
  }

  #announce(gate: Gate) {
    const now = this.state.state === 'pausing' ? 'pause' : 'flow'
    if (now !== this.#told) gate.tell(now)
    this.#told = now
  }

  #busyLanes() {
    return new Set([...this.#flights].flatMap(({ lanes }) => lanes)).size
  }

  #takeTurn(lane: Lane, gate: Gate, depth: number) {
    const message = nextOf(lane, depth, this.patience)
    if (!message) return
    if (this.#isSuspect(message, gate)) {
      // Once the probe is answered, every lane has its turn again.
      const error = new ConnectionError('unknown-stream', `404 from ${message.endpoint}: is it the stream?`)
      return this.#desk.tellMachine({ type: 'upstream.doubtful', error })
    }
    if (this.#isExpired(message)) this.#desk.giveUp(message, 'expired')
    else {
      const withLanes = gate.features.includes('lanes')
      const more = withLanes ? this.lanes.queued : []
      const messages = batchFrom(message, gate, { most: this.#batchSize.size, more, isExpired: this.#isExpired })
      this.#post(new Flight(gate, messages), withLanes).catch(this.#desk.crash)
    }
    this.lanes.ready(lane)
  }

  readonly #isExpired = ({ attempts, expiresAt, deadline, triedAt = 0 }: Message) => {
    const { clock } = this.#settings
    if (attempts > 0) return clock.now() - triedAt > (this.#gate?.receiptAge ?? Infinity)
    // The first to run out: the wall clock may have been set back, and most engines' other one stands still while the machine sleeps.
    return clock.now() >= expiresAt || (clock.elapsed?.() ?? 0) >= deadline
  }

  /** Its endpoint may be missing, and nothing proves yet that this stream is known to whoever answers. */
  #isSuspect({ endpoint }: Message, { features }: Gate) {
    return this.#endpoints.isSuspect(endpoint) && !this.#stream.isProven && features.includes('probe')
  }

  get state(): OutboxState {
    const retryAt = this.lanes.nextAt(this.#settings.clock.now())
    if (!this.#gate) return { state: 'held', retryAt }
    return { state: retryAt !== null && this.lanes.areAllWaiting ? 'pausing' : 'flowing', retryAt }
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
    if (isBatch) this.#concludeBatch(flight, outcome, withLanes)
    else this.#conclude(first, flight, outcome)
    for (const message of messages) if (!message.isEnded) this.#desk.changed(message)
    this.pump()
  }

  #depart(flight: Flight) {
    // What was given up, or got too old, while the headers were waited for must not be carried.
    const isStale = flight.messages.some((message) => message.isEnded || this.#isExpired(message))
    if (this.#gate !== flight.gate || isStale) this.land(flight)
    if (flight.state === 'over') return
    flight.state = 'underWay'
    for (const message of flight.messages) {
      message.attempts++
      this.patience.posted(message)
      message.triedAt ??= this.#settings.clock.now()
      this.#desk.starting(message)
      if (message.isStop && !flight.gate.features.includes('cancels')) this.#takeBack(message)
    }
    for (const lane of flight.lanes) this.lanes.ready(lane)
    this.pump()
  }

  /** This server does not know what a stop takes back: at least it is not posted again. */
  #takeBack(stop: Message) {
    for (const message of this.#desk.cancelledBy(stop)) if (!message.flight) this.#desk.giveUp(message, 'cancelled')
  }

  #finish(flight: Flight) {
    flight.state = 'over'
    this.#flights.delete(flight)
    for (const lane of flight.lanes) lane.flights.delete(flight)
    for (const message of flight.messages) if (message.flight === flight) message.state = { name: 'queued' }
    for (const lane of flight.lanes) {
      this.lanes.ready(lane)
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

  // Ends

  #isCurrent({ gate }: Flight) {
    return this.#gate?.connectionId === gate.connectionId
  }

  #conclude(message: Message, flight: Flight, outcome: unknown) {
    if (message.isEnded) return
    const { gate } = flight
    const judgement = judge({ outcome, features: gate.features, isInDoubt: message.isInDoubt })
    if (judgement.ruling === 'settle') return this.#settle(message, flight, judgement.ending)
    if (judgement.ruling === 'line') return this.#blameLine(message, flight, judgement)
    const { error, counts, leavesDoubt, isOminous } = judgement
    if (leavesDoubt) message.isInDoubt ||= message.attempts > 0
    message.lastError = error
    this.#pause(message.lane, error)
    if (counts && message.attempts > 0 && this.#countFailure(message, flight)) this.#desk.giveUp(message, 'exhausted')
    if (this.#isCurrent(flight)) this.#suspect(isOminous, error)
    // Last: what a listener sends now stands behind it.
    this.#desk.report(error)
  }

  #settle(message: Message, flight: Flight, ending: Ending) {
    this.#stream.ominous = 0
    this.lanes.succeeded(message.lane)
    if (ending.status !== 'accepted') return this.#desk.end(message, ending)
    this.#endpoints.taken(message.endpoint)
    if (!flight.isBatch) this.#batchSize.grow()
    if (this.#isCurrent(flight)) this.#prove()
    this.patience.accepted(message)
    this.#desk.end(message, ending)
  }

  #prove() {
    if (this.#gate?.isDoubted && !this.#stream.isProven) this.#desk.tellMachine({ type: 'upstream.proved' })
    this.#stream.isProven = true
  }

  #blameLine(
    message: Message,
    flight: Flight,
    { fact, error }: { fact: UpstreamEvent['type']; error: ConnectionError },
  ) {
    // It speaks of an old stream.
    if (!this.#isCurrent(flight)) return
    message.lastError = error
    if (!this.isMissing(message.endpoint, error)) return this.#desk.tellMachine({ type: fact, error })
    this.#desk.end(message, { status: message.isInDoubt ? 'unknown' : 'rejected', error: missing(message.endpoint) })
  }

  /** Whether a 404 is no word about the stream, but about an endpoint that the server does not have. */
  isMissing(endpoint: string, { status, cause }: ConnectionError): boolean {
    const { id, isProven } = this.#stream
    return status === 404 && cause !== 'unknown-stream' && this.#endpoints.disowned(endpoint, id, isProven)
  }

  retryAt({ lane, isEnded, flight }: Message): number | null {
    return isEnded || flight ? null : this.lanes.retryAt(lane, this.#settings.clock.now())
  }

  /** The lane waits; or the whole line, if the server says so to lane after lane. */
  #pause(lane: Lane, { retryAfter }: ConnectionError) {
    const { backoff, random, clock } = this.#settings
    const attempt = lane.failures++
    const delay = backoffDelay({ ...backoff, attempt, random, server: { retryAfter } })
    this.lanes.wait(lane, clock.now(), delay, retryAfter === undefined ? 'client' : 'server')
  }

  #countFailure(message: Message, flight: Flight): boolean {
    if (!this.#isCurrent(flight)) return this.patience.dropped(message)
    const isLast = ![...message.lane.messages].some((other) => other !== message && !this.patience.isExhausted(other))
    return this.patience.failed(message, this.#settings.clock.now(), isLast)
  }

  #suspect(isOminous: boolean, error: ConnectionError) {
    this.#stream.ominous = isOminous ? this.#stream.ominous + 1 : 0
    if (this.#stream.ominous < OMINOUS) return
    this.#stream.ominous = 0
    this.#desk.tellMachine({ type: 'upstream.doubtful', error })
  }

  #concludeBatch(flight: Flight, outcome: unknown, withLanes: boolean) {
    const { messages, gate } = flight
    if (outcome instanceof ConnectionError) {
      const judgement = judge({ outcome, features: gate.features, isInDoubt: false })
      if (judgement.ruling === 'line') return this.#blameLineForBatch(flight, judgement)
      if (judgement.ruling === 'repeat') return this.#failBatch(flight, judgement)
    }
    const told = resultsOf(messages, outcome, withLanes)
    for (const [message, { status, receipt, error, retryAfter }] of told) {
      // Only alone it can be repeated with fresh headers.
      if (status === 401) message.isAlone = true
      else if (status < 300) this.#conclude(message, flight, receipt)
      else this.#conclude(message, flight, toHttpError(status, error, retryAfter))
    }
    if (told.size) return this.#batchSize.grow()
    if (!this.#batchSize.refuse()) return
    this.#desk.report(
      outcome instanceof ConnectionError
        ? outcome
        : new ConnectionError('bad-response', 'batch: an answer without results'),
    )
  }

  #blameLineForBatch(flight: Flight, { fact, error }: { fact: UpstreamEvent['type']; error: ConnectionError }) {
    if (!this.#isCurrent(flight)) return
    if (!this.isMissing('batch', error)) return this.#desk.tellMachine({ type: fact, error })
    if (this.#batchSize.refuse()) this.#desk.report(missing('batch'))
  }

  /** As a whole: perhaps one of them spoils it. */
  #failBatch(flight: Flight, { error, leavesDoubt, isOminous }: Judgement & { ruling: 'repeat' }) {
    const { retryAfter, status, code } = error
    // A login page, or a quota, is about none of them.
    if (code !== 'redirected' && status !== 429) this.#batchSize.halve(flight.messages.length)
    for (const message of flight.messages) {
      message.isInDoubt ||= leavesDoubt && message.attempts > 0
      message.lastError = error
    }
    for (const lane of flight.lanes) this.#pause(lane, error)
    if (retryAfter !== undefined) this.lanes.waitAll(this.#settings.clock.now(), retryAfter)
    if (this.#isCurrent(flight)) this.#suspect(isOminous, error)
    this.#desk.report(error)
  }
}

const missing = (endpoint: string) =>
  new ConnectionError(
    'unknown-endpoint',
    `the server answers 404 for ${endpoint}, on stream after stream that it knows`,
    {
      status: 404,
    },
  )
