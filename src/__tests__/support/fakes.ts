import { type Connection, type ConnectionOptions, createConnection, type EventSourceLike, type Feature } from 'holdline'
import { fakeClock } from '../../testing/harness/fakeClock'

/** Virtual time. Nothing fires unless a test advances it. */
export function createClock() {
  const clock = fakeClock()
  const { now, setTimeout, clearTimeout, sleep, passes } = clock
  return {
    now,
    setTimeout,
    clearTimeout,
    /** Timers that are still to fire. */
    get pending() {
      return clock.pending.length
    },
    /** Fires all that is due, in order, with everything that follows from it. */
    advance: (ms: number) => passes(ms, settle),
    jump: sleep,
  }
}

/** Lets every promise that can settle do so. A macrotask, not a sleep: it takes no time. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

export class FakeStream implements EventSourceLike {
  closed = false
  private readonly listeners = new Map<string, ((event: MessageEvent<string>) => void)[]>()
  constructor(readonly url: string) {}
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void) {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener])
  }
  close() {
    this.closed = true
  }
  /** As an EventSource would, and also after `close()`: late callbacks are part of life. */
  dispatch(type: string, event: object = {}) {
    for (const listener of this.listeners.get(type) ?? []) listener(event as MessageEvent<string>)
  }
  opens() {
    this.dispatch('open')
  }
  welcomes(frame: object = {}) {
    this.dispatch('welcome', { data: JSON.stringify({ type: 'welcome', protocolVersion: 2, ...frame }) })
  }
  sends(frame: unknown) {
    this.dispatch('message', { data: typeof frame === 'string' ? frame : JSON.stringify(frame) })
  }
  fails(code?: number) {
    this.dispatch('error', { code, message: 'broken' })
  }
}

export interface FakePost {
  readonly endpoint: string
  readonly body: Record<string, unknown>
  readonly headers: Headers
  readonly keepalive: boolean
  readonly at: number
  readonly aborted: boolean
  readonly answered: boolean
  answers(status: number, json?: unknown, headers?: Record<string, string>): Promise<void>
  answersText(status: number, text: string, contentType?: string): Promise<void>
  /** The answer's headers come, its body never does. */
  answersHalf(): Promise<void>
  fails(): Promise<void>
}

/** What the server does with a POST; without an answer it stays open until the test answers it. */
export type ServerBehaviour = (post: FakePost) => unknown

export const SERVER_ACCEPTS: ServerBehaviour = (post) => post.answers(200, { ok: true })
export const SERVER_IS_SILENT: ServerBehaviour = () => {}
export const RESUME_NEVER_ANSWERED: ServerBehaviour = (post) => post.endpoint !== 'reconnect' && SERVER_ACCEPTS(post)
export const resumeAnswers =
  (status: number, headers?: Record<string, string>): ServerBehaviour =>
  (post) =>
    post.endpoint === 'reconnect' ? post.answers(status, {}, headers) : SERVER_ACCEPTS(post)

export type World = ReturnType<typeof createWorld>

/**
 * A real connection in a fake world: EventSource, fetch, time and chance are the test's. `listens`
 * to all that is logged.
 */
export function createWorld(
  options: Partial<ConnectionOptions> = {},
  behaviour: ServerBehaviour = SERVER_ACCEPTS,
  listens = true,
) {
  const clock = createClock()
  const streams: FakeStream[] = []
  const posts: FakePost[] = []
  const log: string[] = []
  const errors: string[] = []
  const received: Record<string, unknown>[] = []
  const world = { behaviour }

  const fetch = ((url: string, init: RequestInit) =>
    new Promise<Response>((resolve, reject) => {
      // Nobody is there who could say why a stream did not open.
      if (url.endsWith('?ask')) return reject(new TypeError('fetch failed'))
      const state = { aborted: false, answered: false }
      const answer = (response: Response | Error) => {
        state.answered = true
        init.signal?.removeEventListener('abort', onAbort)
        if (response instanceof Error) reject(response)
        else resolve(response)
        return settle()
      }
      const post: FakePost = {
        endpoint: url.slice(url.lastIndexOf('/') + 1),
        body: JSON.parse(String(init.body)),
        headers: new Headers(init.headers),
        keepalive: init.keepalive ?? false,
        at: clock.now(),
        get aborted() {
          return state.aborted
        },
        get answered() {
          return state.answered
        },
        answers: (status, json = null, headers = {}) =>
          answer(
            new Response(JSON.stringify(json), { status, headers: { 'content-type': 'application/json', ...headers } }),
          ),
        answersText: (status, text, contentType = 'text/plain') =>
          answer(new Response(text, { status, headers: { 'content-type': contentType } })),
        answersHalf: () => answer(new Response(new ReadableStream({ start: (c) => bodyAborts(c) }), { status: 200 })),
        fails: () => answer(new TypeError('fetch failed')),
      }
      const bodyAborts = (controller: ReadableStreamDefaultController) =>
        init.signal?.addEventListener('abort', () => controller.error(init.signal?.reason))
      const onAbort = () => {
        state.aborted = true
        reject(init.signal?.reason)
      }
      init.signal?.addEventListener('abort', onAbort)
      posts.push(post)
      world.behaviour(post)
    })) as typeof globalThis.fetch

  const connection: Connection = createConnection({
    url: 'http://test/api/chat',
    clock,
    random: () => 0.5,
    pageLifecycle: false,
    fetch,
    createEventSource(url) {
      const stream = new FakeStream(url)
      streams.push(stream)
      return stream
    },
    ...options,
  })
  connection.on('opened', () => log.push('opened'))
  connection.on('closed', ({ reason }) => log.push(`closed ${reason}`))
  if (listens) connection.on('stopped', ({ error }) => log.push(`stopped ${error.code}`))
  connection.on('session', ({ sessionId, status, from, to }) => log.push(`${sessionId} ${status} ${from}-${to}`))
  if (listens) connection.on('error', ({ error }) => errors.push(error.code))
  connection.on('message', (message) => received.push(message))

  return {
    connection,
    clock,
    streams,
    posts,
    log,
    errors,
    received,
    get live() {
      return streams.filter((stream) => !stream.closed)
    },
    get stream(): FakeStream {
      const stream = streams.at(-1)
      if (!stream) throw new Error('no stream was opened')
      return stream
    },
    post(endpoint: string): FakePost {
      const post = posts.filter((candidate) => candidate.endpoint === endpoint).at(-1)
      if (!post) throw new Error(`nothing was posted to ${endpoint}`)
      return post
    },
    postsTo: (endpoint: string) => posts.filter((post) => post.endpoint === endpoint),
    server(next: ServerBehaviour) {
      world.behaviour = next
    },
    /** Everything up to `open`, or to `reconnecting` where the resume is not answered. */
    async opens({ features = [], heartbeat, id = `c${streams.length + 1}` }: Opening = {}) {
      if (connection.phase === 'idle') connection.connect()
      const stream = streams.at(-1)
      stream?.opens()
      stream?.welcomes({ connectionId: id, features, heartbeat })
      await settle()
    },
    /** To the end of the backoff. */
    async retries() {
      await settle()
      await clock.advance((connection.retryAt ?? clock.now()) - clock.now())
    },
    event: (sessionId: string, seq: number, more: object = {}) => ({ type: 'token', sessionId, seq, ...more }),
  }
}

export interface Opening {
  readonly features?: readonly Feature[]
  readonly heartbeat?: number
  readonly id?: string
}

/** What the app got of one session, in its order. */
export const seqs = (world: World, sessionId: string) =>
  world.received.filter((message) => message.sessionId === sessionId).map(({ seq }) => seq)
