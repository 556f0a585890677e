import { type } from 'arktype'
import { defineProtocol, ProtocolError } from 'holdline/protocol'
import * as v from 'valibot'
import { expect, test, vi } from 'vitest'
import { z } from 'zod'
import { type CommandCall, createChatServer, memoryLog } from '../../server'
import { createRuns } from '../../server/runs'
import { answer, createTestServer, openStream, settle, until } from '../support/server'

const SECRET = 'sesame-4711'
const chat = defineProtocol({
  up: {
    send: z.object({ prompt: z.string() }),
    rate: v.object({ stars: v.pipe(v.string(), v.transform(Number)) }),
    history: type({ 'before?': 'number' }),
  },
  down: { token: z.object({ text: z.string() }), note: z.object({}) },
  receipts: { send: z.object({ job: z.string() }) },
})

function start(overrides: Parameters<typeof createTestServer>[0] = {}) {
  const calls: CommandCall[] = []
  const log = memoryLog()
  const onCommand = (call: CommandCall): unknown => {
    calls.push(call)
    return { job: 'j1' }
  }
  const started = createTestServer({ log, protocol: chat, queries: ['history'], onCommand, ...overrides })
  return { ...started, calls, log }
}

test('a command that does not fit is answered 400 with the paths, without a value, and does not run', async () => {
  const { server, calls, errors } = start()
  const stream = await openStream(server)
  const sent = await answer(stream.post('send', { type: 'send', sessionId: 'room1', prompt: [SECRET] }, { key: 'k1' }))
  expect(sent).toEqual([
    400,
    {
      error: 'bad-message',
      message: 'up.send: does not fit the protocol: prompt (expected string)',
      issues: [{ path: ['prompt'], message: 'expected string' }],
    },
  ])
  const rated = await answer(stream.post('rate', { type: 'rate', sessionId: 'room1', stars: { [SECRET]: SECRET } }))
  expect(rated[0]).toBe(400)
  expect(JSON.stringify(rated)).not.toContain(SECRET)
  const asked = await answer(stream.post('history', { type: 'history', sessionId: 'room1', before: SECRET }))
  expect(asked).toMatchObject([400, { error: 'bad-message', issues: [{ path: ['before'] }] }])
  expect(JSON.stringify(asked)).not.toContain(SECRET)
  // A repeat is answered as the first was.
  const again = stream.post('send', { type: 'send', sessionId: 'room1', prompt: [SECRET] }, { key: 'k1' })
  expect(await answer(again)).toEqual(sent)
  expect([calls, errors]).toEqual([[], []])
})

test('one that fits reaches onCommand as its schema makes it; a query too', async () => {
  const { server, calls } = start()
  const stream = await openStream(server)
  expect(await answer(stream.post('rate', { type: 'rate', sessionId: 'room1', stars: '5', more: 1 }))).toMatchObject([
    200,
    {},
  ])
  await stream.post('history', { type: 'history', sessionId: 'room1', before: 3 })
  expect(calls.map(({ message }) => message)).toEqual([
    { type: 'rate', sessionId: 'room1', stars: 5 },
    { type: 'history', sessionId: 'room1', before: 3 },
  ])
})

test('a type that is not in the protocol is answered 400 that names it and those that are, alone and in a batch', async () => {
  const { server, calls } = start()
  const stream = await openStream(server)
  const refused = {
    error: 'bad-message',
    message: "up: 'set_mode' is no message of the protocol, which has send, rate, history",
    issues: [{ path: ['type'], message: 'expected one of send, rate, history' }],
  }
  expect(await answer(stream.post('mode', { type: 'set_mode', sessionId: 'room1' }))).toEqual([400, refused])
  const [status, { message }] = (await answer(stream.post('send', { type: 'sing' }))) as [number, { message: string }]
  expect([status, message]).toEqual([400, refused.message.replace('set_mode', 'sing')])
  const messages = [
    { id: 'a', endpoint: 'mode', body: { type: 'set_mode' } },
    { id: 'b', endpoint: 'send', body: { type: 'send', sessionId: 'room1', prompt: 5 } },
    { id: 'c', endpoint: 'send', body: { type: 'send', sessionId: 'room1', prompt: 'a' } },
  ]
  expect(await answer(stream.post('batch', { messages }))).toMatchObject([
    200,
    {
      results: [
        { id: 'a', status: 400, ...refused },
        { id: 'b', status: 400, error: 'bad-message', issues: [{ path: ['prompt'] }] },
        { id: 'c', status: 200, receipt: { job: 'j1' } },
      ],
    },
  ])
  expect(calls).toHaveLength(1)
})

test('an async schema is waited for, in the turn of its command', async () => {
  const names = new Set(['anna'])
  const taken = z.object({ name: z.string().refine(async (name) => !names.has(name)) })
  const { server, calls } = start({ queries: [], protocol: defineProtocol({ up: { send: taken }, down: {} }) })
  const stream = await openStream(server)
  const send = (name: string) => answer(stream.post('send', { type: 'send', sessionId: 'room1', name }))
  expect(await send('anna')).toMatchObject([400, { error: 'bad-message', issues: [{ path: ['name'] }] }])
  expect(await send('otto')).toMatchObject([200, {}])
  expect(calls.map(({ message }) => message.name)).toEqual(['otto'])
})

test('a schema that throws has judged nothing: 500, to be repeated, and onError is told', async () => {
  let state: 'down' | 'up' = 'down'
  const isFree = async () => {
    if (state === 'down') throw new Error('the database is down')
    return true
  }
  const looked = v.pipeAsync(v.object({}), v.checkAsync(isFree))
  const { server, calls, errors } = start({ queries: [], protocol: defineProtocol({ up: { send: looked }, down: {} }) })
  const stream = await openStream(server)
  const send = () => answer(stream.post('send', { type: 'send', sessionId: 'room1' }, { key: 'k' }))
  expect(await send()).toEqual([500, { error: 'internal' }])
  expect(errors).toEqual([expect.objectContaining({ message: 'up.send: its schema threw' })])
  state = 'up'
  expect(await send()).toMatchObject([200, {}])
  expect(calls).toHaveLength(1)
})

test('an event that does not fit is not published: the call rejects with a ProtocolError, and onError is told', async () => {
  const { server, log, errors } = start()
  const bad = server.publish('room1', { type: 'token', text: 5 })
  await expect(bad).rejects.toBeInstanceOf(ProtocolError)
  await expect(bad).rejects.toMatchObject({
    code: 'bad-message',
    issues: [{ path: ['text'], message: 'expected string' }],
  })
  await expect(server.publish('room1', { type: 'tokens' })).rejects.toThrow(/which has token, note/)
  expect(errors).toHaveLength(2)
  expect((await log.head('room1')).head).toBe(0)
  // As it was given, in the order of the calls.
  await Promise.all([1, 2, 3].map((n) => server.publish('room1', { type: 'token', text: `${n}`, n })))
  expect((await log.read('room1', 0, 9)).map(({ event }) => event)).toEqual(
    [1, 2, 3].map((n) => ({ type: 'token', text: `${n}`, n })),
  )
})

test('a publish of a command is checked too, and a command that does not catch that fails, to be repeated', async () => {
  const onCommand = async ({ publish }: CommandCall) => publish('room1', { type: 'token', text: 5 })
  const { server, log, errors } = start({ onCommand })
  const stream = await openStream(server)
  expect(await answer(stream.post('send', { type: 'send', sessionId: 'room1', prompt: 'a' }))).toEqual([
    500,
    { error: 'internal' },
  ])
  expect(errors.length).toBeGreaterThan(0)
  expect((await log.head('room1')).head).toBe(0)
})

test('a receipt that does not fit is told to onError and answered as null: the command was applied', async () => {
  const { server, errors } = start({ onCommand: () => ({ job: 5 }) })
  const stream = await openStream(server)
  expect(await answer(stream.post('send', { type: 'send', sessionId: 'room1', prompt: 'a' }))).toEqual([200, null])
  expect(errors).toEqual([expect.objectContaining({ message: expect.stringContaining('receipts.send') })])
})

test('a run whose producer yields what does not fit fails as bad-event, and what came before stays', async () => {
  const { server, log, errors } = start()
  const runs = createRuns({ server })
  const call = { principal: { id: 'alice' }, sessionId: 'room1', idempotencyKey: 'k' }
  await runs.start(call, async function* () {
    yield { type: 'token', text: 'a' }
    yield { type: 'token', text: SECRET.length }
  })
  await runs.idle()
  const events = (await log.read('room1', 0, 9)).map(({ event }) => event)
  expect(events).toMatchObject([
    { type: 'run.started' },
    { type: 'token', text: 'a' },
    { type: 'run.ended', reason: 'failed', error: 'bad-event' },
  ])
  expect(String(errors)).toContain('down.token: does not fit')
})

test('the events of the AI SDK’s and AG-UI’s runs are the library’s', async () => {
  const { server, log } = start()
  await server.publish('room1', { type: 'ui', chunk: {} })
  await server.publish('room1', { type: 'agui', event: {} })
  expect((await log.head('room1')).head).toBe(2)
})

test('a protocol of types only gives the endpoints and checks nothing', async () => {
  const onCommand = vi.fn()
  const { server } = createTestServer({ protocol: { endpoints: { rate: 'stars' } }, queries: ['rate'], onCommand })
  const stream = await openStream(server)
  expect((await stream.post('stars', { type: 'rate', stars: 'many' })).status).toBe(200)
  await server.publish('room1', { type: 'anything' })
  await settle()
  await until(() => onCommand.mock.calls.length === 1, 'asked')
})

test.each([
  ['endpoints beside it', { protocol: chat, endpoints: { x: 'x' } }, /'endpoints' and 'protocol'/],
  ['an unknown field', { protocol: { ends: {} } }, /protocol: unknown option 'ends'/],
  ['a check that is none', { protocol: { check: 5 } }, /'protocol\.check' must be a function/],
  ['a query that is not in it', { protocol: chat, queries: ['histories'] }, /'queries': 'histories' must be/],
  ['a query that is a command of the wire', { protocol: chat, queries: ['send'] }, /'queries': 'send' must be/],
])('%s is a TypeError that says so', (_, options, sentence) => {
  const create = () =>
    createChatServer({
      authenticate: () => ({ id: 'a' }),
      authorize: () => true,
      onCommand: () => null,
      ...(options as object),
    } as never)
  expect(create).toThrow(TypeError)
  expect(create).toThrow(sentence)
})
