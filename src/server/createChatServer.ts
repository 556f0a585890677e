import {
  CONNECTION_ID_HEADER,
  type Cursor,
  FEATURES,
  IDEMPOTENCY_KEY_HEADER,
  isObject,
  isText,
  type JsonObject,
  MESSAGE_ID,
  PROTOCOL_VERSION,
  parseVerdicts,
  type SessionVerdict,
} from '../protocol'
import { createAuthority } from './authority'
import { answerBatch, parseBatch } from './batch'
import { discardBody, parseMessage, readBody } from './body'
import { Budget, Budgets } from './budget'
import { createChatStream } from './chatStream'
import { checkNames, checkNumber } from './check'
import type { Answer } from './cluster'
import { Commands } from './commands'
import { digest } from './digest'
import { checkFetchMetadata } from './fetchMetadata'
import { jsonResponse, Misconfiguration, Refusal, refusalOf, tooMany, unavailable, unknownStream } from './http'
import { BATCH_DEPTH, MAX_DEPTH } from './json'
import type { Place } from './line'
import type { MetricName } from './metrics'
import { type ChatServerOptions, type Principal, resolveOptions } from './options'
import { createOrigins } from './origins'
import { Presence } from './presence'
import { checkedPrincipal, checkPrincipalId } from './principal'
import { createPublisher, type Publish } from './publisher'
import { Receipts } from './receipts'
import { ReplayPacer } from './replayPacer'
import { isSessionId, parseCursor, parseCursors, verdictOn } from './resume'
import { createStreams, type StreamRef } from './streams'
import { parsedWeight, putOnAccount, REQUEST_WEIGHT, textWeight } from './weights'

/** Order per lane, and a stop that cancels, are not among them. */
const PROMISED = FEATURES.filter((feature) => feature !== 'lanes' && feature !== 'cancels')

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
/** Clients wait no longer, whatever they are told. ms. */
const MAX_WAIT = 300_000
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

/** The request that commands come with. */
interface Sender<P> {
  readonly principal: P
  readonly connectionId: unknown
  readonly presence: Presence
  readonly turn: Place
}

/** A command before its turn: as text, because parsed it may be twenty times as large. */
interface Posted {
  readonly endpoint: string
  readonly type: string
  readonly sessionId: string | undefined
  readonly key: string | undefined
  /** The same for the same JSON in another notation. */
  readonly json: string
}

interface BatchMessage {
  readonly id: string
  /** Or why it is none. */
  readonly posted: Posted | Answer
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
  const budgets = new Budgets(limits.memory)
  /** Of those whom nobody has asked yet who they are, and of what was refused. No principal has this id. */
  const strangers = budgets.of('')
  const receipts = new Receipts({ ...limits, budgets, clock, onError })
  const commands = new Commands({ budgets, receipts, shared: streams.cluster, onError })
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
    if (strangers.take(REQUEST_WEIGHT)) {
      await discardBody(request, limits.bodyTimeout, clock)
      strangers.give(REQUEST_WEIGHT)
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
          features: PROMISED,
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
    try {
      if (!memory.take(REQUEST_WEIGHT)) throw tooMany()
      const { bodyBytes: bytes, bodyTimeout: timeout } = limits
      const depth = endpoint === 'batch' ? BATCH_DEPTH : MAX_DEPTH
      const text = await readBody(request, { bytes, timeout, depth }, clock, memory)
      const own = Object.hasOwn(ownEndpoints, endpoint) ? ownEndpoints[endpoint] : undefined
      if (own) {
        const result = await own(admit(principal, connectionId, endpoint, parseMessage(text)))
        return jsonResponse(200, JSON.stringify({ ok: true, ...result }))
      }
      const key = request.headers.get(IDEMPOTENCY_KEY_HEADER) ?? undefined
      // Room is asked for before the work; what there is more in the end are numbers that are written in another way.
      const weight = textWeight(text)
      if (!memory.take(weight)) throw tooMany()
      const posted = endpoint === 'batch' ? toBatch(text) : toCommand(endpoint, parseMessage(text), key)
      if (!memory.take(Math.max(0, weightOf(posted) - weight))) throw tooMany()
      return toResponse(await inTurn({ principal, connectionId, presence }, posted))
    } finally {
      memory.close()
      presence.end()
    }
  }

  /** It has arrived when its body is here: one that stalls on the way, perhaps the dead twin of a repeat, holds up nobody. */
  async function inTurn(sender: Omit<Sender<P>, 'turn'>, posted: Posted | readonly BatchMessage[]): Promise<Answer> {
    const turn = streams.takeTurn(sender.principal.id, sender.connectionId)
    try {
      return await ('json' in posted ? command({ ...sender, turn }, posted) : batch({ ...sender, turn }, posted))
    } finally {
      turn.leave()
    }
  }

  function admit(principal: P, connectionId: unknown, endpoint: string, message: JsonObject): Call<P> {
    if (typeEndpoints.get(message.type) !== endpoint) throw new Refusal(400, 'bad-request')
    // [spec] sendBeacon cannot set headers.
    const id = connectionId ?? (endpoint === 'suspend' && message.connectionId)
    return { principal, message, stream: streamOf(principal, id) }
  }

  /** @throws Refusal 400 if it is none */
  function toCommand(endpoint: string, message: JsonObject, key: string | undefined): Posted {
    const { type, sessionId } = message
    const isValid =
      typeEndpoints.get(type) === endpoint &&
      (sessionId === undefined || isSessionId(sessionId)) &&
      (key === undefined || MESSAGE_ID.test(key))
    if (!isValid) throw new Refusal(400, 'bad-request')
    return { endpoint, type: String(type), sessionId, key, json: JSON.stringify(message) }
  }

  const toBatch = (text: string): readonly BatchMessage[] =>
    parseBatch(parseMessage(text)).map(({ id, endpoint, body }) => {
      try {
        const isCommand = isText(endpoint) && !Object.hasOwn(ownEndpoints, endpoint)
        if (!isCommand || !isObject(body)) throw new Refusal(400, 'bad-request')
        return { id, posted: toCommand(endpoint, body, id) }
      } catch (error) {
        return { id, posted: answerTo(error) }
      }
    })

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
      const { resumeId } = message
      const isId = resumeId == null || (isText(resumeId) && resumeId.length <= MAX_TEXT)
      if (!cursors || !isId) throw new Refusal(400, 'bad-request')
      const sessionIds = cursors.map(({ sessionId }) => sessionId)
      const answer = await stream.call({ type: 'farewell', sessionIds, resumeId })
      // The page has come back since.
      if (answer === null) return undefined
      const attached = listOf(answer)
      const refused = await authority.recheck(principal, stream, attached)
      const sessions = cursors.filter(({ sessionId }) => attached.includes(sessionId) && !refused.includes(sessionId))
      await onSuspend({ principal, connectionId: stream.id, sessions })
      return undefined
    },
  }

  const attachedOf = (stream: StreamRef, sessionIds: readonly string[]) =>
    stream.call({ type: 'attached', sessionIds }).then(listOf)

  /** A right may be taken away between the answer of `authorize` and the attaching. */
  async function refuseIfRevoked(mark: number, { id }: P, stream: StreamRef, sessionIds: readonly string[]) {
    if (!authority.wasRevoked(mark, id, sessionIds)) return
    await stream.call({ type: 'revoke', sessionIds })
    throw unknownStream()
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
    await refuseIfRevoked(mark, principal, stream, sessionIds)
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

  /** Each message goes the way of one that is posted alone, with its id as the key. */
  async function batch(sender: Sender<P>, messages: readonly BatchMessage[]): Promise<Answer> {
    const { principal, connectionId, turn } = sender
    await attachedOf(streamOf(principal, connectionId), [])
    // Only the last one leaves the turn, so that nothing that arrived later gets between them.
    const kept: Place = { ...turn, leave() {} }
    return answerBatch(messages, async ({ posted }, isLast) => {
      if ('status' in posted) return posted
      return command({ ...sender, turn: isLast ? turn : kept }, posted).catch(answerTo)
    })
  }

  async function command(sender: Sender<P>, { endpoint, type, sessionId, key, json }: Posted): Promise<Answer> {
    const { principal, connectionId, presence, turn } = sender
    const stream = streamOf(principal, connectionId)
    const refusal = await prepare(principal, stream, sessionId)
    const fingerprint = key === undefined ? '' : await digest(`${endpoint}\n${json}`)
    const identity = key === undefined ? undefined : JSON.stringify([principal.id, key])
    await presence.waitFor(turn.reached)
    refuseIfClosed()
    const answering = commands.execute(
      {
        chain: sessionId === undefined ? `stream ${stream.id}` : `session ${sessionId}`,
        principalId: principal.id,
        identity,
        fingerprint,
        refusal,
        weight: parsedWeight(json),
        run: () =>
          onCommand({
            principal,
            type,
            sessionId,
            message: parseMessage(json),
            connectionId: stream.id,
            idempotencyKey: key,
            publish: publishOnce(identity, fingerprint),
          }),
      },
      presence,
    )
    turn.leave()
    return answering
  }

  /**
   * Attaches before a command runs, so that whoever sent it hears what comes of it; and finds out whether the stream still
   * is there, because on another one they would not. Returns why the command must not run.
   */
  async function prepare(principal: P, stream: StreamRef, sessionId: string | undefined): Promise<Answer | undefined> {
    const mark = authority.mark()
    const sessionIds = sessionId === undefined ? [] : [sessionId]
    const attached = await attachedOf(stream, sessionIds)
    if (sessionId === undefined) return undefined
    try {
      if ((await authorize(principal, sessionId, 'write')) !== true) {
        // Who may not write may still read.
        await authority.recheck(principal, stream, attached)
        throw new Refusal(403, 'forbidden')
      }
      if (attached.includes(sessionId) || (await authorize(principal, sessionId, 'read')) !== true) return undefined
      const { head, epoch, isUnreadable } = await log.head(sessionId)
      if (isUnreadable) throw unavailable()
      await stream.call({ type: 'join', sessionId, after: head, epoch })
      await refuseIfRevoked(mark, principal, stream, sessionIds)
      return undefined
    } catch (error) {
      return answerTo(error)
    }
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
      await commands.settled()
      await streams.cluster?.leave().catch(onError)
    },
  }
}

const listOf = (answer: unknown): readonly string[] => [answer].flat().filter(isText)

/** The texts that are held until their turn, bytes. */
function weightOf(posted: Posted | readonly BatchMessage[]): number {
  const texts = 'json' in posted ? [posted.json] : posted.map(({ posted }) => posted.json)
  return texts.reduce((sum, json) => sum + textWeight(json), 0)
}

const toResponse = ({ status, json, headers }: Answer) => jsonResponse(status, json, headers)
