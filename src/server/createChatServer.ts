import {
  CONNECTION_ID_HEADER,
  type Cursor,
  FEATURES,
  IDEMPOTENCY_KEY_HEADER,
  isObject,
  isText,
  type JsonObject,
  PROTOCOL_VERSION,
  parseVerdicts,
  type SessionVerdict,
} from '../protocol'
import { answerBatch, parseBatch } from './batch'
import { discardBody, readMessage } from './body'
import { createChatStream } from './chatStream'
import { checkNames, checkNumber } from './check'
import type { Answer } from './cluster'
import { createCommands } from './commands'
import type { Turn } from './connections'
import { digest } from './digest'
import { jsonResponse, Misconfiguration, Refusal, refusalOf, unavailable } from './http'
import { BATCH_DEPTH, MAX_DEPTH } from './json'
import type { MetricName } from './metrics'
import { type ChatServerOptions, type Principal, resolveOptions } from './options'
import { createOrigins } from './origins'
import { createPublisher, type Publish } from './publisher'
import { ReplayPacer } from './replayPacer'
import { isSessionId, parseCursor, parseCursors, verdictOn } from './resume'
import { createStreams, type StreamRef } from './streams'

export interface ChatServer {
  /**
   * Answers a request; never rejects. Mount it anywhere: the last segment of the path names the endpoint. It needs no
   * `this`, so it can be handed to a host as it is.
   */
  fetch(request: Request): Promise<Response>
  /**
   * Appends an event to a session; every stream that is attached to it gets it, as `{ ...event, sessionId, seq, epoch }`.
   * The event is copied as JSON. Rejects with a TypeError if the session id or the event is not valid (JSON, at most 128 levels
   * deep and `limits.eventBytes` long), or if the event's `type` is one of the protocol's own; and with whatever the log rejects with. `onError` is told
   * too, so it need not be awaited: a rejection that nobody handles does not end the process.
   */
  readonly publish: Publish
  /**
   * Drains: says goodbye on every stream and ends it; from now on every request is answered 503, with `Retry-After`.
   * Resolves when the commands that were running have ended. `publish` keeps working: the log is not closed.
   *
   * @throws TypeError (rejected) naming the option, if one is invalid or unknown
   */
  close(options?: CloseOptions): Promise<void>
}

export interface CloseOptions {
  /** How long clients wait at least before they come back, ms. Default: 1,000. */
  readonly retryAfter?: number
  /**
   * Over how long they spread beyond that, ms: at least the number of this process's streams divided by what the others
   * accept in a second. At most 300,000 (clients wait no longer). Default: 5,000.
   */
  readonly spread?: number
}

const MAX_TEXT = 128
const MAX_IDEMPOTENCY_KEY = 256
/** Clients wait no longer, whatever they are told. ms. */
const MAX_WAIT = 300_000
/** Seconds. Without it a browser asks before nearly every POST. */
const PREFLIGHT_HEADERS = { 'Access-Control-Max-Age': '7200' }
const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // Proxies must neither keep nor buffer nor compress it; the second one is for nginx.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
}

interface Call<P> {
  readonly principal: P
  readonly message: JsonObject
  readonly stream: StreamRef
}

/**
 * The server half: `GET …/events` down, `POST …/{endpoint}` up. Nothing but Web standards, so any host that speaks
 * `fetch(request)` can run it.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createChatServer<P extends Principal>(options: ChatServerOptions<P>): ChatServer {
  const resolved = resolveOptions(options)
  const { authenticate, authorize, onCommand, onSuspend, onError, heartbeat, allowedOrigins, limits } = resolved
  const { log, clock, random, typeEndpoints, onMetric, notify } = resolved
  const origins = createOrigins(resolved)
  const streams = createStreams({ log, limits, heartbeat, clock, onMetric, onError })
  const commands = createCommands({ ...limits, clock, shared: streams.cluster, onError })
  const pacer = new ReplayPacer(limits.replayRate, clock)
  const endpoints = new Set([...typeEndpoints.values(), 'batch'])
  let isClosed = false

  const tell = (name: MetricName, value = 1) => onMetric({ name, value })
  const { publish, publishOnce } = createPublisher({ log, maxBytes: limits.eventBytes, clock, tell, onError })

  // Routing

  async function fetch(request: Request): Promise<Response> {
    const response = await route(request).catch((error: unknown) => refuse(request, error))
    for (const [name, value] of Object.entries(origins.corsHeaders(request))) response.headers.set(name, value)
    return response
  }

  async function refuse(request: Request, error: unknown): Promise<Response> {
    if (error instanceof Misconfiguration) notify(error.code, error.message)
    const answer = answerTo(error)
    await discardBody(request, limits.bodyTimeout, clock)
    return toResponse(answer)
  }

  async function route(request: Request): Promise<Response> {
    // Wherever it is mounted, and whatever a host adds or leaves of slashes.
    const endpoint = new URL(request.url).pathname.split('/').findLast(Boolean) ?? ''
    const method = endpoint === 'events' ? 'GET' : 'POST'
    refuseIfClosed()
    // Not 404 for a POST: to a client that means that its stream is unknown, and it would open another, for ever.
    if (method === 'POST' && !endpoints.has(endpoint)) {
      throw request.method === 'POST' ? new Refusal(400, 'unknown-endpoint') : new Refusal(404, 'not-found')
    }
    origins.check(request)
    if (request.method === 'OPTIONS' && allowedOrigins)
      return new Response(null, { status: 204, headers: PREFLIGHT_HEADERS })
    if (request.method !== method) throw new Refusal(405, 'method-not-allowed', { Allow: method })
    return method === 'GET' ? openStream(request) : takePost(request, endpoint)
  }

  function refuseIfClosed() {
    if (isClosed) throw new Refusal(503, 'unavailable', { 'Retry-After': '5' })
  }

  const answerTo = (error: unknown) => refusalOf(error, onError)

  async function identify(request: Request): Promise<P> {
    const principal = await authenticate(request)
    if (!principal) throw new Refusal(401, 'unauthorized')
    if (typeof principal.id !== 'string' || principal.id === '')
      throw new TypeError("a principal's 'id' must be a string")
    return principal
  }

  // Down

  async function openStream(request: Request): Promise<Response> {
    const principal = await identify(request)
    refuseIfClosed()
    // A native EventSource does not tell why it was refused, so the client asks. Nothing is opened.
    if (new URL(request.url).searchParams.has('ask')) {
      streams.checkRoom(principal.id)
      return new Response('', { headers: EVENT_STREAM_HEADERS })
    }
    const { stream } = streams.open(principal.id, (connectionId, onEnd) =>
      createChatStream({
        log,
        clock,
        heartbeat,
        stall: limits.stall,
        age: limits.streamAge * (0.9 + 0.2 * random()),
        maxSessions: limits.sessionsPerStream,
        principalId: principal.id,
        pacer,
        welcome: { type: 'welcome', protocolVersion: PROTOCOL_VERSION, connectionId, heartbeat, features: FEATURES },
        onEnd,
        onEvict: () => tell('evictions'),
        onError,
      }),
    )
    return new Response(stream.body, { headers: EVENT_STREAM_HEADERS })
  }

  // Up

  async function takePost(request: Request, endpoint: string): Promise<Response> {
    const header = request.headers.get(CONNECTION_ID_HEADER)
    const own = Object.hasOwn(ownEndpoints, endpoint) ? ownEndpoints[endpoint] : undefined
    const principal = await identify(request)
    const { bodyBytes: bytes, bodyTimeout: timeout } = limits
    const depth = endpoint === 'batch' ? BATCH_DEPTH : MAX_DEPTH
    const message = await readMessage(request, { bytes, timeout, depth }, clock)
    // [spec] sendBeacon cannot set headers.
    const connectionId = header ?? (endpoint === 'suspend' && message.connectionId)
    if (own) {
      const result = await own(admit(principal, connectionId, endpoint, message))
      return jsonResponse(200, JSON.stringify({ ok: true, ...result }))
    }
    // It has arrived when its body is here: one that stalls on the way, perhaps the dead twin of a repeat, holds up nobody.
    const turn = streams.takeTurn(principal.id, header)
    try {
      if (endpoint === 'batch') return toResponse(await batch(principal, header, message, turn))
      const key = request.headers.get(IDEMPOTENCY_KEY_HEADER) ?? undefined
      return toResponse(await command(admit(principal, header, endpoint, message), endpoint, key, turn))
    } finally {
      turn.leave()
    }
  }

  function admit(principal: P, connectionId: unknown, endpoint: string, message: JsonObject): Call<P> {
    if (typeEndpoints.get(message.type) !== endpoint) throw new Refusal(400, 'bad-request')
    return { principal, message, stream: streamOf(principal, connectionId) }
  }

  function streamOf({ id }: P, connectionId: unknown): StreamRef {
    refuseIfClosed()
    return streams.find(id, connectionId)
  }

  const ownEndpoints: Readonly<Record<string, (call: Call<P>) => Promise<object | undefined>>> = {
    async reconnect({ principal, message, stream }) {
      const { resumeId } = message
      const cursors = parseCursors(message.sessions, limits.sessionsPerResume)
      const isId = typeof resumeId === 'string' && resumeId.length <= MAX_TEXT
      if (!cursors || !(isId || resumeId === undefined)) throw new Refusal(400, 'bad-request')
      return { sessions: await resume(principal, stream, cursors, isId ? { resumeId } : {}) }
    },

    async watch({ principal, message, stream }) {
      const cursor = parseCursor(message)
      if (!cursor) throw new Refusal(400, 'bad-request')
      const sessions = await resume(principal, stream, [cursor])
      if (sessions[0]?.status === 'forbidden') throw new Refusal(403, 'forbidden')
      return { sessions }
    },

    async unwatch({ message: { sessionId }, stream }) {
      if (!isSessionId(sessionId)) throw new Refusal(400, 'bad-request')
      await stream.call({ type: 'detach', sessionId })
      return undefined
    },

    async probe({ message: { nonce }, stream }) {
      if (!isText(nonce) || nonce.length > MAX_TEXT) throw new Refusal(400, 'bad-request')
      await stream.call({ type: 'echo', nonce })
      return undefined
    },

    async suspend({ principal, message, stream }) {
      const cursors = parseCursors(message.sessions, limits.sessionsPerResume)
      if (!cursors) throw new Refusal(400, 'bad-request')
      const sessionIds = cursors.map(({ sessionId }) => sessionId)
      const attached = [await stream.call({ type: 'farewell', sessionIds })].flat()
      const sessions = cursors.filter(({ sessionId }) => attached.includes(sessionId))
      await onSuspend({ principal, connectionId: stream.id, sessions })
      return undefined
    },
  }

  const attachedOf = async (stream: StreamRef, sessionIds: readonly string[]): Promise<readonly unknown[]> =>
    [await stream.call({ type: 'attached', sessionIds })].flat()

  async function resume(
    principal: P,
    stream: StreamRef,
    cursors: readonly Cursor[],
    marker?: { readonly resumeId?: string },
  ): Promise<readonly SessionVerdict[]> {
    await pacer.admit(principal.id, cursors.length)
    const verdicts = await Promise.all(cursors.map((cursor) => judge(principal, cursor)))
    const sessions = parseVerdicts({ sessions: await stream.call({ type: 'resume', sessions: verdicts, marker }) })
    for (const { status, from, to } of sessions) if (status === 'resumed' && to > from) tell('replays', to - from)
    return sessions
  }

  /** One bad session never fails a resume: not one with a malformed id, nor one that is gone. */
  async function judge(principal: P, cursor: Cursor): Promise<SessionVerdict> {
    const { sessionId, lastSeq } = cursor
    const permission = isSessionId(sessionId) && (await authorize(principal, sessionId, 'read'))
    if (permission === true) return verdictOn(cursor, await log.head(sessionId))
    return { sessionId, status: permission === 'gone' ? 'gone' : 'forbidden', from: lastSeq, to: lastSeq }
  }

  /** Each message goes the way of one that is posted alone, with its id as the key. */
  async function batch(principal: P, connectionId: unknown, posted: JsonObject, turn: Turn): Promise<Answer> {
    const messages = parseBatch(posted)
    await attachedOf(streamOf(principal, connectionId), [])
    // Only the last one leaves the turn, so that nothing that arrived later gets between them.
    const kept: Turn = { ...turn, leave() {} }
    return answerBatch(messages, async ({ id, endpoint, body }, isLast) => {
      try {
        const isCommand = isText(endpoint) && !Object.hasOwn(ownEndpoints, endpoint)
        if (!isCommand || !isObject(body)) throw new Refusal(400, 'bad-request')
        return await command(admit(principal, connectionId, endpoint, body), endpoint, id, isLast ? turn : kept)
      } catch (error) {
        return answerTo(error)
      }
    })
  }

  async function command(
    { principal, message, stream }: Call<P>,
    endpoint: string,
    key: string | undefined,
    turn: Turn,
  ): Promise<Answer> {
    const { sessionId } = message
    if (!(sessionId === undefined || isSessionId(sessionId))) throw new Refusal(400, 'bad-request')
    if (key !== undefined && key.length > MAX_IDEMPOTENCY_KEY) throw new Refusal(400, 'bad-request')
    const refusal = await prepare(principal, stream, sessionId)
    const fingerprint = key === undefined ? '' : await digest(`${endpoint}\n${JSON.stringify(message)}`)
    const identity = key === undefined ? undefined : JSON.stringify([principal.id, key])
    await turn.before
    refuseIfClosed()
    const answering = commands.execute({
      chain: sessionId === undefined ? `stream ${stream.id}` : `session ${sessionId}`,
      identity,
      fingerprint,
      refusal,
      run: () =>
        onCommand({
          principal,
          type: String(message.type),
          sessionId,
          message,
          connectionId: stream.id,
          idempotencyKey: key,
          publish: publishOnce(identity, fingerprint),
        }),
    })
    turn.leave()
    return answering
  }

  /**
   * Attaches before a command runs, so that whoever sent it hears what comes of it; and finds out whether the stream still
   * is there, because on another one they would not. Returns why the command must not run.
   */
  async function prepare(principal: P, stream: StreamRef, sessionId: string | undefined): Promise<Answer | undefined> {
    const sessionIds = sessionId === undefined ? [] : [sessionId]
    const attached = await attachedOf(stream, sessionIds)
    if (sessionId === undefined) return undefined
    try {
      if ((await authorize(principal, sessionId, 'write')) !== true) throw new Refusal(403, 'forbidden')
      if (attached.includes(sessionId) || (await authorize(principal, sessionId, 'read')) !== true) return undefined
      const { head, epoch, isUnreadable } = await log.head(sessionId)
      if (isUnreadable) throw unavailable()
      await stream.call({ type: 'join', sessionId, after: head, epoch })
      return undefined
    } catch (error) {
      return answerTo(error)
    }
  }

  return {
    fetch,

    publish,

    async close(options = {}) {
      checkNames('close', options, ['retryAfter', 'spread'])
      const goodbye = { retryAfter: 1_000, spread: 5_000, ...options }
      for (const [name, value] of Object.entries(goodbye)) checkNumber(name, value, { min: 0, max: MAX_WAIT })
      isClosed = true
      for (const { stream } of streams.all()) stream.end(goodbye)
      await commands.settled()
      await streams.cluster?.leave().catch(onError)
    },
  }
}

const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)
