import { describe, expect, test } from 'vitest'
import { FEATURES, type JsonObject, MAX_BATCH_BYTES, MAX_BATCH_MESSAGES } from '../../protocol'
import { type CommandCall, CommandRejected } from '../../server'
import { runBatch } from '../../server/command/batch'
import {
  answer,
  BASE,
  counter,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  type PostOptions,
  post,
  range,
  settle,
  until,
} from '../support/server'

interface Poster {
  post(endpoint: string, body: unknown, options?: PostOptions): Promise<Response>
}

const send = (id: string, fields: JsonObject = {}) => ({
  id,
  endpoint: 'send',
  body: { type: 'send', sessionId: 'room', prompt: `of ${id}`, ...fields },
})
const sends = (...ids: string[]) => ids.map((id) => send(id))

/** The results of a batch that is taken as a whole. */
async function batch(stream: Poster, messages: readonly unknown[]) {
  const [status, { results, ...rest }] = await answer(stream.post('batch', { messages }))
  expect([status, rest]).toEqual([200, {}])
  return results
}

/** Commands that tell the order in which they ran, and end as `outcomes` says. */
function recorder(outcomes: Record<string, () => unknown> = {}) {
  const ran: (string | undefined)[] = []
  const onCommand = ({ idempotencyKey = '' }: CommandCall) => {
    ran.push(idempotencyKey)
    return Object.hasOwn(outcomes, idempotencyKey) ? outcomes[idempotencyKey]?.() : { of: idempotencyKey }
  }
  return { ran, onCommand }
}

const fail = () => {
  throw new Error('secret')
}
const turnDown = () => {
  throw new CommandRejected(422, 'too-long')
}
const accepted = (id: string) => ({ id, status: 200, receipt: { of: id } })
const refused = (id: string, status: number, error: string) => ({ id, status, error })

describe('a batch', () => {
  test('is announced', async () => {
    const { server } = createTestServer()
    expect((await openStream(server)).frames[0]?.features).toEqual(FEATURES)
  })

  test('is answered with one verdict for each message, in their order', async () => {
    const { ran, onCommand } = recorder({ b: turnDown, c: () => undefined })
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await batch(stream, sends('a', 'b', 'c', 'd'))).toEqual([
      accepted('a'),
      refused('b', 422, 'too-long'),
      { id: 'c', status: 200, receipt: null },
      accepted('d'),
    ])
    expect(ran).toEqual(['a', 'b', 'c', 'd'])
  })

  test('hands each message to onCommand as if it had been posted alone, with its id as the key', async () => {
    const calls: CommandCall[] = []
    const { server } = createTestServer({ onCommand: (call) => void calls.push(call) })
    const stream = await openStream(server)
    const stop = { id: '~!"\\', endpoint: 'stop', body: { type: 'stop' } }
    expect((await batch(stream, [send('a'), stop])).map(({ id }: { id: string }) => id)).toEqual(['a', stop.id])
    const { connectionId } = stream
    const same = { principal: { id: 'alice' }, connectionId, publish: expect.any(Function) }
    expect(calls).toEqual([
      { ...same, type: 'send', sessionId: 'room', message: send('a').body, idempotencyKey: 'a' },
      { ...same, type: 'stop', sessionId: undefined, message: stop.body, idempotencyKey: stop.id },
    ])
  })

  test('attaches the session of a message first, so that its sender hears what comes of it', async () => {
    const { server } = createTestServer({
      onCommand: async ({ sessionId = '' }) => void (await server.publish(sessionId, { type: 'reply' })),
    })
    const stream = await openStream(server)
    await batch(stream, [send('a', { sessionId: 'room1' }), send('b', { sessionId: 'room2' })])
    await settle()
    expect(stream.events).toEqual(['room1:1', 'room2:1'])
  })

  test('may hold messages of the app’s own types', async () => {
    const { server } = createTestServer({ endpoints: { fork: 'constructor' } })
    const stream = await openStream(server)
    expect(await batch(stream, [{ id: 'a', endpoint: 'constructor', body: { type: 'fork' } }])).toEqual([
      { id: 'a', status: 200, receipt: { took: 'fork' } },
    ])
  })

  test('runs one message after the other, those of different sessions too', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const answered = batch(stream, [send('a', { sessionId: 'room1' }), send('b', { sessionId: 'room2' }), send('c')])
    for (const count of range(1, 3)) {
      await until(() => commands.running === 1, `execution ${count}`)
      await settle(20)
      expect(commands.calls).toHaveLength(count)
      commands.endNext()
    }
    expect(await answered).toHaveLength(3)
  })
})

describe('one message of a batch', () => {
  test('that is rejected does not stop the rest', async () => {
    const { ran, onCommand } = recorder({ a: turnDown, c: turnDown })
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const results = await batch(stream, sends('a', 'b', 'c', 'd'))
    expect(results.map(({ status }: { status: number }) => status)).toEqual([422, 200, 422, 200])
    expect(ran).toEqual(['a', 'b', 'c', 'd'])
  })

  test.each(['bob1', 'gone1'])('C46: for the session %s, which it may not write, is a 403', async (sessionId) => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await batch(stream, [send('a'), send('b', { sessionId }), send('c')])).toEqual([
      accepted('a'),
      refused('b', 403, 'forbidden'),
      accepted('c'),
    ])
    expect(ran).toEqual(['a', 'c'])
  })

  test.each<[string, object]>([
    ['without an endpoint', { body: { type: 'send' } }],
    ['without an endpoint or a known type', { body: { type: 'nope' } }],
    ['without an endpoint or a type', { body: {} }],
    ['for an unknown endpoint', { endpoint: 'nope', body: { type: 'send' } }],
    ['for an endpoint of Object’s', { endpoint: 'constructor', body: { type: 'constructor' } }],
    ['for an endpoint that is no string', { endpoint: ['send'], body: { type: 'send' } }],
    ['for the stream', { endpoint: 'events', body: { type: 'events' } }],
    ['that is a batch', { endpoint: 'batch', body: { type: 'batch', messages: sends('n') } }],
    ['that is a resume', { endpoint: 'reconnect', body: { type: 'reconnect', sessions: [] } }],
    ['that is a probe', { endpoint: 'probe', body: { type: 'probe', nonce: 'n' } }],
    ['that is a watch', { endpoint: 'watch', body: { type: 'watch', sessionId: 'room', lastSeq: 0 } }],
    ['that is an unwatch', { endpoint: 'unwatch', body: { type: 'unwatch', sessionId: 'room' } }],
    ['that is a suspend', { endpoint: 'suspend', body: { type: 'session_suspend', sessions: [] } }],
    ['without a body', { endpoint: 'send' }],
    ['whose body is an array', { endpoint: 'send', body: [{ type: 'send' }] }],
    ['whose body is text', { endpoint: 'send', body: '{"type":"send"}' }],
    ['of a type that is not the endpoint’s', { endpoint: 'send', body: { type: 'stop' } }],
    ['with a session id that is none', { endpoint: 'send', body: { type: 'send', sessionId: 'a b' } }],
    ['with a session id that is no string', { endpoint: 'send', body: { type: 'send', sessionId: 7 } }],
  ])('%s is a bad request, the others are run', async (_, wrong) => {
    const { ran, onCommand } = recorder()
    const { server, errors } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await batch(stream, [send('a'), { id: 'b', ...wrong }, send('c')])).toEqual([
      accepted('a'),
      { ...refused('b', 400, 'bad-request'), message: expect.any(String) },
      accepted('c'),
    ])
    await settle()
    expect([ran, errors]).toEqual([['a', 'c'], []])
    expect(stream.frames.map(({ type }) => type)).toEqual(['welcome'])
  })
})

describe('the first message that must be repeated is the last result, and nothing after it is run', () => {
  test('those are 401, 404, 408, 425, 429 and 5xx, and no other', async () => {
    const stops = async (status: number) => {
      const messages = ['a', 'b'].map((id) => ({ id, lane: undefined }))
      const perform = async () => ({ status, json: '{"error":"e"}' })
      const { json } = await runBatch(messages, { perform, leave() {}, clock: fakeClock() }).answer
      return JSON.parse(json).results.length === 1
    }
    const statuses = range(400, 599)
    const stopping = await Promise.all(statuses.map(stops))
    expect(statuses.filter((_, index) => stopping[index])).toEqual([401, 404, 408, 425, 429, ...range(500, 599)])
  })

  test('500, without a word of why; the repeat of the batch goes on there', async () => {
    let failures = 1
    const { ran, onCommand } = recorder({ b: () => (failures-- > 0 ? fail() : { of: 'b' }) })
    const { server, errors } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const messages = sends('a', 'b', 'c', 'd')
    expect(await batch(stream, messages)).toEqual([accepted('a'), refused('b', 500, 'internal')])
    expect([ran, errors]).toEqual([['a', 'b'], [new Error('secret')]])
    expect(await batch(stream, messages)).toEqual(['a', 'b', 'c', 'd'].map(accepted))
    expect(ran).toEqual(['a', 'b', 'b', 'c', 'd'])
  })

  test('500 of a hook that fails', async () => {
    const { ran, onCommand } = recorder()
    const authorize = (_: unknown, sessionId: string) => sessionId !== 'bad' || fail()
    const { server } = createTestServer({ onCommand, authorize })
    const stream = await openStream(server)
    const messages = [send('a'), send('b', { sessionId: 'bad' }), send('c')]
    expect(await batch(stream, messages)).toEqual([accepted('a'), refused('b', 500, 'internal')])
    expect(ran).toEqual(['a'])
  })

  test.each([{}, { sessionId: undefined }])('404, when the stream has ended meanwhile: %j', async (fields) => {
    const { ran, onCommand } = recorder({ a: () => stream.cancel() })
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await batch(stream, [send('a'), send('b', fields), send('c')])).toEqual([
      { id: 'a', status: 200, receipt: null },
      refused('b', 404, 'unknown-stream'),
    ])
    expect(ran).toEqual(['a'])
  })

  test.each([{}, { sessionId: undefined }])(
    'C40: 503 with its Retry-After, when the server was closed meanwhile: %j',
    async (fields) => {
      const { ran, onCommand } = recorder({ a: () => void server.close() })
      const { server } = createTestServer({ onCommand })
      const stream = await openStream(server)
      expect(await batch(stream, [send('a'), send('b', fields), send('c')])).toEqual([
        { id: 'a', status: 200, receipt: null },
        { ...refused('b', 503, 'unavailable'), retryAfter: 5_000 },
      ])
      expect(ran).toEqual(['a'])
    },
  )
})

describe('idempotency', () => {
  test('C25: a repeat of the batch runs nothing twice and has the same results, on a new stream too', async () => {
    const count = counter()
    const { server } = createTestServer({ onCommand: () => (count() === 2 ? turnDown() : { run: count() }) })
    const first = await openStream(server)
    const results = await batch(first, sends('a', 'b', 'c'))
    const runs = count()
    expect(await batch(first, sends('a', 'b', 'c'))).toEqual(results)
    await first.cancel()
    expect(await batch(await openStream(server), sends('a', 'b', 'c'))).toEqual(results)
    expect(count()).toBe(runs + 1)
  })

  test('C25: what ran in a batch is not run again when it comes alone, and the reverse', async () => {
    const { ran, onCommand } = recorder({ b: turnDown })
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await answer(stream.post('send', send('c').body, { key: 'c' }))).toEqual([200, { of: 'c' }])
    const verdicts = [accepted('a'), refused('b', 422, 'too-long'), accepted('c')]
    expect(await batch(stream, sends('a', 'b', 'c'))).toEqual(verdicts)
    expect(await answer(stream.post('send', send('a').body, { key: 'a' }))).toEqual([200, { of: 'a' }])
    expect(await answer(stream.post('send', send('b').body, { key: 'b' }))).toEqual([422, { error: 'too-long' }])
    expect(await batch(stream, sends('b', 'a'))).toEqual([verdicts[1], verdicts[0]])
    expect(ran).toEqual(['c', 'a', 'b'])
  })

  test('C50: another payload, or endpoint, under a known id is a 409 for that message only', async () => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    await batch(stream, sends('a', 'b'))
    const stop = { id: 'b', endpoint: 'stop', body: { type: 'stop' } }
    expect(await batch(stream, [send('a', { prompt: 'other' }), stop, send('c')])).toEqual([
      refused('a', 409, 'id-reused'),
      refused('b', 409, 'id-reused'),
      accepted('c'),
    ])
    expect(ran).toEqual(['a', 'b', 'c'])
  })

  test('ids of another principal are other ids', async () => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    for (const name of ['alice', 'bob']) await batch(await openStream(server, name), sends('a'))
    expect(ran).toEqual(['a', 'a'])
  })

  test('C25: repeats that come while the first is running share its executions, from another stream too', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const streams = [await openStream(server), await openStream(server)]
    const [stream, other] = streams
    const answers = [stream, stream, other].map((poster) => poster && batch(poster, sends('a', 'b')))
    const alone = other && answer(other.post('send', send('a').body, { key: 'a' }))
    for (const count of range(1, 2)) {
      await until(() => commands.running === 1, `execution ${count}`)
      await settle(20)
      commands.endNext()
    }
    const results = [
      { id: 'a', status: 200, receipt: { n: 1 } },
      { id: 'b', status: 200, receipt: { n: 2 } },
    ]
    expect(await Promise.all(answers)).toEqual([results, results, results])
    expect(await alone).toEqual([200, { n: 1 }])
    expect(commands.calls).toHaveLength(2)
  })
})

describe('order', () => {
  test('no POST of the stream that arrived later gets between the messages of a batch', async () => {
    const order: unknown[] = []
    const { server } = createTestServer({
      onCommand: async ({ message }) => {
        order.push(message.n)
        await settle(3)
      },
    })
    const stream = await openStream(server)
    const inOwnSession = (n: number) => send(`m${n}`, { n, sessionId: `room${n}` })
    const alone = (n: number) => stream.post('send', inOwnSession(n).body, { key: `m${n}` })
    await Promise.all([
      alone(0),
      batch(stream, [inOwnSession(1), inOwnSession(2), inOwnSession(3)]),
      alone(4),
      batch(stream, [inOwnSession(5), inOwnSession(6)]),
      alone(7),
    ])
    expect(order).toEqual(range(0, 7))
  })

  test('a POST that arrived later does not wait for the end of the last message', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const answered = batch(stream, [send('a', { sessionId: 'room1' })])
    const later = stream.post('send', send('b').body)
    await until(() => commands.running === 2, 'both executions')
    for (const _ of range(1, 2)) commands.endNext()
    expect([(await answered).length, (await later).status]).toEqual([1, 200])
  })

  test.each<[string, readonly unknown[]]>([
    ['ends early', [send('a'), send('fails'), send('b')]],
    ['ends with a bad request', [send('a'), { id: 'b' }]],
    ['is malformed', []],
  ])('a batch that %s leaves its turn', async (_, messages) => {
    const { ran, onCommand } = recorder({ fails: fail })
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const posted = [stream.post('batch', { messages }), stream.post('send', send('later').body, { key: 'later' })]
    await Promise.all(posted)
    expect(ran.at(-1)).toBe('later')
  })

  test('C51: a slow batch of somebody else does not hold up the stream that it names', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const headers = { 'Content-Type': 'application/json', Authorization: 'bob', 'X-Connection-ID': stream.connectionId }
    const init = { method: 'POST', headers, body: new ReadableStream({}), duplex: 'half' }
    void server.fetch(new Request(`${BASE}/batch`, init as RequestInit))
    await settle()
    expect(await batch(stream, sends('a'))).toHaveLength(1)
  })
})

describe('the whole', () => {
  test.each<[string, unknown]>([
    ['is no JSON', '{'],
    ['is an array', sends('a')],
    ['has no messages', {}],
    ['has messages that are no array', { messages: { 0: send('a'), length: 1 } }],
    ['is empty', { messages: [] }],
    ['holds something that is no message', { messages: [send('a'), null] }],
    ['holds an array', { messages: [send('a'), [send('b')]] }],
    ['holds a message without an id', { messages: [send('a'), { ...send('b'), id: undefined }] }],
    ['holds an id that is no string', { messages: [send('a'), { ...send('b'), id: 7 }] }],
    ['holds an empty id', { messages: sends('a', '') }],
    ['holds an id with a space', { messages: sends('a', 'b c') }],
    ['holds an id with a line break', { messages: sends('a', 'b\n') }],
    ['holds an id that is not ASCII', { messages: sends('a', 'ä') }],
    ['holds an id of 256 characters', { messages: sends('a', 'b'.repeat(256)) }],
    ['holds two messages with one id', { messages: sends('a', 'b', 'a') }],
  ])('that %s is a bad request, and nothing of it is run', async (_, body) => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await answer(stream.post('batch', body))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
    expect(ran).toEqual([])
  })

  test('may have 50 messages, with ids of 255 characters, but not 51', async () => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const messages = range(1, MAX_BATCH_MESSAGES + 1).map((n) => send(String(n).padStart(255, '-')))
    expect(await answer(stream.post('batch', { messages }))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
    expect(ran).toEqual([])
    expect(await batch(stream, messages.slice(0, 50))).toHaveLength(50)
  })

  test('may have 256 KiB, in UTF-8, unless the server has another limit; what is more is a 413', async () => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const ofSize = (bytes: number) => {
      const empty = new TextEncoder().encode(JSON.stringify({ messages: [send('a', { text: '€' })] })).length
      return { messages: [send('a', { text: `€${'x'.repeat(bytes - empty)}` })] }
    }
    expect(await answer(stream.post('batch', ofSize(MAX_BATCH_BYTES + 1)))).toEqual([413, { error: 'too-large' }])
    expect((await stream.post('batch', ofSize(MAX_BATCH_BYTES))).status).toBe(200)
    const small = await openStream(createTestServer({ limits: { bodyBytes: 1_000 } }).server)
    expect((await small.post('batch', ofSize(1_001))).status).toBe(413)
    expect((await small.post('batch', ofSize(1_000))).status).toBe(200)
  })

  test('C51: for an unknown stream, or that of another principal, is a 404, and nothing of it is run', async () => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const { connectionId } = await openStream(server)
    const body = { messages: sends('a') }
    for (const options of [{}, { connectionId: 'x'.repeat(22) }, { connectionId, as: 'bob' }]) {
      expect(await answer(post(server, 'batch', body, options))).toEqual([404, { error: 'unknown-stream' }])
    }
    const named = { ...body, connectionId }
    expect((await post(server, 'batch', named)).status).toBe(404)
    expect(ran).toEqual([])
  })

  test('is refused like any other POST: 401, 403, 405, 415, 503', async () => {
    const { ran, onCommand } = recorder()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const status = async (options: PostOptions) =>
      (await stream.post('batch', { messages: sends('a') }, options)).status
    expect(await status({ as: '' })).toBe(401)
    expect(await status({ headers: { Origin: 'https://evil.example' } })).toBe(403)
    expect((await server.fetch(new Request(`${BASE}/batch`))).status).toBe(405)
    expect(await status({ headers: { 'Content-Type': 'text/plain' } })).toBe(415)
    await server.close()
    expect(await status({})).toBe(503)
    expect(ran).toEqual([])
  })
})
