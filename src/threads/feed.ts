import type { SessionNews, WatchOptions } from '../connection/api'
import type { JsonObject } from '../protocol'
import { type Line, RESUME, type Receipt, receiptOf } from './line'

/**
 * Which events of the session are heard. `unknown`: perhaps some, by a watch of the app's.
 * `asking`: the server is asked for the run that is active. `replaying`: all, from that run's begin
 * on, and what happened before the server answered comes first. `following`: all. `barred`: none,
 * the session may not be read, or is gone. `over`: the thread needs none any more.
 */
type Hearing = 'unknown' | 'asking' | 'replaying' | 'following' | 'barred' | 'over'

export interface FeedThread {
  /** The run that it knows. */
  readonly known: string | undefined
  /** The last run has ended that way, and no other has begun since. */
  breakOff(run: string, reason: unknown): void
}

/** How a thread comes to hear every event of its session. */
export class Feed {
  readonly #line: Line
  readonly #sessionId: string
  readonly #thread: FeedThread
  #hearing: Hearing = 'unknown'
  #asked: Promise<void> | undefined
  #receipt: Receipt | undefined
  #unwatch = () => {}

  constructor(line: Line, sessionId: string, thread: FeedThread) {
    this.#line = line
    this.#sessionId = sessionId
    this.#thread = thread
  }

  /** No event is missed. */
  get isWhole(): boolean {
    return this.replay !== undefined || this.#hearing === 'following'
  }

  /** To ask may help. Where the session may not be read, the answer would be lost again at once. */
  get isLost(): boolean {
    return this.#hearing === 'unknown'
  }

  /**
   * The server's answer, until all has come that happened before it: a run that waited then does
   * not wait now, unless the answer says so.
   */
  get replay(): Receipt | undefined {
    return this.#hearing === 'replaying' ? this.#receipt : undefined
  }

  /** A run that has begun, as the server says; its begin is still to come. */
  get coming(): string | undefined {
    const run = this.replay?.run
    return run === this.#thread.known ? undefined : run
  }

  /** No event is missed from then on, and the run that is active is known, or coming. */
  async catchUp(): Promise<void> {
    if (this.#hearing === 'unknown' || this.#hearing === 'barred') {
      this.#hearing = 'asking'
      this.#asked = this.#ask().finally(() => {
        if (this.#hearing === 'asking') this.#hearing = 'unknown'
      })
    }
    if (this.#hearing === 'asking') await this.#asked
  }

  /** From the place that the receipt names, unless its run is known, or no event is missed. */
  follow({ run, after, epoch }: Receipt) {
    if (this.#hearing === 'over') return
    const [line, sessionId] = [this.#line, this.#sessionId]
    const cursor = line.cursor(sessionId)
    // The session came to be followed in the middle of the run.
    if (run && run !== this.#thread.known && cursor && cursor.lastSeq > after) {
      line.unwatch(sessionId)
      this.#hearing = 'unknown'
    }
    this.#watch({ sessionId, lastSeq: after, ...(epoch && { epoch }) })
  }

  /** The event with that `seq` has been taken. */
  heard(seq: unknown) {
    if (this.replay && Number(seq) >= this.replay.head) this.#hearing = 'following'
  }

  /** Events are missing from now on, or were lost. */
  lose(why: SessionNews['status']) {
    if (this.#hearing !== 'asking') this.close(why === 'forbidden' || why === 'gone' ? 'barred' : 'unknown')
  }

  close(hearing: Hearing = 'over') {
    this.#unwatch()
    this.#hearing = hearing
  }

  #watch(after: WatchOptions['after']) {
    if (this.isWhole || this.#hearing === 'over') return
    this.#unwatch = this.#line.watch(this.#sessionId, { after })
    this.#hearing = 'following'
  }

  async #ask() {
    const [line, sessionId] = [this.#line, this.#sessionId]
    // Those of a page that is gone, restored from the storage.
    for (const delivery of line.pending) {
      const { type, sessionId: session, trigger }: JsonObject = delivery.message
      if (type === 'send' && session === sessionId && trigger === RESUME) delivery.cancel()
    }
    const verdict = await line.send({ type: 'send', sessionId, trigger: RESUME }, { maxAge: Infinity }).settled
    if (verdict.status === 'accepted') return this.#answered(receiptOf(verdict.receipt))
    const { code } = verdict.error
    // A reader who may not write cannot ask. The next run is heard from its begin all the same.
    if (code === 'forbidden') this.#watch('head')
    // A stop takes back what has not been posted yet: then there is nothing to follow.
    else if (code !== 'cancelled') throw verdict.error
  }

  #answered(receipt: Receipt | undefined) {
    if (!receipt) return
    this.follow(receipt)
    if (this.#hearing !== 'following') return
    const { run, broken } = receipt
    if (broken) this.#thread.breakOff(broken.id, broken.reason)
    if (!run || run === this.#thread.known) return
    this.#receipt = receipt
    this.#hearing = 'replaying'
  }
}
