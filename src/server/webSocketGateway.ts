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
import { guardHooks } from './hooks'
import { FRAME_DEPTH, isTooDeep } from './json'
import type { Timers } from './options'
import { type FrameAnswer, readFrames, readUpgrade, toAnswer, toClose, toHeaders } from './webSocketFrames'

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
  /** `fetch` rejected, or a socket threw; the client was told no more than `internal`, or 1011. Default: `console.error`. */
  onError?(error: unknown): unknown
  /** Default: the global timers. */
  readonly clock?: Timers
}

export interface WebSocketGateway {
  /**
   * Serves a socket; to be called before its first message. `request` is its upgrade: the endpoints are where that was. It is read
   * before this returns, and not kept.
   *
   * @throws TypeError if the host has closed the request with the upgrade, as Deno does: hand over a copy that was made before
   */
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
const TOO_DEEP: FrameAnswer = { status: 400, error: 'too-deep' }
const INTERNAL: FrameAnswer = { status: 500, error: 'internal' }

/**
 * The same server over WebSockets. A socket is one event stream and any number of POSTs, all of them requests to `fetch` in this
 * process: so authorisation, limits, receipts and the eviction of slow readers are those of HTTP.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createWebSocketGateway(options: WebSocketGatewayOptions): WebSocketGateway {
  checkNames('createWebSocketGateway', options, ['fetch', 'headers', 'onError', 'clock'])
  const { fetch, headers: names = ['authorization'], clock = globalThis } = options
  checkFunction('fetch', fetch)
  if (options.onError !== undefined) checkFunction('onError', options.onError)
  const { onError } = guardHooks(options)
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  if (!Array.isArray(names) || !names.every(isText)) throw new TypeError("'headers' must be an array of header names")
  const told = new Set(names.map((name) => name.toLowerCase()))

  function accept(socket: GatewaySocket, request: Request) {
    const { url, headers: upgrade } = readUpgrade(request)
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

    function hangUp(how: () => void) {
      if (isOver) return
      end()
      try {
        how()
      } catch (error) {
        onError(error)
      }
    }

    const close = (code: number, reason?: string) => hangUp(() => socket.close(code, reason))

    /** The stream has failed. That is what becomes of a client that stops reading, and it would not read a close either. */
    const cut = () =>
      hangUp(() => {
        socket.terminate?.()
        socket.close(4503)
      })

    /** What goes wrong here must cost this socket only: thrown in a listener, or rejected with nobody there, it ends the process. */
    function fail(error: unknown) {
      onError(error)
      close(1011)
    }

    const guarded =
      <T>(listener: (value: T) => void) =>
      (value: T) => {
        try {
          listener(value)
        } catch (error) {
          fail(error)
        }
      }

    const ask = async (endpoint: string, init: RequestInit) => fetch(new Request(new URL(endpoint, url), init))
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
      const isDeep = isTooDeep(data, FRAME_DEPTH)
      if (!isObject(frame) || (isDeep && frame.type === 'hello')) close(1007)
      else if (frame.type === 'hello') greet(frame)
      else if (headers) take(frame, data.length, isDeep)
      else close(1002)
    }

    /** The first one opens the stream; later ones are about the frames after them. */
    function greet({ protocolVersion, headers: given }: JsonObject) {
      if (protocolVersion !== PROTOCOL_VERSION) return close(1002)
      const isFirst = !headers
      headers = toHeaders(given, told, upgrade)
      if (!headers) return close(1007)
      if (!isFirst) return
      clock.clearTimeout(helloTimer)
      openStream().catch((error) => {
        if (!isOver) onError(error)
        cut()
      })
    }

    function take({ id, endpoint, body }: JsonObject, chars: number, isDeep: boolean) {
      if (!isText(id) || !MESSAGE_ID.test(id) || !isText(endpoint) || !/^[\w-]+$/.test(endpoint)) return close(1007)
      const isTooMany = held >= MAX_HELD || heldChars > MAX_HELD_CHARS
      if (isTooMany && (isClogged() || waiting >= MAX_WAITING)) return close(4429)
      const size = isTooMany || isDeep ? 0 : chars
      waiting += 1
      held += size && 1
      heldChars += size
      // A frame that is too deep is answered in its turn: closed for it, the socket would be opened anew, and the frame repeated.
      const perform = isTooMany ? async () => TOO_MANY : isDeep ? async () => TOO_DEEP : toPost(id, endpoint, body)
      const answered = inOrder({ id, endpoint, body }, perform).then(async (answer) => {
        // Who posts and does not read has no more answers here than frames.
        await drained()
        waiting -= 1
        held -= size && 1
        heldChars -= size
        sendAck(id, answer)
      })
      answered.catch(fail)
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
          .catch((error) => {
            onError(error)
            return INTERNAL
          })
    }

    socket.addEventListener(
      'message',
      guarded(({ data }) => receive(data)),
    )
    socket.addEventListener('close', guarded(end))
    // A `close` follows; but the `ws` package throws an `error` that nobody listens to.
    socket.addEventListener('error', guarded(end))
  }

  return { accept }
}
