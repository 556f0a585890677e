import type { JsonObject } from '../../protocol'
import { endpointOf, type Next, type Tampering, type World } from '../support/talkingServer'

/** What is wrong with the server, the rule that it breaks, and what the finding says. */
export type PlantedFault = readonly [name: string, number: string, tampering: Tampering, says?: RegExp]

// Requests and answers

type Message = { readonly [field: string]: unknown }

const json = (status: number, value: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json', ...headers } })

const html = (status: number) =>
  new Response('<h1>Not what you expected</h1>', { status, headers: { 'Content-Type': 'text/html' } })

/** null leaves one out. */
type HeaderChanges = Readonly<Record<string, string | null>>

function changed(headers: Headers, changes: HeaderChanges): Headers {
  const copy = new Headers(headers)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) copy.delete(name)
    else copy.set(name, value)
  }
  return copy
}

const withHeaders = ({ url, method, headers, body }: Request, changes: HeaderChanges): Request =>
  new Request(url, { method, headers: changed(headers, changes), body, duplex: 'half' } as RequestInit)

async function withBody(request: Request, change: (message: Message) => unknown): Promise<Request> {
  const { url, method } = request
  const headers = changed(request.headers, { 'content-length': null })
  return new Request(url, { method, headers, body: JSON.stringify(change(await request.json())) })
}

/** Only what is posted to these endpoints is answered otherwise. */
const at = (
  endpoints: string,
  answer: (request: Request, next: Next, world: World) => Response | Promise<Response>,
): Tampering => ({
  answer: (request, next, world) =>
    endpoints.split(' ').includes(endpointOf(request)) ? answer(request, next, world) : next(),
})

const posting = (endpoints: string, change: (message: Message) => unknown): Tampering =>
  at(endpoints, async (request, next) => next(await withBody(request, change)))

/** All cursors of a message. */
const cursors = (change: (cursor: Message) => Message) => (message: Message) =>
  Array.isArray(message.sessions) ? { ...message, sessions: message.sessions.map(change) } : change(message)

const answering = (endpoints: string, change: (answer: Message, status: number) => unknown): Tampering =>
  at(endpoints, async (_, next) => {
    const response = await next()
    return json(response.status, change((await response.json()) as Message, response.status))
  })

const asStatus = (from: number, to: number, body: unknown): Tampering => ({
  async answer(_, next) {
    const response = await next()
    return response.status === from ? json(to, body) : response
  },
})

/** The stream has other headers. */
const streaming = (changes: HeaderChanges): Tampering =>
  at('events', async (_, next) => {
    const { body, status, headers } = await next()
    return new Response(body, { status, headers: changed(headers, changes) })
  })

// Frames

const jsonOf = (frame: string): JsonObject => JSON.parse(/^data: (.*)$/m.exec(frame)?.[1] ?? '{}')
const frameOf = (value: object) => `data: ${JSON.stringify(value)}`
const isEvent = (frame: string) => 'seq' in jsonOf(frame)
const isWelcome = (frame: string) => frame.startsWith('event: welcome')
const isMarker = (frame: string) => jsonOf(frame).type === 'reconnected'

/** Each frame by itself. */
const frames = (change: (frame: string) => string): Tampering => ({ frames: () => change })
const welcoming = (change: (welcome: Message) => object): Tampering =>
  frames((frame) => (isWelcome(frame) ? `event: welcome\n${frameOf(change(jsonOf(frame)))}` : frame))
const events = (change: (event: Message & { seq: number }) => object): Tampering =>
  frames((frame) => (isEvent(frame) ? frameOf(change(jsonOf(frame) as never)) : frame))
/** `drops` is made anew for each stream. */
const dropping = (drops: () => (frame: string) => boolean): Tampering => ({
  frames() {
    const isDropped = drops()
    return (frame) => (isDropped(frame) ? '' : frame)
  },
})

const onStream: readonly PlantedFault[] = [
  ['has no route for the stream', 'P1', at('events', () => html(404)), /was answered 404 with text\/html/],
  ['answers the stream as JSON', 'P1', at('events', () => json(200, {}))],
  [
    'says nothing against caches and buffers',
    'P2',
    streaming({ 'cache-control': null, 'x-accel-buffering': null }),
    /cache-control is absent/,
  ],
  [
    'compresses the stream',
    'P2',
    at('events', async (_, next) => {
      const { body, headers } = await next()
      const gzip = new CompressionStream('gzip') as unknown as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array>
      return new Response(body?.pipeThrough(gzip) ?? null, {
        headers: changed(headers, { 'content-encoding': 'gzip' }),
      })
    }),
    /content-encoding is gzip/,
  ],
  [
    'sends frames in blocks of 4 KiB',
    'P3',
    {
      frames() {
        let block = ''
        return (frame) => {
          block += `${block && '\n\n'}${frame}`
          const whole = block.length < 4_096 ? '' : block
          if (whole) block = ''
          return whole
        }
      },
    },
    /a first frame did not come/,
  ],
  [
    'opens a stream for a question',
    'P5',
    at('events', (request, next) => next(new Request(request.url.replace('?ask', ''), request))),
    /has a body/,
  ],
  [
    'says something before the welcome',
    'P6',
    frames((frame) => (isWelcome(frame) ? `data: {"type":"ping"}\n\n${frame}` : frame)),
    /the first frame is unnamed/,
  ],
  ['does not name the welcome', 'P6', frames((frame) => frame.replace('event: welcome\n', ''))],
  ['speaks another version', 'P6', welcoming((welcome) => ({ ...welcome, protocolVersion: 3 }))],
  ['says no welcome', 'P6', dropping(() => isWelcome)],
  ['gives all streams one name', 'P7', welcoming((welcome) => ({ ...welcome, connectionId: 'stream' }))],
  ['has features in a text', 'P11', welcoming((welcome) => ({ ...welcome, features: 'probe' }))],
  ['has a heartbeat of 0', 'P11', welcoming((welcome) => ({ ...welcome, heartbeat: 0 }))],
  ['welcomes with each resume', 'P12', { frames: welcomesAgain }, /2 welcomes/],
  [
    'says a text that is no JSON',
    'P13',
    frames((frame) => (isMarker(frame) ? `${frame}\n\ndata: done` : frame)),
    /a frame has "done"/,
  ],
  [
    'names its events',
    'P13',
    frames((frame) => (isEvent(frame) ? `event: token\n${frame}` : frame)),
    /a frame is named token/,
  ],
  [
    'has a number for the type of an event',
    'P13',
    events((event) => ({ ...event, type: 7 })),
    /`type` is not of its type/,
  ],
]

function welcomesAgain() {
  let welcome = ''
  return (frame: string) => {
    if (isWelcome(frame)) welcome = frame
    return isMarker(frame) ? `${frame}\n\n${welcome}` : frame
  }
}

const onEvents: readonly PlantedFault[] = [
  ['uses a number twice', 'P14', events(({ seq, ...event }) => ({ ...event, seq: Math.ceil(seq / 2) })), /are 1, 1, 2/],
  ['swaps two events', 'P14', { frames: swapsFirst }, /are 2, 1, 3/],
  ['leaves out numbers', 'P83', events(({ seq, ...event }) => ({ ...event, seq: 2 * seq })), /are 2, 4, 6/],
  [
    'has an epoch for each stream',
    'P15',
    {
      frames() {
        const epoch = crypto.randomUUID()
        return (frame) => (isEvent(frame) ? frameOf({ ...jsonOf(frame), epoch }) : frame)
      },
    },
  ],
  ['names another event as the one before', 'P16', events((event) => ({ ...event, prevSeq: 1 }))],
  [
    'lets a payload write the envelope',
    'P17',
    {
      ...events((event) => ({ ...event, ...Object(event.payload) })),
      options: {
        async onCommand({ sessionId = '', message, publish }) {
          const { seq, epoch } = message
          for (let n = 0; n < 3; n += 1) await publish(sessionId, { type: 'echo', payload: { seq, epoch } })
        },
      },
    },
    /an event came as/,
  ],
  ['starts a run beside another one', 'P18', { options: { onCommand: startsTwice } }, /started before .* had ended/],
  [
    'ends a run twice',
    'P18',
    {
      options: {
        async onCommand({ sessionId = '', publish }) {
          const run = crypto.randomUUID()
          for (const type of ['run.started', 'run.ended', 'run.ended']) await publish(sessionId, { type, run })
        },
      },
    },
    /ended twice/,
  ],
]

function swapsFirst() {
  let held: string | undefined
  return (frame: string) => {
    if (!isEvent(frame) || held === '') return frame
    const pair = held === undefined ? '' : `${frame}\n\n${held}`
    held = held === undefined ? frame : ''
    return pair
  }
}

async function startsTwice({
  sessionId = '',
  publish,
}: {
  sessionId?: string | undefined
  publish: (id: string, event: { type: string }) => unknown
}) {
  for (const run of ['one', 'two', 'three']) await publish(sessionId, { type: 'run.started', run } as { type: string })
}

const onlyAfterMarkers = () => {
  let isResumed = false
  return (frame: string) => {
    isResumed ||= isMarker(frame)
    return isEvent(frame) && !isResumed
  }
}

/** A resume with such a cursor is answered `reset`. */
const resetting = (isWrong: (cursor: Message) => boolean): Tampering =>
  at('reconnect', async (request, next) => {
    const { sessions } = (await request.clone().json()) as { sessions: readonly Message[] }
    const response = await next()
    if (!sessions.some((cursor) => Number(cursor.lastSeq) < 2 ** 53 - 1 && isWrong(cursor))) return response
    const answer = (await response.json()) as { sessions: readonly Message[] }
    return json(200, { ...answer, sessions: answer.sessions.map((word) => ({ ...word, status: 'reset' })) })
  })

const onResumes: readonly PlantedFault[] = [
  [
    'never attaches a session',
    'P53',
    { ...at('reconnect', () => json(200, { ok: true })), ...dropping(() => isEvent) },
    /: 3 events after 0 of check-\w+, but none, did not come within/,
  ],
  ['has no route for a resume', 'P53', at('reconnect', () => html(404)), /was answered 404/],
  [
    'knows no session without events',
    'P53',
    answering(
      'reconnect',
      cursors((word) => (word.to === 0 ? { ...word, status: 'gone' } : word)),
    ),
    /the word on \{.*"lastSeq":0\} is \{.*"status":"gone".*, not `resumed`/,
  ],
  ['attaches a session at a resume only', 'P88', dropping(onlyAfterMarkers), /but none, did not come within/],
  ['takes a cursor without an epoch for one of another', 'P89', resetting(({ epoch }) => epoch === undefined)],
  ['takes no epoch for an epoch', 'P89', resetting(({ epoch }) => epoch === null)],
  ['resets a client that has nothing yet', 'P89', resetting(({ lastSeq, epoch }) => lastSeq === 0 && Boolean(epoch))],
  [
    'replays nothing',
    'P54',
    posting(
      'reconnect',
      cursors((cursor) => ({ ...cursor, lastSeq: 2 ** 53 - 1 })),
    ),
  ],
  [
    'replays everything to any cursor',
    'P54',
    posting(
      'reconnect',
      cursors(({ epoch, ...cursor }) => ({ ...cursor, lastSeq: 0 })),
    ),
    /events came as 1–\d+ to a cursor at/,
  ],
  ['replays twice', 'P54', { frames: replaysTwice }],
  [
    'replays events without what was in them',
    'P54',
    {
      frames() {
        let isReplaying = true
        return (frame) => {
          if (isMarker(frame)) isReplaying = false
          const { type, sessionId, seq, epoch } = jsonOf(frame)
          return isReplaying && isEvent(frame) ? frameOf({ type, sessionId, seq, epoch }) : frame
        }
      },
    },
    /the replay after 0 has .*, and it was/,
  ],
  [
    'loses an event between the replay and what is live',
    'P55',
    { frames: losesFirstLive },
    /39 events after 0 of check-\w+, but 2–39, did not come/,
  ],
  ['takes 50 sessions in a resume', 'P56', at('reconnect', resumesAtMost50), /was answered 400/],
  ['answers a resume without ok', 'P57', answering('reconnect', ({ sessions }) => ({ sessions }))],
  ['answers a resume with ok: false', 'P57', answering('reconnect', (answer) => ({ ...answer, ok: false }))],
  [
    'begins a replay one event late',
    'P58',
    answering(
      'reconnect',
      cursors((word) => ({ ...word, from: Number(word.from) + 1 })),
    ),
  ],
  [
    'resumes beyond its head',
    'P59',
    answering(
      'reconnect',
      cursors((word) => ({ ...word, status: 'resumed' })),
    ),
    /"status":"resumed"/,
  ],
  [
    'resets to 0',
    'P59',
    answering(
      'reconnect',
      cursors((word) => (word.status === 'reset' ? { ...word, to: 0 } : word)),
    ),
  ],
  [
    'does not know the epoch of a cursor',
    'P59',
    posting(
      'reconnect',
      cursors(({ epoch, ...cursor }) => cursor),
    ),
  ],
  ['lets everybody read a session', 'P60', { options: { authorize: () => true } }, /the second user is told/],
  [
    'takes the largest number for none',
    'P61',
    posting(
      'reconnect',
      cursors((cursor) => ({ ...cursor, lastSeq: cursor.lastSeq === 2 ** 53 - 1 ? 0 : cursor.lastSeq })),
    ),
  ],
  [
    'fails a resume for one malformed id',
    'P62',
    at('reconnect', async (request, next) =>
      /no session|x{300}/.test(await request.clone().text()) ? json(400, { error: 'bad-request' }) : next(),
    ),
  ],
  ['says the marker before the replay', 'P19', { frames: marksEarly }, /before the marker came as none/],
  ['says no marker', 'P19', dropping(() => isMarker), /the marker did not come/],
  [
    'forgets the resumeId',
    'P20',
    frames((frame) => (isMarker(frame) ? frameOf({ ...jsonOf(frame), resumeId: undefined }) : frame)),
  ],
  ['echoes the first resumeId', 'P20', { frames: echoesFirst }],
  ['watches from now on', 'P64', posting('watch', (cursor) => ({ ...cursor, lastSeq: 2 ** 53 - 1 }))],
  ['answers a watch, and does nothing', 'P64', at('watch', () => json(200, { ok: true }))],
  [
    'has no unwatch that does something',
    'P65',
    at('unwatch', () => json(200, { ok: true })),
    /came after the `unwatch`/,
  ],
  [
    'refuses the second unwatch',
    'P65',
    at('unwatch', (_, next, { notes }) => {
      if (notes.get('unwatched')) return json(400, { error: 'not-watched' })
      notes.set('unwatched', true)
      return next()
    }),
  ],
]

function replaysTwice() {
  const events: string[] = []
  return (frame: string) => {
    if (isEvent(frame)) events.push(frame)
    return isMarker(frame) ? [...events, frame].join('\n\n') : frame
  }
}

function losesFirstLive() {
  let state: 'replaying' | 'marked' | 'live' = 'replaying'
  return (frame: string) => {
    if (isMarker(frame)) state = 'marked'
    if (!isEvent(frame) || state !== 'marked') return frame
    state = 'live'
    return ''
  }
}

async function resumesAtMost50(request: Request, next: Next) {
  const { sessions } = (await request.clone().json()) as { sessions?: unknown[] }
  return Number(sessions?.length) > 50 ? json(400, { error: 'bad-request' }) : next()
}

function marksEarly() {
  let held: string[] | undefined = []
  return (frame: string) => {
    if (held && isMarker(frame)) {
      const all = [frame, ...held].join('\n\n')
      held = undefined
      return all
    }
    if (!held || !isEvent(frame)) return frame
    held.push(frame)
    return ''
  }
}

function echoesFirst() {
  let first: unknown
  return (frame: string) => {
    if (!isMarker(frame)) return frame
    first ??= jsonOf(frame).resumeId
    return frameOf({ ...jsonOf(frame), resumeId: first })
  }
}

const onLife: readonly PlantedFault[] = [
  ['answers probes with the POST alone', 'P66', dropping(() => (frame) => jsonOf(frame).type === 'probe')],
  [
    'answers a probe with another nonce',
    'P66',
    frames((frame) => (jsonOf(frame).type === 'probe' ? frameOf({ type: 'probe', nonce: 'n' }) : frame)),
  ],
  ['has no heartbeat', 'P9', dropping(() => (frame) => jsonOf(frame).type === 'ping'), /a sign of life/],
  [
    'has comments for a heartbeat',
    'P9',
    frames((frame) => (jsonOf(frame).type === 'ping' ? ': ping' : frame)),
    /\d comments?/,
  ],
]

const withKey = (key: (key: string, message: string) => string): Tampering => ({
  async answer(request, next) {
    const given = request.headers.get('idempotency-key')
    if (given === null) return next()
    return next(withHeaders(request, { 'idempotency-key': key(given, await request.clone().text()) }))
  },
})

const onMessages: readonly PlantedFault[] = [
  ['applies a repeat again', 'P85', withKey(() => crypto.randomUUID()), /not as at first/],
  [
    'knows a repeat only on its own stream',
    'P85',
    { answer: (request, next) => next(withHeaders(request, keyOfStream(request))) },
  ],
  ['remembers the answer, and applies a repeat all the same', 'P85', at('send', appliesAgain), /events came of/],
  ['takes another payload under a used key', 'P86', withKey((key, text) => `${key}-${hash(text)}`), /not 409/],
  ['gives the first answer to another payload', 'P86', at('send', answersByKey), /not 409/],
  ['takes any key', 'P49', withKey((key) => (/^[!-~]{1,255}$/.test(key) ? key : 'k')), /was answered 200/],
  ['has no receipts', 'P84', at('send', async (_, next) => new Response('OK', { status: (await next()).status }))],
  ['forgets what a stop has named', 'P67', posting('stop', ({ cancels, ...message }) => message), /was answered 200/],
  ['cancels what was applied', 'P68', { answer: cancelsAll }, /cancelled/],
]

const keyOfStream = ({ headers }: Request) => {
  const key = headers.get('idempotency-key')
  return { 'idempotency-key': key && `${key.slice(0, 40)}-${headers.get('x-connection-id')}` }
}
const hash = (text: string) => [...text].reduce((sum, letter) => (31 * sum + letter.charCodeAt(0)) % 1_000_003, 7)

async function appliesAgain(request: Request, next: Next, { notes }: World) {
  const key = String(request.headers.get('idempotency-key'))
  const response = await next(withHeaders(request, { 'idempotency-key': crypto.randomUUID() }))
  const first = notes.get(key) ?? (await response.text())
  notes.set(key, first)
  return json(200, JSON.parse(String(first)))
}

async function answersByKey(request: Request, next: Next, { notes }: World) {
  const key = String(request.headers.get('idempotency-key'))
  const known = notes.get(key)
  if (known) return json(200, JSON.parse(String(known)))
  const response = await next()
  notes.set(key, await response.clone().text())
  return response
}

async function cancelsAll(request: Request, next: Next, { notes }: World) {
  if (notes.get(String(request.headers.get('idempotency-key')))) return json(409, { error: 'cancelled' })
  if (endpointOf(request) === 'stop') {
    const { cancels = [] } = (await request.clone().json()) as { cancels?: string[] }
    for (const key of cancels) notes.set(key, 'cancelled')
  }
  return next()
}

type Batch = { messages: Message[] }
const batches = (change: (messages: Message[]) => unknown): Tampering =>
  posting('batch', (message) => {
    const { messages } = message as Batch
    return Array.isArray(messages) ? { messages: change(messages) } : message
  })
const results = (change: (results: Message[]) => unknown): Tampering =>
  answering('batch', (answer) => (Array.isArray(answer.results) ? { results: change(answer.results) } : answer))

const onBatches: readonly PlantedFault[] = [
  ['forgets what ran in a batch', 'P75', at('batch', batchesUnderOtherIds), /not 2xx with the receipt/],
  ['takes its own endpoints in a batch', 'P76', results((list) => list.map((result) => ({ ...result, status: 200 })))],
  ['runs a batch backwards', 'P77', batches((messages) => messages.toReversed())],
  [
    'ends a batch at the first that is rejected',
    'P78',
    results((list) => list.slice(0, list.findIndex(({ status }) => status !== 200) + 1)),
  ],
  ['leaves out the results of what is rejected', 'P78', results((list) => list.filter(({ status }) => status === 200))],
  ['takes any batch', 'P82', asStatus(400, 200, { results: [] }), /was answered 200/],
  ['runs the first 50 of 51', 'P82', batches((messages) => messages.slice(0, 50))],
  ['applies messages in pairs, the second one first', 'P25', at('send', swapsPosts), /the events came as/],
  [
    'takes any name of a lane',
    'P24',
    { answer: (request, next) => next(withHeaders(request, { 'x-lane': null })) },
    /was answered 200/,
  ],
  [
    'refuses the empty name of a lane',
    'P24',
    at('send', (request, next) => (request.headers.get('x-lane') === '' ? json(400, {}) : next())),
  ],
]

async function batchesUnderOtherIds(request: Request, next: Next) {
  const changed = await withBody(request, (message) => ({
    messages: (message as Batch).messages.map((each) => ({ ...each, id: `other-${each.id}` })),
  }))
  return new Response((await (await next(changed)).text()).replaceAll('other-', ''), {
    headers: { 'Content-Type': 'application/json' },
  })
}

/** Answers the first at once, and applies it after the second. */
async function swapsPosts(request: Request, next: Next, { notes }: World) {
  const held = notes.get('held') as (() => Promise<Response>) | undefined
  if (!held) {
    const first = new Request(request.url, { method: 'POST', headers: request.headers, body: await request.text() })
    notes.set('held', () => next(first))
    return json(200, {})
  }
  const response = await next()
  if (!notes.get('applied')) await held()
  notes.set('applied', true)
  return response
}

const onRefusals: readonly PlantedFault[] = [
  [
    'knows everybody',
    'P36',
    { options: { authenticate: () => ({ id: 'anybody' }) } },
    /was answered 200 without `headers`/,
  ],
  ['answers 403 to who is not logged in', 'P36', asStatus(401, 403, { error: 'forbidden' })],
  ['lets everybody write', 'P37', { options: { authorize: () => true } }, /was answered 200/],
  ['answers a foreign message 200, and does not apply it', 'P37', asStatus(403, 200, {})],
  ['has no route for unwatch', 'P33', at('unwatch', () => html(404)), /no endpoint `unwatch`/],
  ['has no route for suspend', 'P33', at('suspend', () => html(404))],
  ['has no route for the probe it announces', 'P33', at('probe', () => html(404))],
  [
    'answers 404 for an endpoint that it does not know',
    'P33',
    at('check-unknown', () => html(404)),
    /takes 404 for the end/,
  ],
  [
    'redirects POSTs',
    'P29',
    at('check-unknown', () => Response.redirect('http://127.0.0.1:1/login', 302)),
    /it leads to http/,
  ],
  [
    'says JSON and answers HTML',
    'P31',
    at('check-unknown', () => new Response('<p>', { status: 400, headers: { 'Content-Type': 'application/json' } })),
  ],
  ['refuses with a page', 'P38', at('check-unknown', () => html(400))],
  ['takes POSTs of streams that it does not know', 'P34', asStatus(404, 200, { ok: true }), /was answered 200/],
  ['answers 400 for a stream that it does not know', 'P34', asStatus(404, 400, { error: 'unknown-stream' })],
  ['answers 410 to a message for a stream that it does not know', 'P34', asStatus(404, 410, {}), /was answered 410/],
  ['does not say what is unknown', 'P35', asStatus(404, 404, { error: 'not-found' })],
  ['takes a connectionId for a credential', 'P8', { options: { authenticate: () => ({ id: 'one' }) } }],
  ['tells that a stream is of somebody else', 'P8', { answer: tellsForeign }],
]

/** Whose streams there are is known by what they have posted. */
async function tellsForeign(request: Request, next: Next, { notes }: World) {
  const response = await next()
  const id = request.headers.get('x-connection-id')
  if (id === null || endpointOf(request) === 'events') return response
  if (response.status !== 404) notes.set(id, true)
  return response.status === 404 && notes.get(id) ? json(403, { error: 'forbidden' }) : response
}

const onPages: readonly PlantedFault[] = [
  [
    'takes any origin',
    'P43',
    { answer: (request, next) => next(withHeaders(request, { origin: null, 'sec-fetch-site': null })) },
    /was answered 200/,
  ],
  [
    'looks at the origin of the stream alone',
    'P43',
    {
      answer: (request, next) =>
        next(request.method === 'POST' ? withHeaders(request, { origin: null, 'sec-fetch-site': null }) : request),
    },
  ],
  [
    'may be put into a frame',
    'P44',
    { answer: (request, next) => next(withHeaders(request, { 'sec-fetch-dest': null })) },
  ],
  ['lets its stream be cached', 'P45', streaming({ 'cache-control': 'max-age=60' })],
  [
    'allows an origin without Vary',
    'P45',
    streaming({ 'access-control-allow-origin': 'https://app.example' }),
    /without `Vary: Origin`/,
  ],
]

const onInput: readonly PlantedFault[] = [
  ['answers 500 to what is no JSON', 'P22', asStatus(400, 500, { error: 'internal' }), /was answered 500/],
  [
    'takes any media type',
    'P22',
    {
      answer: (request, next) =>
        next(request.method === 'POST' ? withHeaders(request, { 'content-type': 'application/json' }) : request),
    },
    /was answered 200/,
  ],
  [
    'acts on an empty POST',
    'P30',
    {
      answer: (request, next) =>
        request.headers.has('x-connection-id') || request.method === 'GET' ? next() : json(200, {}),
    },
  ],
  [
    'breaks on deep JSON',
    'P39',
    {
      answer: async (request, next) =>
        (await request.clone().text()).includes('[[[[') ? json(500, { error: 'internal' }) : next(),
    },
  ],
  ['reads one body after the other', 'P40', { answer: readsInTurn }, /no answer within/],
  [
    'cuts the connection of a body that is too large',
    'P41',
    {
      async answer(request, next, { cut }) {
        if (Number(request.headers.get('content-length')) < 1_000_000) return next()
        cut()
        return new Promise(() => {})
      },
    },
    /no answer \(/,
  ],
]

async function readsInTurn(request: Request, next: Next, { notes }: World) {
  if (request.method === 'GET') return next()
  const before = notes.get('reading') as Promise<unknown> | undefined
  const reading = Promise.resolve(before).then(() => request.clone().text())
  notes.set(
    'reading',
    reading.catch(() => {}),
  )
  await reading
  return next()
}

const onSuspends: readonly PlantedFault[] = [
  [
    'ends the stream at a suspend',
    'P70',
    at('suspend', async (_, next, { chat }) => {
      const response = await next()
      await chat.revoke('alice')
      return response
    }),
  ],
  ['refuses a suspend', 'P70', at('suspend', () => json(400, { error: 'bad-request' }))],
  [
    'does not wake up after a suspend',
    'P71',
    {
      ...at('suspend', (_, next, { notes }) => {
        notes.set('suspended', true)
        return next()
      }),
      frames:
        ({ notes }) =>
        (frame) =>
          notes.get('suspended') && isEvent(frame) ? '' : frame,
    },
  ],
  [
    'says no second marker',
    'P72',
    dropping(() => {
      let markers = 0
      return (frame) => {
        if (isMarker(frame)) markers += 1
        return isMarker(frame) && markers > 1
      }
    }),
  ],
  ['lets go at a suspend that came late', 'P73', at('suspend', detaches)],
  ['lets go at a suspend, and says that it does not', 'P87', at('suspend', detaches)],
  [
    'needs a header on a suspend',
    'P23',
    at('suspend', (request, next) =>
      request.headers.has('x-connection-id') ? next() : json(404, { error: 'unknown-stream' }),
    ),
  ],
  ['does not know a stream that has just ended', 'P74', at('suspend', () => json(404, { error: 'unknown-stream' }))],
]

async function detaches(request: Request, next: Next) {
  const { sessions } = (await request.clone().json()) as { sessions: { sessionId: string }[] }
  const headers = changed(request.headers, { 'content-length': null })
  for (const { sessionId } of sessions) {
    const body = JSON.stringify({ type: 'unwatch', sessionId })
    await next(new Request(request.url.replace(/suspend$/, 'unwatch'), { method: 'POST', headers, body }))
  }
  return json(200, { ok: true })
}

const onEnds: readonly PlantedFault[] = [
  [
    'takes what later streams have attached along with an old one',
    'P50',
    {
      onEnd: ({ notes }) => void notes.set('ended', true),
      frames:
        ({ notes }) =>
        (frame) =>
          notes.get('ended') && isEvent(frame) ? '' : frame,
    },
  ],
  [
    'remembers the events for ten streams',
    'P51',
    {
      frames({ notes }) {
        const streams = Number(notes.get('streams') ?? 0) + 1
        notes.set('streams', streams)
        return (frame) => (streams > 10 && isEvent(frame) ? '' : frame)
      },
    },
  ],
  [
    'ends without a goodbye',
    'P21',
    dropping(() => (frame) => jsonOf(frame).type === 'goodbye'),
    /a goodbye did not come before/,
  ],
  [
    'says how long in words',
    'P21',
    frames((frame) => (jsonOf(frame).type === 'goodbye' ? frameOf({ type: 'goodbye', retryAfter: '1 s' }) : frame)),
  ],
  ['closes without Retry-After', 'P42', asStatus(503, 503, { error: 'unavailable' })],
  ['answers 500 once it is closed', 'P42', asStatus(503, 500, { error: 'internal' })],
]

export const PLANTED_SERVER_FAULTS: readonly PlantedFault[] = [
  ...[onStream, onEvents, onResumes, onLife, onMessages, onBatches],
  ...[onRefusals, onPages, onInput, onSuspends, onEnds],
].flat()
