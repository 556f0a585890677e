import { ConnectionError } from '../../errors'
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
import type { StreamHandlers } from '../eventSourceStream'
import { createUpstream } from '../fetchUpstream'
import { expectStream } from '../streamResponse'
import type { Transport } from '../transport'
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
export type WebSocketClass = new (url: string, protocols?: never[], options?: object) => WebSocketLike

export interface WebSocketTransportOptions {
  /** Default: `globalThis.WebSocket` where there is one, else the `ws` package, loaded on demand. */
  readonly WebSocket?: WebSocketClass
  /** Where the socket is, under `url`. Default: `socket`. */
  readonly path?: string
}

/** One socket. */
interface Line {
  readonly socket: WebSocketLike
  /** The last one. It is not repeated as long as nothing about it has changed. */
  hello: string
  features: readonly Feature[]
  /** The frames without an answer, by their ids. */
  readonly waiting: Map<unknown, { readonly frame: string; readonly settle: (answer: Answer | Error) => void }>
  /** As if a `close` had come. */
  readonly end: () => void
  /** Is set while a `close` is waited for. */
  timer?: unknown
  /** Of the last resume. Its marker, which echoes the `resumeId`, is as good an answer as its `ack`. */
  resume?: { readonly id: string; readonly resumeId: unknown }
}

/** [spec] HTML: the `readyState` of a WebSocket. */
const OPEN = 1
const CLOSING = 2
const CLOSED = 3
/** A socket that is closing has so long to say why, ms. */
const CLOSING_TIMEOUT = 1_000
const MAX_IN_FLIGHT = 64

/**
 * One WebSocket, down and up. To all that is above it is a `fetch`: a socket is a request that its welcome answers with 200, and
 * a frame one that its `ack` answers. So headers, repeats after a 401, timeouts and receipts are the very code that HTTP goes through.
 */
export const webSocketTransport =
  ({ WebSocket, path = 'socket' }: WebSocketTransportOptions = {}): Transport =>
  (setup) => {
    /** None before its hello, and none after its end. */
    let line: Line | undefined
    let handlers: StreamHandlers
    let isOpen: boolean

    const { streamFetch, post } = createUpstream({
      ...setup,
      fetch: ((url: string, { method, headers, body, signal }: RequestInit) =>
        method === 'POST'
          ? exchange(url.slice(setup.url.length + 1), headers as Headers, body as string)
          : connect(headers as Headers, signal as AbortSignal)) as typeof fetch,
    })

    async function connect(headers: Headers, signal: AbortSignal): Promise<Response> {
      const Socket = WebSocket ?? globalThis.WebSocket ?? (await loadWs())
      if (signal.aborted) throw signal.reason
      // [ws] Its default is 100 MiB. A platform's own class has bounds of its own, and React Native's warns of options that it does not know.
      const maxPayload = setup.inbound?.maxBytes
      const url = `${setup.url.replace(/^http/, 'ws')}/${path}`
      const socket = Socket === globalThis.WebSocket ? new Socket(url) : new Socket(url, [], { maxPayload })
      const waiting: Line['waiting'] = new Map()
      return new Promise((resolve, reject) => {
        let isWelcome = false
        let isOver = false
        const drop = () => {
          isOver = true
          if (line === own) line = undefined
          signal.removeEventListener('abort', drop)
          setup.clock.clearTimeout(own.timer)
          for (const { settle } of waiting.values()) settle(new Error('the socket was closed'))
          socket.close()
        }
        // An `error` is an end too: not every implementation has a `close` after it.
        const end = ({ code = 0, reason = '', message }: Partial<WebSocketEvent> = {}) => {
          if (isOver) return
          // Some frame was too big, so the biggest was. Repeated, it would cost every socket to come.
          const [biggest] = [...waiting.values()].sort((a, b) => b.frame.length - a.frame.length)
          if (code === TOO_BIG) biggest?.settle({ status: 413 })
          drop()
          const status = statusOf(code)
          if (isWelcome) handlers.error(toStreamError(code, reason, message))
          else if (status) resolve(toRefused(code, status, reason))
          else reject(toStreamError(code, reason, message))
        }
        const own: Line = { socket, hello: '', features: [], waiting, end }
        const settle = (id: unknown, answer: Answer) => {
          waiting.get(id)?.settle(answer)
          waiting.delete(id)
        }
        socket.addEventListener('open', () => {
          if (isOver) return
          line = own
          greet(own, headers)
          if (!isOpen) handlers.open()
          isOpen = true
        })
        socket.addEventListener('message', ({ data }) => {
          if (isOver) return
          const text = isText(data) ? data : ''
          const json = parseJson(text)
          const { type, sessionId, resumeId }: JsonObject = Object(json)
          if (type === 'ack' && sessionId === undefined) {
            handlers.sign()
            for (const answer of parseResults({ results: [json] })) settle(answer.id, answer)
          } else if (type === 'welcome' && sessionId === undefined) {
            isWelcome = true
            own.features = parseWelcome(text)?.features ?? []
            resolve(new Response(null, { headers: { 'Content-Type': 'text/event-stream' } }))
            handlers.welcome(text)
          } else {
            const { resume } = own
            if (type === 'reconnected' && resume?.resumeId === resumeId)
              settle(resume?.id, { status: 200, receipt: json })
            handlers.message(text, json)
          }
        })
        for (const type of ['error', 'close'] as const) socket.addEventListener(type, end)
        signal.addEventListener('abort', drop)
      })
    }

    async function exchange(endpoint: string, headers: Headers, body: string): Promise<Response> {
      const own = line
      if (own?.socket.readyState !== OPEN) {
        check()
        throw new Error('no socket is open')
      }
      greet(own, headers)
      const id = headers.get(IDEMPOTENCY_KEY_HEADER) ?? newId()
      const frame = toFrame(id, endpoint, body, headers.get(LANE_HEADER))
      if (endpoint === 'reconnect') own.resume = { id, resumeId: Object(parseJson(body)).resumeId }
      // Else nobody has promised an answer: that the socket has taken it is all there is to know.
      const isAnswered = own.features.includes('receipts') || RESERVED_TYPES.includes(endpoint)
      const answering = isAnswered && new Promise<Answer | Error>((settle) => own.waiting.set(id, { frame, settle }))
      own.socket.send(frame)
      const answer = (await answering) || { status: 200 }
      if (answer instanceof Error) throw answer
      return toResponse(answer)
    }

    /** Some sockets are over and have told no `close`; one that is closing may still do. */
    function check() {
      if (line?.socket.readyState === CLOSED) line.end()
      else if (line?.socket.readyState === CLOSING) line.timer ??= setup.clock.setTimeout(line.end, CLOSING_TIMEOUT)
    }

    return {
      post,
      check,
      open(given) {
        const abort = new AbortController()
        const fail = (error: ConnectionError) => abort.signal.aborted || given.error(error)
        handlers = given
        isOpen = false
        const { url, clock } = setup
        streamFetch(url, { signal: abort.signal })
          .then((response) => expectStream(response, url, clock.now()))
          .catch((cause) => fail(cause instanceof ConnectionError ? cause : toStreamError(0, '', cause)))
        return () => abort.abort()
      },
      beacon: (endpoint, body) =>
        line?.socket.readyState === OPEN && line.socket.send(toFrame(newId(), endpoint, body)),
      maxInFlight: (features) => (features.includes('receipts') ? MAX_IN_FLIGHT : 1),
    }
  }

function greet(line: Line, headers: Headers) {
  const hello = toHello(headers)
  if (hello !== line.hello) line.socket.send(hello)
  line.hello = hello
}

const loadWs = () =>
  // For Node alone: `browser` in package.json tells bundlers for browsers and React Native not to look for it.
  import(/* webpackIgnore: true */ 'ws').then(
    ({ WebSocket }) => WebSocket,
    (cause) => {
      throw new ConnectionError('invalid-option', 'WebSocket: none here, nor the ws package', { cause })
    },
  )
