import { defineProtocol } from 'holdline/protocol'
import { persist } from 'holdline/storage'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { createWorld, settle } from '../support/fakes'

const chat = defineProtocol({
  up: { send: z.object({ prompt: z.string() }), rate: z.object({ stars: z.coerce.number() }) },
  down: { token: z.object({ text: z.string(), n: z.number().default(0) }) },
  receipts: { send: z.object({ job: z.string() }) },
})
async function opened(features: readonly 'contiguous-seq'[] = []) {
  const world = createWorld({ protocol: chat })
  await world.opens({ features })
  return world
}
const token = (seq: number, text: unknown) => ({ type: 'token', sessionId: 's1', seq, text })

test('a message that does not fit is reported as bad-message, once, and is no hole: the cursor moves, nothing is resumed', async () => {
  const { connection, stream, errors, received, posts } = await opened(['contiguous-seq'])
  stream.sends(token(1, 'a'))
  stream.sends(token(2, 5))
  stream.sends({ type: 'unheard', sessionId: 's1', seq: 3 })
  stream.sends(token(4, 'b'))
  await settle()
  expect(received.map(({ seq }) => seq)).toEqual([1, 4])
  expect(connection.cursor('s1')).toEqual({ sessionId: 's1', lastSeq: 4 })
  expect(errors).toEqual(['bad-message', 'bad-message'])
  expect([connection.phase, posts.length]).toEqual(['open', 0])
  // Again, in a replay: they are old.
  stream.sends(token(2, 5))
  expect(errors.length).toBe(2)
})

test('the app hears what the schema makes of a message; a listener that throws is offered the same again', async () => {
  const { connection, stream, received, clock } = await opened()
  const heard: unknown[] = []
  connection.on('message', (message) => {
    heard.push(message.n)
    if (heard.length < 2) throw new Error('not yet')
  })
  stream.sends(token(1, 'a'))
  await clock.advance(200)
  expect(received).toEqual([{ type: 'token', sessionId: 's1', seq: 1, text: 'a', n: 0 }])
  expect(heard).toEqual([0, 0])
})

test('run events pass, and a message for one session is told apart before its schema runs', async () => {
  const { connection, stream } = await opened()
  const heard: unknown[] = []
  connection.on('message', { session: 's1' }, ({ type }) => heard.push(type))
  stream.sends({ type: 'run.started', sessionId: 's1', seq: 1, run: 'r' })
  stream.sends({ ...token(1, 'a'), sessionId: 's2' })
  expect(heard).toEqual(['run.started'])
})

test('a message that does not fit is rejected before any POST, and names what does not', async () => {
  const { connection, posts } = await opened()
  const verdict = await connection.send({ type: 'send', sessionId: 's1', prompt: 5 }).settled
  expect(verdict).toMatchObject({
    status: 'rejected',
    attempts: 0,
    error: { code: 'invalid-message', message: 'up.send: does not fit the protocol: prompt (expected string)' },
  })
  expect(await connection.send({ type: 'set_mode' }).settled).toMatchObject({ error: { code: 'unknown-type' } })
  expect(await connection.send({ type: 'sing' }).settled).toMatchObject({ error: { code: 'unknown-type' } })
  expect([posts.length, connection.pending.length]).toEqual([0, 0])
})

test('the wire carries what was sent, not what the schema makes of it, and the schema sees what the wire carries', async () => {
  const { connection, posts } = await opened()
  connection.send({ type: 'rate', sessionId: 's1', stars: '5', more: 1 })
  await settle()
  expect(posts.at(-1)?.body).toEqual({ type: 'rate', sessionId: 's1', stars: '5', more: 1 })
  const dated = defineProtocol({ up: { send: z.object({ at: z.date() }) }, down: {} })
  const other = createWorld({ protocol: dated })
  const { settled } = other.connection.send({ type: 'send', at: new Date(0) })
  expect(await settled).toMatchObject({
    status: 'rejected',
    error: { message: expect.stringContaining('at (expected date)') },
  })
})

test('a receipt that does not fit is reported and told as null: the message was accepted all the same', async () => {
  const { connection, errors, server } = await opened()
  server((post) => post.answers(200, { job: 5 }))
  const verdict = await connection.send({ type: 'send', sessionId: 's1', prompt: 'a' }).settled
  expect(verdict).toMatchObject({ status: 'accepted', receipt: null })
  expect(errors).toEqual(['bad-message'])
  server((post) => post.answers(200, { job: 'j1', more: 1 }))
  const { settled } = connection.send({ type: 'send', sessionId: 's1', prompt: 'a' })
  expect(await settled).toMatchObject({ receipt: { job: 'j1' } })
})

test('an async schema is refused at its first use: the message is rejected, or reported and dropped', async () => {
  const slow = z.object({}).refine(async () => true)
  const world = createWorld({ protocol: defineProtocol({ up: { send: slow }, down: { token: slow } }) })
  const { connection, errors, received } = world
  await world.opens()
  const { settled } = connection.send({ type: 'send' })
  expect(await settled).toMatchObject({ error: { code: 'invalid-message', message: expect.stringContaining('async') } })
  world.stream.sends(token(1, 'a'))
  expect([errors, received]).toEqual([['bad-message'], []])
})

test('what an earlier page left is not judged anew: a copy of it may be applied already', async () => {
  const stored = new Map<string, string>()
  const storage = {
    get length() {
      return stored.size
    },
    key: (index: number) => [...stored.keys()][index] ?? null,
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
    removeItem: (key: string) => void stored.delete(key),
  }
  const first = createWorld({ storage: persist(storage) })
  first.connection.send({ type: 'send', sessionId: 's1', prompt: 5 })
  await settle()
  first.connection.dispose()
  const next = createWorld({ storage: persist(storage), protocol: chat })
  await next.opens()
  await settle()
  expect(next.postsTo('send').map(({ body }) => body.prompt)).toEqual([5])
})

test('a protocol of types only checks nothing, and gives the endpoints', async () => {
  const world = createWorld({ protocol: { endpoints: { rate: 'stars' } } })
  const { connection, posts } = world
  await world.opens()
  connection.send({ type: 'rate', stars: 'many' })
  await settle()
  expect(posts.map(({ endpoint }) => endpoint)).toEqual(['stars'])
})
