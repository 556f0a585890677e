import type { SessionNews } from '../connection/api'
import type { InboundMessage } from '../connection/messages'
import { ConnectionError } from '../errors'
import { isSeq } from '../protocol'
import { Audience, viewOf } from './audience'
import { Follower } from './follower'
import { type Early, KEEP_FOR, MAX_EARLY, REPLAY } from './limits'
import { Loader } from './loader'
import { beginOf, type Fact, isLoading, isOver, isReplaying, type Mode, nextMode, statusOf } from './modes'
import type { SessionParts } from './parts'
import { isBeyond, placeAfter, placeOf } from './place'
import type { Loaded, SessionEnd, SessionOptions, StatePlace } from './types'

/**
 * The state of one session, for all who use it. It knows the last event that the state contains,
 * and sees to it that the connection goes on after that one: an event that was applied does not
 * come again, so a cursor ahead of the state would make a transcript that begins in the middle.
 */
export class LiveSession {
  readonly audience: Audience
  readonly #parts: SessionParts
  #options: SessionOptions<unknown>
  readonly #loader: Loader<Loaded<unknown> | SessionEnd>
  readonly #subscriptions: readonly (() => void)[]
  #mode: Mode
  #state: unknown
  #error: unknown = null
  #at: StatePlace = { lastSeq: 0 }
  /** The last event that `reduce` was given; it may have thrown. */
  #offered = 0
  #early: Early[] = []
  /** The last loss of history; null once the server has gone on from what took its place. */
  #lost: (SessionNews & { readonly epoch: string | undefined }) | null = null
  /** Where the replay ends, once the server has said so. */
  #target = Infinity
  readonly #follower: Follower
  #cancelReplay = () => {}
  #cancelEnd = () => {}

  constructor(parts: SessionParts, options: SessionOptions<unknown>) {
    const { id, connection, time } = parts
    this.#parts = parts
    this.#options = options
    this.#follower = new Follower(connection, id)
    this.audience = new Audience(viewOf(options), time)
    this.#state = options.initial
    this.#mode = beginOf(options)
    this.#loader = new Loader({
      time,
      load: async () => (await this.#options.load?.(id)) as Loaded<unknown> | SessionEnd,
      take: (loaded) => {
        if (loaded === 'gone' || loaded === 'forbidden') this.#close(loaded)
        else this.#place(Object(loaded).state, Object(loaded).cursor)
      },
      fail: (cause, delay) => {
        parts.report('load-failed', `load is called again in ${Math.round(delay)} ms: ${cause}`, cause)
        this.#error = cause
        this.#show()
      },
    })
    this.#subscriptions = [
      connection.on('message', { session: id }, (message) => this.#take(message)),
      connection.on('session', (news) => {
        if (news.sessionId === id && !isOver(this.#mode)) this.#hear(news)
      }),
      connection.on('opened', () => {
        this.#loader.hurry()
        this.#step('caughtUp')
      }),
    ]
    if (this.#mode === 'loading') this.#loader.run()
    else this.#begin()
    this.#expire()
  }

  /** Returns the function that leaves. */
  use(options: SessionOptions<never, never>, user: () => void): () => void {
    this.#cancelEnd()
    if (!this.audience.size) this.#options = options as never
    else if ((this.#options.reduce as unknown) !== options.reduce) {
      this.#parts.report('invalid-option', 'reduce: it has another one; give all users the same, from a module')
    }
    if (!(this.#follower.isFollowing || isLoading(this.#mode) || isOver(this.#mode))) this.#follow()
    const leave = this.audience.add(user)
    return () => {
      if (!leave() || this.audience.size) return
      if (isOver(this.#mode)) this.end()
      else this.#expire()
    }
  }

  /** The next to ask for it begins anew, unless somebody uses it. */
  forgetSoon() {
    if (this.audience.size) return
    this.#cancelEnd()
    this.#cancelEnd = this.#parts.time.later(() => this.end(), 0)
  }

  end() {
    this.#loader.stop()
    this.#cancelReplay()
    this.#cancelEnd()
    for (const unsubscribe of this.#subscriptions) unsubscribe()
    this.#follower.leave()
    this.#parts.drop()
  }

  /** While the cursor stands, because somebody else watches the session, the state is kept too. */
  #expire() {
    const end = () => (this.#follower.leave() ? this.#expire() : this.end())
    this.#cancelEnd()
    this.#cancelEnd = this.#parts.time.later(end, this.#options.keepFor ?? KEEP_FOR)
  }

  #take(message: InboundMessage) {
    const { seq } = message
    if (isOver(this.#mode)) return
    const before = this.#cursor()
    if (isLoading(this.#mode)) {
      if (this.#early.length === MAX_EARLY) this.#early = []
      if (isSeq(seq)) this.#early.push([before, message])
    } else if (!isSeq(seq)) this.#reduce(message)
    else if (this.#isLeft(before)) this.#follow()
    else this.#apply(seq, message)
  }

  /** It moves when all listeners have returned: at an event it is that of the event before. */
  readonly #cursor = (): StatePlace => this.#parts.connection.cursor(this.#parts.id) ?? { lastSeq: 0 }

  /** Somebody has moved the cursor past the state, or into another log. */
  #isLeft(cursor: StatePlace): boolean {
    return isBeyond(cursor, { ...this.#at, lastSeq: this.#offered })
  }

  #apply(seq: number, message: InboundMessage) {
    if (seq <= this.#at.lastSeq) return
    this.#offered = seq
    this.#reduce(message)
    const epoch = (message.epoch as string | undefined) ?? this.#cursor().epoch ?? this.#at.epoch
    this.#at = { lastSeq: seq, epoch }
    this.#lost = null
    if (seq >= this.#target) this.#step('caughtUp')
  }

  #reduce(message: InboundMessage) {
    this.#state = this.#options.reduce(this.#state, message)
    this.#show()
  }

  #hear(news: SessionNews) {
    const { status, to } = news
    if (status === 'reset') this.#lose(news)
    else if (status === 'resumed') {
      if (isLoading(this.#mode)) return
      if (this.#isLeft({ ...this.#cursor(), lastSeq: 0 })) return this.#follow()
      this.#lost = null
      this.#cancelReplay()
      this.#target = to
      if (to <= this.#offered) this.#step('caughtUp')
    } else if (status !== 'released') this.#close(status)
  }

  /** It is followed no more. */
  #close(end: SessionEnd) {
    this.#loader.stop()
    this.#follower.leave()
    this.#error = null
    this.#step(end)
  }

  #lose(news: SessionNews) {
    const { epoch } = this.#cursor()
    // What took the place of the lost one is not of this log either: another load would bring it
    // again.
    const isRefused = this.#lost?.epoch === epoch && this.#lost !== null && !isLoading(this.#mode)
    const canLoad = this.#options.load && !isRefused
    this.#lost = { ...news, epoch }
    this.#early = []
    this.#cancelReplay()
    this.#step(canLoad ? 'reload' : 'rewind')
    if (canLoad) this.#loader.run()
    else if (isRefused) this.#place(this.#state, this.#at, isRefused)
    else this.#begin()
  }

  #begin() {
    this.#place(this.#options.initial, this.#options.cursor ?? 0)
  }

  /** Goes on with a state, from where it stands. */
  #place(state: unknown, cursor: unknown, isRefused = false) {
    const { id } = this.#parts
    let at = placeOf(cursor, id)
    if (!at) throw new ConnectionError('invalid-option', `cursor: ${JSON.stringify(cursor)} is none of session ${id}`)
    let isCut = false
    const news = this.#lost
    if (news) ({ at, isCut } = placeAfter(at, { news, epoch: this.#cursor().epoch, isRefused }))
    this.#state = state
    this.#error = null
    this.#at = at
    this.#offered = at.lastSeq
    this.#target = Infinity
    if (isCut) this.#step('cut')
    else if (this.#options.load) this.#step('placed')
    this.#applyEarly()
    this.#follow()
    if (news && this.#at.lastSeq >= news.to) this.#step('caughtUp')
    this.#show()
  }

  #applyEarly() {
    const early = this.#early
    this.#early = []
    for (const [before, message] of early) {
      if (this.#isLeft(before)) return
      try {
        this.#apply(message.seq as number, message)
      } catch {
        // It is asked for again, as all that follow: the line deals with what throws.
        return
      }
    }
  }

  #follow() {
    const { connection, time } = this.#parts
    const { lastSeq } = this.#at
    const missing = this.#follower.follow(this.#at)
    if (missing && !this.#options.load) {
      const why = `its state ends at event ${lastSeq}, and its cursor is not there`
      this.#parts.report('no-state', `${why}: what is between is asked for again. Give it a load, or keep no cursors`)
    }
    this.#offered = lastSeq
    this.#cancelReplay()
    // Else it is caught up when the line opens.
    if (connection.isOpen && isReplaying(this.#mode)) {
      this.#cancelReplay = time.later(() => this.#step('caughtUp'), REPLAY)
    }
  }

  #step(fact: Fact) {
    this.#mode = nextMode(this.#mode, fact)
    this.#show()
  }

  #show() {
    this.audience.show({ state: this.#state, status: statusOf(this.#mode), error: this.#error })
  }
}
