import {
  CONNECTION_ID_HEADER,
  IDEMPOTENCY_KEY_HEADER,
  isObject,
  isText,
  type JsonObject,
  MESSAGE_ID,
  PROTOCOL_VERSION,
  parseJson,
} from '../protocol'
import { checkFunction, checkMethods, checkNames } from './check'
import { createFrameOrder, isCommand } from './frameOrder'
import type { Timers } from './options'
import { type FrameAnswer, readFrames, toAnswer, toClose, toHeaders } from './webSocketFrames'

/** What is used of a socket. Those of the `ws` package fit, and native ones of servers that may close with any code. */
export interface GatewaySocket {
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Where there is one: at once, without what is still to be sent. */
  terminate?(): void
  addEventListener(
    type: 'message' | 'error' | 'close',
    listener: (event: { readonly type: string; readonly data?: unknown }) => void,
  ): void
}

export interface WebSocketGatewayOptions {
  /** That of `createChatServer`, or of whatever stands before it. */
  fetch(request: Request): Response | Promise<Response>
  /**
   * Request headers that a client may set in its `hello`, because a browser cannot set them in its upgrade. No proxy sees a
   * `hello`, so name none that a proxy is trusted to set. What the upgrade carries is never overwritten. Default: `['authorization']`.
   */
  readonly headers?: readonly string[]
  /** Default: the global timers. */
  readonly clock?: Timers
}

export interface WebSocketGateway {
  /** Serves a socket; to be called before its first message. `request` is its upgrade: the endpoints are where that was. */
  accept(socket: GatewaySocket, request: Request): void
}

const OPEN = 1
const HELLO_TIMEOUT = 10_000
/** Characters. Well over the usual limit of a body: what is too large should cost its sender the message, not the socket. */
const MAX_FRAME = 1_048_576
/** Of the frames without an answer: how many are kept, and their characters. It is what a client has in flight, and some. */
const MAX_HELD = 80
const MAX_HELD_CHARS = 4_194_304
/** Those included that are only told, in their turn, that they were too many. */
const MAX_WAITING = 10_000
/** Bytes that the client has not taken. Beyond, nothing more is sent. */
const HIGH_WATER = 262_144
/** There is no event that tells on every host that a socket has drained. ms. */
const DRAIN_POLL = 20
const TOO_MANY: FrameAnswer = { status: 429, error: 'too-many', retryAfter: 1_000 }
const INTERNAL: FrameAnswer = { status: 500, error: 'internal' }

/**
 * The same server over WebSockets. A socket is one event stream and any number of POSTs, all of them requests to `fetch` in this
 * process: so authorisation, limits, receipts and the eviction of slow readers are those of HTTP.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createWebSocketGateway(options: WebSocketGatewayOptions): WebSocketGateway {
  checkNames('createWebSocketGateway', options, ['fetch', 'headers', 'clock'])
  const { fetch, headers: names = ['authorization'], clock = globalThis } = options
  checkFunction('fetch', fetch)
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  if (!Array.isArray(names) || !names.every(isText)) throw new TypeError("'headers' must be an array of header names")
  const told = new Set(names.map((name) => name.toLowerCase()))

  function accept(socket: GatewaySocket, request: Request) {
    const inOrder = createFrameOrder()
    let headers: Headers | undefined
    let connectionId = ''
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    let isOver = false
    let waiting = 0
    let held = 0
    let heldChars = 0
    const helloTimer = clock.setTimeout(() => close(4408), HELLO_TIMEOUT)

    function end() {
      isOver = true
      clock.clearTimeout(helloTimer)
      reader?.cancel().catch(() => {})
    }

    function close(code: number, reason?: string) {
      if (isOver) return
      end()
      socket.close(code, reason)
    }

    /** The stream has failed. That is what becomes of a client that stops reading, and it would not read a close either. */
    function cut() {
      if (!isOver) socket.terminate?.()
      close(4503)
    }

    const ask = async (endpoint: string, init: RequestInit) => fetch(new Request(new URL(endpoint, request.url), init))
    const isClogged = () => socket.bufferedAmount > HIGH_WATER
    const send = (frame: string) => socket.readyState === OPEN && socket.send(frame)
    const sendAck = (id: string, answer: FrameAnswer) => send(JSON.stringify({ type: 'ack', id, ...answer }))
    const drained = async () => {
      while (isClogged() && !isOver) await new Promise<void>((resolve) => clock.setTimeout(resolve, DRAIN_POLL))
    }

    // Down

    async function openStream() {
      const response = await ask('events', { headers: headers as Headers })
      const { ok, body } = response
      if (isOver) return body?.cancel()
      if (!ok || !body) return close(...(await toClose(response)))
      reader = body.getReader()
      // Nobody reads while the socket drains, so that the stream notices; this is how it tells.
      reader.closed.catch(cut)
      for await (const frames of readFrames(reader)) {
        // The welcome comes first.
        connectionId ||= String(Object(parseJson(frames[0] ?? '')).connectionId ?? '')
        frames.forEach(send)
        await drained()
      }
      close(4503)
    }

    // Up

    function receive(data: unknown) {
      if (isOver) return
      if (!isText(data)) return close(1003)
      if (data.length > MAX_FRAME) return close(1009)
      const frame = parseJson(data)
      if (!isObject(frame)) close(1007)
      else if (frame.type === 'hello') greet(frame)
      else if (headers) take(frame, data.length)
      else close(1002)
    }

    /** The first one opens the stream; later ones are about the frames after them. */
    function greet({ protocolVersion, headers: given }: JsonObject) {
      if (protocolVersion !== PROTOCOL_VERSION) return close(1002)
      const isFirst = !headers
      headers = toHeaders(given, told, request.headers)
      if (!headers) return close(1007)
      if (!isFirst) return
      clock.clearTimeout(helloTimer)
      openStream().catch(cut)
    }

    function take({ id, endpoint, body }: JsonObject, chars: number) {
      if (!isText(id) || !MESSAGE_ID.test(id) || !isText(endpoint) || !/^[\w-]+$/.test(endpoint)) return close(1007)
      const isTooMany = held >= MAX_HELD || heldChars > MAX_HELD_CHARS
      if (isTooMany && (isClogged() || waiting >= MAX_WAITING)) return close(4429)
      const size = isTooMany ? 0 : chars
      waiting += 1
      held += size && 1
      heldChars += size
      const perform = isTooMany ? async () => TOO_MANY : toPost(id, endpoint, body)
      inOrder({ id, endpoint, body }, perform).then(async (answer) => {
        // Who posts and does not read has no more answers here than frames.
        await drained()
        waiting -= 1
        held -= size && 1
        heldChars -= size
        sendAck(id, answer)
      })
    }

    /** With the headers of now. */
    function toPost(id: string, endpoint: string, body: unknown): () => Promise<FrameAnswer> {
      const own = new Headers(headers)
      own.set('Content-Type', 'application/json')
      if (isCommand(endpoint)) own.set(IDEMPOTENCY_KEY_HEADER, id)
      if (connectionId) own.set(CONNECTION_ID_HEADER, connectionId)
      const init = { method: 'POST', headers: own, body: JSON.stringify(body) ?? '' }
      return () =>
        ask(endpoint, init)
          .then(toAnswer)
          .catch(() => INTERNAL)
    }

    socket.addEventListener('message', ({ data }) => receive(data))
    socket.addEventListener('close', end)
    // A `close` follows; but the `ws` package throws an `error` that nobody listens to.
    socket.addEventListener('error', end)
  }

  return { accept }
}
