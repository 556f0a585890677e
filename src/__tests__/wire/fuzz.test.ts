import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import type { createConnection } from 'holdline'
import { fetchStreamTransport, parseRetryAfter } from 'holdline/adapters'
import { persist } from 'holdline/storage'
import { beforeAll, describe, expect, test } from 'vitest'
import { FEATURES, isCursor, isObject, isSeq, isText, type JsonObject, MESSAGE_ID, parseJson } from '../../protocol'
import { createWorld, type FakePost, settle } from '../support/fakes'
import { createSockets, type ServerSocket } from '../support/gateway'
import { watchProcess } from '../support/process'
import { BASE, createTestServer, openStream, until } from '../support/server'
import { createSocketWorld } from '../support/socket'
import { createStorage } from '../support/storage'

// Whatever comes over the wire or out of a storage: no uncaught error, no internal one, and nothing
// is kept of it. FUZZ=100000 is the number of inputs of each test; FUZZ_SEED=… repeats a run.

const RUNS = Number(process.env.FUZZ ?? 150)
const SEED = Number(process.env.FUZZ_SEED ?? (process.env.FUZZ ? Date.now() % 1e9 : 20_261_129))
const TIMEOUT = 20_000 + 20 * RUNS
console.info(`fuzz: ${RUNS} inputs each, FUZZ_SEED=${SEED}`)

const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

const BAD_EVENT = '{"sessionId":{"toString":1},"seq":1}'

/** Inputs that did harm once are tried in each run. */
const FOUND: Readonly<Record<string, readonly unknown[]>> = {
  'C83: bodies of any kind are answered, and are no internal error': [
    { endpoint: 'send', body: `{"type":"send","text":${nested(20_000)}}`, key: 'k1' },
  ],
  'C83: bodies of batches are answered, message by message': [
    `{"messages":[{"id":"m1","endpoint":"send","body":{"type":"send","text":${nested(20_000)}}}]}`,
  ],
  'C83: frames of any kind, after a hello, are answered or end their socket': [
    [`{"id":"m1","endpoint":"send","body":${nested(20_000)}}`],
  ],
  'C99: events of any kind end neither the stream nor the process, over an EventSource': [[BAD_EVENT]],
  'C99: events of any kind end neither the stream nor the process, over a WebSocket': [[BAD_EVENT]],
  'C99: bytes of any kind end neither the stream nor the process, over fetch': [[`data: ${BAD_EVENT}\n\n`]],
  'C108: stored entries of any kind lose no message': [[['k:message:o:Infinity', '{}']]],
}

const lost = watchProcess()

/** Nothing may be lost to the process, in any of the runs. */
function fuzz<T>(name: string, inputs: fc.Arbitrary<T>, holds: (input: T) => Promise<void> | void) {
  const property = fc.asyncProperty(inputs, async (input) => {
    await holds(input)
    await settle()
    const [uncaught] = lost.mock.calls.splice(0)
    if (uncaught) throw new Error(`uncaught: ${uncaught[0]}`)
  })
  test(
    name,
    async () => {
      const { failed, counterexample, errorInstance } = await fc.check(property, {
        numRuns: RUNS,
        seed: SEED,
        examples: (FOUND[name] ?? []).map((input) => [input as T] as [T]),
      })
      const report = [`  ${brief(JSON.stringify(counterexample))}`, `  ${brief(String(errorInstance))}`]
      if (failed) expect.unreachable(`FUZZ_SEED=${SEED}\n${report.join('\n')}`)
    },
    TIMEOUT,
  )
}

/** Ten thousand brackets tell no more than their number. */
const brief = (text = '') => text.replace(/([[\]x])\1{20,}/g, (all, one) => `${one}×${all.length}`).slice(0, 300)

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')
/** Per input, beyond what a process keeps anyway, bytes. */
const GROWTH = 64
const ANYWAY = 12 * 2 ** 20

/** Around a group of tests: what all of its inputs together may leave behind. */
function growsNot(group: string) {
  let before = 0
  beforeAll(() => {
    collectGarbage()
    before = process.memoryUsage().heapUsed
  })
  test(`nothing is kept of it: ${group}`, () => {
    collectGarbage()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(ANYWAY + GROWTH * RUNS)
  })
}

// Generators. They make JSON as text: what is hostile about it, an object cannot say.

const HOSTILE = [
  'null',
  '-0',
  '1e400',
  '-1e400',
  '9007199254740993',
  '0.1',
  '""',
  '"\\ud800"',
  '"\\u0000"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '[]',
  '{}',
  '[[]]',
  '{"toString":1}',
  '{"toString":null,"valueOf":null}',
  '{"__proto__":null}',
  '{"__proto__":{"type":"send"}}',
  '{"then":1}',
  '{"length":-1}',
  nested(5_000),
  nested(20_000),
  `"${'x'.repeat(70_000)}"`,
]
const hostile = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 2, arbitrary: fc.json({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.string().map((text) => JSON.stringify(text)) },
)
/** Mostly one of these. */
const near = (...usual: readonly unknown[]) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...usual.map((value) => JSON.stringify(value))) },
    { weight: 1, arbitrary: hostile },
  )
/** An object of JSON texts. Those of `usual` are hardly ever missing. */
const object = (fields: Readonly<Record<string, fc.Arbitrary<string>>>, usual: readonly string[] = []) =>
  fc
    .tuple(
      ...Object.entries(fields).map(([name, text]) =>
        fc.option(
          text.map((json) => `${JSON.stringify(name)}:${json}`),
          { freq: usual.includes(name) ? 12 : 2, nil: undefined },
        ),
      ),
    )
    .map((members) => `{${members.filter((member) => member !== undefined)}}`)
const list = (texts: fc.Arbitrary<string>, maxLength = 4) =>
  fc.array(texts, { maxLength }).map((elements) => `[${elements}]`)
/** Text that may be no JSON at all. */
const orText = (json: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 6, arbitrary: json }, { weight: 1, arbitrary: hostile }, { weight: 1, arbitrary: fc.string() })

const sessionId = near('alice-1', 'alice-2', 'room-1', 'gone-1', 'bob-1', '', '../x', 'a b')
const seq = near(0, 1, 2, 3, 2 ** 53 - 1, -1, 1.5, '1')
const epoch = near('e1', 'e2', '', null)
const id = near('m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'ä', 'x'.repeat(300))
const cursor = object({ sessionId, lastSeq: seq, epoch })
const bodyOf = (type: string) =>
  object(
    {
      type: near(type),
      sessionId,
      lastSeq: seq,
      epoch,
      nonce: id,
      resumeId: id,
      connectionId: id,
      sessions: orText(list(cursor)),
      text: hostile,
    },
    ['type'],
  )
/** Endpoints, and the types of what is posted to them. */
const ENDPOINT_TYPES = {
  send: 'send',
  stop: 'stop',
  permission: 'permission_response',
  watch: 'watch',
  unwatch: 'unwatch',
  reconnect: 'reconnect',
  probe: 'probe',
  suspend: 'session_suspend',
}
const call = fc
  .constantFrom(...Object.entries(ENDPOINT_TYPES))
  .chain(([endpoint, type]) =>
    object({ id, endpoint: near(endpoint, 'events', '../send'), body: orText(bodyOf(type)), lane: id }, [
      'id',
      'endpoint',
      'body',
    ]),
  )
const batchBody = object({ messages: orText(list(orText(call))) }, ['messages'])
const batchCall = object({ id, endpoint: near('batch'), body: batchBody }, ['id', 'endpoint', 'body'])
// The server half

/** Nothing that a client sends is an internal error, and `onError` is for the app's operator. */
function createServer() {
  const chat = createTestServer({
    limits: { receipts: 50 },
    // A longer id is the app's mistake, and told as one.
    authenticate({ headers }) {
      const id = headers.get('Authorization')
      return id && id.length <= 1_024 ? { id } : null
    },
  })
  return {
    ...chat,
    isUntroubled() {
      // A refused origin is told to the operator: it may be a proxy's doing.
      const [error] = chat.errors.splice(0).filter((told) => !/^Error: Origin /.test(String(told)))
      if (error) throw new Error(`onError heard: ${error}`)
    },
  }
}

const isExpected = (status: unknown) => {
  if (!isSeq(status) || status < 200 || status >= 500) throw new Error(`answered ${status}`)
}

describe('the server over HTTP', () => {
  const { server, isUntroubled } = createServer()

  async function ask(path: string, init: RequestInit) {
    const response = await server.fetch(new Request(`${BASE}/${path}`, init))
    isUntroubled()
    isExpected(response.status)
    if (response.headers.get('Content-Type') === 'text/event-stream') await response.body?.cancel()
    else expect(parseJson((await response.text()) || 'null')).toBeDefined()
  }

  /** A stream, so that what is posted gets past the 404. */
  async function onStream(post: (connectionId: string) => Promise<void>) {
    const stream = await openStream(server)
    await post(stream.connectionId).finally(stream.cancel)
  }

  const HEADERS = [
    'Authorization',
    'X-Connection-ID',
    'Idempotency-Key',
    'Content-Type',
    'Content-Length',
    'Origin',
    'Host',
    'Cookie',
    'Last-Event-ID',
    'Sec-Fetch-Site',
    'Sec-Fetch-Mode',
    'Sec-Fetch-Dest',
    'X-Forwarded-Host',
    'X-Forwarded-For',
    'Access-Control-Request-Method',
    'Access-Control-Request-Headers',
  ]
  const USUAL = [
    'alice',
    'application/json',
    'application/json; charset=utf-7',
    'text/plain',
    'http://chat.test',
    'null',
    'https://evil.example',
    'http://[',
    '-1',
    '1e9',
    '999999999999999999999',
    'same-origin',
    'cross-site',
    'navigate',
    'iframe',
    'x'.repeat(9_000),
  ]
  const headerValue = fc.oneof(
    fc.constantFrom(...USUAL),
    // [spec] Fetch: the bytes of a header's value are neither NUL nor line ends.
    fc
      .string({ unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)) })
      .map((value) => value.replace(/[\r\n]/g, '')),
  )
  const method = fc.constantFrom('GET', 'POST', 'OPTIONS', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'QUERY')
  const path = fc.oneof(
    fc.constantFrom(
      'events',
      'send',
      'reconnect',
      'watch',
      'batch',
      'suspend',
      'probe',
      '',
      'constructor',
      '__proto__',
    ),
    fc.webPath(),
    fc.string(),
  )

  fuzz(
    'paths, methods and headers of any kind are answered, and are no internal error',
    fc.record({
      path,
      method,
      headers: fc.dictionary(fc.constantFrom(...HEADERS), headerValue),
      body: orText(bodyOf('send')),
    }),
    async ({ path, method, headers, body }) => {
      const hasBody = method !== 'GET' && method !== 'HEAD'
      await ask(encodeURIComponent(path), { method, headers, ...(hasBody && { body }) })
    },
  )

  const post = (endpoint: string, connectionId: string, body: BodyInit, key?: string) =>
    ask(endpoint, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Authorization: 'alice',
        'X-Connection-ID': connectionId,
        ...(key !== undefined && { 'Idempotency-Key': key }),
      },
      body,
    })

  fuzz(
    'C83: bodies of any kind are answered, and are no internal error',
    fc.constantFrom(...Object.entries(ENDPOINT_TYPES)).chain(([endpoint, type]) =>
      fc.record({
        endpoint: fc.constant(endpoint),
        body: fc.oneof({ weight: 8, arbitrary: orText(bodyOf(type)) }, { weight: 1, arbitrary: fc.uint8Array() }),
        key: fc.option(fc.constantFrom('k1', 'k2', ''), { nil: undefined }),
      }),
    ),
    ({ endpoint, body, key }) => onStream((connectionId) => post(endpoint, connectionId, body as BodyInit, key)),
  )

  fuzz('C83: bodies of batches are answered, message by message', orText(batchBody), (body) =>
    onStream(async (connectionId) => {
      const request = new Request(`${BASE}/batch`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: 'alice', 'X-Connection-ID': connectionId },
        body,
      })
      const response = await server.fetch(request)
      isUntroubled()
      isExpected(response.status)
      const { results = [] } = (await response.json()) as { results?: readonly JsonObject[] }
      for (const { status } of results) isExpected(status)
    }),
  )

  growsNot('requests')
})

describe('the server over WebSockets', () => {
  const { server, clock, isUntroubled } = createServer()
  const { connect, opens } = createSockets({ fetch: server.fetch, clock })
  /** docs/transports.md */
  const CLOSES = [1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 4408]

  /** Each frame has its answer, or the socket its close. */
  async function isAnswered(socket: ServerSocket, frames: number) {
    await until(
      () => socket.acks.length >= frames || socket.closed !== undefined,
      'an answer to each frame, or a close',
    )
    socket.vanishes()
    isUntroubled()
    if (socket.closed) expect(CLOSES).toContain(socket.closed[0])
    for (const { status } of socket.acks) isExpected(status)
  }

  const frame = fc.oneof(call, batchCall)
  const hello = object({
    type: near('hello'),
    protocolVersion: near(2, 1),
    headers: orText(
      object({
        authorization: near('alice', 'bob', '', 'ä', '\n', 'x'.repeat(20_000)),
        Authorization: near('bob'),
        cookie: near('a=b'),
        'content-length': near('1'),
      }),
    ),
  })
  const data = fc.oneof(
    { weight: 8, arbitrary: orText(frame) },
    { weight: 2, arbitrary: orText(hello) },
    { weight: 1, arbitrary: fc.uint8Array() },
  )

  fuzz(
    'C83: frames of any kind, after a hello, are answered or end their socket',
    fc.array(data, { minLength: 1, maxLength: 6 }),
    async (frames) => {
      const socket = await opens({ as: 'alice' })
      for (const frame of frames) socket.dispatch('message', { data: frame })
      await isAnswered(socket, frames.filter((frame) => !isHello(frame)).length)
    },
  )

  fuzz(
    'C83: first frames of any kind are answered or end their socket',
    fc.oneof(orText(hello), data),
    async (first) => {
      const socket = connect()
      socket.dispatch('message', { data: first })
      socket.dispatch('message', { data: '{"id":"x","endpoint":"send","body":{"type":"send"}}' })
      await until(() => socket.acks.length > 0 || socket.closed !== undefined, 'an answer or a close')
      await isAnswered(socket, 0)
    },
  )

  const isHello = (frame: unknown) => isText(frame) && Object(parseJson(frame)).type === 'hello'

  growsNot('frames')
})

// The client

const event = orText(
  object({
    type: near('said', 'ping', 'probe', 'reconnected', 'ack'),
    sessionId: near('s1', 's2', ''),
    seq,
    prevSeq: seq,
    epoch,
    nonce: id,
    resumeId: near('r1', 'r2'),
    id,
    status: near(200, 404, 500),
    sessions: orText(
      list(
        orText(
          object({ sessionId: near('s1', 's2'), status: near('resumed', 'reset', 'gone'), from: seq, to: seq, epoch }),
        ),
      ),
    ),
  }),
)
const GOOD = { type: 'said', sessionId: 'good', seq: 1 }
const isGood = ({ sessionId }: JsonObject) => sessionId === GOOD.sessionId

/**
 * A stream that says these things is a stream still, and the app hears of nothing that is no event.
 */
function isUnharmed(world: {
  readonly connection: ReturnType<typeof createConnection>
  readonly log: readonly string[]
  readonly errors: readonly string[]
  readonly received: readonly JsonObject[]
}) {
  const { connection, received } = world
  expect(world.log.filter((line) => line.startsWith('stopped'))).toEqual([])
  // A hole that no resume fills costs the stream, as it has to.
  const hasHole = ['no-progress', 'flapping'].includes(String(connection.lastError?.code))
  if (!hasHole) expect([connection.lastError?.code, received.filter(isGood)]).toEqual([undefined, [GOOD]])
  expect(world.errors.filter((code) => code !== 'bad-message')).toEqual([])
  expect(connection.cursors.every(isCursor)).toBe(true)
  for (const message of received) {
    expect(isObject(message)).toBe(true)
    if (message.sessionId !== undefined && message.seq !== undefined) {
      expect([isText(message.sessionId), isSeq(message.seq)]).toEqual([true, true])
      // Null is what servers of other languages say for none.
      if (message.epoch !== undefined && message.epoch !== null) expect(isText(message.epoch)).toBe(true)
    }
  }
}

const asFrame = (data: string) => `data: ${data}\n\n`
const bytes = fc.oneof(
  fc.constantFrom('data', ':', 'id: \u0000\n', 'retry: 1\n', '\r', '\ufeff', 'data: {\r\r', ': comment\n\n'),
  fc.string(),
  fc.uint8Array(),
)

/** A connection over `fetch` alone, whose stream is in the hands of the test. */
function createFetchWorld() {
  const encoder = new TextEncoder()
  let sink: ReadableStreamDefaultController<Uint8Array> | undefined
  const world = createWorld({
    transport: fetchStreamTransport,
    async fetch(input) {
      if (!String(input).endsWith('/events')) return Response.json({ ok: true })
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          sink = controller
        },
      })
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
    },
  })
  const writes = (chunk: string | Uint8Array) =>
    sink?.enqueue(typeof chunk === 'string' ? encoder.encode(chunk) : chunk)
  const { connection, log, errors, received } = world
  return {
    connection,
    log,
    errors,
    received,
    writes,
    async opens() {
      world.connection.connect()
      await until(() => sink !== undefined, 'a stream')
      writes(`event: welcome\n${asFrame('{"type":"welcome","protocolVersion":2,"connectionId":"c1"}')}`)
      await until(() => world.connection.isOpen, 'open')
    },
  }
}

describe('the client', () => {
  const events = fc.array(event, { minLength: 1, maxLength: 6 })

  fuzz(
    'C99: events of any kind end neither the stream nor the process, over an EventSource',
    events,
    async (frames) => {
      const world = createWorld()
      await world.opens()
      for (const frame of frames) world.stream.sends(frame)
      world.stream.sends(GOOD)
      await settle()
      isUnharmed(world)
      world.connection.dispose()
    },
  )

  fuzz('C99: events of any kind end neither the stream nor the process, over a WebSocket', events, async (frames) => {
    const world = createSocketWorld()
    await world.opens()
    for (const frame of frames) world.socket.says(frame)
    world.socket.says(GOOD)
    await settle()
    isUnharmed(world)
    world.connection.dispose()
  })

  fuzz(
    'C99: bytes of any kind end neither the stream nor the process, over fetch',
    fc.array(fc.oneof(event.map(asFrame), bytes), { maxLength: 6 }),
    async (chunks) => {
      const world = createFetchWorld()
      await world.opens()
      for (const chunk of chunks) world.writes(chunk)
      // Whatever came before, an empty line ends it.
      world.writes(`\n\n${asFrame(JSON.stringify(GOOD))}`)
      await until(() => world.received.some(isGood) || !world.connection.isOpen, 'the good event')
      isUnharmed(world)
      world.connection.dispose()
    },
  )

  const welcome = orText(
    object({
      type: near('welcome'),
      protocolVersion: near(2, 1, '2'),
      connectionId: near('c1', '', 'ä', '\n', 'x'.repeat(9_000)),
      heartbeat: near(15_000, 0, -1, 1e300, '5'),
      receiptAge: near(86_400_000, 0, -1),
      features: orText(list(near(...FEATURES, 'from-the-future'), 12)),
    }),
  )
  const verdict = orText(
    object({
      sessionId: near('s1', 's2'),
      status: near('resumed', 'reset', 'gone', 'forbidden', 'lost'),
      epoch,
      from: seq,
      to: seq,
    }),
  )
  const answer = orText(
    object({ ok: near(true, false), sessions: orText(list(verdict)), results: orText(list(hostile)) }),
  )
  const marker = orText(
    object({ type: near('reconnected'), resumeId: near('r1', 'r2'), sessions: orText(list(verdict)) }),
  )

  fuzz(
    'welcomes, answers to resumes and markers of any kind',
    fc.record({
      welcome,
      answer,
      markers: fc.array(marker, { maxLength: 3 }),
      contentType: fc.constantFrom('application/json', 'text/html', ''),
    }),
    async ({ welcome, answer, markers, contentType }) => {
      const world = createWorld(
        {
          cursors: [
            { sessionId: 's1', lastSeq: 1, epoch: 'e1' },
            { sessionId: 's2', lastSeq: 0 },
          ],
        },
        (post) => post.answersText(200, answer, contentType),
      )
      world.connection.connect()
      await settle()
      world.stream.opens()
      world.stream.dispatch('welcome', { data: welcome })
      for (const marker of markers) world.stream.sends(marker)
      await settle()
      await settle()
      expect(world.errors.filter((code) => !['bad-message', 'bad-response', 'bad-welcome'].includes(code))).toEqual([])
      expect(world.connection.lastError?.code).not.toBe('internal')
      expect(world.connection.cursors.every(isCursor)).toBe(true)
      // A line that such a server has brought down comes up again on the next one.
      world.connection.disconnect()
      world.server((post) => post.answers(200, { ok: true }))
      await world.opens()
      expect(world.connection.phase).toBe('open')
      world.connection.dispose()
    },
  )

  fuzz(
    'answers to messages of any kind',
    fc.record({
      status: fc.constantFrom(200, 201, 299, 301, 400, 401, 403, 404, 409, 410, 418, 425, 429, 500, 503),
      text: orText(
        object({
          error: near('id-reused', 'unknown-stream', 'internal'),
          results: orText(
            list(
              orText(
                object({
                  id: near('m1', 'm2'),
                  status: near(200, 403, 500, 99),
                  receipt: hostile,
                  error: hostile,
                  retryAfter: seq,
                }),
              ),
            ),
          ),
        }),
      ),
      contentType: fc.constantFrom('application/json', 'Application/JSON', 'text/html', '', '/'),
      features: fc.subarray([...FEATURES]),
    }),
    async ({ status, text, contentType, features }) => {
      const world = createWorld({}, (post: FakePost) => post.answersText(status, text, contentType))
      await world.opens({ features })
      const deliveries = ['m1', 'm2', 'm3'].map((id) => world.connection.send({ type: 'send' }, { id }))
      for (let turn = 0; turn < 6; turn += 1) await settle()
      for (const { status } of deliveries)
        expect(['queued', 'sending', 'accepted', 'rejected', 'unknown']).toContain(status)
      expect(world.errors).not.toContain('internal')
      expect(world.connection.lastError?.code).not.toBe('internal')
      world.connection.dispose()
    },
  )

  const place = fc.oneof(
    fc
      .tuple(
        fc.constantFrom('k:message:', 'k:cursor:', 'k:', 'k.corrupt', 'k'),
        fc.oneof(fc.constantFrom('o:1', 'o:2', 'o:Infinity', 'o:1e308', 'o:-1', 'o:', 's1', '__proto__'), fc.string()),
      )
      .map(([prefix, rest]) => prefix + rest),
    fc.string(),
  )
  const entry = orText(
    object({
      id: near('m1', 'm2', '', 'ä'),
      message: orText(
        object({
          type: near('send', 'watch', 'reconnect', 'batch', '__proto__', 'constructor', 'toString'),
          sessionId: near('s1'),
          text: hostile,
        }),
      ),
      attempts: seq,
      expiresAt: near(null, 0, 1e300, -1, 'soon'),
      lane: id,
      sessionId: near('s1', 's2', ''),
      lastSeq: seq,
      epoch,
    }),
  )

  fuzz(
    'C108: stored entries of any kind lose no message',
    fc.array(fc.tuple(place, entry), { maxLength: 6 }),
    async (entries) => {
      const storage = createStorage()
      for (const [key, value] of entries) storage.entries.set(key, value)
      const world = createWorld({ storage: persist(storage, { key: 'k', cursors: true }) })
      await settle()
      for (const { id } of world.connection.pending) expect(id).toMatch(MESSAGE_ID)
      expect(world.connection.cursors.every(isCursor)).toBe(true)
      const [own] = ['own', 'next'].map((id) => world.connection.send({ type: 'send', text: 'mine' }, { id }))
      const isStored = (id: string) => [...storage.entries.values()].some((value) => value.includes(`"id":"${id}"`))
      expect(['own', 'next'].filter(isStored)).toEqual(['own', 'next'])
      await world.opens({ features: ['receipts', 'idempotency'] })
      await until(() => own?.status === 'accepted', 'the own message is accepted')
      expect(world.errors.filter((code) => !code.startsWith('storage-'))).toEqual([])
      world.connection.clearOutbox()
      // With another colon it is the place of another key.
      expect([...storage.entries.keys()].filter((key) => /^k:message:[^:]*(:[^:]*)?$/s.test(key))).toEqual([])
      world.connection.dispose()
    },
  )

  growsNot('events, answers and stored entries')
})

describe('Retry-After', () => {
  const value = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.double().map(String),
    fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
    fc.constantFrom(
      '3, 3',
      '2.5',
      '1e9',
      '+5',
      '-1',
      '0x10',
      '９',
      '9'.repeat(400),
      'Infinity',
      'Sun, 06 Nov 1994 08:49:37 GMT',
      '',
    ),
  )

  fuzz(
    'is a wait between 0 and 5 min, or none, whatever it says',
    fc.tuple(fc.option(value), fc.nat()),
    ([value, now]) => {
      const ms = parseRetryAfter(value, now)
      if (ms !== undefined) expect(ms >= 0 && ms <= 300_000).toBe(true)
    },
  )
})
