import { type } from 'arktype'
import { defineProtocol, ProtocolError, type Schema } from 'holdline/protocol'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const fails = (protocol: { readonly check?: unknown }, ...[part, message, kind]: readonly unknown[]) => {
  const errors: ProtocolError[] = []
  const check = protocol.check as (...given: unknown[]) => unknown
  const told = check(part, message, (error: ProtocolError) => errors.push(error), kind)
  expect(told).toEqual(part === 'receipts' ? { receipt: null } : undefined)
  expect(errors).toHaveLength(1)
  return errors[0] as ProtocolError
}
const takes = (protocol: { readonly check?: unknown }, ...[part, message, kind]: readonly unknown[]) => {
  const check = protocol.check as (...given: unknown[]) => unknown
  return check(
    part,
    message,
    (error: ProtocolError) => {
      throw error
    },
    kind,
  )
}

const SECRET = 'sesame-4711'
/** The same schemas, written with each library: plain, strict, and with the envelope. */
const LIBRARIES = {
  zod: {
    plain: z.object({ text: z.string(), n: z.number().max(9).optional() }),
    strict: z.strictObject({ text: z.string() }),
    whole: z.object({ type: z.literal('token'), sessionId: z.string(), text: z.string() }),
    picky: z.object({ kind: z.enum(['a', 'b']), mail: z.email(), list: z.array(z.object({ id: z.number() })) }),
    changed: z.object({ text: z.string().default('none'), n: z.coerce.number() }),
  },
  valibot: {
    plain: v.object({ text: v.string(), n: v.optional(v.pipe(v.number(), v.maxValue(9))) }),
    strict: v.strictObject({ text: v.string() }),
    whole: v.object({ type: v.literal('token'), sessionId: v.string(), text: v.string() }),
    picky: v.object({
      kind: v.picklist(['a', 'b']),
      mail: v.pipe(v.string(), v.email()),
      list: v.array(v.object({ id: v.number() })),
    }),
    changed: v.object({
      text: v.optional(v.string(), 'none'),
      n: v.pipe(v.union([v.string(), v.number()]), v.transform(Number)),
    }),
  },
  arktype: {
    plain: type({ text: 'string', 'n?': 'number <= 9' }),
    strict: type({ text: 'string', '+': 'reject' }),
    whole: type({ type: "'token'", sessionId: 'string', text: 'string' }),
    picky: type({ kind: "'a' | 'b'", mail: 'string.email', list: type({ id: 'number' }).array() }),
    changed: type({ text: "string = 'none'", n: type('string | number').pipe(Number) }),
  },
}

describe.each(Object.entries(LIBRARIES))('with schemas of %s', (_, schemas) => {
  type Schemas = Readonly<Record<keyof typeof LIBRARIES.zod, Schema<object, object>>>
  const { plain, strict, whole, picky, changed } = schemas as Schemas
  const down = (token: Schema<object, object>) => defineProtocol({ up: {}, down: { token } })
  const event = { type: 'token', sessionId: 's1', seq: 1, epoch: 'e', text: 'a' }

  test('the envelope is the library’s: a schema need not know it, may be strict beside it, or may ask for it', () => {
    for (const schema of [plain, strict, whole]) expect(takes(down(schema), 'down', event)).toEqual(event)
    expect(fails(down(whole), 'down', { ...event, sessionId: 5 }).issues[0]?.path).toEqual(['sessionId'])
    expect(fails(down(strict), 'down', { ...event, more: 1 }).issues[0]?.path.length).toBeLessThan(2)
  })

  test('a message that does not fit fails with its code, and the paths of what does not', () => {
    const error = fails(down(plain), 'down', { ...event, text: 5 })
    expect(error).toBeInstanceOf(ProtocolError)
    expect(error).toMatchObject({ code: 'bad-message', name: 'ConnectionError', retryable: false })
    expect(error.issues).toEqual([{ path: ['text'], message: expect.stringMatching(/^expected (a )?string$/) }])
    expect(error.message).toMatch(/^down\.token: does not fit the protocol: text \(expected (a )?string\)$/)
    const deep = { kind: 'a', mail: 'a@b.example', list: [{ id: 1 }, { id: 'x' }] }
    expect(fails(down(picky), 'down', { ...event, ...deep }).issues[0]?.path).toEqual(['list', 1, 'id'])
  })

  test('no error tells a value of the message, whatever the library writes into its own', () => {
    const odd = [SECRET, { x: SECRET }, [SECRET]]
    const bad = odd.flatMap((value) => [
      { text: value, n: value },
      { kind: value, mail: value, list: [{ id: value }] },
      { text: 'a', more: value },
    ])
    let failures = 0
    for (const schema of [plain, strict, whole, picky])
      for (const fields of bad) {
        let seen: ProtocolError | undefined
        const { check } = down(schema)
        check?.('down', { ...event, type: 'token', ...fields }, (error) => {
          seen = error
        })
        if (!seen) continue
        failures++
        expect(JSON.stringify([seen.message, seen.issues, String(seen.cause ?? '')])).not.toContain(SECRET)
      }
    expect(failures).toBeGreaterThan(15)
  })

  test('what a schema makes of a message is what the app gets', () => {
    expect(takes(down(changed), 'down', { type: 'token', sessionId: 's1', seq: 2, n: '5' })).toEqual({
      type: 'token',
      sessionId: 's1',
      seq: 2,
      text: 'none',
      n: 5,
    })
  })
})

const prompt = z.object({ prompt: z.string() })
const token = z.object({ text: z.string() })
const chat = defineProtocol({ up: { send: prompt, rate: z.object({}) }, down: { token }, receipts: { send: token } })

test('the endpoints follow from the types: the wire protocol’s for its own, the name of the type for yours', () => {
  expect(chat.endpoints).toEqual({ send: 'send', rate: 'rate' })
  const named = defineProtocol({
    up: { permission_response: prompt, rate: prompt },
    down: {},
    endpoints: { rate: 'stars' },
  })
  expect(named.endpoints).toEqual({ permission_response: 'permission', rate: 'stars' })
})

test('a type that is not in the protocol fails, and is named with those that are', () => {
  const up = fails(chat, 'up', { type: 'sing', prompt: 'a' })
  expect([up.code, up.message]).toEqual([
    'unknown-type',
    "up: 'sing' is no message of the protocol, which has send, rate",
  ])
  expect(fails(chat, 'down', { type: 'tokens' }).code).toBe('bad-message')
  for (const odd of ['__proto__', 'constructor', undefined, 5])
    expect(fails(chat, 'up', { type: odd }).code).toBe('unknown-type')
  expect(fails(chat, 'up', { type: 'x'.repeat(10_000) }).message.length).toBeLessThan(200)
})

test('the events of runs, of the AI SDK and of AG-UI are the library’s, and pass', () => {
  for (const kind of ['run.started', 'run.ended', 'ui', 'agui']) {
    const event = { type: kind, sessionId: 's1', seq: 1, run: 'r' }
    expect(takes(chat, 'down', event)).toBe(event)
  }
})

test('of a library that is not known, no word is passed on', () => {
  const odd: Schema<object> = {
    '~standard': {
      version: 1,
      vendor: 'odd',
      validate: () => ({
        issues: [{ message: SECRET, path: [{ key: 'a' }], expected: SECRET, code: SECRET } as never],
      }),
    },
  }
  const { issues } = fails(defineProtocol({ up: {}, down: { token: odd } }), 'down', { type: 'token' })
  expect(issues).toEqual([{ path: ['a'], message: 'does not fit' }])
})

test('a stop may carry what it takes back beside a strict schema', () => {
  const strict = defineProtocol({ up: { stop: z.strictObject({}) }, down: {} })
  const stop = { type: 'stop', sessionId: 's1', cancels: ['a'] }
  expect(takes(strict, 'up', stop)).toEqual(stop)
})

test('a receipt is checked by the type of its message; one without a schema passes', () => {
  expect(takes(chat, 'receipts', { status: 'accepted', receipt: { text: 'a', more: 1 } }, 'send')).toEqual({
    status: 'accepted',
    receipt: { text: 'a' },
  })
  for (const answer of [{ receipt: null }, { status: 'rejected' }])
    expect(takes(chat, 'receipts', answer, 'send')).toBe(answer)
  const free = { receipt: 5 }
  expect(takes(chat, 'receipts', free, 'rate')).toBe(free)
  const { message } = fails(chat, 'receipts', { receipt: {} }, 'send')
  expect(message).toBe('receipts.send: does not fit the protocol: text (expected string)')
})

test('an async schema fails at its first use and is named; who can wait gets its word', async () => {
  const slow = z.object({ prompt: z.string().refine(async (text) => text !== 'no') })
  const protocol = defineProtocol({ up: { send: slow }, down: { token: slow } })
  const down = fails(protocol, 'down', { type: 'token', prompt: 'a' })
  expect(down.message).toBe(
    'down.token: its schema is async, or one of zod that threw: only a server waits for that, and only on the way up',
  )
  await expect(down.later).resolves.toEqual({ type: 'token', prompt: 'a' })
  await expect(fails(protocol, 'up', { type: 'send', prompt: 'no' }).later).rejects.toMatchObject({
    issues: [{ path: ['prompt'], message: 'custom' }],
  })
})

test('a schema that throws, or makes no object of a message, is an error of the protocol', () => {
  const cause = new Error('boom')
  const throws = z.object({}).refine(() => {
    throw cause
  })
  const odd: Schema<object> = {
    '~standard': {
      version: 1,
      vendor: 'odd',
      validate() {
        throw cause
      },
    },
  }
  const text = z.object({}).transform(() => 'text') as unknown as typeof token
  const protocol = defineProtocol({ up: {}, down: { throws, odd, text } })
  expect(fails(protocol, 'down', { type: 'throws' }).message).toMatch(/^down\.throws: its schema /)
  expect(fails(protocol, 'down', { type: 'odd' })).toMatchObject({ message: 'down.odd: its schema threw', cause })
  expect(fails(protocol, 'down', { type: 'text' }).message).toBe('down.text: its schema makes of it what is no object')
})

test('names of fields, which may be a stranger’s, are cut off, and so is the list', () => {
  const all = defineProtocol({ up: {}, down: { token: z.object({}).catchall(z.number()) } })
  const fields = Array.from({ length: 50 }, (_, index) => [`${index}${'x'.repeat(1_000)}`, SECRET])
  const { issues, message } = fails(all, 'down', { type: 'token', ...Object.fromEntries(fields) })
  expect(issues).toHaveLength(10)
  expect(message.length).toBeLessThan(2_000)
})

test.each([
  ['no object', { up: undefined, down: {} }, 'protocol.up: '],
  ['no schema', { up: { send: {} }, down: {} }, 'protocol.up.send: it is no Standard Schema'],
  ['a type of the library, up', { up: { reconnect: prompt }, down: {} }, 'protocol.up.reconnect: '],
  ['a type of the library, down', { up: {}, down: { 'run.started': token } }, 'protocol.down.run.started: '],
  ['a control frame', { up: {}, down: { ping: token } }, 'protocol.down.ping: '],
  ['a receipt of nothing', { up: {}, down: {}, receipts: { send: token } }, "protocol.receipts: 'send'"],
  ['a name that is no endpoint', { up: { 'a.b': prompt }, down: {} }, 'protocol.endpoints.a.b: '],
  [
    'an endpoint that is taken',
    { up: { rate: prompt }, down: {}, endpoints: { rate: 'events' } },
    'protocol.endpoints.rate: ',
  ],
  [
    'another endpoint for a type of the wire',
    { up: { send: prompt }, down: {}, endpoints: { send: 'x' } },
    "protocol.endpoints: 'send'",
  ],
])('a definition with %s throws at once, and names it', (_, definition, start) => {
  const define = () => defineProtocol(definition as never)
  expect(define).toThrow(expect.objectContaining({ code: 'invalid-option', message: expect.stringContaining(start) }))
})
