import type { JsonObject } from '../../protocol'
import {
  type ChatServer,
  type ChatServerOptions,
  type CommandCall,
  createChatServer,
  memoryLog,
  type Principal,
  type SessionLog,
} from '../../server'
import { fakeClock as createClock } from '../../testing/harness/fakeClock'

export const BASE = 'http://chat.test/api'

/** Time that stands still until a test moves it. */
export function fakeClock() {
  const clock = createClock(1_000_000)
  const { now, setTimeout, clearTimeout, passes } = clock
  return {
    now,
    setTimeout,
    clearTimeout,
    get timers() {
      return clock.pending.length
    },
    advance: (ms: number) => passes(ms, settle),
  }
}

/** Lets everything that is ready run; no time passes for fake clocks. */
export async function settle(turns = 5) {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

/** The machine's own: what waits for another thread is not done after a number of turns. */
const elapsed = performance.now.bind(performance)
/** ms. */
const PATIENCE = 25_000

export async function until(isMet: () => boolean, what: string) {
  for (const end = elapsed() + PATIENCE; elapsed() < end; ) {
    if (isMet()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`never happened: ${what}`)
}

/** A log that tells what was asked of it. */
export function watchedLog(inner: SessionLog = memoryLog()) {
  const calls: string[] = []
  let subscriptions = 0
  const log: SessionLog = {
    append: (sessionId, event) => inner.append(sessionId, event),
    read(sessionId, after, limit) {
      calls.push(`read ${sessionId} ${after}`)
      return inner.read(sessionId, after, limit)
    },
    head(sessionId) {
      calls.push(`head ${sessionId}`)
      return inner.head(sessionId)
    },
    async subscribe(sessionId, listener) {
      calls.push(`subscribe ${sessionId}`)
      const unsubscribe = await inner.subscribe(sessionId, listener)
      subscriptions += 1
      return () => {
        subscriptions -= 1
        unsubscribe()
      }
    },
  }
  return {
    log,
    calls,
    get subscriptions() {
      return subscriptions
    },
  }
}

/**
 * Whoever the Authorization header says. `alice…` sessions are alice's, `room…` is everybody's,
 * `gone…` was deleted.
 */
export function createTestServer(overrides: Partial<ChatServerOptions<Principal>> = {}) {
  const clock = fakeClock()
  const errors: unknown[] = []
  const server = createChatServer({
    clock,
    random: () => 0.5,
    authenticate: (request) => {
      const id = request.headers.get('Authorization')
      return id ? { id } : null
    },
    authorize: ({ id }, sessionId) =>
      sessionId.startsWith('gone') ? 'gone' : sessionId.startsWith(id) || sessionId.startsWith('room'),
    onCommand: ({ type }) => ({ took: type }),
    onError: (error) => errors.push(error),
    allowedHosts: 'any',
    ...overrides,
    // The clock stands still in most tests, and the pace of POSTs is that of
    // `hostileAccount.test.ts`.
    limits: { bodyRate: 2 ** 30, ...overrides.limits },
  })
  return { server, clock, errors }
}

export interface PostOptions {
  readonly as?: string
  readonly connectionId?: string
  readonly key?: string
  readonly headers?: Record<string, string>
}

export function post(server: ChatServer, endpoint: string, body: unknown, options: PostOptions = {}) {
  const { as = 'alice', connectionId, key, headers } = options
  return server.fetch(
    new Request(`${BASE}/${endpoint}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(as && { Authorization: as }),
        ...(connectionId !== undefined && { 'X-Connection-ID': connectionId }),
        ...(key !== undefined && { 'Idempotency-Key': key }),
        ...headers,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  )
}

/** Status and JSON. */
export async function answer(response: Promise<Response>) {
  const { status } = await response
  return [status, await (await response).clone().json()]
}

/** 1, 2, 3 … */
export function counter() {
  let count = 0
  return () => {
    count += 1
    return count
  }
}

/** Commands that end when the test says so. */
export function manualCommands() {
  const calls: CommandCall[] = []
  const endings: (() => void)[] = []
  return {
    calls,
    endNext: () => endings.shift()?.(),
    get running() {
      return endings.length
    },
    onCommand: (call: CommandCall) => {
      calls.push(call)
      return new Promise((resolve) => endings.push(() => resolve({ n: calls.length })))
    },
  }
}

export const getEvents = (server: ChatServer, as = 'alice', headers: Record<string, string> = {}) =>
  server.fetch(new Request(`${BASE}/events`, { headers: { ...(as && { Authorization: as }), ...headers } }))

/** A client that reads whatever comes. */
export async function openStream(server: ChatServer, as = 'alice') {
  const response = await getEvents(server, as)
  if (response.status !== 200 || !response.body) throw new Error(`events answered ${response.status}`)
  const reader = response.body.getReader()
  const frames: JsonObject[] = []
  let raw = ''
  let ending: 'open' | 'ended' | 'failed' = 'open'
  const decoder = new TextDecoder()
  const readAll = async () => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      raw += decoder.decode(value, { stream: true })
      const parts = raw.split('\n\n')
      raw = parts.pop() ?? ''
      for (const part of parts) {
        const data = part.split('\n').find((line) => line.startsWith('data: '))
        if (data) frames.push(JSON.parse(data.slice(6)))
      }
    }
  }
  readAll().then(
    () => (ending = 'ended'),
    () => (ending = 'failed'),
  )
  await until(() => frames.length > 0, 'a welcome')
  const connectionId = String(frames[0]?.connectionId)
  return {
    response,
    connectionId,
    frames,
    get ending() {
      return ending
    },
    /** The session events, as `session:seq`. */
    get events() {
      return frames.filter((frame) => 'seq' in frame).map((frame) => `${frame.sessionId}:${frame.seq}`)
    },
    ofType: (type: string) => frames.filter((frame) => frame.type === type),
    cancel: () => reader.cancel(),
    post: (endpoint: string, body: unknown, options: PostOptions = {}) =>
      post(server, endpoint, body, { as, connectionId, ...options }),
    watch: (sessionId: string, lastSeq = 0) =>
      post(server, 'watch', { type: 'watch', sessionId, lastSeq }, { as, connectionId }),
  }
}

/** A client that reads its welcome and then nothing more, until it is told to. */
export async function openStalledStream(server: ChatServer, as = 'alice') {
  const { body } = await getEvents(server, as)
  if (!body) throw new Error('no body')
  const reader = body.getReader()
  const welcome = new TextDecoder().decode((await reader.read()).value)
  const connectionId = /"connectionId":"([^"]+)"/.exec(welcome)?.[1] ?? ''
  return {
    connectionId,
    read: () => reader.read(),
    post: (endpoint: string, message: unknown) => post(server, endpoint, message, { as, connectionId }),
  }
}

export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
