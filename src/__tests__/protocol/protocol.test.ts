import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ENDPOINTS,
  FEATURES,
  HEAD,
  isCursor,
  type JsonObject,
  malformedField,
  parseControl,
  parseResults,
  parseVerdicts,
  parseWelcome,
  RESERVED_TYPES,
  SESSION_ID,
  type SessionVerdict,
} from '../../protocol'

const WELCOME = { type: 'welcome', protocolVersion: 2, connectionId: 'c1' }
const welcome = (fields: object) => parseWelcome(JSON.stringify({ ...WELCOME, ...fields }))

/** JSON that is wrong in an interesting place more often than chance would have it. */
const anyValue = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(null, -1, 0, 1.5, 1e308, 2 ** 53, '', '7', [], {}, [[]], true, 'NaN', '__proto__'),
)
const anyFrame = (...keys: string[]) =>
  fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), anyValue).map((frame) => frame as JsonObject)
const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0

describe('a welcome', () => {
  test.each(['', 'c\u20ac1', 'a\nb', 7, null])(
    'with the connectionId %j is none: no header can carry it',
    (connectionId) => {
      expect(welcome({ connectionId })).toBeUndefined()
    },
  )

  test('has the name of the stream, and what the server announced', () => {
    expect(welcome({ heartbeat: 15_000, features: ['probe', 'receipts'] })).toEqual({
      connectionId: 'c1',
      heartbeat: 15_000,
      features: ['probe', 'receipts'],
    })
  })

  test('of a server that announces nothing is a welcome all the same', () => {
    expect(welcome({})).toEqual({ connectionId: 'c1', heartbeat: undefined, features: [] })
  })

  test.each([undefined, null, 1, 3, '2', 2.5, [2]])('of protocol version %j is none', (protocolVersion) => {
    expect(welcome({ protocolVersion })).toBeUndefined()
  })

  test.each([undefined, null, '', 7, {}, ['c1']])('of a stream that is called %j is none', (connectionId) => {
    expect(welcome({ connectionId })).toBeUndefined()
  })

  test.each(['', '{', 'null', '[]', '2', '"welcome"', 'undefined', '{"protocolVersion":2'])(
    'that reads %j is none',
    (data) => {
      expect(parseWelcome(data)).toBeUndefined()
    },
  )

  test('may announce features of a later protocol: they are ignored, and so is what is no text', () => {
    const features = ['telepathy', 'probe', 7, null, ['batch'], { receipts: true }]
    expect(welcome({ features })?.features).toEqual(['probe'])
  })

  test.each(['probe', { probe: true }, 7, null])('with %j for a list of features announces none', (features) => {
    expect(welcome({ features })?.features).toEqual([])
  })

  test('may announce each feature that there is, once', () => {
    expect(welcome({ features: [...FEATURES, ...FEATURES].reverse() })?.features).toEqual(FEATURES)
  })

  test.each([null, 0, -1, '15000', Number.NaN, {}])('with heartbeat %j has none', (heartbeat) => {
    expect(welcome({ heartbeat })?.heartbeat).toBeUndefined()
  })

  test('with a heartbeat that no number can hold has none', () => {
    expect(parseWelcome('{"protocolVersion":2,"connectionId":"c1","heartbeat":1e999}')?.heartbeat).toBeUndefined()
  })

  test('never throws, and never lets through what was not checked', () => {
    const keys = ['type', 'protocolVersion', 'connectionId', 'heartbeat', 'features', 'receiptAge']
    const anyData = fc.oneof(
      fc.string(),
      fc.json(),
      anyFrame(...keys).map((frame) => JSON.stringify(frame)),
      anyFrame(...keys).map((frame) => JSON.stringify({ ...WELCOME, ...frame })),
      anyFrame('heartbeat', 'features', 'receiptAge').map((frame) => JSON.stringify({ ...frame, ...WELCOME })),
    )
    let welcomes = 0
    fc.assert(
      fc.property(anyData, (data) => {
        const parsed = parseWelcome(data)
        if (!parsed) return
        welcomes += 1
        const { connectionId, heartbeat, receiptAge, features } = parsed
        expect(Object.keys(parsed).sort()).toEqual(['connectionId', 'features', 'heartbeat', 'receiptAge'])
        expect(typeof connectionId === 'string' && connectionId !== '').toBe(true)
        for (const ms of [heartbeat, receiptAge]) expect(ms === undefined || (Number.isFinite(ms) && ms > 0)).toBe(true)
        expect(features.filter((feature) => !FEATURES.includes(feature))).toEqual([])
      }),
      { numRuns: 2_000 },
    )
    expect(welcomes).toBeGreaterThan(100)
  })
})

describe('a control frame', () => {
  test.each<[JsonObject, object]>([
    [{ type: 'ping' }, { type: 'ping' }],
    [{ type: 'ping', at: 7 }, { type: 'ping' }],
    [
      { type: 'probe', nonce: 'p1' },
      { type: 'probe', nonce: 'p1' },
    ],
    [
      { type: 'probe', nonce: 7 },
      { type: 'probe', nonce: '' },
    ],
    [{ type: 'goodbye' }, { type: 'goodbye', retryAfter: undefined, spread: undefined }],
    [
      { type: 'goodbye', retryAfter: 5_000, spread: 0 },
      { type: 'goodbye', retryAfter: 5_000, spread: 0 },
    ],
    [
      { type: 'goodbye', retryAfter: -1, spread: '9' },
      { type: 'goodbye', retryAfter: undefined, spread: undefined },
    ],
    [{ type: 'reconnected' }, { type: 'reconnected', resumeId: undefined, sessions: [] }],
    [
      { type: 'reconnected', resumeId: 7, sessions: {} },
      { type: 'reconnected', resumeId: undefined, sessions: [] },
    ],
    [
      { type: 'reconnected', resumeId: 'r1', sessions: [{ sessionId: 's1', status: 'gone' }], extra: true },
      { type: 'reconnected', resumeId: 'r1', sessions: [{ sessionId: 's1', status: 'gone', from: 0, to: 0 }] },
    ],
    [
      { type: 'goodbye', retryAfter: '5000', spread: Number.POSITIVE_INFINITY },
      { type: 'goodbye', retryAfter: undefined, spread: undefined },
    ],
    [
      {
        type: 'unattached',
        sessions: ['resumed', 'reset', 'gone', 'forbidden'].map((status) => ({ sessionId: 's1', status })),
      },
      {
        type: 'unattached',
        sessions: ['gone', 'forbidden'].map((status) => ({ sessionId: 's1', status, from: 0, to: 0 })),
      },
    ],
  ])('%j reads %j', (frame, control) => {
    expect(parseControl(frame)).toEqual(control)
  })

  test.each([
    'xstate.stop',
    'xstate.init',
    'xstate.done.actor.resume',
    'xstate.error.actor.outbox',
    'xstate.after.backoffDelay.connection.active.backoff',
    '*',
    'disconnect',
    'connect',
    'stream.welcomed',
    'resume.succeeded',
    'welcome',
    'text_delta',
    'toString',
    '__proto__',
    '',
  ])('{ type: %j } is none: it is for the app, and moves no machine', (type) => {
    expect(parseControl({ type })).toBeUndefined()
  })

  test.each([{}, { type: null }, { type: 7 }, { type: ['ping'] }, { type: { type: 'ping' } }])(
    '%j is none',
    (frame) => {
      expect(parseControl(frame as JsonObject)).toBeUndefined()
    },
  )

  test('never throws, and never lets through what was not checked', () => {
    const types = ['ping', 'probe', 'reconnected', 'goodbye', 'xstate.stop', 'reconnect']
    const anyControl = fc
      .tuple(fc.constantFrom(...types), anyFrame('nonce', 'resumeId', 'sessions', 'retryAfter', 'spread'))
      .map(([type, frame]) => ({ ...frame, type }) as JsonObject)
    let controls = 0
    fc.assert(
      fc.property(fc.oneof(anyFrame('type'), anyControl), (frame) => {
        const control = parseControl(frame)
        if (!control) return
        controls += 1
        const isText = (value: unknown) => value === undefined || typeof value === 'string'
        const isDuration = (value: unknown) => value === undefined || (Number.isFinite(value) && Number(value) >= 0)
        const fields: Record<string, (value: unknown) => boolean> = {
          type: (value) => types.slice(0, 4).includes(String(value)),
          nonce: (value) => typeof value === 'string',
          resumeId: isText,
          retryAfter: isDuration,
          spread: isDuration,
          sessions: (value) => Array.isArray(value) && value.every(isVerdict),
        }
        for (const [key, value] of Object.entries(control)) expect([key, fields[key]?.(value)]).toEqual([key, true])
      }),
      { numRuns: 2_000 },
    )
    expect(controls).toBeGreaterThan(100)
  })
})

const verdictsOf = (sessions: unknown) => parseVerdicts({ ok: true, sessions })
const isVerdict = (value: unknown) => {
  const { sessionId, status, epoch, from, to, ...rest } = value as SessionVerdict
  return (
    typeof sessionId === 'string' &&
    ['resumed', 'reset', 'gone', 'forbidden'].includes(status) &&
    (epoch === undefined || typeof epoch === 'string') &&
    isCount(from) &&
    isCount(to) &&
    Object.keys(rest).length === 0
  )
}

describe('the verdicts of a resume', () => {
  const GOOD = { sessionId: 's1', status: 'resumed', from: 3, to: 9, epoch: 'e1' }

  test('are taken over field by field', () => {
    expect(verdictsOf([{ ...GOOD, extra: 1 }])).toEqual([GOOD])
  })

  test('may leave out where the replay starts and ends', () => {
    expect(verdictsOf([{ sessionId: 's1', status: 'resumed' }])).toEqual([
      { sessionId: 's1', status: 'resumed', from: 0, to: 0 },
    ])
    expect(verdictsOf([{ sessionId: 's1', status: 'reset', from: 4 }])).toEqual([
      { sessionId: 's1', status: 'reset', from: 4, to: 4 },
    ])
    expect(verdictsOf([{ sessionId: 's1', status: 'reset', to: 4 }])).toEqual([
      { sessionId: 's1', status: 'reset', from: 4, to: 4 },
    ])
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a string', 'resumed'],
    ['a list', [GOOD]],
    ['no session', { ...GOOD, sessionId: undefined }],
    ['a session that is a number', { ...GOOD, sessionId: 7 }],
    ['no status', { ...GOOD, status: undefined }],
    ['a status that there is not', { ...GOOD, status: 'lost' }],
    ['a status that every object has', { ...GOOD, status: 'constructor' }],
    ['a negative cursor', { ...GOOD, from: -1 }],
    ['half a cursor', { ...GOOD, to: 1.5 }],
    ['a cursor that is text', { ...GOOD, to: '9' }],
    ['a cursor that is null', { ...GOOD, from: null }],
    ['a cursor beyond what a number can count', { ...GOOD, to: 2 ** 53 }],
  ])('with an entry that is malformed, %s, leave it out and keep the others', (_, entry) => {
    const other = { ...GOOD, sessionId: 's2' }
    expect(verdictsOf([GOOD, entry, other])).toEqual([GOOD, other])
  })

  test('a reset that does not tell what is left promises nothing', () => {
    const parse = (entry: object) => parseVerdicts({ sessions: [{ sessionId: 's1', ...entry }] })[0]
    expect(parse({ status: 'reset', to: 7 })).toMatchObject({ from: 7, to: 7 })
    expect(parse({ status: 'resumed', to: 7 })).toMatchObject({ from: 0, to: 7 })
    expect(parse({ status: 'reset', from: 3, to: 7 })).toMatchObject({ from: 3, to: 7 })
  })

  test('name one error: that the stream has as many sessions as it may', () => {
    const parse = (error: unknown) => parseVerdicts({ sessions: [{ sessionId: 's1', status: 'gone', error }] })[0]
    expect(parse('too-many-sessions')).toHaveProperty('error', 'too-many-sessions')
    for (const error of ['busy', '', null, undefined, 7]) expect(parse(error)).not.toHaveProperty('error')
  })

  test('with an epoch that is no text have none', () => {
    expect(verdictsOf([{ ...GOOD, epoch: 7 }])).toMatchObject([{ sessionId: 's1', epoch: undefined }])
  })

  test.each([undefined, null, 7, 'x', [], [GOOD], {}])('of an answer that is %j are none', (answer) => {
    expect(parseVerdicts(answer)).toEqual([])
  })

  test.each([undefined, null, 7, 'x', {}, { 0: GOOD, length: 1 }])('that are no list, but %j, are none', (value) => {
    expect(verdictsOf(value)).toEqual([])
  })

  test('never throw, and never let through what was not checked', () => {
    const anyEntry = fc.oneof(
      anyValue,
      anyFrame('sessionId', 'status', 'epoch', 'from', 'to'),
      anyFrame('epoch', 'from', 'to').map((frame) => ({ sessionId: 's1', status: 'reset', ...frame })),
    )
    const anyAnswer = fc.oneof(anyValue, fc.record({ sessions: fc.oneof(fc.array(anyEntry), anyValue) }))
    let verdicts = 0
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const parsed = parseVerdicts(answer)
        verdicts += parsed.length
        expect(parsed.filter((verdict) => !isVerdict(verdict))).toEqual([])
      }),
      { numRuns: 2_000 },
    )
    expect(verdicts).toBeGreaterThan(100)
  })
})

describe('the envelope of an event', () => {
  test.each([
    {},
    { type: 'text', sessionId: 's1', seq: 1, prevSeq: 0, epoch: 'e1' },
    { sessionId: null },
    { epoch: null },
    { sessionId: 's'.repeat(1_024), epoch: 'e'.repeat(1_024) },
  ])('may be %j', (envelope) => {
    expect(malformedField(envelope)).toBeUndefined()
  })

  test.each<[field: string, JsonObject]>([
    ['type', { type: 7 }],
    ['type', { type: null }],
    ['sessionId', { sessionId: 7 }],
    ['sessionId', { sessionId: '' }],
    ['sessionId', { sessionId: 's'.repeat(1_025) }],
    ['sessionId', { sessionId: null, seq: 1 }],
    ['seq', { sessionId: 's1', seq: 0 }],
    ['seq', { sessionId: 's1', seq: 1.5 }],
    ['seq', { sessionId: 's1', seq: null }],
    ['prevSeq', { sessionId: 's1', seq: 1, prevSeq: -1 }],
    ['epoch', { epoch: 7 }],
    ['epoch', { epoch: 'e'.repeat(1_025) }],
  ])('cannot have this %s: %j', (field, envelope) => {
    expect(malformedField(envelope)).toBe(field)
  })
})

describe('the results of a batch', () => {
  const GOOD = { id: 'm1', status: 200, receipt: { ok: true }, error: undefined, retryAfter: undefined }

  test.each([undefined, null, 7, 'x', [], [GOOD], {}, { results: { 0: GOOD, length: 1 } }])(
    'of an answer that is %j are none',
    (answer) => {
      expect(parseResults(answer)).toEqual([])
    },
  )

  test('end at the first that is malformed: the server may have meant any message by it', () => {
    expect(parseResults({ results: [GOOD, { ...GOOD, id: 7 }, GOOD] })).toEqual([GOOD])
  })

  test.each([200, 599])('may have the status %d', (status) => {
    expect(parseResults({ results: [{ ...GOOD, status }] })).toEqual([{ ...GOOD, status }])
  })

  test.each([199, 600, 200.5, '200', null])('cannot have the status %j', (status) => {
    expect(parseResults({ results: [{ ...GOOD, status }] })).toEqual([])
  })
})

describe('the words of the protocol', () => {
  test('the cursor that follows from now on is the largest integer that JSON carries exactly', () => {
    expect(HEAD).toBe(Number.MAX_SAFE_INTEGER)
  })

  // Both halves share them, so no other test would notice a change that breaks every other server.
  test('a type names its endpoint', () => {
    expect(ENDPOINTS).toEqual({
      send: 'send',
      stop: 'stop',
      interrupt: 'interrupt',
      permission_response: 'permission',
      set_mode: 'mode',
      watch: 'watch',
      unwatch: 'unwatch',
      switch_session: 'switch',
      session_suspend: 'suspend',
      session_close: 'close',
    })
  })

  test('C13: what only the library posts is reserved', () => {
    expect(RESERVED_TYPES).toEqual(['reconnect', 'probe', 'batch'])
  })

  test.each(['s', 'A-z_09', 'x'.repeat(128)])('%j is the id of a session', (id) => {
    expect(SESSION_ID.test(id)).toBe(true)
  })

  test.each(['', ' s', 's ', 's/1', 'ü', 's\n', 'x'.repeat(129)])('%j is none', (id) => {
    expect(SESSION_ID.test(id)).toBe(false)
  })

  test.each([
    { sessionId: '', lastSeq: 0 },
    { sessionId: 7, lastSeq: 0 },
    { sessionId: 's1' },
    { sessionId: 's1', lastSeq: -1 },
    { sessionId: 's1', lastSeq: 0, epoch: 7 },
    null,
  ])('%j is no cursor', (value) => {
    expect(isCursor(value)).toBe(false)
  })

  test.each([
    { sessionId: 's1', lastSeq: 0 },
    { sessionId: 's1', lastSeq: 7, epoch: 'e1' },
  ])('%j is a cursor', (value) => {
    expect(isCursor(value)).toBe(true)
  })
})
