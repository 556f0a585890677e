import { randomUUID } from 'node:crypto'
import express, { type ErrorRequestHandler, type Request, type Response } from 'express'

// docs/protocol.md in plain Express, in memory. Nothing of holdline is imported.

const [HEARTBEAT, RECEIPT_AGE] = [8_000, 900_000] // ms
const MOST = { events: 20_000, prompt: 2_000, receipts: 5_000, streams: 20, attached: 1_000, unsaid: 32 }
const FEATURES = 'replay-marker contiguous-seq watch-replay probe receipts idempotency suspend-keeps'.split(' ')
const STREAM = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
}
const TYPES = new Map([
  ...['send', 'reconnect', 'watch', 'unwatch', 'probe'].map((name) => [name, name] as const),
  ['suspend', 'session_suspend'],
])

type Message = Record<string, unknown>
type Session = { owner: string; epoch: string; events: object[] }
type Stream = { user: string; response: Response; cursors: Map<string, number>; unsaid: object[] }
type Receipt = { at: number; payload: string; json: unknown }

/** Yours: who asks? Here it is whoever says a name, as a bearer token or in a cookie. */
const userOf = ({ headers: { authorization, cookie } }: Request) =>
  /^Bearer ([\w-]{1,64})$/.exec(authorization ?? '')?.[1] ?? /\buser=([\w-]{1,64})/.exec(cookie ?? '')?.[1]

/** Thrown, it is the answer. A client is told `type` as the code. */
const refusal = (status: number, type: string, message = type) => Object.assign(new Error(message), { status, type })
const refuse: ErrorRequestHandler = ({ status = 500, type = 'internal', message }, _request, response, _next) => {
  if (status === 429 || status === 503) response.set('Retry-After', '2')
  response.status(status).json({ error: type, ...(status < 500 && { message }) })
}
const frame = (data: object) => `data: ${JSON.stringify(data)}\n\n`
/** A client may say anything under any name. */
const plain = (value: unknown) => (typeof value === 'string' ? value.slice(0, 200) : '')

export function createChat() {
  const sessions = new Map<string, Session>()
  const streams = new Map<string, Stream>()
  const receipts = new Map<string, Map<string, Receipt>>()
  let isClosed = false

  /** Yours: may they? Here a session is of the user who wrote first. */
  const mayUse = (user: string, sessionId: string) => (sessions.get(sessionId)?.owner ?? user) === user

  /** Yours: what a prompt does, once for each key. It returns the receipt. */
  function prompted(user: string, sessionId: string, turnId: string, prompt: string) {
    const own = [...sessions.values()].filter(({ owner }) => owner === user)
    if (own.flatMap(({ events }) => events).length > MOST.events) throw refusal(409, 'full')
    const session = sessions.get(sessionId) ?? { owner: user, epoch: randomUUID(), events: [] }
    sessions.set(sessionId, session)
    for (const event of [
      { type: 'prompt', turnId, text: prompt },
      { type: 'answer', turnId, text: `You said: ${prompt}` },
    ])
      session.events.push({ ...event, sessionId, epoch: session.epoch, seq: session.events.length + 1 })
    for (const stream of streams.values()) pump(stream)
    return { taken: true }
  }

  function send(user: string, key: string, { sessionId: id, prompt }: Message) {
    if (!/^[!-~]{1,255}$/.test(key)) throw refusal(400, 'bad-request', 'no such Idempotency-Key')
    if (typeof prompt !== 'string' || prompt.length > MOST.prompt) throw refusal(400, 'bad-request', 'no such prompt')
    if (!/^[\w-]{1,128}$/.test(plain(id))) throw refusal(400, 'bad-request', 'no such sessionId')
    if (!mayUse(user, plain(id))) throw refusal(403, 'forbidden')
    const kept = receipts.get(user) ?? new Map<string, Receipt>()
    receipts.set(user, kept)
    for (const [old, { at }] of kept) if (at + RECEIPT_AGE < Date.now()) kept.delete(old)
    const [known, payload] = [kept.get(key), `${id} ${prompt}`]
    if (known && known.payload !== payload) throw refusal(409, 'key-reused')
    if (!known && kept.size >= MOST.receipts) throw refusal(429, 'too-many')
    const receipt = known ?? { at: Date.now(), payload, json: prompted(user, plain(id), key, prompt) }
    kept.set(key, receipt)
    return receipt.json
  }

  /**
   * Replay and live events are one thing: what is after the cursor, as fast as the client reads.
   */
  function pump({ user, response, cursors, unsaid }: Stream) {
    for (const [id, cursor] of cursors) {
      const events = mayUse(user, id) ? sessions.get(id)?.events.slice(cursor) : []
      for (const [index, event] of events?.entries() ?? []) {
        if (response.writableNeedDrain) return
        response.write(frame(event))
        cursors.set(id, cursor + index + 1)
      }
    }
    for (const said of unsaid.splice(0)) response.write(frame(said))
  }

  /** The word on a session, which is attached unless that is `forbidden`. */
  function attach({ user, cursors }: Stream, cursor: unknown) {
    const { sessionId: id, lastSeq, epoch } = Object(cursor)
    const isCursor = /^[\w-]{1,128}$/.test(plain(id)) && Number.isSafeInteger(lastSeq) && lastSeq >= 0
    const error = cursors.size >= MOST.attached ? 'too-many-sessions' : isCursor && mayUse(user, id) ? '' : 'forbidden'
    if (error) return { sessionId: plain(id), status: 'forbidden', error, from: 0, to: 0 }
    const { epoch: own, to } = { ...sessions.get(id), to: sessions.get(id)?.events.length ?? 0 }
    const isLost = lastSeq > to || (lastSeq > 0 && (epoch ?? own) !== own)
    cursors.set(id, isLost ? to : lastSeq)
    return { sessionId: id, epoch: own, status: isLost ? 'reset' : 'resumed', from: isLost ? 0 : lastSeq, to }
  }

  /** A message attaches its session, so that its sender hears what comes of it. */
  function join(stream: Stream, { sessionId }: Message) {
    if (stream.cursors.has(plain(sessionId))) return
    const word = attach(stream, { sessionId, lastSeq: Number.MAX_SAFE_INTEGER })
    if (word.error === 'too-many-sessions') stream.unsaid.push({ type: 'unattached', sessions: [word] })
  }

  /** A message that is for the server itself. */
  function take(stream: Stream, { type, sessionId, resumeId, nonce, ...message }: Message) {
    const cursors = type === 'watch' ? [{ sessionId, ...message }] : type === 'reconnect' ? message.sessions : []
    if (!Array.isArray(cursors) || cursors.length > 100) throw refusal(400, 'bad-request', 'not at most 100 sessions')
    const words = cursors.map((cursor) => attach(stream, cursor))
    if (type === 'watch' && words[0]?.error) throw refusal(403, words[0].error)
    if (type === 'unwatch') stream.cursors.delete(plain(sessionId))
    if (type === 'probe') stream.unsaid.push({ type, nonce: plain(nonce) })
    const named = resumeId ? { resumeId: plain(resumeId) } : {}
    if (type === 'reconnect') stream.unsaid.push({ type: 'reconnected', ...named, sessions: words })
    return { ok: true, sessions: words }
  }

  const router = express.Router()
  router.use((request, response, next) => {
    const { origin, host, 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest } = request.headers
    response.set({ 'Cache-Control': 'no-store', Vary: 'Origin', 'X-Frame-Options': 'DENY' })
    if (isClosed) throw refusal(503, 'unavailable')
    const isVisit = /^(navigate|no-cors) | (document|i?frame|embed|object)$/.test(`${mode} ${dest}`)
    if (request.method === 'GET' && isVisit) throw refusal(403, 'fetch-metadata')
    const isOwn = site ? /^(same-origin|none)$/.test(String(site)) : !origin || origin.split('//')[1] === host
    if (!isOwn) throw refusal(403, 'origin', `Origin ${origin} is not that of ${host}`)
    response.locals.user = userOf(request)
    next(response.locals.user ? undefined : refusal(401, 'unauthorized'))
  })

  router.get('/events', ({ query }, response) => {
    const { user } = response.locals
    if ([...streams.values()].filter((one) => one.user === user).length >= MOST.streams) throw refusal(429, 'too-many')
    response.writeHead(200, STREAM)
    if ('ask' in query) return void response.end()
    const [connectionId, stream] = [randomUUID(), { user, response, cursors: new Map(), unsaid: [] }]
    streams.set(connectionId, stream)
    response.on('close', () => streams.delete(connectionId)).on('drain', () => pump(stream))
    const promised = { heartbeat: HEARTBEAT, receiptAge: RECEIPT_AGE, features: FEATURES }
    response.write(`event: welcome\n${frame({ type: 'welcome', protocolVersion: 2, connectionId, ...promised })}`)
  })

  router.post('/:endpoint', express.json({ limit: '64kb' }), ({ params, body: message, headers }, response) => {
    const type = TYPES.get(params.endpoint)
    if (!type) throw refusal(400, 'unknown-endpoint', `there are ${[...TYPES.keys()]}`)
    if (!message) throw refusal(415, 'unsupported-media-type')
    if (message.type !== type) throw refusal(400, 'bad-request', `the type is not ${type}`)
    const stream = streams.get(plain(headers['x-connection-id'] ?? message.connectionId))
    if (!stream || stream.user !== response.locals.user) throw refusal(404, 'unknown-stream')
    if (stream.unsaid.length >= MOST.unsaid) throw refusal(429, 'too-many')
    const key = String(headers['idempotency-key'] ?? randomUUID())
    if (type === 'send') join(stream, message)
    response.json(type === 'send' ? send(stream.user, key, message) : take(stream, message))
    pump(stream)
  })
  router.use(refuse)

  const heart = setInterval(() => {
    for (const { response } of streams.values())
      response.writableNeedDrain ? response.destroy() : response.write(frame({ type: 'ping' }))
  }, HEARTBEAT / 2)

  return {
    router,
    close() {
      isClosed = true
      clearInterval(heart)
      for (const { response } of streams.values()) response.end(frame({ type: 'goodbye', retryAfter: 1_000 }))
    },
  }
}
