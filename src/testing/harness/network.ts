import type { EventSourceLike, StreamEvent } from '../../adapters/eventSource'
import type { JsonObject } from '../../protocol'

/** An EventSource as the connection sees it, from the server's side. */
export interface TestStream {
  readonly url: string
  /** When it was asked for, ms since the epoch. */
  readonly at: number
  /** Closed by the connection, or failed. */
  readonly isClosed: boolean
  /** What its last welcome said. */
  readonly connectionId: string | undefined
  opens(): void
  /** `frame` replaces fields of a valid welcome. */
  welcomes(frame?: object): void
  /** An unnamed frame: an object, or the text of one that is broken. */
  sends(frame: object | string): void
  /**
   * The network, or the server, ends it. `status` where the EventSource implementation tells it.
   */
  fails(status?: number): void
}

/**
 * A POST of the connection, from the server's side, or the question why a stream did not open
 * (`events?ask`). What comes after it was aborted, or answered, is lost.
 */
export interface TestPost {
  readonly endpoint: string
  readonly body: JsonObject
  readonly headers: Headers
  readonly connectionId: string | null
  /** The `Idempotency-Key`. */
  readonly key: string | null
  readonly keepalive: boolean
  readonly at: number
  readonly isAborted: boolean
  /** To the end of its body. */
  readonly isAnswered: boolean
  answers(status: number, json?: unknown, headers?: Readonly<Record<string, string>>): void
  answersText(status: number, text: string, contentType?: string): void
  /** The status comes, the body never does. */
  answersHalf(): void
  /** The network fails. */
  fails(): void
}

export const isAsk = ({ endpoint }: TestPost) => endpoint === 'events?ask'

/** The cursors that a resume, or a `watch`, carries. */
export const sessionsOf = ({ endpoint, body }: TestPost) =>
  (endpoint === 'watch' ? [body] : ((body.sessions ?? []) as unknown[])) as {
    sessionId: string
    lastSeq: number
  }[]

/** How a POST ended. */
export interface Answer {
  /** 0 if the network failed. */
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** `undefined` if it never comes. */
  readonly text?: string
}

/** What an observer does when what it was told of has reached the connection. */
export type Then = (() => void) | undefined

export interface NetworkOptions {
  readonly now: () => number
  /**
   * Requests go on after they were aborted, as with a `fetch` that knows no signals: late answers
   * arrive.
   */
  readonly ignoresAbort?: boolean
  /** The page is gone: nothing reaches it any more, and the server sees its streams end. */
  readonly isOver?: () => boolean
  /** Called in the same tick as `new EventSource`, before anything can come of it. */
  onStream(stream: TestStream): void
  /** Called in the same tick as `fetch`. */
  onPost(post: TestPost): void
  /** Called before an event of a stream is dispatched. */
  onFrame?(stream: TestStream, type: string, data: string | undefined): Then
  /** Called before a POST is answered. */
  onAnswer?(post: TestPost, answer: Answer): void
}

/**
 * EventSource and fetch without a network: what comes down, and what is answered, is up to who
 * listens.
 */
export const createNetwork = (options: NetworkOptions) => ({
  createEventSource: (url: string): EventSourceLike => openStream(options, url),
  fetch: ((url: string, init: RequestInit = {}) =>
    new Promise<Response>((resolve, reject) => {
      const { method = 'GET' } = init
      if (method !== 'POST' && !url.endsWith('?ask')) {
        throw new Error(
          `holdline harness: streams are faked as EventSources, and POSTs: nothing answers ${method} ${url}. Leave out the option \`transport\``,
        )
      }
      sendPost(options, url, init, { resolve, reject })
    })) as typeof globalThis.fetch,
})

function openStream({ now, isOver = () => false, onStream, onFrame }: NetworkOptions, url: string): EventSourceLike {
  const listeners = new Map<string, (event: StreamEvent) => void>()
  let isClosed = false
  let connectionId: string | undefined
  const dispatch = (type: string, event: StreamEvent = {}) => {
    if (isOver()) return
    const then = onFrame?.(stream, type, event.data)
    listeners.get(type)?.(event)
    then?.()
  }
  const stream: TestStream = {
    url,
    at: now(),
    get isClosed() {
      return isClosed || isOver()
    },
    get connectionId() {
      return connectionId
    },
    opens: () => dispatch('open'),
    welcomes(frame = {}) {
      const welcome = { type: 'welcome', protocolVersion: 2, connectionId: 'c1', ...frame }
      connectionId = welcome.connectionId
      dispatch('welcome', { data: JSON.stringify(welcome) })
    },
    sends: (frame) => dispatch('message', { data: typeof frame === 'string' ? frame : JSON.stringify(frame) }),
    fails: (code) => dispatch('error', { code, message: 'the stream was cut' }),
  }
  onStream(stream)
  return {
    // Late callbacks are part of life: what is sent after `close()` is dispatched all the same.
    addEventListener: (type, listener) => void listeners.set(type, listener),
    close() {
      isClosed = true
    },
  }
}

interface Outcome {
  resolve(response: Response): void
  reject(reason: unknown): void
}

function sendPost(options: NetworkOptions, url: string, init: RequestInit, { resolve, reject }: Outcome) {
  const { now, ignoresAbort = false, isOver = () => false, onPost, onAnswer } = options
  const { body, keepalive = false, signal } = init
  const headers = new Headers(init.headers)
  let isAborted = false
  let isAnswered = false
  const settle = (answer: Answer) => {
    if (isOver()) return
    if (!isAnswered) onAnswer?.(post, answer)
    isAnswered ||= answer.text !== undefined || answer.status === 0
    if (answer.status === 0) reject(new TypeError('fetch failed'))
    else resolve(response(answer))
  }
  signal?.addEventListener('abort', () => {
    isAborted ||= !isAnswered
    if (!ignoresAbort) reject(signal.reason)
  })
  const post: TestPost = {
    endpoint: url.slice(url.lastIndexOf('/') + 1),
    body: JSON.parse(String(body ?? '{}')) as JsonObject,
    headers,
    connectionId: headers.get('X-Connection-ID'),
    key: headers.get('Idempotency-Key'),
    keepalive,
    at: now(),
    get isAborted() {
      return isAborted || (isOver() && !isAnswered)
    },
    get isAnswered() {
      return isAnswered
    },
    answers: (status, json = null, more = {}) =>
      settle({ status, headers: { 'content-type': 'application/json', ...more }, text: JSON.stringify(json) }),
    answersText: (status, text, type = 'text/plain') => settle({ status, headers: { 'content-type': type }, text }),
    answersHalf: () => settle({ status: 200, headers: {} }),
    fails: () => settle({ status: 0, headers: {} }),
  }
  onPost(post)
}

/**
 * As much of a Response as the connection uses; a real one would read its body through a stream, in
 * many steps.
 */
const response = ({ status, headers, text }: Answer) =>
  ({
    ok: status >= 200 && status < 300,
    status,
    headers: new Headers(headers),
    body: null,
    text: () => (text === undefined ? new Promise(() => {}) : Promise.resolve(text)),
  }) as Response
