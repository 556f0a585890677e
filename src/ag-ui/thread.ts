import type { Connection } from '../connection/api'
import type { Delivery, Verdict } from '../connection/messages'
import { isText, type JsonObject } from '../protocol'
import { type Reader, Reading } from './reading'
import { errorEvent, interrupted, Run, type RunListener } from './run'
import { type AgentCommand, type AgentReceipt, isEvent, parseReceipt, RESUME } from './wire'

/** The part of a connection that threads need. */
export type Line = Pick<Connection, 'send' | 'on' | 'watch' | 'unwatch' | 'cursor' | 'pending'>

interface ThreadParts {
  readonly line: Line
  readonly threadId: string
  readonly sessionId: string
  /** It has no users left. */
  readonly onIdle: () => void
}

/** One thread, as long as somebody reads or follows it: its current run, and who reads that. */
export class Thread {
  readonly #parts: ThreadParts
  readonly #off: () => void
  readonly #readings = new Map<Reader, Reading>()
  readonly #followers = new Set<RunListener>()
  /**
   * Runs that this page turned away from, and the ids of the messages that asked for some. They are
   * not news.
   */
  readonly #left = new Set<string>()
  /** The latest one that was seen from its begin. */
  #run: Run | undefined
  /**
   * Those that were told as news. After an outage one may have ended before anybody could read it.
   */
  #unread: Run[] = []
  /** One that has begun, as the server says; its begin is still to come. */
  #coming: string | undefined
  /**
   * What happened before the server said so is over: a run that waited then does not, unless it is
   * the last thing that happened.
   */
  #replay: AgentReceipt | undefined
  /** Takes back the watch since which every event of the session is heard. */
  #unwatch: (() => void) | undefined
  #asking: Promise<void> | undefined

  constructor(parts: ThreadParts) {
    this.#parts = parts
    this.#off = parts.line.on('message', { session: parts.sessionId }, (event) => this.#hear(event))
  }

  /** The run that is under way, or waits for an answer. */
  get current(): Run | undefined {
    return this.#run?.state === 'ended' ? undefined : this.#run
  }

  /** Reads the answer to a message that was sent; its id is the reader's key. */
  answer(reader: Reader, delivery: Delivery<AgentCommand>) {
    const reading = this.#open(reader)
    delivery.settled.then((verdict) => reading.isOver || this.#judge(reading, verdict))
  }

  /**
   * Reads the oldest run that is news, else the one that is under way or waits, from its begin;
   * else it ends at once.
   */
  async resume(reader: Reader) {
    const reading = this.#open(reader)
    try {
      await this.#catchUp()
    } catch (error) {
      return reading.end(error)
    }
    if (reading.isOver) return
    const run = this.#unread.shift() ?? (this.#coming ? undefined : this.current)
    reading.expected = run?.id ?? this.#coming
    if (!reading.expected) return reading.end(null)
    this.#left.delete(reading.expected)
    if (run) reading.read(run, 0)
  }

  follow(listener: RunListener): () => void {
    this.#followers.add(listener)
    if (this.#unwatch && this.current) this.#announce(this.current)
    // A refusal is told by the connection's `delivery`.
    else this.#catchUp().catch(() => {})
    return () => {
      if (this.#followers.delete(listener)) this.#rest()
    }
  }

  /** This page turns away: the run is no news any more. */
  leave(reader: Reader) {
    this.#turnFrom(this.#readings.get(reader))?.leave()
  }

  /** The runs go no further here. */
  stop() {
    for (const reading of [...this.#readings.values()]) this.#turnFrom(reading)?.cancel()
  }

  fail(error: unknown) {
    for (const reading of [...this.#readings.values()]) reading.end(error)
  }

  /** Events are missing from now on, or were lost. */
  lose() {
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#coming = undefined
    this.#replay = undefined
    this.#run?.end('interrupted')
    for (const reading of [...this.#readings.values()]) {
      if (reading.run) reading.pump()
      else if (reading.expected || !reading.reader.key) reading.refuse(interrupted())
    }
    if (this.#followers.size) this.#catchUp().catch(() => {})
  }

  #open(reader: Reader): Reading {
    const reading = new Reading(reader, () => {
      this.#readings.delete(reader)
      this.#rest()
    })
    this.#readings.set(reader, reading)
    return reading
  }

  #turnFrom(reading: Reading | undefined): Reading | undefined {
    if (reading?.name) this.#left.add(reading.name)
    return reading
  }

  #rest() {
    if (this.#readings.size || this.#followers.size) return
    this.#off()
    this.#unwatch?.()
    this.#parts.onIdle()
  }

  #judge(reading: Reading, verdict: Verdict) {
    if (verdict.status !== 'accepted') {
      const { code, message, status } = verdict.error
      if (code === 'cancelled') return reading.end()
      return reading.refuse(errorEvent(status === undefined ? code : `http-${status}`, message))
    }
    const receipt = parseReceipt(verdict.receipt)
    if (!receipt?.run) {
      const why = 'the receipt of the message names no run: is `aguiRuns` its onCommand?'
      return reading.refuse(errorEvent('bad-response', why))
    }
    reading.expected = receipt.run
    const isOver = this.#run?.id === receipt.run ? this.#run.state === 'ended' : receipt.state === 'ended'
    // It is a repeat, and nothing of that run comes any more.
    if (isOver && !reading.run) reading.refuse(interrupted())
    else this.#watch(receipt)
  }

  /**
   * Every event of the session is heard from now on, and the run that is under way from its begin.
   */
  async #catchUp(): Promise<void> {
    if (this.#unwatch) return
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    await this.#asking
  }

  async #ask() {
    const { line, sessionId } = this.#parts
    // Those of a page that is gone, restored from the storage.
    for (const delivery of line.pending) {
      const { type, sessionId: session, trigger }: JsonObject = delivery.message
      if (type === 'send' && session === sessionId && trigger === RESUME) delivery.cancel()
    }
    const verdict = await line.send({ type: 'send', sessionId, trigger: RESUME }).settled
    if (verdict.status !== 'accepted') {
      // A stop takes back what has not been posted yet: then there is nothing to follow.
      if (verdict.error.code === 'cancelled') return
      throw verdict.error
    }
    const receipt = parseReceipt(verdict.receipt)
    if (!receipt) return
    if (receipt.run && this.#run?.id !== receipt.run) {
      this.#coming = receipt.run
      this.#replay = receipt
    }
    this.#watch(receipt)
  }

  #watch({ run, after, epoch }: AgentReceipt) {
    const { line, sessionId } = this.#parts
    const cursor = line.cursor(sessionId)
    // The session came to be followed in the middle of the run.
    if (run && this.#run?.id !== run && cursor && cursor.lastSeq > after) {
      line.unwatch(sessionId)
      this.#unwatch = undefined
    }
    this.#unwatch ??= line.watch(sessionId, { after: { sessionId, lastSeq: after, ...(epoch && { epoch }) } })
  }

  #hear(message: JsonObject) {
    const { type, run: id } = message
    if (type === 'agui') this.#hearEvent(message)
    else if (type === 'run.started' && isText(id)) this.#begin(id)
    else if (type === 'run.ended' && isText(id)) this.#finish(id, message.reason)
    else if (this.#run?.id === id && this.#run) {
      if (type === 'run.suspended' && !this.#replay) this.#run.state = 'suspended'
      if (type === 'run.resumed') this.#run.state = 'running'
    }
    if (this.#replay && Number(message.seq) >= this.#replay.head) {
      if (this.current && this.#replay.state === 'suspended') this.current.state = 'suspended'
      this.#replay = undefined
    }
    for (const reading of [...this.#readings.values()]) reading.pump()
  }

  #begin(id: string) {
    this.#coming = undefined
    // Who reads it has read that many events.
    if (this.current?.id === id) this.current.restart()
    else {
      this.#run?.end('interrupted')
      this.#run = new Run(id)
    }
    for (const reading of [...this.#readings.values()]) {
      if (!reading.reader.key && reading.expected === id && this.#run) reading.read(this.#run, 0)
    }
  }

  #finish(id: string, reason: unknown) {
    // One that was never seen to begin: it was queued, or this page came too late.
    const run = this.#run?.id === id ? this.#run : new Run(id)
    run.end(reason)
    for (const reading of [...this.#readings.values()]) {
      if (reading.expected === id) reading.read(run, 0)
    }
    if (this.#coming === id) this.#coming = undefined
  }

  #hearEvent({ event, for: key, last, state }: JsonObject) {
    const run = this.#run
    if (!run) return
    if (isEvent(event)) run.push(event)
    else {
      run.ask({ last, state })
      if (isText(key) && this.#left.has(key)) this.#left.add(run.id)
      for (const reading of this.#readings.values()) {
        if (isText(key) && reading.reader.key === key) reading.read(run, run.events.length)
      }
      this.#announce(run)
    }
  }

  #announce(run: Run) {
    const isRead = [...this.#readings.values()].some((reading) => reading.run === run)
    if (isRead || this.#followers.size === 0 || this.#left.has(run.id) || this.#unread.includes(run)) return
    this.#unread.push(run)
    for (const listener of this.#followers) listener({ threadId: this.#parts.threadId, run: run.id })
  }
}
