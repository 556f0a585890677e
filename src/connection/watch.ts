import type { Inbox } from '../inbox/inbox'
import type { Outbox } from '../outbox/outbox'
import type { OwnPost } from '../outbox/ownPosts'
import { HEAD, isCursor, isSeq, parseVerdicts } from '../protocol'
import type { Unwatch, WatchOptions } from './api'
import { being, check, isName } from './checks'
import type { Line } from './line'

/** How sessions come to be tracked on an open line, and how that ends. */
export class Watch {
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #line: Line

  constructor(inbox: Inbox, outbox: Outbox, line: Line) {
    this.#inbox = inbox
    this.#outbox = outbox
    this.#line = line
  }

  watch(sessionId: string, { after }: WatchOptions = {}): Unwatch {
    check('sessionId', sessionId, isName)
    const isPlace = (value: unknown) =>
      isSeq(value) || value === 'head' || (isCursor(value) && value.sessionId === sessionId)
    check('after', after ?? 0, being("a whole number, 'head' or a cursor of this session", isPlace))
    const isNews = this.#inbox.watch(sessionId, after === 'head' ? HEAD : after)
    const release = this.#inbox.hold(sessionId)
    if (isNews) {
      const { features, farewell, connectionId } = this.#line.context()
      const isAwake = connectionId && farewell !== 'said'
      if (isAwake && features.includes('watch-replay')) this.#attach(sessionId, connectionId)
      else this.resumeLeftOvers()
    }
    const end = () => {
      if (release()) this.unwatch(sessionId)
    }
    return Object.assign(end, { [Symbol.dispose]: end })
  }

  unwatch(sessionId: string) {
    this.#inbox.unwatch(sessionId)
    this.#detach(sessionId)
  }

  /** In every phase but `open`, the resume that is due, or under way, takes them along. */
  resumeLeftOvers() {
    const inbox = this.#inbox
    const cursors = inbox.leftOvers()
    if (cursors.length && this.#line.phase() === 'open')
      this.#line.tell({ type: 'stream.gapped', cursors, isByServer: inbox.hasHole() })
  }

  /** The app has not asked for these sessions, and they are quiet. On a line that is not open, their events may be still to come. */
  releaseQuiet(sessionIds: readonly string[]) {
    if (this.#line.phase() !== 'open') return
    const waiting = new Set(this.#outbox.pending.map(({ message }) => sessionOf(message)))
    for (const sessionId of sessionIds) {
      if (waiting.has(sessionId)) continue
      this.#inbox.release(sessionId)
      if (this.#line.context().features.includes('watch-replay')) this.#detach(sessionId)
    }
  }

  #attach(sessionId: string, connectionId: string) {
    // A resume that comes first attaches the session too: then there is nothing left to post.
    let attachment: ReturnType<Inbox['attachment']>
    const fields = () => {
      attachment = this.#inbox.attachment(sessionId)
      return attachment?.cursor
    }
    const settle: OwnPost['settle'] = (end) => {
      const isBehind = 'error' in end || attachment?.confirm(parseVerdicts(end.receipt))
      if (isBehind) this.resumeLeftOvers()
    }
    this.#outbox.post({ type: 'watch', sessionId, fields, settle }, connectionId)
  }

  /** Tells the server that the stream need not carry the session any more. */
  #detach(sessionId: string) {
    const { connectionId } = this.#line.context()
    if (!connectionId) return
    // Tracked again meanwhile, the session may have been attached before this detached it.
    const settle = () => this.#inbox.want(sessionId) && this.resumeLeftOvers()
    const fields = () => !this.#inbox.cursor(sessionId) && { sessionId }
    this.#outbox.post({ type: 'unwatch', sessionId, fields, settle }, connectionId)
  }
}

export const sessionOf = (message: unknown): unknown => Object(message).sessionId
