import { canRequest } from '../adapters/fetchUpstream'
import type { Carrier } from '../adapters/transport'
import type { Inbox } from '../inbox/inbox'
import { sizeOf } from '../outbox/message'
import { type Cursor, MAX_SESSIONS_PER_RESUME } from '../protocol'
import type { Line } from './line'
import type { Settings } from './options'

/**
 * [spec] Fetch: the bodies of all `keepalive` requests under way have 64 KiB together, a beacon's
 * among them; one too many is a network error. Half of it leaves room for the page's own.
 */
const MAX_BYTES = 32_768

/**
 * A stream since its welcome, or its last resume: each makes another object, and a POST to an
 * older one is not posted any more.
 */
interface Addressee {
  readonly connectionId: string | null
  readonly resumeId: string | null
}

/** One suspend POST. */
interface SuspendPost {
  readonly abort: AbortController
  /** What settles with it, once `fetch` was called for it. */
  underWay?: Promise<unknown> | undefined
}

/** Tells the server that the page goes away. */
export class Farewell {
  /** The last stream: an engine may end a stream before it tells that the page goes away. */
  #addressee: Addressee | undefined
  /** The last one. */
  last: SuspendPost | undefined
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #inbox: Inbox
  readonly #line: Line

  constructor(settings: Settings, carrier: Carrier, inbox: Inbox, line: Line) {
    this.#settings = settings
    this.#carrier = carrier
    this.#inbox = inbox
    this.#line = line
  }

  /** A stream was welcomed, or a resume of it begins. */
  address(connectionId: string | null, resumeId: string | null) {
    this.#addressee = { connectionId, resumeId }
  }

  say() {
    const addressee = this.#addressee
    const sessions = this.#sessions()
    const isKept = this.#line.context().features.includes('suspend-keeps')
    // A suspend and a resume that are under way together would undo each other.
    const isCrossed = this.#line.phase() === 'reconnecting' && !isKept
    if (!addressee?.connectionId || !sessions.length || isCrossed) return
    this.#post(addressee, sessions)
    if (this.#line.phase() !== 'open') return
    this.#line.tell({ type: 'page.suspended', cursors: isKept ? sessions : this.#inbox.letGo() })
  }

  end() {
    this.last?.abort.abort()
    this.#addressee = undefined
  }

  #sessions(): readonly Cursor[] {
    let room = MAX_BYTES
    return this.#inbox
      .cursors()
      .slice(0, MAX_SESSIONS_PER_RESUME)
      .filter((cursor) => {
        room -= sizeOf(JSON.stringify(cursor))
        return room >= 0
      })
  }

  /** Best effort: the page may be gone before an answer comes. */
  #post(addressee: Addressee, sessions: readonly Cursor[]) {
    // The cursors of the last one are old.
    this.last?.abort.abort()
    const abort = new AbortController()
    const own: SuspendPost = { abort }
    this.last = own
    const body = JSON.stringify({ type: 'session_suspend', ...addressee, sessions })
    const post = (keepalive: boolean) =>
      this.#carrier.post('suspend', body, abort, {
        timeout: this.#settings.timeouts.send,
        keepalive,
        // After an async hook the page may be back, on another stream or on this one.
        onStart: () => {
          if (this.#addressee !== addressee) abort.abort()
          else own.underWay = leaving
        },
      })
    let leaving: Promise<unknown> | undefined
    // A POST over the `keepalive` quota is repeated without `keepalive`, as long as the page lives.
    if (canRequest('keepalive'))
      leaving = post(true).catch(({ code }) => code === 'network' && !abort.signal.aborted && post(false))
    else if (this.#carrier.beacon('suspend', body) === false) leaving = post(false)
    leaving?.catch(() => {})
  }
}
