import {
  CONNECTION_ID_HEADER,
  type Cursor,
  FEATURES,
  IDEMPOTENCY_KEY_HEADER,
  isText,
  type JsonObject,
  LANE_HEADER,
  PROTOCOL_VERSION,
  parseVerdicts,
  type SessionVerdict,
} from '../protocol'
import { type Answer, jsonResponse, refusalOf } from './answer'
import { checkNames, checkNumber } from './check'
import { CommandDesk } from './command/commandDesk'
import { Commands } from './command/commands'
import { Lanes, laneOf } from './command/lanes'
import { toBatch, toCommand, weightOf } from './command/posted'
import { Presence } from './command/presence'
import { Receipts } from './command/receipts'
import { Misconfiguration, Refusal, tooMany, unavailable } from './errors'
import { Budget, Budgets } from './limits/budget'
import { TokenBuckets } from './limits/tokenBuckets'
import { parsedWeight, putOnAccount, REQUEST_WEIGHT, textWeight } from './limits/weights'
import type { MetricName } from './metrics'
import { type ChatServerOptions, resolveOptions } from './options'
import { createPublisher, type Publish } from './publish'
import { discardBody, parseMessage, readBody } from './request/body'
import { checkRequest } from './request/checkRequest'
import { checkFetchMetadata } from './request/fetchMetadata'
import { BATCH_DEPTH, MAX_DEPTH } from './request/json'
import { createOrigins } from './request/origins'
import { checkedPrincipal, checkPrincipalId, type Principal } from './request/principal'
import { isSessionId, parseCursor, parseCursors, verdictOn } from './resume'
import { createAuthority } from './stream/authority'
import { createChatStream } from './stream/chatStream'
import { ReplayPacer } from './stream/replayPacer'
import { createStreams, type StreamRef, textsOf } from './stream/streams'

export interface ChatServer {
  /**
   * Answers a request. Mount it anywhere: the last segment of the path names the endpoint. It needs no `this`, so it can be
   * handed as it is to a host that speaks web-standard `Request` and `Response`. It rejects only with a TypeError that says so,
   * where it is given something else, such as Node's IncomingMessage.
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
   * Ends what a principal may no longer read, in all processes: every stream of theirs that is attached to the session or, without
   * one, every stream of theirs. The clients come back, and are told what `authenticate` and `authorize` answer then: 401, `forbidden` or
   * `gone`. So change what those two answer first. Resolves when the streams of this process have ended and, with a log that
   * several share, the log has it for the others; they follow at once or, after a lost connection, within 10 s.
   *
   * Rejects with a TypeError if an id is not valid, and with whatever the log rejects with; then only this process has ended its
   * streams. `onError` is told too, so it need not be awaited.
   */
  revoke(principalId: string, sessionId?: string): Promise<void>
  /**
   * Drains: says goodbye on every stream and ends it; from now on every request is answered 503, with `Retry-After`, and so is each
   * command that waits for its turn. Resolves when the commands that were running have ended. `publish` keeps working: the log is not closed.
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
const ADAPTERS = 'mount getRequestListener(chat.fetch) of @hono/node-server, or pass the Request of your framework'
/** Clients wait no longer, whatever they are told. ms. */
const MAX_WAIT = 300_000
/** ms. */
const HOUR = 3_600_000
/** Seconds. Without it a browser asks before nearly every POST. */
const PREFLIGHT_HEADERS = { 'Access-Control-Max-Age': '7200' }
const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // Proxies must neither keep nor buffer nor compress it; the second one is for nginx.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
  // For browsers without Fetch Metadata: a frame gives up the stream as soon as it reads this.
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
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
  const streams = createStreams({
    log,
    limits,
    heartbeat,
    clock,
    onMetric,
    onRevoked: (principalId, sessionId) => authority.apply(principalId, sessionId),
    onError,
  })
  const authority = createAuthority<P>({
    authorize,
    streamsOf: streams.of,
    interval: limits.reauthorize,
    clock,
    random,
    onError,
  })
  const pacer = new ReplayPacer(limits.replayRate, clock)
  const newSessions = new TokenBuckets({ perMs: limits.newSessions / HOUR, full: limits.newSessions, clock })
  const budgets = new Budgets(limits.memory)
  /** Of those whom nobody has asked yet who they are, and of what was refused. No principal has this id. */
  const strangers = budgets.of('')
  /** Of what was refused: its bodies come as slowly as their sender likes, and must not keep others from being asked. */
  const refused = new Budget(budgets.share / 2, strangers)
  const receipts = new Receipts({ ...limits, budgets, clock, onError })
  const commands = new Commands({ budgets, receipts, shared: streams.cluster, onError })
  const endpoints = new Set([...typeEndpoints.values(), 'batch'])
  const isOwn = (endpoint: string) => Object.hasOwn(ownEndpoints, endpoint)
  const rules = { typeEndpoints, isOwn, onError }
  let isClosed = false

  const tell = (name: MetricName, value = 1) => onMetric({ name, value })
  const { publish, publishOnce } = createPublisher({ log, maxBytes: limits.eventBytes, clock, tell, onError })
  const desk = new CommandDesk<P>({
    log,
    lanes: new Lanes(),
    commands,
    authority,
    newSessions,
    clock,
    authorize,
    onCommand,
    streamOf,
    refuseIfClosed,
    publishOnce,
    onError,
  })

  // Routing

  async function fetch(request: Request): Promise<Response> {
    checkRequest('fetch', request, ADAPTERS)
    const response = await route(request).catch((error: unknown) => refuse(request, error))
    for (const [name, value] of Object.entries(origins.corsHeaders(request))) response.headers.set(name, value)
    return response
  }

  async function refuse(request: Request, error: unknown): Promise<Response> {
    if (error instanceof Misconfiguration) notify(error.code, error.message)
    const answer = answerTo(error)
    if (refused.take(REQUEST_WEIGHT)) {
      await discardBody(request, limits.bodyTimeout, clock)
      refused.give(REQUEST_WEIGHT)
    } else request.body?.cancel().catch(() => {})
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
    if (request.method === 'GET') checkFetchMetadata(request, allowedOrigins !== undefined)
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
    if (!strangers.take(REQUEST_WEIGHT)) throw unavailable()
    try {
      const principal = await authenticate(request)
      if (!principal) throw new Refusal(401, 'unauthorized')
      return checkedPrincipal(principal)
    } finally {
      strangers.give(REQUEST_WEIGHT)
    }
  }

  // Down

  async function openStream(request: Request): Promise<Response> {
    const mark = authority.mark()
    const principal = await identify(request)
    refuseIfClosed()
    if (authority.wasRevoked(mark, principal.id)) throw unavailable()
    // A native EventSource does not tell why it was refused, so the client asks. Nothing is opened.
    if (new URL(request.url).searchParams.has('ask')) {
      streams.checkRoom(principal.id)
      return new Response('', { headers: EVENT_STREAM_HEADERS })
    }
    const share = budgets.of(principal.id)
    const account = new Budget(Infinity, share)
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
        account,
        welcome: {
          type: 'welcome',
          protocolVersion: PROTOCOL_VERSION,
          connectionId,
          heartbeat,
          features: FEATURES,
          receiptAge: receipts.minAge,
        },
        onEnd(sessionIds) {
          account.close()
          onEnd(sessionIds)
        },
        onEvict: () => tell('evictions'),
        beat: Math.min(heartbeat, authority.beatAtMost),
        onBeat: () => authority.beat(principal, stream),
        onError,
      }),
    )
    authority.beat(principal, stream)
    putOnAccount(stream.body, share)
    return new Response(stream.body, { headers: EVENT_STREAM_HEADERS })
  }

  // Up

  async function takePost(request: Request, endpoint: string): Promise<Response> {
    const connectionId = request.headers.get(CONNECTION_ID_HEADER)
    const principal = await identify(request)
    const memory = new Budget(Infinity, budgets.of(principal.id))
    const presence = new Presence(() => request.signal, streams.endOf(principal.id, connectionId), clock)
    let rest: Promise<unknown> = Promise.resolve()
    try {
      if (!memory.take(REQUEST_WEIGHT)) throw tooMany()
      const { bodyBytes: bytes, bodyTimeout: timeout } = limits
      const depth = endpoint === 'batch' ? BATCH_DEPTH : MAX_DEPTH
      const text = await readBody(request, { bytes, timeout, depth }, clock, memory)
      const own = isOwn(endpoint) ? ownEndpoints[endpoint] : undefined
      if (own) {
        // It is held until the log, `authorize` and the pace of replays let it go on.
        if (!memory.take(parsedWeight(text))) throw tooMany()
        const result = await own(admit(principal, connectionId, endpoint, parseMessage(text)))
        return jsonResponse(200, JSON.stringify({ ok: true, ...result }))
      }
      const key = request.headers.get(IDEMPOTENCY_KEY_HEADER) ?? undefined
      const lane = laneOf(request.headers.get(LANE_HEADER))
      // Room is asked for before the work; what there is more in the end are numbers that are written in another way.
      const weight = textWeight(text)
      if (!memory.take(weight)) throw tooMany()
      const posted =
        endpoint === 'batch' ? toBatch(rules, text) : toCommand(rules, parseMessage(text), { endpoint, key, lane })
      if (!memory.take(Math.max(0, weightOf(posted) - weight))) throw tooMany()
      const { answer, over } = desk.take({ principal, connectionId, presence }, posted)
      rest = over
      return toResponse(await answer)
    } finally {
      // A batch is answered before its slow lanes are.
      void rest.then(() => {
        memory.close()
        presence.end()
      })
    }
  }

  function admit(principal: P, connectionId: unknown, endpoint: string, message: JsonObject): Call<P> {
    if (typeEndpoints.get(message.type) !== endpoint) throw new Refusal(400, 'bad-request')
    // [spec] sendBeacon cannot set headers.
    const id = connectionId ?? (endpoint === 'suspend' && message.connectionId)
    return { principal, message, stream: streamOf(principal, id) }
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
      const [verdict] = sessions
      if (verdict?.status === 'forbidden') throw new Refusal(403, verdict.error ?? 'forbidden')
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
      const { resumeId } = message
      const isId = resumeId == null || (isText(resumeId) && resumeId.length <= MAX_TEXT)
      if (!cursors || !isId) throw new Refusal(400, 'bad-request')
      const sessionIds = cursors.map(({ sessionId }) => sessionId)
      await pacer.admit(principal.id, sessionIds.length)
      const answer = await stream.call({ type: 'farewell', sessionIds, resumeId })
      // The page has come back since.
      if (answer === null) return undefined
      const attached = textsOf(answer)
      const refused = await authority.recheck(principal, stream, attached)
      const sessions = cursors.filter(({ sessionId }) => attached.includes(sessionId) && !refused.includes(sessionId))
      await onSuspend({ principal, connectionId: stream.id, sessions })
      return undefined
    },
  }

  async function resume(
    principal: P,
    stream: StreamRef,
    cursors: readonly Cursor[],
    marker?: { readonly resumeId?: string },
  ): Promise<readonly SessionVerdict[]> {
    await pacer.admit(principal.id, cursors.length)
    const mark = authority.mark()
    const verdicts = await Promise.all(cursors.map((cursor) => judge(principal, cursor)))
    // An id that is none, of any size, is not put on the stream: the answer alone tells of it.
    const sessions = verdicts.filter(({ sessionId }) => isSessionId(sessionId))
    const taken = parseVerdicts({ sessions: await stream.call({ type: 'resume', sessions, marker }) })
    const sessionIds = taken.map(({ sessionId }) => sessionId)
    await authority.refuseIfRevoked(mark, principal, stream, sessionIds)
    for (const { status, from, to } of taken) if (status === 'resumed' && to > from) tell('replays', to - from)
    const told = new Map(taken.map((verdict) => [verdict.sessionId, verdict]))
    return verdicts.flatMap((verdict) => told.get(verdict.sessionId) ?? (isSessionId(verdict.sessionId) ? [] : verdict))
  }

  /** One bad session never fails a resume: not one with a malformed id, nor one that is gone. */
  async function judge(principal: P, cursor: Cursor): Promise<SessionVerdict> {
    const { sessionId, lastSeq } = cursor
    const permission = isSessionId(sessionId) && (await authorize(principal, sessionId, 'read'))
    if (permission === true) return verdictOn(cursor, await log.head(sessionId))
    return { sessionId, status: permission === 'gone' ? 'gone' : 'forbidden', from: lastSeq, to: lastSeq }
  }

  async function revoke(principalId: string, sessionId?: string): Promise<void> {
    checkPrincipalId('revoke', principalId)
    if (sessionId !== undefined && !isSessionId(sessionId))
      throw new TypeError('revoke: the session id must match ^[A-Za-z0-9_-]{1,128}$')
    authority.apply(principalId, sessionId)
    await streams.cluster?.revoke(principalId, sessionId)
  }

  return {
    fetch,

    publish,

    revoke(principalId, sessionId) {
      const revoking = revoke(principalId, sessionId)
      // As with `publish`: a rejection that nobody handles ends the process.
      revoking.catch(onError)
      return revoking
    },

    async close(options = {}) {
      checkNames('close', options, ['retryAfter', 'spread'])
      const goodbye = { retryAfter: 1_000, spread: 5_000, ...options }
      for (const [name, value] of Object.entries(goodbye)) checkNumber(name, value, { min: 0, max: MAX_WAIT })
      isClosed = true
      for (const { stream } of streams.all()) stream.end(goodbye)
      await commands.close()
      await streams.cluster?.leave().catch(onError)
    },
  }
}

const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)
