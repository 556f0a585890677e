import { isText, type JsonObject, MESSAGE_ID, PROTOCOL_VERSION, parseJson } from '../../protocol'
import type { Timers } from '../clock'
import { LANE_RULE } from '../command/lanes'
import type { Account } from '../limits/budget'
import { accountOf, REQUEST_WEIGHT, textWeight } from '../limits/weights'
import { FRAME_DEPTH, isTooDeep, membersOf } from '../request/json'
import type { Door, Visitor } from './door'
import { type Frame, TOO_EARLY } from './frameOrder'
import { FramePosts, type FramePostsOptions, type Post } from './framePosts'
import { type Held, HeldFrames } from './heldFrames'
import type { GatewaySocket } from './socket'
import { SocketWriter } from './socketWriter'
import {
  type FrameAnswer,
  laneOf,
  lanesOf,
  type Members,
  readFrames,
  textOf,
  toClose,
  toHeaders,
} from './webSocketFrames'

export interface WebSocketLineOptions extends FramePostsOptions {
  readonly socket: GatewaySocket
  readonly clock: Timers
  readonly door: Door
  /** The account that it draws on if its stream names no other. */
  readonly account: Account
  /** The headers that a hello may set, in lower case. */
  readonly allowedHeaders: ReadonlySet<string>
}

/** ms. A client says hello as soon as its socket is open. */
const HELLO_TIMEOUT = 5_000
/** Characters of a hello: as much as servers take of a header. */
const MAX_HELLO = 8_192
/**
 * Characters. Well over the usual limit of a body: what is too large should cost its sender the
 * message, not the socket.
 */
const MAX_FRAME = 1_048_576
const ENDPOINT = /^[\w-]{1,64}$/
/**
 * A client has this long to read why it was closed, ms. `ws` would wait 30 s for its answer, and go
 * on reading.
 */
const LINGER = 1_000
const COME_BACK = '1000'
const TOO_DEEP: FrameAnswer = { status: 400, error: 'too-deep' }
const BAD_LANE: FrameAnswer = { status: 400, error: 'bad-request', message: LANE_RULE }

/** `silent`: no hello yet. `greeted`: it has said hello, and its stream has not opened yet. */
type State = 'silent' | 'greeted' | 'open' | 'over'

/** The headers of a hello, and what they hold, bytes. */
interface Hello {
  readonly headers: Headers
  readonly weight: number
}

/** One socket. Nothing is kept of it after its end, nor of what it was refused. */
export class WebSocketLine {
  readonly #options: WebSocketLineOptions
  readonly #held = new HeldFrames(() => this.#close(4429, COME_BACK))
  readonly #posts: FramePosts
  readonly #writer: SocketWriter
  readonly #visitor: Visitor | undefined
  #state: State = 'silent'
  #hello: Hello | undefined
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  /** Until the hello, and then until the end of a close. */
  #timer: unknown

  constructor(options: WebSocketLineOptions) {
    this.#options = options
    this.#posts = new FramePosts(options)
    this.#writer = new SocketWriter(options.socket, options.clock)
    this.#timer = options.clock.setTimeout(() => this.#turnOut(4408), HELLO_TIMEOUT)
    this.#visitor = options.door.enter(REQUEST_WEIGHT + options.upgrade.weight, () => this.#turnOut(4408))
    if (!this.#visitor) this.#turnOut(4429, COME_BACK)
  }

  // Ends

  /** The socket has ended. */
  closed() {
    this.#end()
    this.#options.clock.clearTimeout(this.#timer)
  }

  fail(error: unknown) {
    this.#options.onError(error)
    this.#close(1011)
  }

  #end() {
    this.#state = 'over'
    this.#writer.end()
    this.#options.clock.clearTimeout(this.#timer)
    this.#visitor?.leave()
    this.#reader?.cancel().catch(() => {})
    this.#held.clear()
    this.#posts.abort()
    this.#hello = undefined
  }

  #hangUp(how: (socket: GatewaySocket) => void) {
    if (this.#state === 'over') return
    this.#end()
    try {
      how(this.#options.socket)
    } catch (error) {
      this.#options.onError(error)
    }
  }

  #close(code: number, reason?: string) {
    const { clock } = this.#options
    this.#hangUp((socket) => {
      socket.close(code, reason)
      if (socket.terminate) this.#timer = clock.setTimeout(() => socket.terminate?.(), LINGER)
    })
  }

  /**
   * Nothing more is read of a socket without a welcome, so it is told why only if that is quick.
   */
  #turnOut(code: number, reason?: string) {
    this.#hangUp((socket) => {
      socket.close(code, reason)
      socket.terminate?.()
    })
  }

  /**
   * The stream has failed. That is what becomes of a client that stops reading, and it would not
   * read a close either.
   */
  #cut() {
    this.#hangUp((socket) => {
      socket.terminate?.()
      socket.close(4503)
    })
  }

  // Down

  async #openStream({ headers }: Hello) {
    const response = await this.#posts.ask('events', { headers })
    const { ok, body } = response
    if (this.#state === 'over') return body?.cancel()
    if (!ok || !body) return this.#close(...(await toClose(response)))
    this.#held.open(accountOf(body) ?? this.#options.account)
    this.#reader = body.getReader()
    // The stream is not read while the socket drains. It notices that, and fails.
    this.#reader.closed.catch(() => this.#cut())
    for await (const frames of readFrames(this.#reader)) {
      if (this.#state === 'greeted') this.#letIn(frames)
      for (const frame of frames) this.#writer.send(frame)
      await this.#writer.drained()
    }
    this.#close(4503)
  }

  /** The welcome comes first. */
  #letIn([welcome = '']: readonly string[]) {
    this.#posts.connectionId = String(Object(parseJson(welcome)).connectionId ?? '')
    this.#state = 'open'
    this.#visitor?.leave()
  }

  // Up

  receive(data: unknown) {
    const isStranger = this.#state !== 'open'
    const close = isStranger ? this.#turnOut.bind(this) : this.#close.bind(this)
    if (this.#state === 'over') return
    if (!isText(data)) return close(1003)
    if (data.length > MAX_FRAME) return close(1009)
    // A frame before the welcome is one that the client must send again anyway.
    if (isStranger && data.length > MAX_HELLO) return this.#state === 'silent' ? close(1009) : close(4429, COME_BACK)
    const frame = membersOf(data)
    const isDeep = isTooDeep(data, FRAME_DEPTH)
    const isHello = textOf(frame, 'type') === 'hello'
    if (!frame || (isDeep && isHello)) close(1007)
    else if (isHello) this.#greet(data, close)
    else if (this.#hello) this.#take(frame, this.#hello, isDeep ? 0 : textWeight(data))
    else close(1002)
  }

  /** The first one opens the stream; later ones are about the frames after them. */
  #greet(data: string, close: (code: number) => void) {
    const { allowedHeaders, upgrade, onError } = this.#options
    if (data.length > MAX_HELLO) return close(1009)
    const { protocolVersion, headers: given }: JsonObject = Object(parseJson(data))
    if (protocolVersion !== PROTOCOL_VERSION) return close(1002)
    const headers = toHeaders(given, allowedHeaders, upgrade.headers)
    if (!headers) return close(1007)
    this.#hello = { headers, weight: upgrade.weight + 2 * data.length }
    if (this.#state !== 'silent') return
    if (!this.#visitor?.greet(2 * MAX_HELLO)) return this.#turnOut(4429, COME_BACK)
    this.#state = 'greeted'
    this.#options.clock.clearTimeout(this.#timer)
    this.#openStream(this.#hello).catch((error) => {
      if (this.#state !== 'over') onError(error)
      this.#cut()
    })
  }

  /**
   * Not parsed: the POST is, in its turn. One that is too deep weighs nothing, as nothing of it is
   * kept.
   */
  #take(members: Members, { headers, weight }: Hello, textBytes: number) {
    const [id, endpoint, body = ''] = [textOf(members, 'id'), textOf(members, 'endpoint'), members.get('body')]
    if (!MESSAGE_ID.test(id) || !ENDPOINT.test(endpoint)) return this.#close(1007)
    if (this.#state !== 'open') return this.#refuse(id, TOO_EARLY)
    const lane = laneOf(members.get('lane'))
    const frame: Frame = {
      endpoint,
      lanes: endpoint === 'batch' ? lanesOf(body) : new Map([[lane ?? undefined, [id]]]),
    }
    const held = this.#held.hold(frame, weight + textBytes)
    if ('status' in held) return this.#refuse(id, held)
    // A frame that is too deep is answered in its turn: closed for it, the socket would be opened
    // anew, and the frame repeated.
    const refusal = textBytes === 0 ? TOO_DEEP : lane === null ? BAD_LANE : undefined
    const post = { id, endpoint, lane: lane ?? undefined, body, headers }
    this.#perform(held, post, refusal).catch((error) => this.fail(error))
  }

  #perform(held: Held, post: Post, refusal: FrameAnswer | undefined): Promise<void> {
    return this.#held.perform(held, async (instead) => {
      const answer = instead ?? refusal ?? (await this.#posts.post(post))
      // A client that posts and does not read has one answer waiting here, and no further command
      // begins before it is sent.
      await this.#writer.drained()
      if (this.#state === 'open') this.#writer.sendAck(post.id, answer)
      return answer
    })
  }

  /** At once, and nothing of the frame is kept. */
  #refuse(id: string, answer: FrameAnswer) {
    if (this.#writer.isClogged) this.#close(4429, COME_BACK)
    else this.#writer.sendAck(id, answer)
  }
}
