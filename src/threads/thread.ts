import type { SessionNews } from '../connection/api'
import type { Delivery, Verdict } from '../connection/messages'
import { ConnectionError } from '../errors'
import { isText, type JsonObject } from '../protocol'
import { Feed } from './feed'
import { type Line, receiptOf } from './line'
import { News } from './news'
import type { Reader } from './reader'
import { errorOf, type Kind, type Run, type RunListener } from './run'

export interface ThreadParts<R extends Run> extends Kind<R> {
  readonly line: Line
  /** The app's name for it. */
  readonly id: string
  readonly sessionId: string
  /** Hear of the runs of all threads. */
  readonly listeners: ReadonlySet<RunListener<R>>
  /** Runs that broke, as this page knows by now. */
  readonly broken: Set<string>
  /** It has no users left. */
  readonly onIdle: () => void
}

/** One thread, as long as somebody reads or follows it: its current run, and who reads that. */
export class Thread<R extends Run> {
  readonly #parts: ThreadParts<R>
  readonly #feed: Feed
  readonly #off: () => void
  readonly #readers = new Set<Reader<R>>()
  readonly #followers = new Set<RunListener<R>>()
  /**
   * Runs that the page turned away from, and the ids of the messages that asked for some. They are
   * not news.
   */
  readonly #left = new Set<string>()
  readonly #news = new News<R>()
  /** The latest one that was seen from its begin. */
  #run: R | undefined

  constructor(parts: ThreadParts<R>) {
    const { line, sessionId } = parts
    this.#parts = parts
    this.#feed = new Feed(line, sessionId, this)
    this.#off = line.on('message', { session: sessionId }, (event) => this.#hear(event))
  }

  /** The run that is under way, or waits for an answer. */
  get current(): R | undefined {
    return this.#run?.state === 'ended' ? undefined : this.#run
  }

  /** The latest run that was seen from its begin. */
  get known(): string | undefined {
    return this.#run?.id
  }

  /** Reads the answer to a message that was sent; its id is the reader's key. */
  answer(reader: Reader<R>, delivery: Pick<Delivery, 'settled'>) {
    this.#open(reader)
    delivery.settled.then((verdict) => reader.state === 'over' || this.#judge(reader, verdict))
  }

  /**
   * Reads the oldest run that is news, else the one that broke, else the one that is under way or
   * waits, from its begin; else the reader ends at once.
   *
   * @param news reads that one, unless it is read already
   */
  async resume(reader: Reader<R>, news?: R) {
    this.#open(reader)
    try {
      await this.#feed.catchUp()
    } catch (error) {
      return reader.end(error as Error)
    }
    if (reader.state === 'over') return
    const coming = news ? undefined : this.#feed.coming
    const run = this.#news.choose(news) ?? (coming || news ? undefined : this.current)
    if (run) this.#news.take(run)
    reader.expected = run?.id ?? coming
    if (!reader.expected) return reader.end(null)
    this.#left.delete(reader.expected)
    if (run) reader.read(run, 0)
    else reader.wake()
  }

  follow(listener: RunListener<R>): () => void {
    this.#followers.add(listener)
    if (this.#feed.isWhole && this.current) this.#announce(this.current)
    // A refusal is told by the connection's `delivery`.
    else this.#feed.catchUp().catch(() => {})
    return () => {
      if (this.#followers.delete(listener)) this.#rest()
    }
  }

  /** The page turns away: the run is no news any more. */
  leave(reader: Reader<R>, error?: Error) {
    if (reader.state === 'over') return
    this.#turnFrom(reader)
    reader.end(error)
  }

  /** The runs go no further here. */
  stop() {
    this.#each((reader) => {
      this.#turnFrom(reader)
      reader.stop()
    })
  }

  fail(error: Error) {
    this.#each((reader) => reader.end(error))
  }

  /** Those who follow are not left without an answer. */
  ask() {
    if (this.#followers.size && this.#feed.isLost) this.#feed.catchUp().catch(() => {})
  }

  /** Events are missing from now on, or were lost. */
  lose(why: SessionNews['status']) {
    this.#feed.lose(why)
    if (this.current) this.#end(this.current, 'interrupted')
    this.#each((reader) => {
      if (reader.run) reader.wake()
      else if (reader.expected || !reader.key) reader.refuse(errorOf('interrupted'))
    })
    this.ask()
  }

  /**
   * It is told once, without what it published: the app may have stored that, or something better.
   */
  breakOff(id: string, reason: unknown) {
    if (this.#parts.broken.has(id)) return
    const run = new this.#parts.Run(id)
    this.#end(run, reason)
    this.#news.breakOff(run, this.#followers.size)
    // A reader that has asked for a run takes it.
    if (![...this.#readers].some(({ name }) => !name)) this.#tell(run)
  }

  #each(act: (reader: Reader<R>) => unknown) {
    for (const reader of [...this.#readers]) act(reader)
  }

  #turnFrom({ name }: Reader<R>) {
    if (name) this.#left.add(name)
  }

  #open(reader: Reader<R>) {
    this.#readers.add(reader)
    reader.release = () => {
      if (this.#readers.delete(reader)) this.#rest()
    }
  }

  #rest() {
    if (this.#readers.size || this.#followers.size) return
    this.#off()
    this.#feed.close()
    this.#parts.onIdle()
  }

  #judge(reader: Reader<R>, verdict: Verdict) {
    if (verdict.status !== 'accepted') {
      const { error } = verdict
      return error.code === 'cancelled' ? reader.stop() : reader.refuse(error)
    }
    const receipt = receiptOf(verdict.receipt)
    if (!receipt?.run) {
      const why = 'the receipt names no run: is the onCommand of the server uiMessageRuns or aguiRuns?'
      return reader.refuse(new ConnectionError('bad-response', why))
    }
    reader.expected = receipt.run
    const known = reader.run ?? this.#find(receipt.run)
    if (known?.state === 'ended') reader.read(known, known.tail)
    // It is a repeat, and nothing of that run comes any more.
    else if (!known && receipt.state === 'ended') reader.refuse(errorOf('interrupted'))
    else this.#feed.follow(receipt)
  }

  #find(id: unknown): R | undefined {
    return this.#run?.id === id ? this.#run : undefined
  }

  #hear(event: JsonObject) {
    const { type, run: id, seq } = event
    const { replay } = this.#feed
    const known = this.#find(id)
    if (type === this.#parts.type) this.#hearItem(event)
    else if (type === 'run.started' && isText(id)) this.#begin(id)
    else if (type === 'run.ended' && isText(id)) this.#finish(id, event.reason)
    else if (known && type === 'run.suspended' && !replay) known.state = 'suspended'
    else if (known && type === 'run.resumed') known.state = 'running'
    this.#feed.heard(seq)
    if (replay?.state === 'suspended' && !this.#feed.replay && this.current) this.current.state = 'suspended'
    this.#each((reader) => reader.wake())
  }

  #begin(id: string) {
    this.#news.forgetBroken()
    if (this.current?.id === id) this.current.restart()
    else {
      this.#run?.end('interrupted')
      this.#run = new this.#parts.Run(id)
    }
    this.#each((reader) => !reader.key && reader.expected === id && reader.read(this.#run as R, 0))
  }

  #finish(id: string, reason: unknown) {
    // One that was never seen to begin: it was queued, or this page came too late.
    const run = this.#find(id) ?? new this.#parts.Run(id)
    this.#end(run, reason)
    this.#each((reader) => reader.expected === id && reader.read(run, run.tail))
  }

  #end(run: R, reason: unknown) {
    run.end(reason)
    if (run.error) this.#parts.broken.add(run.id)
  }

  #hearItem(event: JsonObject) {
    const { for: key } = event
    const run = this.#run
    if (!run || run.hear(event)) return
    if (isText(key)) {
      if (this.#left.has(key)) this.#left.add(run.id)
      this.#each((reader) => reader.key === key && reader.read(run, run.items.length))
    }
    this.#announce(run)
  }

  #announce(run: R) {
    const isRead = [...this.#readers].some((reader) => reader.run === run)
    if (isRead || this.#left.has(run.id) || this.#news.has(run)) return
    this.#news.add(run, this.#followers.size)
    this.#tell(run)
  }

  #tell(run: R) {
    for (const listener of [...this.#followers, ...this.#parts.listeners]) listener(run, this.#parts.id)
  }
}
