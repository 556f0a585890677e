import type { JsonObject } from '../protocol'
import { type Line, RESUME, type Receipt, receiptOf } from './line'

/**
 * Which events of the session are heard. `unknown`: perhaps some, by another's watch. `asking`: the
 * server is asked for the run that is active. `replaying`: all, from before that run on, and those
 * up to the head of the receipt are over: a run that waited then does not, unless it is the last
 * thing that happened. `following`: all. `over`: none matters.
 */
type Hearing =
  | { readonly state: 'unknown' | 'over' }
  | { readonly state: 'asking'; readonly asked: Promise<void> }
  | { readonly state: 'replaying'; readonly receipt: Receipt; unwatch(): void }
  | { readonly state: 'following'; unwatch(): void }

/** What a thread hears of its session, and how it comes to hear all of it. */
export class Feed {
  readonly #line: Line
  readonly #sessionId: string
  /** The run that the thread knows. */
  readonly #known: () => string | undefined
  #hearing: Hearing = { state: 'unknown' }

  constructor(line: Line, sessionId: string, known: () => string | undefined) {
    this.#line = line
    this.#sessionId = sessionId
    this.#known = known
  }

  /** Every event of the session is heard, and the run that is active is, or will be, known. */
  get isWhole(): boolean {
    return 'unwatch' in this.#hearing
  }

  /** While events come that were over before the page asked. */
  get replay(): Receipt | undefined {
    return this.#hearing.state === 'replaying' ? this.#hearing.receipt : undefined
  }

  /** A run that has begun, as the server says; its begin is still to come. */
  get coming(): string | undefined {
    const run = this.replay?.run
    return run === this.#known() ? undefined : run
  }

  async catchUp(): Promise<void> {
    if (this.#hearing.state === 'unknown') {
      const asked = this.#ask().finally(() => {
        if (this.#hearing.state === 'asking') this.#hearing = { state: 'unknown' }
      })
      this.#hearing = { state: 'asking', asked }
    }
    if (this.#hearing.state === 'asking') await this.#hearing.asked
  }

  /** From the place that the receipt names, unless the run is known, or the session is heard. */
  follow({ run, after, epoch }: Receipt) {
    const [line, sessionId] = [this.#line, this.#sessionId]
    if (this.#hearing.state === 'over') return
    const cursor = line.cursor(sessionId)
    // The session came to be followed in the middle of the run.
    if (run && this.#known() !== run && cursor && cursor.lastSeq > after) {
      line.unwatch(sessionId)
      this.#hearing = { state: 'unknown' }
    }
    this.#watch({ sessionId, lastSeq: after, ...(epoch && { epoch }) })
  }

  /** The event with that `seq` has been taken. */
  heard(seq: unknown) {
    if (this.#hearing.state === 'replaying' && Number(seq) >= this.#hearing.receipt.head)
      this.#hearing = { state: 'following', unwatch: this.#hearing.unwatch }
  }

  /** Events are missing from now on, or were lost. */
  lose(state: 'unknown' | 'over' = 'unknown') {
    if ('unwatch' in this.#hearing) this.#hearing.unwatch()
    else if (state === 'unknown') return
    this.#hearing = { state }
  }

  #watch(after: NonNullable<Parameters<Line['watch']>[1]>['after']) {
    if (this.#hearing.state === 'over' || 'unwatch' in this.#hearing) return
    this.#hearing = { state: 'following', unwatch: this.#line.watch(this.#sessionId, { after }) }
  }

  async #ask() {
    const [line, sessionId] = [this.#line, this.#sessionId]
    // Those of a page that is gone, restored from the storage.
    for (const delivery of line.pending) {
      const { type, sessionId: session, trigger }: JsonObject = delivery.message
      if (type === 'send' && session === sessionId && trigger === RESUME) delivery.cancel()
    }
    const verdict = await line.send({ type: 'send', sessionId, trigger: RESUME }).settled
    if (verdict.status !== 'accepted') {
      const { code } = verdict.error
      // A reader who may not write cannot ask. The next run is heard from its begin all the same.
      if (code === 'forbidden') this.#watch('head')
      // A stop takes back what has not been posted yet: then there is nothing to follow.
      else if (code !== 'cancelled') throw verdict.error
      return
    }
    const receipt = receiptOf(verdict.receipt)
    if (!receipt) return
    this.follow(receipt)
    if ('unwatch' in this.#hearing && receipt.run && this.#known() !== receipt.run)
      this.#hearing = { state: 'replaying', receipt, unwatch: this.#hearing.unwatch }
  }
}
