import {
  CONNECTION_ID_HEADER,
  type Cursor,
  FEATURES,
  IDEMPOTENCY_KEY_HEADER,
  isObject,
  isText,
  type JsonObject,
  PROTOCOL_VERSION,
  parseControl,
  type SessionVerdict,
} from '../protocol'
import { answerBatch, parseBatch } from './batch'
import { createChatStream } from './chatStream'
import { type Answer, createCommands } from './commands'
import { type Connection, createConnections, type Turn } from './connections'
import { jsonResponse, originPolicy, Refusal, readMessage } from './http'
import { type ChatServerOptions, type Principal, resolveOptions } from './options'
import { isSessionId, parseCursor, parseCursors, verdictOn } from './resume'
import type { LogEntry, SessionEvent } from './sessionLog'

export interface ChatServer {
  /**
   * Answers a request; never rejects. Mount it anywhere: the last segment of the path names the endpoint. It needs no
   * `this`, so it can be handed to a host as it is.
   */
  fetch(request: Request): Promise<Response>
  /**
   * Appends an event to a session; every stream that is attached to it gets it, as `{ ...event, sessionId, seq, epoch }`.
   * The event is copied as JSON. Rejects with a TypeError if the session id or the event is not valid, or if the event's
   * `type` is one of the protocol's own; and with whatever the log rejects with.
   */
  publish<E extends { readonly type: string }>(sessionId: string, event: E): Promise<LogEntry>
  /**
   * Says goodbye on every stream and ends it; from now on every request is answered 503. Resolves when the commands
   * that were running have ended. `publish` keeps working: the log is not closed.
   */
  close(): Promise<void>
}

const MAX_TEXT = 128
const MAX_IDEMPOTENCY_KEY = 256
/** ms; clients come back spread out, not all at once. */
const GOODBYE = { retryAfter: 1_000, spread: 5_000 }
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
  readonly connection: Connection
}

/**
 * The server half: `GET …/events` down, `POST …/{endpoint}` up. Nothing but Web standards, so any host that speaks
 * `fetch(request)` can run it.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function createChatServer<P extends Principal>(options: ChatServerOptions<P>): ChatServer {
  const { authenticate, authorize, onCommand, onSuspend, onError, heartbeat, allowedOrigins, limits, ...injected } =
    resolveOptions(options)
  const { log, clock, random, typeEndpoints } = injected
  const origins = originPolicy(allowedOrigins)
  const connections = createConnections(limits.streamsPerPrincipal)
  const commands = createCommands({ ...limits, clock, onError })
  const endpoints = new Set([...typeEndpoints.values(), 'batch'])
  let isClosed = false

  // Routing

  async function fetch(request: Request): Promise<Response> {
    const response = await route(request).catch((error: unknown) => toResponse(answerTo(error)))
    for (const [name, value] of Object.entries(origins.corsHeaders(request))) response.headers.set(name, value)
    return response
  }

  async function route(request: Request): Promise<Response> {
    const endpoint = new URL(request.url).pathname.split('/').pop() ?? ''
    const method = endpoint === 'events' ? 'GET' : 'POST'
    refuseIfClosed()
    // Not 404 for a POST: to a client that means that its stream is unknown, and it would open another, for ever.
    if (method === 'POST' && !endpoints.has(endpoint)) {
      throw request.method === 'POST' ? new Refusal(400, 'unknown-endpoint') : new Refusal(404, 'not-found')
    }
    if (!origins.accepts(request)) throw new Refusal(403, 'origin')
    if (request.method === 'OPTIONS' && allowedOrigins)
      return new Response(null, { status: 204, headers: PREFLIGHT_HEADERS })
    if (request.method !== method) throw new Refusal(405, 'method-not-allowed', { Allow: method })
    return method === 'GET' ? openStream(request) : takePost(request, endpoint)
  }

  function refuseIfClosed() {
    if (isClosed) throw new Refusal(503, 'unavailable', { 'Retry-After': '5' })
  }

  function answerTo(error: unknown): Answer {
    if (error instanceof Refusal) {
      return { status: error.status, json: JSON.stringify({ error: error.code }), headers: error.headers }
    }
    onError(error)
    return { status: 500, json: '{"error":"internal"}' }
  }

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
    const { stream } = connections.open(principal.id, (connectionId, onEnd) =>
      createChatStream({
        log,
        clock,
        heartbeat,
        stall: limits.stall,
        age: limits.streamAge * (0.9 + 0.2 * random()),
        maxSessions: limits.sessionsPerStream,
        welcome: { type: 'welcome', protocolVersion: PROTOCOL_VERSION, connectionId, heartbeat, features: FEATURES },
        onEnd,
        onError,
      }),
    )
    return new Response(stream.body, { headers: EVENT_STREAM_HEADERS })
  }

  // Up

  async function takePost(request: Request, endpoint: string): Promise<Response> {
    const header = request.headers.get(CONNECTION_ID_HEADER)
    const own = Object.hasOwn(ownEndpoints, endpoint) ? ownEndpoints[endpoint] : undefined
    const turn = connections.takeTurn(own ? null : header)
    try {
      const principal = await identify(request)
      // Someone else's slow request must not hold up the stream that it names.
      if (!connections.find(header, principal.id)) turn.leave()
      const message = await readMessage(request, limits.bodyBytes)
      if (endpoint === 'batch') return toResponse(await batch(principal, header, message, turn))
      // [spec] sendBeacon cannot set headers.
      const call = admit(principal, header ?? (endpoint === 'suspend' && message.connectionId), endpoint, message)
      if (own) return jsonResponse(200, JSON.stringify({ ok: true, ...(await own(call)) }))
      const key = request.headers.get(IDEMPOTENCY_KEY_HEADER) ?? undefined
      return toResponse(await command(call, endpoint, key, turn))
    } finally {
      turn.leave()
    }
  }

  function admit(principal: P, connectionId: unknown, endpoint: string, message: JsonObject): Call<P> {
    if (typeEndpoints.get(message.type) !== endpoint) throw new Refusal(400, 'bad-request')
    return { principal, message, connection: connectionOf(principal, connectionId) }
  }

  function connectionOf(principal: P, id: unknown): Connection {
    refuseIfClosed()
    const connection = connections.find(id, principal.id)
    if (!connection) throw new Refusal(404, 'unknown-stream')
    return connection
  }

  const ownEndpoints: Readonly<Record<string, (call: Call<P>) => Promise<object | undefined>>> = {
    async reconnect({ principal, message, connection }) {
      const { resumeId } = message
      const cursors = parseCursors(message.sessions, limits.sessionsPerResume)
      const isId = typeof resumeId === 'string' && resumeId.length <= MAX_TEXT
      if (!cursors || !(isId || resumeId === undefined)) throw new Refusal(400, 'bad-request')
      const sessions = await Promise.all(cursors.map((cursor) => resume(principal, connection, cursor)))
      connection.stream.confirm(isId ? { resumeId, sessions } : { sessions })
      return { sessions }
    },

    async watch({ principal, message, connection }) {
      const cursor = parseCursor(message)
      if (!cursor) throw new Refusal(400, 'bad-request')
      const verdict = await resume(principal, connection, cursor)
      if (verdict.status === 'forbidden') throw new Refusal(403, 'forbidden')
      return { sessions: [verdict] }
    },

    async unwatch({ message, connection }) {
      if (!isSessionId(message.sessionId)) throw new Refusal(400, 'bad-request')
      connection.stream.detach(message.sessionId)
      return undefined
    },

    async probe({ message, connection }) {
      const { nonce } = message
      if (typeof nonce !== 'string' || nonce.length > MAX_TEXT) throw new Refusal(400, 'bad-request')
      connection.stream.say({ type: 'probe', nonce })
      return undefined
    },

    async suspend({ principal, message, connection }) {
      const cursors = parseCursors(message.sessions, limits.sessionsPerResume)
      if (!cursors) throw new Refusal(400, 'bad-request')
      const sessions = cursors.filter(({ sessionId }) => connection.stream.isAttached(sessionId))
      await onSuspend({ principal, connectionId: connection.id, sessions })
      return undefined
    },
  }

  async function resume(principal: P, { stream }: Connection, cursor: Cursor): Promise<SessionVerdict> {
    const { sessionId, lastSeq } = cursor
    // One bad session never fails a resume: not one with a malformed id, nor one too many for the stream.
    const forbidden: SessionVerdict = { sessionId, status: 'forbidden', from: lastSeq, to: lastSeq }
    const permission = isSessionId(sessionId) && (await authorize(principal, sessionId, 'read'))
    if (permission !== true) {
      stream.detach(sessionId)
      return permission === 'gone' ? { ...forbidden, status: 'gone' } : forbidden
    }
    const head = await log.head(sessionId)
    const verdict = verdictOn(cursor, head)
    const isTaken = await stream.attach(sessionId, verdict.status === 'reset' ? head.head : lastSeq, head.epoch)
    return isTaken ? verdict : forbidden
  }

  /** Each message goes the way of one that is posted alone, with its id as the key. */
  async function batch(principal: P, connectionId: unknown, posted: JsonObject, turn: Turn): Promise<Answer> {
    const messages = parseBatch(posted)
    connectionOf(principal, connectionId)
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
    { principal, message, connection }: Call<P>,
    endpoint: string,
    key: string | undefined,
    turn: Turn,
  ): Promise<Answer> {
    const { sessionId } = message
    if (!(sessionId === undefined || isSessionId(sessionId))) throw new Refusal(400, 'bad-request')
    if (key !== undefined && key.length > MAX_IDEMPOTENCY_KEY) throw new Refusal(400, 'bad-request')
    const refusal =
      sessionId === undefined ? undefined : await prepare(principal, connection, sessionId).catch(answerTo)
    const fingerprint = key === undefined ? '' : await digest(`${endpoint}\n${JSON.stringify(message)}`)
    await turn.before
    refuseIfClosed()
    const answering = commands.execute({
      chain: sessionId === undefined ? `stream ${connection.id}` : `session ${sessionId}`,
      identity: key === undefined ? undefined : JSON.stringify([principal.id, key]),
      fingerprint,
      refusal,
      run: () =>
        onCommand({
          principal,
          type: String(message.type),
          sessionId,
          message,
          connectionId: connection.id,
          idempotencyKey: key,
        }),
    })
    turn.leave()
    return answering
  }

  /** Attaches before a command runs, so that whoever sent it hears what comes of it. */
  async function prepare(principal: P, { stream }: Connection, sessionId: string): Promise<undefined> {
    if ((await authorize(principal, sessionId, 'write')) !== true) throw new Refusal(403, 'forbidden')
    if (stream.isAttached(sessionId) || (await authorize(principal, sessionId, 'read')) !== true) return
    const { head, epoch } = await log.head(sessionId)
    // A resume may have been quicker, and knows better where to start. A full stream is no reason not to run: it may stay full.
    if (!stream.isAttached(sessionId)) await stream.attach(sessionId, head, epoch)
  }

  return {
    fetch,

    async publish(sessionId, event) {
      if (!isSessionId(sessionId)) throw new TypeError('publish: the session id must match ^[A-Za-z0-9_-]{1,128}$')
      return log.append(sessionId, copyOf(event))
    },

    async close() {
      isClosed = true
      for (const { stream } of connections.all()) stream.end(GOODBYE)
      await commands.settled()
    },
  }
}

const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)

/** What the event is as JSON, and independent of what the app does to it later. */
function copyOf(event: object): SessionEvent {
  const copy: unknown = JSON.parse(JSON.stringify(event) ?? 'null')
  if (!isObject(copy) || typeof copy.type !== 'string') {
    throw new TypeError("publish: an event must be a JSON object with a string 'type'")
  }
  if (copy.type === 'welcome' || parseControl(copy))
    throw new TypeError(`publish: the type '${copy.type}' is the protocol's`)
  return { ...copy, type: copy.type }
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return btoa(String.fromCharCode(...new Uint8Array(hash)))
}
