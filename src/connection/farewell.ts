import { canRequest } from '../adapters/fetchUpstream'
import type { Carrier } from '../adapters/transport'
import { ConnectionError } from '../errors'
import type { Inbox } from '../inbox/inbox'
import { sizeOf } from '../outbox/message'
import { type Cursor, MAX_SESSIONS_PER_RESUME } from '../protocol'
import type { Line } from './line'
import type { Settings } from './options'

/**
 * [spec] Fetch: the bodies of all `keepalive` requests under way have 64 KiB together, a beacon's among them; one too many is a network
 * error. Half of it leaves room for the page's own.
 */
const MAX_BYTES = 32_768

/** Tells the server that the page goes away. */
export class Farewell {
  /** The last stream's: an engine may end a stream before it tells that the page goes away. */
  connectionId: string | null = null
  /** The last resume's on that stream. */
  resumeId: string | null = null
  /** Settles with the last suspend POST; undefined until `fetch` was called for it. */
  suspendPost: Promise<unknown> | undefined
  readonly #settings: Settings
  readonly #carrier: Carrier
  readonly #inbox: Inbox
  readonly #line: Line
  #abort: AbortController | undefined

  constructor(settings: Settings, carrier: Carrier, inbox: Inbox, line: Line) {
    this.#settings = settings
    this.#carrier = carrier
    this.#inbox = inbox
    this.#line = line
  }

  say() {
    const { connectionId } = this
    const sessions = this.#sessions()
    const isKept = this.#line.context().features.includes('suspend-keeps')
    // A suspend and a resume that are under way together would undo each other.
    const isCrossed = this.#line.phase() === 'reconnecting' && !isKept
    if (!connectionId || !sessions.length || isCrossed) return
    this.#post(connectionId, sessions)
    if (this.#line.phase() !== 'open') return
    this.#line.tell({ type: 'page.suspended', cursors: isKept ? sessions : this.#inbox.letGo() })
  }

  end() {
    this.#abort?.abort()
    this.connectionId = null
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
  #post(connectionId: string, sessions: readonly Cursor[]) {
    const { resumeId } = this
    // The cursors of the last one are old.
    this.#abort?.abort()
    const abort = new AbortController()
    this.#abort = abort
    const body = JSON.stringify({ type: 'session_suspend', connectionId, resumeId, sessions })
    const post = (keepalive: boolean) =>
      this.#carrier.post('suspend', body, abort, {
        timeout: this.#settings.timeouts.send,
        keepalive,
        // After an async hook the page may be back, on another stream or on this one.
        onStart: () => {
          const isOld = this.connectionId !== connectionId || this.resumeId !== resumeId
          if (isOld) throw new ConnectionError('cancelled', 'the page is back')
          this.suspendPost = leaving
        },
      })
    let leaving: Promise<unknown> | undefined
    this.suspendPost = undefined
    // A POST over the `keepalive` quota is repeated without `keepalive`, as long as the page lives.
    if (canRequest('keepalive'))
      leaving = post(true).catch(({ code }) => code === 'network' && !abort.signal.aborted && post(false))
    else if (this.#carrier.beacon('suspend', body) === false) leaving = post(false)
    leaving?.catch(() => {})
  }
}
