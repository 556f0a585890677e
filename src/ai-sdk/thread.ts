import type { UIMessage, UIMessageChunk } from 'ai'
import type { Delivery, Verdict } from '../connection/messages'
import { ConnectionError } from '../errors'
import { isObject, isText, type JsonObject } from '../protocol'
import { Answer } from './answer'
import type { RunListener, RunNews, ThreadParts } from './news'
import { orAborted, type Receipt, receiptOf } from './receipt'
import { interrupted, Run, stopped } from './run'
import { type ChatCommand, RESUME } from './wire'

/** One chat, as long as somebody reads or follows it: its current run, and who reads that. */
export class Thread {
  readonly #parts: ThreadParts
  readonly #off: () => void
  readonly #answers = new Set<Answer>()
  readonly #followers = new Set<RunListener>()
  /**
   * Runs that the chat turned away from, and the ids of the messages that asked for some. They are
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
  #replay: Receipt | undefined
  /** Takes back the watch since which every event of the session is heard. */
  #unwatch: (() => void) | undefined
  #asking: Promise<void> | undefined

  constructor(parts: ThreadParts) {
    this.#parts = parts
    this.#off = parts.line.on('message', { session: parts.sessionId }, (event) => this.#hear(event))
  }

  /** The run that is under way, or waits for a tool or an approval. */
  get current(): Run | undefined {
    return this.#run?.state === 'ended' ? undefined : this.#run
  }

  /** The answer to a message that was sent. */
  answer(delivery: Delivery<ChatCommand>): Answer {
    const answer = this.#open(delivery.id)
    delivery.settled.then((verdict) => this.#answers.has(answer) && this.#judge(answer, verdict))
    return answer
  }

  /**
   * The oldest run that is news, else the one that is under way or waits, from its begin; null if
   * there is none.
   */
  async resume(signal?: AbortSignal): Promise<Answer | null> {
    const answer = this.#open(undefined)
    try {
      await orAborted(this.#catchUp(), signal)
    } catch (error) {
      answer.end()
      throw error
    }
    const run = this.#unread.shift() ?? (this.#coming ? undefined : this.current)
    answer.expected = run?.id ?? this.#coming
    if (run) answer.read(run, 0)
    if (answer.expected) this.#left.delete(answer.expected)
    else answer.end()
    return answer.expected ? answer : null
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

  /** The chat turns away: its answers end, and their runs are no news any more. */
  leave(answers: Iterable<Answer> = this.#answers, error?: unknown) {
    for (const answer of [...answers]) {
      const id = answer.run?.id ?? answer.expected ?? answer.key
      if (id) this.#left.add(id)
      answer.end(error)
    }
  }

  stop() {
    this.leave(this.#answers, stopped())
  }

  fail(error: unknown) {
    for (const answer of [...this.#answers]) answer.end(error)
  }

  /** Events are missing from now on, or were lost. */
  lose() {
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#coming = undefined
    this.#replay = undefined
    this.#run?.end('interrupted')
    for (const answer of [...this.#answers]) {
      if (answer.run) answer.wake()
      else if (answer.expected || !answer.key) answer.end(interrupted())
    }
    if (this.#followers.size) this.#catchUp().catch(() => {})
  }

  #open(key: string | undefined): Answer {
    const answer: Answer = new Answer(key, () => {
      this.#answers.delete(answer)
      this.#rest()
    })
    this.#answers.add(answer)
    return answer
  }

  #rest() {
    if (this.#answers.size || this.#followers.size) return
    this.#off()
    this.#unwatch?.()
    this.#parts.onIdle()
  }

  #judge(answer: Answer, verdict: Verdict) {
    if (verdict.status !== 'accepted') {
      answer.end(verdict.error.code === 'cancelled' ? stopped() : verdict.error)
      return
    }
    const receipt = receiptOf(verdict.receipt)
    if (!receipt?.run) {
      answer.end(
        new ConnectionError('bad-response', "the receipt names no run: is the server's onCommand uiMessageRuns?"),
      )
      return
    }
    answer.expected = receipt.run
    const known = this.#run?.id === receipt.run ? this.#run : undefined
    if (known?.state === 'ended') answer.read(known, known.chunks.length)
    else if (!known && receipt.state === 'ended') answer.end(interrupted())
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
      const { code } = verdict.error
      // Who may only read cannot ask. The next run is heard from its begin all the same.
      if (code === 'forbidden') this.#unwatch ??= line.watch(sessionId, { after: 'head' })
      // A stop takes back what has not been posted yet: then there is nothing to follow.
      else if (code !== 'cancelled') throw verdict.error
      return
    }
    const receipt = receiptOf(verdict.receipt)
    if (!receipt) return
    if (receipt.run && this.#run?.id !== receipt.run) {
      this.#coming = receipt.run
      this.#replay = receipt
    }
    this.#watch(receipt)
  }

  #watch({ run, after, epoch }: Receipt) {
    const { line, sessionId } = this.#parts
    const cursor = line.cursor(sessionId)
    // The session came to be followed in the middle of the run.
    if (run && this.#run?.id !== run && cursor && cursor.lastSeq > after) {
      line.unwatch(sessionId)
      this.#unwatch = undefined
    }
    this.#unwatch ??= line.watch(sessionId, { after: { sessionId, lastSeq: after, ...(epoch && { epoch }) } })
  }

  #hear(event: JsonObject) {
    const { type, run: id } = event
    if (type === 'ui') this.#hearChunk(event)
    else if (type === 'run.started' && isText(id)) this.#begin(id)
    else if (type === 'run.ended' && isText(id)) this.#finish(id, event.reason)
    else if (this.#run?.id === id && this.#run) {
      if (type === 'run.suspended' && !this.#replay) this.#run.state = 'suspended'
      if (type === 'run.resumed') this.#run.state = 'running'
    }
    if (this.#replay && Number(event.seq) >= this.#replay.head) {
      if (this.current && this.#replay.state === 'suspended') this.current.state = 'suspended'
      this.#replay = undefined
    }
    for (const answer of this.#answers) answer.wake()
  }

  #begin(id: string) {
    this.#coming = undefined
    // It comes again, from its first event: who reads it has read that many chunks.
    if (this.current?.id === id) {
      this.current.chunks.length = 0
      this.current.state = 'running'
    } else {
      this.#run?.end('interrupted')
      this.#run = new Run(id)
    }
    for (const answer of this.#answers) {
      if (!answer.key && answer.expected === id && this.#run) answer.read(this.#run, 0)
    }
  }

  #finish(id: string, reason: unknown) {
    // One that was never seen to begin: it was queued, or this page came too late.
    const run = this.#run?.id === id ? this.#run : new Run(id)
    run.end(reason)
    for (const answer of this.#answers) if (answer.expected === id) answer.read(run, run.chunks.length)
    if (this.#coming === id) this.#coming = undefined
  }

  #hearChunk({ chunk, for: key, prompt }: JsonObject) {
    const run = this.#run
    if (!run) return
    if (isText(key)) {
      run.prompt = isObject(prompt) ? (prompt as unknown as UIMessage) : undefined
      if (this.#left.has(key)) this.#left.add(run.id)
      for (const answer of this.#answers) if (answer.key === key) answer.read(run, run.chunks.length)
      this.#announce(run)
    }
    if (isObject(chunk) && isText(chunk.type)) run.chunks.push(chunk as UIMessageChunk)
  }

  #announce(run: Run) {
    const isRead = [...this.#answers].some((answer) => answer.run === run)
    if (isRead || this.#left.has(run.id) || this.#unread.includes(run)) return
    const news: RunNews = { chatId: this.#parts.chatId, run: run.id, message: run.prompt }
    this.#unread.push(run)
    this.#parts.onRun(news)
    for (const listener of this.#followers) listener(news)
  }
}
