import { toHttpError } from '../adapters/httpError'
import type { Settings } from '../connection/options'
import { ConnectionError, type SendError } from '../errors'
import { backoffDelay } from '../machine/backoff'
import { meaningOf } from '../protocol/status'
import { resultsOf } from './batch'
import type { BatchSize } from './batchSize'
import type { Desk } from './desk'
import type { Flight, Gate } from './flight'
import type { GivingUp } from './givingUp'
import { type Ending, type Judgement, judge, mayBeApplied } from './judge'
import { type Lane, Wait } from './lane'
import type { Lanes } from './lanes'
import type { Message } from './message'
import type { StreamTrust } from './streamTrust'

export interface EndsParts {
  readonly settings: Settings
  readonly desk: Desk
  readonly lanes: Lanes
  readonly givingUp: GivingUp
  readonly trust: StreamTrust
  readonly batchSize: BatchSize
  /** Whether the gate is that of the stream as it is now, and open. */
  readonly isCurrent: (gate: Gate) => boolean
}

type AboutLine = Judgement & { ruling: 'line' }
type Repeat = Judgement & { ruling: 'repeat' }

/** Carries out what `judge` says of a POST: verdicts, waits and doubts. */
export class Ends {
  readonly #parts: EndsParts

  constructor(parts: EndsParts) {
    this.#parts = parts
  }

  /** `outcome` is that of a message alone, or its result in a batch. */
  one(message: Message, flight: Flight, outcome: unknown) {
    if (message.isEnded) return
    const { gate } = flight
    const { desk, isCurrent } = this.#parts
    const judgement = judge({ outcome, features: gate.features, isInDoubt: message.isInDoubt })
    if (judgement.ruling === 'settle') return this.#settle(message, flight, judgement.ending)
    const { error } = judgement
    if (judgement.ruling === 'line') {
      if (isCurrent(gate)) message.lastError = error
      return this.#blameLine(gate, message.endpoint, judgement, (error) =>
        desk.end(message, { status: message.isInDoubt ? 'unknown' : 'rejected', error }),
      )
    }
    const { kind } = judgement
    this.#doubt([message], judgement)
    this.#pause([message.lane], error, message)
    if (kind !== 'early' && message.attempts > 0 && this.#isGivenUp(message, gate)) desk.giveUp(message, 'exhausted')
    this.#tell(gate, judgement)
  }

  batch(flight: Flight, outcome: unknown) {
    const { messages, gate, lanes: carried } = flight
    const { features } = gate
    const { trust, batchSize, desk, lanes } = this.#parts
    const refuse = (error: ConnectionError) => batchSize.refuse() && desk.report(error)
    if (outcome instanceof ConnectionError) {
      const judgement = judge({ outcome, features, isInDoubt: false })
      if (judgement.ruling === 'settle') return refuse(outcome)
      if (judgement.ruling === 'line') return this.#blameLine(gate, 'batch', judgement, refuse)
      const { error } = judgement
      batchSize.failed(messages.length, error)
      this.#doubt(messages, judgement)
      const wait = this.#pause(carried, error)
      if (error.retryAfter !== undefined) lanes.waitAll(wait)
      return this.#tell(gate, judgement)
    }
    const told = resultsOf(messages, outcome, features.includes('lanes'))
    for (const [message, { status, receipt, error, retryAfter }] of told) {
      // Alone it is repeated with fresh headers.
      if (meaningOf(status) === 'credentials') message.isAlone = true
      else
        this.one(message, flight, meaningOf(status) === 'accepted' ? receipt : toHttpError(status, error, retryAfter))
    }
    if (told.size) {
      trust.taken('batch', gate)
      return batchSize.grow()
    }
    // The server may have run them.
    for (const message of messages) message.isInDoubt = true
    refuse(new ConnectionError('bad-response', 'batch: an answer without results'))
  }

  #settle(message: Message, { gate, isBatch }: Flight, ending: Ending) {
    const { desk, lanes, givingUp, trust, batchSize } = this.#parts
    trust.heard()
    lanes.succeeded(message.lane)
    if (ending.status === 'accepted') {
      givingUp.accepted()
      // Of a batch it is the endpoint `batch` that has answered: a route for the message's own may
      // be missing all the same.
      if (!isBatch) {
        trust.taken(message.endpoint, gate)
        batchSize.grow()
      }
    }
    desk.end(message, ending)
  }

  /**
   * A 401 or a 404 is told to the machine, unless the endpoint is missing. To a POST of an old
   * stream it says nothing about this one.
   */
  #blameLine(gate: Gate, endpoint: string, { fact, error }: AboutLine, settle: (missing: SendError) => void) {
    const { desk, trust, isCurrent } = this.#parts
    if (!isCurrent(gate)) return
    const missing = trust.missing(endpoint, error)
    if (missing) settle(missing)
    else desk.tellMachine({ type: fact, error })
  }

  #doubt(messages: readonly Message[], { error, kind }: Repeat) {
    for (const message of messages) {
      message.isInDoubt ||= mayBeApplied(kind) && message.attempts > 0
      message.lastError = error
    }
  }

  /** Last: a listener may send, and its message stands behind those that failed. */
  #tell(gate: Gate, { error, kind }: Repeat) {
    const { desk, trust, isCurrent } = this.#parts
    if (isCurrent(gate)) trust.failed(error, kind === 'unanswered')
    desk.report(error)
  }

  #isGivenUp(message: Message, gate: Gate): boolean {
    const { givingUp, settings, isCurrent } = this.#parts
    if (!isCurrent(gate)) return givingUp.dropped(message)
    const { messages } = message.lane
    const isLast = ![...messages].some((other) => other !== message && !givingUp.isExhausted(other))
    return givingUp.failed(message, settings.clock.now(), isLast)
  }

  /** Lets these lanes wait. */
  #pause(paused: Iterable<Lane>, { retryAfter }: ConnectionError, cause?: Message): Wait {
    const { settings, lanes } = this.#parts
    const { backoff, random, clock } = settings
    let attempt = 0
    for (const lane of paused) attempt = Math.max(attempt, lane.failures++)
    const delay = backoffDelay({ ...backoff, attempt, random, server: { retryAfter } })
    const wait = new Wait(retryAfter === undefined ? 'client' : 'server', clock.now(), delay)
    for (const lane of paused) lanes.wait(lane, wait, cause)
    return wait
  }
}
