import { unknownStream } from '../errors'
import type { ChatStream, ChatStreamOptions, Goodbye, Replayed } from './api'
import { Attachments, type AttachmentsHost } from './attachments'
import { Chunks, type ChunksHost } from './chunks'
import { PING, toFrame } from './frames'
import { Pulse, type PulseHost } from './pulse'

/** Written by a stream before others have their turn of the event loop. */
const SLICE_CHARS = 256 * 1024

/**
 * Whether a read of the client waits for its chunk, and whether one is being made. `unasked`:
 * neither. `asked`: a read waits, and there is nothing to write. `writing`: a read waits, and its
 * chunk is being made. `written`: it has its chunk, and the next read finds the loop still running.
 */
type State = 'unasked' | 'asked' | 'writing' | 'written' | 'ended'

export const createChatStream = (options: ChatStreamOptions): ChatStream => new PulledStream(options)

const encoder = new TextEncoder()

/**
 * The response body, and its own source. It is pulled: each read of the client takes the next chunk
 * from the log, by cursor. There is no queue of events and so nothing that grows with a slow
 * client, and no difference between replay and live.
 *
 * A class, and no promise that waits for work: a server holds thousands of these, and most of them
 * are quiet.
 */
class PulledStream
  implements ChatStream, AttachmentsHost, ChunksHost, PulseHost, UnderlyingDefaultSource<Uint8Array<ArrayBuffer>>
{
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
  resumeId: string | undefined
  lastWrite: number
  readonly #options: ChatStreamOptions
  readonly #sessions: Attachments
  readonly #chunks: Chunks
  readonly #pulse: Pulse
  #state: State = 'unasked'
  /** Characters since others had their turn of the event loop. */
  #slice = 0
  #sink: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined
  #stallTimer: unknown

  constructor(options: ChatStreamOptions) {
    this.#options = options
    this.lastWrite = options.clock.now()
    this.#sessions = new Attachments(options, this)
    this.#chunks = new Chunks(options, this.#sessions, this)
    this.#pulse = new Pulse(options, this)
    // No read-ahead: `pull` then means that the client is waiting, and a client that is not waiting
    // holds no memory.
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

  // Questions and orders

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
    if (!this.#chunks.hasControl) this.#chunks.say(PING)
  }

  say(frame: object) {
    this.#refuseIfEnded()
    this.#chunks.say(toFrame(frame))
  }

  confirm(marker: Replayed) {
    this.#refuseIfEnded()
    this.#chunks.confirm(marker)
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
    // An error, not an end: hosts wait for an end to be sent, and the client does not read.
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
    if (this.#state === 'asked' && this.#chunks.hasWork()) void this.#answer()
    else this.#watchReader()
  }

  /** One chunk for each read, as long as there is something to write. */
  async #answer() {
    this.#state = 'writing'
    try {
      while (this.#isAsked && this.#chunks.hasWork()) {
        const chunk = await this.#chunks.next()
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

  // Time

  /**
   * A client that keeps up always has a read waiting. Work without one means that it has stopped
   * reading.
   */
  #watchReader() {
    if (this.#isAsked || this.#hasEnded || this.#stallTimer !== undefined || !this.#chunks.hasWork()) return
    this.#stallTimer = this.#options.clock.setTimeout(() => {
      this.#stallTimer = undefined
      if (this.#chunks.hasWork()) this.evict()
    }, this.#options.stall)
  }

  #release() {
    if (this.#hasEnded) return
    this.#state = 'ended'
    this.#pulse.stop()
    this.#chunks.stop()
    this.#options.clock.clearTimeout(this.#stallTimer)
    const { ids } = this.#sessions
    this.#sessions.clear()
    this.#options.onEnd(ids)
  }

  #refuseIfEnded() {
    if (this.#hasEnded) throw unknownStream()
  }
}

/** Not a time to wait, so it is not the clock's. */
const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve, 0))
