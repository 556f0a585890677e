import type { BaseEvent } from '@ag-ui/client'
import type { Connection } from '../connection/api'
import type { Delivery, Verdict } from '../connection/messages'
import { isText, type JsonObject } from '../protocol'
import { errorEvent, interrupted, Run } from './run'
import { type AgentCommand, type AgentReceipt, isEvent, parseReceipt, RESUME } from './wire'

/** The part of a connection that threads need. */
export type Line = Pick<Connection, 'send' | 'on' | 'watch' | 'unwatch' | 'cursor' | 'pending'>

/** A run that no reader of this page reads. */
export interface RunNews {
  readonly threadId: string
  readonly run: string
}

export type RunListener = (news: RunNews) => void

/** Who reads one run. */
export interface Reader {
  /** The id of the message that asks for the run; without one, it is told which. */
  readonly key?: string
  /** From here on it is told the events of this run. */
  begin?(run: Run): void
  take(event: BaseEvent): void
  /** The run is over, or goes no further here; without an event, it is an AbortError, or null if there is no run. */
  end(error: unknown): void
}

interface Reading {
  readonly reader: Reader
  /** The name of the run, where that is all that is known of it. */
  expected?: string | undefined
  place?: { readonly run: Run; at: number }
  /** It was given an event. */
  isTold?: true
}

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
  /** Runs that this page turned away from, and the ids of the messages that asked for some. They are not news. */
  readonly #left = new Set<string>()
  /** The latest one that was seen from its begin. */
  #run: Run | undefined
  /** Those that were told as news. After an outage one may have ended before anybody could read it. */
  #unread: Run[] = []
  /** One that has begun, as the server says; its begin is still to come. */
  #coming: string | undefined
  /** What happened before the server said so is over: a run that waited then does not, unless it is the last thing that happened. */
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
    delivery.settled.then((verdict) => this.#readings.has(reader) && this.#judge(reading, verdict))
  }

  /** Reads the oldest run that is news, else the one that is under way or waits, from its begin; else it ends at once. */
  async resume(reader: Reader) {
    const reading = this.#open(reader)
    try {
      await this.#catchUp()
    } catch (error) {
      return this.#close(reading, error)
    }
    if (!this.#readings.has(reader)) return
    const run = this.#unread.shift() ?? (this.#coming ? undefined : this.current)
    reading.expected = run?.id ?? this.#coming
    if (!reading.expected) return this.#close(reading, null)
    this.#left.delete(reading.expected)
    if (run) this.#read(reading, run, 0)
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

  /** This page turns away: readers end, and their runs are no news any more. */
  leave(readers: Iterable<Reader>) {
    for (const reader of [...readers]) {
      const reading = this.#readings.get(reader)
      if (!reading) continue
      this.#turnFrom(reading)
      this.#readings.delete(reader)
      this.#rest()
    }
  }

  /** The runs go no further here: each reader is told as if it had ended now. */
  stop() {
    for (const reading of [...this.#readings.values()]) {
      this.#turnFrom(reading)
      for (const event of reading.place?.run.cancelled() ?? []) this.#tell(reading, event)
      this.#close(reading)
    }
  }

  fail(error: unknown) {
    for (const reading of [...this.#readings.values()]) this.#close(reading, error)
  }

  /** Events are missing from now on, or were lost. */
  lose() {
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#coming = undefined
    this.#replay = undefined
    this.#run?.end('interrupted')
    for (const reading of [...this.#readings.values()]) {
      if (reading.place) this.#pump(reading)
      else if (!reading.reader.key) this.#refuse(reading, interrupted())
    }
    if (this.#followers.size) this.#catchUp().catch(() => {})
  }

  #open(reader: Reader): Reading {
    const reading: Reading = { reader }
    this.#readings.set(reader, reading)
    return reading
  }

  #tell(reading: Reading, event: BaseEvent) {
    reading.isTold = true
    reading.reader.take(event)
  }

  #close({ reader, isTold }: Reading, error: unknown = isTold ? undefined : aborted()) {
    if (!this.#readings.delete(reader)) return
    reader.end(error)
    this.#rest()
  }

  /** It ends without a run. */
  #refuse(reading: Reading, event: BaseEvent) {
    this.#tell(reading, event)
    this.#close(reading)
  }

  #turnFrom({ reader, place, expected }: Reading) {
    const id = place?.run.id ?? expected ?? reader.key
    if (id) this.#left.add(id)
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
      if (code === 'cancelled') return this.#close(reading)
      return this.#refuse(reading, errorEvent(status === undefined ? code : `http-${status}`, message))
    }
    const receipt = parseReceipt(verdict.receipt)
    if (!receipt?.run) {
      const why = 'the receipt of the message names no run: is `aguiRuns` its onCommand?'
      return this.#refuse(reading, errorEvent('bad-response', why))
    }
    reading.expected = receipt.run
    if (this.#run?.id !== receipt.run) {
      if (receipt.state === 'ended') this.#refuse(reading, interrupted())
    } else if (this.#run.state === 'ended' && !reading.place) this.#refuse(reading, interrupted())
    if (this.#readings.has(reading.reader)) this.#watch(receipt)
  }

  /** Every event of the session is heard from now on, and the run that is under way from its begin. */
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
    for (const reading of [...this.#readings.values()]) this.#pump(reading)
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
      if (!reading.reader.key && reading.expected === id && this.#run) this.#read(reading, this.#run, 0)
    }
  }

  #finish(id: string, reason: unknown) {
    // One that was never seen to begin: it was queued, or this page came too late.
    const run = this.#run?.id === id ? this.#run : new Run(id)
    run.end(reason)
    for (const reading of [...this.#readings.values()]) {
      if (reading.expected === id && !reading.place) {
        if (run.events.length) this.#read(reading, run, 0)
        else this.#close(reading, aborted())
      }
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
        if (isText(key) && reading.reader.key === key) this.#read(reading, run, run.events.length)
      }
      this.#announce(run)
    }
  }

  #read(reading: Reading, run: Run, at: number) {
    if (reading.place) return
    reading.place = { run, at }
    reading.reader.begin?.(run)
    this.#pump(reading)
  }

  #pump(reading: Reading) {
    const { reader, place } = reading
    if (!place) return
    const { run } = place
    while (place.at < run.told && this.#readings.has(reader)) {
      const event = run.events[place.at++]
      if (event) this.#tell(reading, event)
    }
    if (run.state !== 'running') this.#close(reading)
  }

  #announce(run: Run) {
    const isRead = [...this.#readings.values()].some(({ place }) => place?.run === run)
    if (isRead || this.#followers.size === 0 || this.#left.has(run.id) || this.#unread.includes(run)) return
    this.#unread.push(run)
    for (const listener of this.#followers) listener({ threadId: this.#parts.threadId, run: run.id })
  }
}

/** An agent takes it as its own doing, and shows no error. */
export const aborted = () => new DOMException('the run was stopped', 'AbortError')
