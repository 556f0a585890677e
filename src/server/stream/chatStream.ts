import type { SessionVerdict } from '../../protocol'
import { tooMany, unknownStream } from '../errors'
import type { SessionHead } from '../log/sessionLog'
import type { ChatStream, ChatStreamOptions, Goodbye } from './api'
import { Attachments, type AttachmentsHost } from './attachments'
import { eventFrame, PING, toFrame } from './frames'
import { Pulse, type PulseHost } from './pulse'

/** About how much is written per read of the client: enough to be quick, little enough to be memory for nobody. */
const CHUNK_CHARS = 64 * 1024
const CHUNK_EVENTS = 64
/** Events of one session before the next session has its turn. */
const TURN_EVENTS = 16
/** Written by a stream before others have their turn of the event loop. */
const SLICE_CHARS = 4 * CHUNK_CHARS

/** Unwritten control frames and markers, each. Only a client that posts without reading has more. */
const MAX_CONTROL = 64
/** For each character of its frame, bytes: the verdicts are held as objects too. */
const MARKER_WEIGHT = 4

interface Marker {
  readonly sessions: readonly SessionVerdict[]
  readonly frame: string
}

/**
 * Whether a read of the client waits for its chunk, and whether one is being made. `unasked`: neither. `asked`: a read waits, and there
 * is nothing to write. `writing`: a read waits, and its chunk is being made. `written`: it has its chunk, and the next read finds the
 * loop still running.
 */
type State = 'unasked' | 'asked' | 'writing' | 'written' | 'ended'

export const createChatStream = (options: ChatStreamOptions): ChatStream => new PulledStream(options)

const encoder = new TextEncoder()

/**
 * The response body, and its own source. It is pulled: each read of the client takes the next chunk from the log, by cursor. There
 * is no queue of events and so nothing that grows with a slow client, and no difference between replay and live.
 *
 * A class, and no promise that waits for work: a server holds thousands of these, and most of them are quiet.
 */
class PulledStream implements ChatStream, AttachmentsHost, PulseHost, UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  resumeId: string | undefined
  lastWrite: number
  readonly #options: ChatStreamOptions
  readonly #sessions: Attachments
  readonly #pulse: Pulse
  readonly #markers: Marker[] = []
  #control: string[]
  #state: State = 'unasked'
  /** Characters since others had their turn of the event loop. */
  #slice = 0
  #sink: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined
  #stallTimer: unknown
  #paceTimer: unknown

  constructor(options: ChatStreamOptions) {
    this.#options = options
    this.#control = [`event: welcome\n${toFrame(options.welcome)}`]
    this.lastWrite = options.clock.now()
    this.#sessions = new Attachments(options, this)
    this.#pulse = new Pulse(options, this)
    // No read-ahead: `pull` then means that the client is waiting, and a client that is not waiting holds no memory.
    this.body = new ReadableStream(this, { highWaterMark: 0 })
    this.#watchReader()
  }

  // The source

  start(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) {
    this.#sink = controller
  }

  pull() {
    if (this.#state === 'unasked') this.#state = 'asked'
    else if (this.#state === 'written') this.#state = 'writing'
    this.#options.clock.clearTimeout(this.#stallTimer)
    this.#stallTimer = undefined
    this.announceWork()
  }

  cancel() {
    this.#release()
  }

  // What a stream can be asked and told

  get unreadFor() {
    return this.#isAsked ? 0 : Math.max(0, this.#options.clock.now() - this.lastWrite)
  }

  get sessionIds() {
    return this.#sessions.ids
  }

  isAttached(sessionId: string) {
    return this.#sessions.get(sessionId) !== undefined
  }

  hasBegun(sessionId: string) {
    return this.#sessions.hasBegun(sessionId)
  }

  begin(sessionId: string) {
    this.#sessions.begin(sessionId)
  }

  async attach(sessionId: string, after: number, epoch: string, head = after) {
    this.#refuseIfEnded()
    return this.#sessions.attach({ sessionId, after, epoch, head })
  }

  detach(sessionId: string) {
    this.#sessions.detach(sessionId)
  }

  ping() {
    if (this.#control.length > 0) return
    this.#control.push(PING)
    this.announceWork()
  }

  say(frame: object) {
    this.#refuseIf(this.#control.length >= MAX_CONTROL)
    this.#control.push(toFrame(frame))
    this.announceWork()
  }

  confirm({ sessions, ...rest }: { readonly resumeId?: string; readonly sessions: readonly SessionVerdict[] }) {
    const frame = toFrame({ type: 'reconnected', ...rest, sessions })
    this.#refuseIf(this.#markers.length >= MAX_CONTROL || !this.#options.account.take(MARKER_WEIGHT * frame.length))
    this.#markers.push({ sessions, frame })
    this.announceWork()
  }

  retire() {
    if (this.#hasEnded) return
    this.#pulse.retire()
  }

  end(goodbye: Goodbye = {}) {
    if (this.#hasEnded) return
    this.#sink?.enqueue(encoder.encode(toFrame({ type: 'goodbye', ...goodbye })))
    this.#sink?.close()
    this.#release()
  }

  evict(goodbye?: Goodbye) {
    if (this.#hasEnded) return
    this.#options.onEvict()
    if (goodbye) return this.end(goodbye)
    // An error, not an end: hosts wait for an end to be sent, and nobody is reading.
    this.#sink?.error(new Error('the client stopped reading'))
    this.#release()
  }

  // Writing

  get #isAsked() {
    return this.#state === 'asked' || this.#state === 'writing'
  }

  get #hasEnded() {
    return this.#state === 'ended'
  }

  announceWork() {
    if (this.#state === 'asked' && this.#hasWork()) void this.#answer()
    else this.#watchReader()
  }

  #hasWork(): boolean {
    const isPacedDue = !!this.#sessions.paced?.size && this.#paceTimer === undefined
    return this.#control.length > 0 || this.#sessions.unread.size > 0 || isPacedDue || this.#isReplayed()
  }

  /** One chunk for each read, as long as there is something to write. */
  async #answer() {
    this.#state = 'writing'
    try {
      while (this.#isAsked && this.#hasWork()) {
        const chunk = await this.#nextChunk()
        if (chunk === '' || this.#hasEnded) continue
        this.#state = 'written'
        this.#sink?.enqueue(encoder.encode(chunk))
        this.lastWrite = this.#options.clock.now()
        this.#slice += chunk.length
        if (this.#slice < SLICE_CHARS) continue
        this.#slice = 0
        await nextTurn()
      }
    } catch (error) {
      this.#options.onError(error)
      this.end()
    }
    if (!this.#hasEnded) this.#state = this.#isAsked ? 'asked' : 'unasked'
    this.#watchReader()
  }

  async #nextChunk(): Promise<string> {
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
        // The session's numbering started again. The next resume of the client will be told so, with `reset`.
        this.end()
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

  /** Of those whose replay waits, one at a time: a look at each of a thousand, on twenty streams, is all that a process could do. */
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

  // Time

  /** Whether replays are put off until their principal may be written more. Whatever else there is goes on. */
  #hasToWait(): boolean {
    const { clock, pacer, principalId } = this.#options
    if (this.#paceTimer !== undefined) return true
    const ms = pacer.delay(principalId)
    if (ms === 0) return false
    this.#paceTimer = clock.setTimeout(() => {
      this.#paceTimer = undefined
      this.announceWork()
    }, ms)
    return true
  }

  /** A client that keeps up always has a read waiting. Work without one means that it has stopped reading. */
  #watchReader() {
    if (this.#isAsked || this.#hasEnded || this.#stallTimer !== undefined || !this.#hasWork()) return
    this.#stallTimer = this.#options.clock.setTimeout(() => {
      this.#stallTimer = undefined
      if (this.#hasWork()) this.evict()
    }, this.#options.stall)
  }

  #release() {
    if (this.#hasEnded) return
    this.#state = 'ended'
    this.#pulse.stop()
    for (const timer of [this.#stallTimer, this.#paceTimer]) this.#options.clock.clearTimeout(timer)
    const { ids } = this.#sessions
    this.#sessions.clear()
    this.#options.onEnd(ids)
  }

  #refuseIfEnded() {
    if (this.#hasEnded) throw unknownStream()
  }

  #refuseIf(isFull: boolean) {
    this.#refuseIfEnded()
    if (isFull) throw tooMany()
  }
}

/** Not a time to wait, so it is not the clock's. */
const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve, 0))
