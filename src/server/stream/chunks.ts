import type { SessionVerdict } from '../../protocol'
import { tooMany } from '../errors'
import type { SessionHead } from '../log/sessionLog'
import type { ChatStreamOptions, Replayed } from './api'
import type { Attachments } from './attachments'
import { eventFrame, toFrame } from './frames'

/**
 * About how much is written per read of the client: enough to be quick, little enough to cost no
 * memory worth counting.
 */
const CHUNK_CHARS = 64 * 1024
const CHUNK_EVENTS = 64
/** Events of one session before the next session has its turn. */
const TURN_EVENTS = 16
/**
 * Unwritten control frames and markers, each. Only a client that posts without reading has more.
 */
const MAX_CONTROL = 64
/** For each character of its frame, bytes: the verdicts are held as objects too. */
const MARKER_WEIGHT = 4

interface Marker {
  readonly sessions: readonly SessionVerdict[]
  readonly frame: string
}

/** The stream that is written. */
export interface ChunksHost {
  /** There may be something to write. */
  announceWork(): void
  end(): void
}

type Options = Pick<ChatStreamOptions, 'log' | 'pacer' | 'principalId' | 'clock' | 'account' | 'welcome'>

/**
 * Makes the chunks that one stream writes: control frames, then events from the log, by cursor,
 * then replay markers.
 */
export class Chunks {
  readonly #options: Options
  readonly #sessions: Attachments
  readonly #host: ChunksHost
  readonly #markers: Marker[] = []
  #control: string[]
  #paceTimer: unknown

  constructor(options: Options, sessions: Attachments, host: ChunksHost) {
    this.#options = options
    this.#sessions = sessions
    this.#host = host
    this.#control = [`event: welcome\n${toFrame(options.welcome)}`]
  }

  get hasControl() {
    return this.#control.length > 0
  }

  /** @throws Refusal 429 if too many are unwritten */
  say(frame: string) {
    if (this.#control.length >= MAX_CONTROL) throw tooMany()
    this.#control.push(frame)
    this.#host.announceWork()
  }

  /** @throws Refusal 429 if too many are unwritten, or there is no room for it */
  confirm({ sessions, ...rest }: Replayed) {
    const frame = toFrame({ type: 'reconnected', ...rest, sessions })
    const isFull = this.#markers.length >= MAX_CONTROL || !this.#options.account.take(MARKER_WEIGHT * frame.length)
    if (isFull) throw tooMany()
    this.#markers.push({ sessions, frame })
    this.#host.announceWork()
  }

  /** The stream has ended. */
  stop() {
    this.#options.clock.clearTimeout(this.#paceTimer)
  }

  hasWork(): boolean {
    const isPacedDue = !!this.#sessions.paced?.size && this.#paceTimer === undefined
    return this.#control.length > 0 || this.#sessions.unread.size > 0 || isPacedDue || this.#isReplayed()
  }

  /** The next chunk; '' if there was nothing to write after all, or the stream has ended. */
  async next(): Promise<string> {
    const { log, pacer, principalId } = this.#options
    let chunk = this.#control.join('')
    this.#control = []
    for (let events = 0; events < CHUNK_EVENTS && chunk.length < CHUNK_CHARS; ) {
      const sessionId = this.#nextUnread()
      if (sessionId === undefined) break
      const session = this.#sessions.get(sessionId)
      if (!session) continue
      const isReplay = session.position < session.head
      if (isReplay && this.#hasToWait()) {
        this.#sessions.paced ??= new Set()
        this.#sessions.paced.add(sessionId)
        continue
      }
      const limit = Math.min(session.turn, CHUNK_EVENTS - events)
      const reading = log.read(sessionId, session.position, limit)
      // Not `await` in any case: a log in memory is read without giving way.
      const entries = reading instanceof Promise ? await reading : reading
      const last = entries.at(-1)
      // A client that has no event of the session has none of another epoch.
      if (!last && session.position === 0) continue
      const { epoch, isUnreadable }: Pick<SessionHead, 'epoch' | 'isUnreadable'> = last ?? (await log.head(sessionId))
      if (isUnreadable || this.#sessions.get(sessionId) !== session) continue
      if (session.position === 0) session.epoch = epoch
      if (epoch !== session.epoch) {
        // The session's numbering started again. The next resume of the client will be told so,
        // with `reset`.
        this.#host.end()
        return ''
      }
      const before = events
      const start = chunk.length
      for (const entry of entries) {
        // Or it would be read for ever.
        if (!(entry.seq > session.position)) throw new Error(`the log has ${entry.seq} after ${session.position}`)
        chunk += eventFrame(entry)
        session.position = entry.seq
        events += 1
        if (chunk.length >= CHUNK_CHARS) break
      }
      if (isReplay) pacer.spend(principalId, chunk.length - start)
      const isMore = entries.length === limit || (last && session.position < last.seq)
      const written = events - before
      session.turn = written < entries.length ? written : Math.min(2 * session.turn, TURN_EVENTS)
      if (isMore) this.#sessions.unread.add(sessionId)
    }
    while (this.#isReplayed()) {
      const { frame = '' } = this.#markers.shift() ?? {}
      this.#options.account.give(MARKER_WEIGHT * frame.length)
      chunk += frame
    }
    return chunk
  }

  /**
   * Sessions whose replay waits are taken one at a time: to look at each of a thousand, on twenty
   * streams, would take all of a process.
   */
  #nextUnread(): string | undefined {
    const isPaced = this.#sessions.unread.size === 0
    const from = isPaced ? this.#sessions.paced : this.#sessions.unread
    if (!from?.size || (isPaced && this.#hasToWait())) return undefined
    const [sessionId = ''] = from
    from.delete(sessionId)
    return sessionId
  }

  /** Whether the first marker is due. */
  #isReplayed(): boolean {
    const [marker] = this.#markers
    return marker !== undefined && this.#sessions.areReplayed(marker.sessions)
  }

  /**
   * Whether replays are put off until their principal may be written more. Whatever else there is
   * goes on.
   */
  #hasToWait(): boolean {
    const { clock, pacer, principalId } = this.#options
    if (this.#paceTimer !== undefined) return true
    const ms = pacer.delay(principalId)
    if (ms === 0) return false
    this.#paceTimer = clock.setTimeout(() => {
      this.#paceTimer = undefined
      this.#host.announceWork()
    }, ms)
    return true
  }
}
