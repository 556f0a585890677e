import {
  CONNECTION_ID_HEADER,
  IDEMPOTENCY_KEY_HEADER,
  isText,
  type JsonObject,
  LANE_HEADER,
  MESSAGE_ID,
  PROTOCOL_VERSION,
  parseJson,
} from '../../protocol'
import type { Timers } from '../clock'
import { type Account, Budget } from '../limits/budget'
import { accountOf, FRAME_WEIGHT, LANE_WEIGHT, REQUEST_WEIGHT, textWeight } from '../limits/weights'
import { FRAME_DEPTH, isTooDeep, membersOf } from '../request/json'
import type { Door, Visitor } from './door'
import { type Frame, FrameOrder, isCommand, TOO_EARLY } from './frameOrder'
import type { GatewaySocket } from './socket'
import {
  type FrameAnswer,
  laneOf,
  lanesOf,
  type Members,
  readFrames,
  toAnswer,
  toClose,
  toHeaders,
  toText,
  type Upgrade,
} from './webSocketFrames'

export interface WebSocketLineOptions {
  readonly socket: GatewaySocket
  readonly upgrade: Upgrade
  readonly clock: Timers
  readonly door: Door
  /** What it draws on if its stream says nothing else. */
  readonly account: Account
  /** Those of a hello, in lower case. */
  readonly allowedHeaders: ReadonlySet<string>
  fetch(request: Request): Response | Promise<Response>
  onError(error: unknown): void
}

const OPEN = 1
/** ms. A client says hello as soon as its socket is open. */
const HELLO_TIMEOUT = 5_000
/** Characters of a hello: as much as servers take of a header. */
const MAX_HELLO = 8_192
/** Characters. Well over the usual limit of a body: what is too large should cost its sender the message, not the socket. */
const MAX_FRAME = 1_048_576
/** Of the frames without an answer: how many are kept, and what they hold, bytes. It is what a client has in flight, and some. */
const MAX_HELD = 80
export const MAX_HELD_BYTES = 4_194_304
const ENDPOINT = /^[\w-]{1,64}$/
/** Bytes that the client has not taken. Beyond, nothing more is sent. */
const HIGH_WATER = 262_144
/** There is no event that tells on every host that a socket has drained. ms. */
const DRAIN_POLL = 20
/** A client has this long to read why it was closed, ms. `ws` would wait 30 s for its answer, and go on reading. */
const LINGER = 1_000
const COME_BACK = '1000'
const TOO_MANY: FrameAnswer = { status: 429, error: 'too-many', retryAfter: 1_000 }
const TOO_DEEP: FrameAnswer = { status: 400, error: 'too-deep' }
const BAD_REQUEST: FrameAnswer = { status: 400, error: 'bad-request' }
const INTERNAL: FrameAnswer = { status: 500, error: 'internal' }

/** `silent`: no hello yet. `greeted`: nobody has said yet whether it may come in. */
type State = 'silent' | 'greeted' | 'open' | 'over'

/** A frame that is not the library's own. */
interface Post {
  readonly id: string
  readonly endpoint: string
  readonly lane: string | undefined | null
  readonly body: string
}

/** The headers of a hello, and what they hold, bytes. */
interface Hello {
  readonly headers: Headers
  readonly weight: number
}

/** One socket. Nothing is kept of it after its end, nor of what it was refused. */
export class WebSocketLine {
  readonly #options: WebSocketLineOptions
  readonly #order = new FrameOrder({
    account: { take: (bytes) => this.#memory.take(bytes), give: (bytes) => this.#memory.give(bytes) },
    onFull: () => this.#close(4429, COME_BACK),
  })
  readonly #posts = new Set<AbortController>()
  readonly #visitor: Visitor | undefined
  #state: State = 'silent'
  #hello: Hello | undefined
  #connectionId = ''
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  /** Of the frames without an answer. */
  #memory = new Budget(0)
  #held = 0
  /** Until the hello, and then until the end of a close. */
  #timer: unknown

  constructor(options: WebSocketLineOptions) {
    this.#options = options
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
    this.#options.clock.clearTimeout(this.#timer)
    this.#visitor?.leave()
    this.#reader?.cancel().catch(() => {})
    this.#order.clear()
    for (const post of this.#posts) post.abort()
    this.#memory.close()
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

  /** Of a stranger nothing more is read, so it is told why only if that is quick. */
  #turnOut(code: number, reason?: string) {
    this.#hangUp((socket) => {
      socket.close(code, reason)
      socket.terminate?.()
    })
  }

  /** The stream has failed. That is what becomes of a client that stops reading, and it would not read a close either. */
  #cut() {
    this.#hangUp((socket) => {
      socket.terminate?.()
      socket.close(4503)
    })
  }

  // Down

  get #isClogged() {
    return this.#options.socket.bufferedAmount > HIGH_WATER
  }

  #send(frame: string) {
    const { socket } = this.#options
    if (socket.readyState === OPEN) socket.send(frame)
  }

  #sendAck(id: string, answer: FrameAnswer) {
    this.#send(JSON.stringify({ type: 'ack', id, ...answer }))
  }

  async #drained() {
    const { clock } = this.#options
    while (this.#isClogged && this.#state !== 'over')
      await new Promise<void>((resolve) => clock.setTimeout(resolve, DRAIN_POLL))
  }

  async #ask(endpoint: string, init: RequestInit): Promise<Response> {
    const { fetch, upgrade } = this.#options
    return fetch(new Request(new URL(endpoint, upgrade.url), init))
  }

  async #openStream({ headers }: Hello) {
    const response = await this.#ask('events', { headers })
    const { ok, body } = response
    if (this.#state === 'over') return body?.cancel()
    if (!ok || !body) return this.#close(...(await toClose(response)))
    this.#memory = new Budget(MAX_HELD_BYTES, accountOf(body) ?? this.#options.account)
    this.#reader = body.getReader()
    // Nobody reads while the socket drains, so that the stream notices; this is how it tells.
    this.#reader.closed.catch(() => this.#cut())
    for await (const frames of readFrames(this.#reader)) {
      if (this.#state === 'greeted') this.#letIn(frames)
      for (const frame of frames) this.#send(frame)
      await this.#drained()
    }
    this.#close(4503)
  }

  /** The welcome comes first. */
  #letIn([welcome = '']: readonly string[]) {
    this.#connectionId = String(Object(parseJson(welcome)).connectionId ?? '')
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
    else if (this.#hello) this.#take(frame, isDeep ? 0 : textWeight(data))
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

  /** Not parsed: the POST is, in its turn. One that is too deep weighs nothing, as nothing of it is kept. */
  #take(frame: Members, textBytes: number) {
    const [id, endpoint, body = ''] = [textOf(frame, 'id'), textOf(frame, 'endpoint'), frame.get('body')]
    if (!MESSAGE_ID.test(id) || !ENDPOINT.test(endpoint)) return this.#close(1007)
    if (this.#state !== 'open') return this.#refuse(id, TOO_EARLY)
    const lane = laneOf(frame.get('lane'))
    const place: Frame = {
      endpoint,
      lanes: endpoint === 'batch' ? lanesOf(body) : new Map([[lane ?? undefined, [id]]]),
    }
    const hello = this.#hello
    const weight = FRAME_WEIGHT + (hello?.weight ?? 0) + textBytes + weightOf(place)
    const isTooEarly = this.#order.isTooEarly(place)
    if (isTooEarly || this.#held >= MAX_HELD || !this.#memory.take(weight)) {
      this.#order.turnAway(place)
      return this.#refuse(id, isTooEarly ? TOO_EARLY : TOO_MANY)
    }
    this.#held += 1
    // A frame that is too deep is answered in its turn: closed for it, the socket would be opened anew, and the frame repeated.
    const refusal = textBytes === 0 ? TOO_DEEP : lane === null ? BAD_REQUEST : undefined
    const perform = () => (hello ? this.#post({ id, endpoint, lane, body }, hello) : BAD_REQUEST)
    const answered = this.#order.add(place, async (instead) => {
      const answer = instead ?? refusal ?? (await perform())
      // Who posts and does not read has one answer here, and no command is begun before it is gone.
      await this.#drained()
      this.#held -= 1
      this.#memory.give(weight)
      if (this.#state === 'open') this.#sendAck(id, answer)
      return answer
    })
    answered.catch((error) => this.fail(error))
  }

  /** At once, and nothing of the frame is kept. */
  #refuse(id: string, answer: FrameAnswer) {
    if (this.#isClogged) this.#close(4429, COME_BACK)
    else this.#sendAck(id, answer)
  }

  /** As a POST, with the headers of when it came. Never rejects. */
  async #post({ id, endpoint, lane, body }: Post, { headers: own }: Hello): Promise<FrameAnswer> {
    const headers = new Headers(own)
    headers.set('Content-Type', 'application/json')
    if (isCommand(endpoint)) headers.set(IDEMPOTENCY_KEY_HEADER, id)
    if (isText(lane)) headers.set(LANE_HEADER, encodeURIComponent(lane))
    if (this.#connectionId) headers.set(CONNECTION_ID_HEADER, this.#connectionId)
    const post = new AbortController()
    this.#posts.add(post)
    try {
      return await toAnswer(await this.#ask(endpoint, { method: 'POST', headers, body, signal: post.signal }))
    } catch (error) {
      if (this.#state !== 'over') this.#options.onError(error)
      return INTERNAL
    } finally {
      this.#posts.delete(post)
    }
  }
}

const textOf = (members: Members | undefined, name: string): string => toText(members?.get(name))

/** What is kept of its lanes until its turn, bytes. */
const weightOf = ({ lanes }: Frame): number =>
  [...lanes.keys()].reduce((sum, lane) => sum + (lane === undefined ? 0 : LANE_WEIGHT + textWeight(lane)), 0)
