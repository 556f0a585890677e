import type { SessionVerdict } from '../../protocol'
import type { Clock } from '../clock'
import { tooMany, unknownStream } from '../errors'
import type { Account } from '../limits/budget'
import { SESSION_WEIGHT } from '../limits/weights'
import type { LogEntry, SessionHead, SessionLog } from '../log/sessionLog'
import type { ReplayPacer } from './replayPacer'

/** About how much is written per read of the client: enough to be quick, little enough to be memory for nobody. */
const CHUNK_CHARS = 64 * 1024
const CHUNK_EVENTS = 64
/** Events of one session before the next session has its turn; at first few, because nobody knows how big they are. */
const TURN_EVENTS = 16
const FIRST_TURN = 4
/** Written by a stream before others have their turn of the event loop. */
const SLICE_CHARS = 4 * CHUNK_CHARS

/** ms. */
const MOMENT = 100
/** Unwritten control frames and markers, each. Only a client that posts without reading has more. */
const MAX_CONTROL = 64
/** For each character of its frame, bytes: the verdicts are held as objects too. */
const MARKER_WEIGHT = 4

export interface ChatStreamOptions {
  readonly log: SessionLog
  readonly clock: Clock
  /** ms, as in `ChatServerOptions`. */
  readonly heartbeat: number
  readonly stall: number
  /** How long this stream lives, ms. */
  readonly age: number
  /** ms. */
  readonly beat: number
  readonly maxSessions: number
  readonly principalId: string
  readonly pacer: ReplayPacer
  /** What it holds for its client. Whoever opened the stream closes it. */
  readonly account: Account
  readonly welcome: object
  /** Called once, however the stream ended, with the sessions that were attached. */
  onEnd(sessionIds: Iterable<string>): void
  /** Called before, if the stream was taken from its client. */
  onEvict(): void
  /** Called at least once in each `beat`. */
  onBeat(): void
  onError(error: unknown): void
}

/** What a client is told that is to come back, ms. */
export interface Goodbye {
  readonly retryAfter?: number
  readonly spread?: number
}

/** One live SSE response. After its end every method but `say`, `attach` and `confirm` (which refuse) does nothing. */
export interface ChatStream {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  /** For how long nobody has read, ms; 0 while a read is waiting. */
  readonly unreadFor: number
  /** Those that are attached. */
  readonly sessionIds: readonly string[]
  /** Of the last `reconnect`. */
  resumeId: string | undefined
  isAttached(sessionId: string): boolean
  /** Whether it is attached, and has events, or a command has been let in that may bring its first ones. */
  hasBegun(sessionId: string): boolean
  /** Such a command has been let in. */
  begin(sessionId: string): void
  /**
   * Writes what is in the log after `after`, and whatever follows. A session that is attached starts over there. What comes up to
   * `head` is a replay, and paced. False if the session is one too many.
   * Rejects with `Refusal` 429 if there is no room for it.
   */
  attach(sessionId: string, after: number, epoch: string, head?: number): Promise<boolean>
  detach(sessionId: string): void
  /** Queues a control frame; it is written before any event. */
  say(frame: object): void
  /** Queues a replay marker; it is written as soon as each of its sessions has been written up to its `to`. */
  confirm(marker: { readonly resumeId?: string; readonly sessions: readonly SessionVerdict[] }): void
  end(goodbye?: Goodbye): void
  /** Ends it in a moment: answers that are under way on the same socket get ahead of that. */
  retire(): void
  /** Takes the stream from its client. Without a goodbye, because nobody reads. */
  evict(goodbye?: Goodbye): void
}

interface Attached {
  epoch: string
  /** The `seq` that was written last. */
  position: number
  /** Up to here it is a replay. */
  readonly head: number
  /** How many events are read at a time: fewer where they are big. */
  turn: number
  /** Who has asked for it so far. */
  usedBy: 'reader' | 'command'
  unsubscribe(): void
}

interface Marker {
  readonly sessions: readonly SessionVerdict[]
  readonly frame: string
}

export const createChatStream = (options: ChatStreamOptions): ChatStream => new PulledStream(options)

const encoder = new TextEncoder()

/**
 * The response body, and its own source. It is pulled: each read of the client takes the next chunk from the log, by cursor. There
 * is no queue of events and so nothing that grows with a slow client, and no difference between replay and live.
 *
 * A class, and no promise that waits for work: a server holds thousands of these, and most of them are quiet.
 */
class PulledStream implements ChatStream, UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  resumeId: string | undefined
  readonly #options: ChatStreamOptions
  readonly #attached = new Map<string, Attached>()
  /** Attached sessions that may have unwritten events. The first one is next: a Set keeps its order, so this is round-robin. */
  readonly #unread = new Set<string>()
  /** Those of them whose replay waits until its principal may be written more. */
  #paced: Set<string> | undefined
  readonly #markers: Marker[] = []
  #control: string[]
  /** A read of the client is waiting for its chunk. */
  #isAsked = false
  #isAnswering = false
  #hasEnded = false
  #lastWrite: number
  /** Characters since others had their turn of the event loop. */
  #slice = 0
  /** What is left of the stream's age, ms, when `#timer` fires. */
  #left: number
  #sink: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined
  #timer: unknown
  #stallTimer: unknown
  #paceTimer: unknown

  constructor(options: ChatStreamOptions) {
    this.#options = options
    this.#control = [`event: welcome\n${toFrame(options.welcome)}`]
    this.#lastWrite = options.clock.now()
    this.#left = options.age
    this.#sleep(options.heartbeat)
    // No read-ahead: `pull` then means that the client is waiting, and a client that is not waiting holds no memory.
    this.body = new ReadableStream(this, { highWaterMark: 0 })
    this.#watchReader()
  }

  // The source

  start(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) {
    this.#sink = controller
  }

  pull() {
    this.#isAsked = true
    this.#options.clock.clearTimeout(this.#stallTimer)
    this.#stallTimer = undefined
    this.#announceWork()
  }

  cancel() {
    this.#release()
  }

  // What a stream can be asked and told

  get unreadFor() {
    return this.#isAsked ? 0 : Math.max(0, this.#options.clock.now() - this.#lastWrite)
  }

  get sessionIds() {
    return [...this.#attached.keys()]
  }

  isAttached(sessionId: string) {
    return this.#attached.has(sessionId)
  }

  hasBegun(sessionId: string) {
    const session = this.#attached.get(sessionId)
    return session !== undefined && (session.position > 0 || session.usedBy === 'command')
  }

  begin(sessionId: string) {
    const session = this.#attached.get(sessionId)
    if (session) session.usedBy = 'command'
  }

  async attach(sessionId: string, after: number, epoch: string, head = after) {
    if (this.#attached.has(sessionId)) this.detach(sessionId)
    this.#refuseIfEnded()
    if (this.#attached.size >= this.#options.maxSessions) return false
    if (!this.#options.account.take(SESSION_WEIGHT)) throw tooMany()
    const session: Attached = {
      epoch,
      position: after,
      head,
      turn: FIRST_TURN,
      usedBy: 'reader',
      unsubscribe: () => {},
    }
    const readOn = () => {
      if (this.#attached.get(sessionId) !== session || this.#paced?.has(sessionId)) return
      this.#unread.add(sessionId)
      this.#announceWork()
    }
    /** Attached without a subscription it would stay silent for ever; detached it is asked for again. */
    const giveUp = (error: unknown): never => {
      if (this.#attached.get(sessionId) === session) this.detach(sessionId)
      throw error
    }
    this.#attached.set(sessionId, session)
    readOn()
    const subscribing = this.#options.log.subscribe(sessionId, readOn)
    const unsubscribe = subscribing instanceof Promise ? await subscribing.catch(giveUp) : subscribing
    // Detached, attached anew or ended while the log was subscribing.
    if (this.#attached.get(sessionId) !== session) unsubscribe()
    else session.unsubscribe = unsubscribe
    // Again: what came before the subscription took hold is read now, what comes later is announced.
    readOn()
    return true
  }

  detach(sessionId: string) {
    this.#attached.get(sessionId)?.unsubscribe()
    if (this.#attached.delete(sessionId)) this.#options.account.give(SESSION_WEIGHT)
    this.#unread.delete(sessionId)
    this.#paced?.delete(sessionId)
    // A marker may have waited for this session alone.
    this.#announceWork()
  }

  say(frame: object) {
    this.#refuseIf(this.#control.length >= MAX_CONTROL)
    this.#control.push(toFrame(frame))
    this.#announceWork()
  }

  confirm({ sessions, ...rest }: { readonly resumeId?: string; readonly sessions: readonly SessionVerdict[] }) {
    const frame = toFrame({ type: 'reconnected', ...rest, sessions })
    this.#refuseIf(this.#markers.length >= MAX_CONTROL || !this.#options.account.take(MARKER_WEIGHT * frame.length))
    this.#markers.push({ sessions, frame })
    this.#announceWork()
  }

  retire() {
    if (this.#hasEnded) return
    this.#options.clock.clearTimeout(this.#timer)
    this.#left = Math.min(this.#left, MOMENT)
    this.#sleep(MOMENT)
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

  #announceWork() {
    if (this.#isAsked && !this.#isAnswering && this.#hasWork()) void this.#answer()
    else this.#watchReader()
  }

  #hasWork(): boolean {
    const isPacedDue = !!this.#paced?.size && this.#paceTimer === undefined
    return this.#control.length > 0 || this.#unread.size > 0 || isPacedDue || this.#isReplayed(this.#markers[0])
  }

  /** One chunk for each read, as long as there is something to write. */
  async #answer() {
    this.#isAnswering = true
    try {
      while (this.#isAsked && !this.#hasEnded && this.#hasWork()) {
        const chunk = await this.#nextChunk()
        if (chunk === '' || this.#hasEnded) continue
        this.#isAsked = false
        this.#sink?.enqueue(encoder.encode(chunk))
        this.#lastWrite = this.#options.clock.now()
        this.#slice += chunk.length
        if (this.#slice < SLICE_CHARS) continue
        this.#slice = 0
        await nextTurn()
      }
    } catch (error) {
      this.#options.onError(error)
      this.end()
    }
    this.#isAnswering = false
    this.#watchReader()
  }

  async #nextChunk(): Promise<string> {
    const { log, pacer, principalId } = this.#options
    let chunk = this.#control.join('')
    this.#control = []
    for (let events = 0; events < CHUNK_EVENTS && chunk.length < CHUNK_CHARS; ) {
      const sessionId = this.#nextUnread()
      if (sessionId === undefined) break
      const session = this.#attached.get(sessionId)
      if (!session) continue
      const isReplay = session.position < session.head
      if (isReplay && this.#hasToWait()) {
        this.#paced ??= new Set()
        this.#paced.add(sessionId)
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
      if (isUnreadable || this.#attached.get(sessionId) !== session) continue
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
      if (isMore) this.#unread.add(sessionId)
    }
    while (this.#isReplayed(this.#markers[0])) {
      const { frame = '' } = this.#markers.shift() ?? {}
      this.#options.account.give(MARKER_WEIGHT * frame.length)
      chunk += frame
    }
    return chunk
  }

  /** Of those whose replay waits, one at a time: a look at each of a thousand, on twenty streams, is all that a process could do. */
  #nextUnread(): string | undefined {
    const isPaced = this.#unread.size === 0
    const from = isPaced ? this.#paced : this.#unread
    if (!from?.size || (isPaced && this.#hasToWait())) return undefined
    const [sessionId = ''] = from
    from.delete(sessionId)
    return sessionId
  }

  /** A session without unread events was written up to its `to`, or as far as the log still reaches. */
  #isReplayed(marker: Marker | undefined): boolean {
    if (!marker) return false
    return marker.sessions.every(({ sessionId, to }) => {
      const session = this.#attached.get(sessionId)
      return !session || session.position >= to || !(this.#unread.has(sessionId) || this.#paced?.has(sessionId))
    })
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
      this.#announceWork()
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

  /** One timer for the pings, the beats and the age. An age of its own would be a list of its own in Node, as no two are the same. */
  #sleep(untilPing: number) {
    const ms = Math.min(untilPing, this.#left, this.#options.beat)
    this.#left -= ms
    this.#timer = this.#options.clock.setTimeout(this.#awake, ms)
  }

  readonly #awake = () => {
    if (this.#left <= 0) return this.end()
    const { clock, heartbeat } = this.#options
    // Not below 0: the clock may have been set back.
    const quiet = Math.max(0, clock.now() - this.#lastWrite)
    const isDue = quiet >= heartbeat
    this.#sleep(isDue ? heartbeat : heartbeat - quiet)
    this.#options.onBeat()
    if (!isDue || this.#control.length > 0) return
    this.#control.push(PING)
    this.#announceWork()
  }

  #release() {
    if (this.#hasEnded) return
    this.#hasEnded = true
    for (const timer of [this.#stallTimer, this.#paceTimer, this.#timer]) this.#options.clock.clearTimeout(timer)
    for (const session of this.#attached.values()) session.unsubscribe()
    this.#options.onEnd(this.#attached.keys())
    this.#attached.clear()
    this.#unread.clear()
    this.#paced = undefined
  }

  #refuseIfEnded() {
    if (this.#hasEnded) throw unknownStream()
  }

  #refuseIf(isFull: boolean) {
    this.#refuseIfEnded()
    if (isFull) throw tooMany()
  }
}

const toFrame = (message: object) => `data: ${JSON.stringify(message)}\n\n`
const PING = toFrame({ type: 'ping' })

/** Not a time to wait, so it is not the clock's. */
const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve, 0))

/** The envelope comes last, so that no payload can forge it. `prevSeq` is part of it, and this server writes none. */
function eventFrame(entry: LogEntry): string {
  const { sessionId, seq, epoch, json } = entry
  if (json === undefined) return toFrame({ ...entry.event, prevSeq: undefined, sessionId, seq, epoch })
  return `data: ${json.slice(0, -1)},"sessionId":${JSON.stringify(sessionId)},"seq":${seq},"epoch":${JSON.stringify(epoch)}}\n\n`
}
