import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type } from 'arktype'
import { type Connection, createConnection } from 'holdline'
import {
  defineProtocol,
  type InboundOf,
  type OutboundOf,
  type Protocol,
  type PublishedOf,
  type Schema,
} from 'holdline/protocol'
import { createChatServer, memoryLog } from 'holdline/server'
import { createRuns, type RunsOf, suspend } from 'holdline/server/runs'
import { createTranscripts } from 'holdline/server/transcripts'
import * as v from 'valibot'
import { test } from 'vitest'
import { z } from 'zod'

// Nothing here runs: `tsc` holds what does not compile to be just that.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function holds<_Claim extends true>() {}
const never = false as boolean

const chat = defineProtocol({
  up: {
    send: z.object({ prompt: z.string(), tone: z.enum(['calm', 'loud']).optional() }),
    rate: v.object({ sessionId: v.string(), stars: v.pipe(v.string(), v.transform(Number)) }),
    history: type({ 'before?': 'number' }),
  },
  down: {
    token: z.object({ text: z.string(), at: z.coerce.date() }),
    note: z.object({ level: z.number().default(1) }),
  },
  receipts: { send: z.object({ job: z.string() }) },
})
type Plain = Protocol<{
  up: { send: { prompt: string }; stop: object }
  down: { token: { text: string } }
  receipts: { send: { job: string } }
}>
const plain: Plain = {}

test('a connection with a protocol sends, hears and is answered by its types', () => {
  if (!never) return
  const connection = createConnection({ url: '/api', protocol: chat })
  const delivery = connection.send({ type: 'send', sessionId: 's1', prompt: 'hi', tone: 'calm' })
  void delivery.settled.then((verdict) => {
    if (verdict.status === 'accepted') holds<Same<typeof verdict.receipt, { job: string } | null>>()
  })
  void connection.send({ type: 'history' }).settled.then((verdict) => {
    if (verdict.status === 'accepted') holds<Same<typeof verdict.receipt, unknown>>()
  })
  connection.send({ type: 'rate', sessionId: 's1', stars: '5' })
  // @ts-expect-error: a field that is none
  connection.send({ type: 'send', prompt: 'hi', promt: 'hi' })
  // @ts-expect-error: a value of another type
  connection.send({ type: 'send', prompt: 5 })
  // @ts-expect-error: a field of another message
  connection.send({ type: 'send', stars: '5' })
  // @ts-expect-error: its schema asks for the session
  connection.send({ type: 'rate', stars: '5' })
  // @ts-expect-error: the wire carries the input
  connection.send({ type: 'rate', sessionId: 's1', stars: 5 })
  // @ts-expect-error: no message of the protocol
  connection.send({ type: 'stop', sessionId: 's1' })
  connection.on('message', (message) => {
    if (message.type === 'token') {
      holds<Same<typeof message.text, string>>()
      holds<Same<typeof message.at, Date>>()
      holds<Same<typeof message.seq, number>>()
    } else if (message.type === 'note') holds<Same<typeof message.level, number>>()
    else if (message.type === 'run.ended') holds<Same<typeof message.run, string>>()
    // @ts-expect-error: no message of the protocol
    if (message.type === 'tokens') return
  })
  connection.on('delivery', ({ message }) => message.type === 'send' && message.prompt.trim())
  const any: Connection[] = [connection, createConnection({ url: '/api', protocol: plain })]
  const named: Connection<InboundOf<typeof chat>, OutboundOf<typeof chat>> = connection
  void [any, named]
  for (const { message } of connection.pending) connection.send(message)
})

test('types alone: a plain object, which needs an endpoint for each type of your own', () => {
  if (!never) return
  const connection = createConnection({ url: '/api', protocol: plain })
  connection.send({ type: 'stop', sessionId: 's1' })
  // @ts-expect-error: a prompt is missing
  connection.send({ type: 'send' })
  type Rated = { up: { rate: { stars: number } }; down: { token: { text: string } } }
  const rated: Protocol<Rated> = { endpoints: { rate: 'rate' } }
  // @ts-expect-error: no endpoint
  const without: Protocol<Rated> = {}
  // @ts-expect-error: no endpoint for rate
  const other: Protocol<Rated> = { endpoints: { rates: 'rate' } }
  createConnection({ url: '/api', protocol: rated }).send({ type: 'rate', stars: 5 })
  // As before.
  createConnection({ url: '/api', protocol: { endpoints: { rate: 'rate' } } }).send({ type: 'rate', stars: 5 })
  createConnection<{ type: string }, { type: 'rate' }>({ url: '/api', protocol: { endpoints: { rate: 'rate' } } })
  void [without, other]
})

test('a server with the protocol is called, publishes and answers by its types', () => {
  if (!never) return
  const server = createChatServer({
    protocol: chat,
    queries: ['history'],
    authenticate: () => ({ id: 'u1' }),
    authorize: () => true,
    onCommand: async ({ type, message, sessionId, publish }) => {
      if (type === 'send') {
        holds<Same<typeof message.prompt, string>>()
        holds<Same<typeof sessionId, string | undefined>>()
      } else if (type === 'rate') {
        holds<Same<typeof message.stars, number>>()
        holds<Same<typeof sessionId, string>>()
      } else holds<Same<typeof message.before, number | undefined>>()
      // @ts-expect-error: no message of the protocol
      if (type === 'stop') return null
      // @ts-expect-error: a text is missing
      void publish('s1', { type: 'token', at: 5 })
      return { job: (await runs.active('s1')).head }
    },
  })
  void server.publish('s1', { type: 'token', text: 'a', at: '2026-01-01' })
  void server.publish('s1', { type: 'note' })
  // @ts-expect-error: a value of another type
  void server.publish('s1', { type: 'token', text: 5, at: 0 })
  // @ts-expect-error: no message of the protocol
  void server.publish('s1', { type: 'tokens' })
  const runs: RunsOf<typeof chat> = createRuns({ server })
  const call = { principal: { id: 'u1' }, sessionId: 's1', idempotencyKey: 'k' }
  void runs.start(call, async function* () {
    yield { type: 'token', text: 'a', at: 0 }
    yield suspend('approval')
  })
  // It stands for itself, without `as const`.
  async function* answer(): AsyncGenerator<PublishedOf<typeof chat>> {
    yield { type: 'note' }
  }
  void runs.start(call, answer, { prompt: { type: 'note' } })
  // @ts-expect-error: no message of the protocol
  void runs.start(call, answer, { prompt: { type: 'notes' } })
  // @ts-expect-error: a text is missing
  void runs.start(call, answer, { prompt: { type: 'token', at: 0 } })
  void (async () => {
    for (const { event } of await server.read('s1')) {
      if (event.type === 'token') holds<Same<typeof event.text, string>>()
      if (event.type === 'run.started') holds<Same<typeof event.run, string>>()
      // @ts-expect-error: no message of the protocol
      if (event.type === 'tokens') return
    }
  })
  const transcripts = createTranscripts({
    protocol: chat,
    log: memoryLog(),
    initial: '',
    reduce(text, event) {
      // @ts-expect-error: no message of the protocol
      if (event.type === 'tokens') return ''
      return event.type === 'token' ? text + event.text : text
    },
  })
  holds<Same<Awaited<ReturnType<typeof transcripts.read>>['state'], string>>()
  void runs.start(
    call,
    // @ts-expect-error: a text is missing
    async function* () {
      yield { type: 'token' }
    },
  )
  createChatServer({
    protocol: plain,
    authenticate: () => ({ id: 'u1' }),
    authorize: () => true,
    onCommand: ({ type }) => type,
    // @ts-expect-error: no type of the app's own
    queries: ['send'],
  })
})

test('the schemas of the spec and ours are the same; what a definition must not say does not compile', () => {
  if (!never) return
  const ours: Schema<{ a: 1 }> = {} as StandardSchemaV1<{ a: 1 }>
  const theirs: StandardSchemaV1<{ a: 1 }> = {} as Schema<{ a: 1 }>
  void [ours, theirs]
  // @ts-expect-error: a message is an object
  defineProtocol({ up: { send: z.string() }, down: {} })
  // @ts-expect-error: no message of this type
  defineProtocol({ up: { send: z.object({}) }, down: {}, receipts: { sends: z.object({}) } })
  // @ts-expect-error: the wire has an endpoint for it
  defineProtocol({ up: { send: z.object({}) }, down: {}, endpoints: { send: 'x' } })
  // @ts-expect-error: no schema
  defineProtocol({ up: { send: {} }, down: {} })
})
