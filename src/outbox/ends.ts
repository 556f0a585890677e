import { toHttpError } from '../adapters/httpError'
import { ConnectionError } from '../errors'
import { backoffDelay } from '../machine/backoff'
import type { Settings } from '../options'
import { meaningOf } from '../protocol/status'
import { resultsOf } from './batch'
import type { BatchSize } from './batchSize'
import type { Desk } from './desk'
import type { Evidence } from './streamTrust'
import type { Flight, Gate } from './flight'
import { type Ending, type Judgement, judge } from './judge'
import { type Lane, Wait } from './lane'
import type { Lanes } from './lanes'
import type { Message } from './message'
import type { Patience } from './givingUp'

export interface EndsParts {
  readonly settings: Settings
  readonly desk: Desk
  readonly lanes: Lanes
  readonly patience: Patience
  readonly evidence: Evidence
  readonly batchSize: BatchSize
  /** Whether it is that of the line as it is now. */
  readonly isCurrent: (gate: Gate) => boolean
}

type Line = Judgement & { ruling: 'line' }
type Repeat = Judgement & { ruling: 'repeat' }

/** What follows from the end of a POST. */
export class Ends {
  readonly #parts: EndsParts

  constructor(parts: EndsParts) {
    this.#parts = parts
  }

  one(message: Message, flight: Flight, outcome: unknown) {
    if (message.isEnded) return
    const { features } = flight.gate
    const judgement = judge({ outcome, features, isInDoubt: message.isInDoubt })
    if (judgement.ruling === 'settle') this.#settle(message, flight, judgement.ending)
    else if (judgement.ruling === 'line') this.#blameLine(message, flight, judgement)
    else this.#fail(message, flight, judgement)
  }

  #settle(message: Message, { gate, isBatch }: Flight, ending: Ending) {
    const { desk, lanes, patience, evidence, batchSize } = this.#parts
    evidence.heard()
    lanes.succeeded(message.lane)
    if (ending.status === 'accepted') {
      evidence.taken(message.endpoint, gate)
      patience.accepted(message)
      if (!isBatch) batchSize.grow()
    }
    desk.end(message, ending)
  }

  #blameLine(message: Message, { gate }: Flight, { fact, error }: Line) {
    const { desk, evidence, isCurrent } = this.#parts
    // It speaks of an old stream.
    if (!isCurrent(gate)) return
    message.lastError = error
    const missing = evidence.missing(message.endpoint, error)
    if (missing) desk.end(message, { status: message.isInDoubt ? 'unknown' : 'rejected', error: missing })
    else desk.tellMachine({ type: fact, error })
  }

  #fail(message: Message, { gate }: Flight, { error, counts, leavesDoubt, isOminous }: Repeat) {
    const { desk, evidence, isCurrent } = this.#parts
    if (leavesDoubt) message.isInDoubt ||= message.attempts > 0
    message.lastError = error
    this.#pause([message.lane], error, message)
    if (counts && message.attempts > 0 && this.#isGivenUp(message, gate)) desk.giveUp(message, 'exhausted')
    if (isCurrent(gate)) evidence.failed(error, isOminous)
    // Last: what a listener sends now stands behind it.
    desk.report(error)
  }

  #isGivenUp(message: Message, gate: Gate): boolean {
    const { patience, settings, isCurrent } = this.#parts
    if (!isCurrent(gate)) return patience.dropped(message)
    const { messages } = message.lane
    const isLast = ![...messages].some((other) => other !== message && !patience.isExhausted(other))
    return patience.failed(message, settings.clock.now(), isLast)
  }

  /** These lanes wait; or the whole line, if the server says so to lane after lane. */
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

  batch(flight: Flight, outcome: unknown, withLanes: boolean) {
    const { messages, gate } = flight
    const { evidence, batchSize, desk } = this.#parts
    if (outcome instanceof ConnectionError) {
      const judgement = judge({ outcome, features: gate.features, isInDoubt: false })
      if (judgement.ruling === 'line') return this.#blameLineForBatch(flight, judgement)
      if (judgement.ruling === 'repeat') return this.#failBatch(flight, judgement)
      return batchSize.refuse() && desk.report(outcome)
    }
    const told = resultsOf(messages, outcome, withLanes)
    for (const [message, { status, receipt, error, retryAfter }] of told) {
      // Only alone it can be repeated with fresh headers.
      if (meaningOf(status) === 'credentials') message.isAlone = true
      else
        this.one(message, flight, meaningOf(status) === 'accepted' ? receipt : toHttpError(status, error, retryAfter))
    }
    if (told.size) {
      evidence.taken('batch', gate)
      return batchSize.grow()
    }
    // It may have run them, and cannot say so.
    for (const message of messages) message.isInDoubt ||= message.attempts > 0
    if (batchSize.refuse()) desk.report(new ConnectionError('bad-response', 'batch: an answer without results'))
  }

  #blameLineForBatch({ gate }: Flight, { fact, error }: Line) {
    const { desk, evidence, batchSize, isCurrent } = this.#parts
    if (!isCurrent(gate)) return
    const missing = evidence.missing('batch', error)
    if (!missing) desk.tellMachine({ type: fact, error })
    else if (batchSize.refuse()) desk.report(missing)
  }

  /** As a whole: perhaps one of them spoils it. */
  #failBatch({ messages, lanes: carried, gate }: Flight, { error, counts, leavesDoubt, isOminous }: Repeat) {
    const { desk, lanes, evidence, batchSize, isCurrent } = this.#parts
    const { retryAfter, status, code } = error
    // A login page, a quota, or that it came too early, is about none of them.
    if (code !== 'redirected' && counts && meaningOf(status) !== 'quota') batchSize.halve(messages.length)
    for (const message of messages) {
      message.isInDoubt ||= leavesDoubt && message.attempts > 0
      message.lastError = error
    }
    const wait = this.#pause(carried, error)
    if (retryAfter !== undefined) lanes.waitAll(wait)
    if (isCurrent(gate)) evidence.failed(error, isOminous)
    desk.report(error)
  }
}
