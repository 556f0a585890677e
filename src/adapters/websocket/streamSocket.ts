import type { Clock } from '../../environment'
import {
  type Feature,
  IDEMPOTENCY_KEY_HEADER,
  isText,
  type JsonObject,
  LANE_HEADER,
  newId,
  parseJson,
  parseResults,
  parseWelcome,
  RESERVED_TYPES,
} from '../../protocol'
import type { StreamHandlers } from '../eventSource'
import { type Answer, statusOf, TOO_BIG, toFrame, toHello, toRefused, toResponse, toStreamError } from './frames'

/** What is used of a WebSocket. Both the native one and the `ws` package fit. */
export interface WebSocketLike {
  readonly readyState: number
  send(data: string): void
  close(): void
  addEventListener(type: 'open' | 'message' | 'error' | 'close', listener: (event: WebSocketEvent) => void): void
}
/** Which field is there depends on the type. */
export interface WebSocketEvent {
  readonly type: string
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
  /** Of an error, where the class tells it. */
  readonly message?: string
}

/**
 * One stream of the connection. After a 401 it goes on over another socket, and is told of once.
 */
export interface Stream {
  readonly handlers: StreamHandlers
  stage: 'opening' | 'open'
}

/** [spec] HTML: the `readyState` of a WebSocket. */
const OPEN = 1
const CLOSING = 2
const CLOSED = 3
/** A socket that is closing has so long to say why, ms. */
const CLOSING_TIMEOUT = 1_000

/** A frame that waits for its answer. */
interface Waiting {
  readonly frame: string
  readonly settle: (answer: Answer | Error) => void
}

/**
 * One socket.
 *
 * | stage | frames | its end |
 * | --- | --- | --- |
 * | `opening` | none are sent | answers the request for the stream: with the status of the close, or as a failure |
 * | `greeted`: the hello is sent | are sent, and heard | the same |
 * | `welcomed`: the request is answered 200 | are sent, and heard | is the stream's error |
 * | `over` | none are sent or heard | |
 */
export class StreamSocket {
  readonly #socket: WebSocketLike
  readonly #stream: Stream
  readonly #clock: Clock
  #stage: 'opening' | 'greeted' | 'welcomed' | 'over' = 'opening'
  #features: readonly Feature[] = []
  /** The last hello. It is sent again only if it has changed. */
  #hello = ''
  /** By the ids of the frames. */
  readonly #waiting = new Map<unknown, Waiting>()
  /**
   * The last resume. Its marker, which echoes the `resumeId`, is as good an answer as its `ack`.
   */
  #resume: { readonly id: string; readonly resumeId: unknown } | undefined
  /** Is set while a `close` is waited for. */
  #timer: unknown

  constructor(socket: WebSocketLike, stream: Stream, clock: Clock) {
    this.#socket = socket
    this.#stream = stream
    this.#clock = clock
  }

  get isOpen(): boolean {
    return this.#isCurrent && this.#socket.readyState === OPEN
  }

  get #isCurrent(): boolean {
    return this.#stage === 'greeted' || this.#stage === 'welcomed'
  }

  /**
   * The request for the stream. It is answered 200 by the welcome, or with the status that a close
   * before it stands for.
   */
  connect(headers: Headers, signal: AbortSignal): Promise<Response> {
    const socket = this.#socket
    const { handlers } = this.#stream
    return new Promise((resolve, reject) => {
      const drop = () => {
        this.#stage = 'over'
        signal.removeEventListener('abort', drop)
        this.#clock.clearTimeout(this.#timer)
        for (const { settle } of this.#waiting.values()) settle(new Error('the socket was closed'))
        socket.close()
      }
      this.#end = ({ code = 0, reason = '', message } = {}) => {
        const stage = this.#stage
        if (stage === 'over') return
        if (code === TOO_BIG) this.#refuseBiggest()
        drop()
        const status = statusOf(code)
        if (stage === 'welcomed') handlers.error(toStreamError(code, reason, message))
        else if (status) resolve(toRefused(code, status, reason))
        else reject(toStreamError(code, reason, message))
      }
      socket.addEventListener('open', () => {
        if (this.#stage !== 'opening') return
        this.#stage = 'greeted'
        this.#greet(headers)
        if (this.#stream.stage === 'opening') handlers.open()
        this.#stream.stage = 'open'
      })
      socket.addEventListener('message', ({ data }) => {
        if (this.#stage !== 'over') this.#hear(isText(data) ? data : '', resolve)
      })
      // An `error` is an end too: not every implementation has a `close` after it.
      for (const type of ['error', 'close'] as const) socket.addEventListener(type, this.#end)
      signal.addEventListener('abort', drop)
    })
  }

  /** As if a `close` had come. */
  #end: (event?: Partial<WebSocketEvent>) => void = () => {}

  /** Some frame was too big, so the biggest was. Repeated, it would cost every socket to come. */
  #refuseBiggest() {
    const [biggest] = [...this.#waiting.values()].sort((a, b) => b.frame.length - a.frame.length)
    biggest?.settle({ status: 413 })
  }

  #hear(text: string, welcomed: (response: Response) => void) {
    const { handlers } = this.#stream
    const json = parseJson(text)
    const { type, sessionId, resumeId }: JsonObject = Object(json)
    if (type === 'ack' && sessionId === undefined) {
      handlers.sign()
      for (const answer of parseResults({ results: [json] })) this.#settle(answer.id, answer)
    } else if (type === 'welcome' && sessionId === undefined) {
      this.#stage = 'welcomed'
      this.#features = parseWelcome(text)?.features ?? []
      welcomed(new Response(null, { headers: { 'Content-Type': 'text/event-stream' } }))
      handlers.welcome(text)
    } else {
      const resume = this.#resume
      if (type === 'reconnected' && resume?.resumeId === resumeId)
        this.#settle(resume?.id, { status: 200, receipt: json })
      handlers.message(text, json)
    }
  }

  #settle(id: unknown, answer: Answer) {
    this.#waiting.get(id)?.settle(answer)
    this.#waiting.delete(id)
  }

  #greet(headers: Headers) {
    const hello = toHello(headers)
    if (hello !== this.#hello) this.#socket.send(hello)
    this.#hello = hello
  }

  /** A POST, as a frame that its `ack` answers. */
  async exchange(endpoint: string, headers: Headers, body: string): Promise<Response> {
    this.#greet(headers)
    const id = headers.get(IDEMPOTENCY_KEY_HEADER) ?? newId()
    const frame = toFrame(id, endpoint, body, headers.get(LANE_HEADER))
    if (endpoint === 'reconnect') this.#resume = { id, resumeId: Object(parseJson(body)).resumeId }
    // Any other server has promised no answer: it counts that the socket has taken the frame.
    const isAnswered = this.#features.includes('receipts') || RESERVED_TYPES.includes(endpoint)
    const answering = isAnswered && new Promise<Answer | Error>((settle) => this.#waiting.set(id, { frame, settle }))
    this.#socket.send(frame)
    const answer = (await answering) || { status: 200 }
    if (answer instanceof Error) throw answer
    return toResponse(answer)
  }

  /** Without an answer. */
  tell(endpoint: string, body: string) {
    this.#socket.send(toFrame(newId(), endpoint, body))
  }

  /** Some sockets are over and have told no `close`; one that is closing may still do. */
  check() {
    if (!this.#isCurrent) return
    const { readyState } = this.#socket
    if (readyState === CLOSED) this.#end()
    else if (readyState === CLOSING) this.#timer ??= this.#clock.setTimeout(() => this.#end(), CLOSING_TIMEOUT)
  }
}
