import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { ConnectionError } from '../../errors'
import { batchBody, isPostedAlone, resultsOf } from '../../outbox/batch'
import { BatchSize } from '../../outbox/batchSize'
import { Lane } from '../../outbox/lane'
import type { Message } from '../../outbox/message'
import { createWorld, SERVER_ACCEPTS, SERVER_IS_SILENT, settle } from '../support/fakes'
import { createMessage } from '../support/outboxParts'

const LANES = true
const ok = (id: string, receipt = id) => ({ id, status: 200, receipt })
const [a, b] = ['a', 'b'].map((id) => createMessage(new Lane(`session:"${id}`), { id })) as [Message, Message]

describe('a batch of several lanes', () => {
  test('names the lane of each message, where the server knows lanes', () => {
    const lanesIn = (withLanes: boolean) =>
      JSON.parse(batchBody([a, b], withLanes)).messages.map(({ lane }: { lane?: string }) => lane)
    expect(lanesIn(LANES)).toEqual(['session:"a', 'session:"b'])
    expect(lanesIn(!LANES)).toEqual([undefined, undefined])
  })

  test.each<[string, results: readonly object[], told: Record<string, unknown>]>([
    ['in any order', [ok('b'), ok('a')], { a: 'a', b: 'b' }],
    ['with a gap', [ok('b')], { b: 'b' }],
    ['of a message that it does not carry', [ok('x'), ok('a')], { a: 'a' }],
    ['twice of one, of which the first counts', [ok('a', 'first'), ok('a', 'second'), ok('b')], { a: 'first', b: 'b' }],
  ])('I5: has its results %s', (_, results, told) => {
    const found = Array.from(resultsOf([a, b], { results }, LANES), ([{ id }, { receipt }]) => [id, receipt])
    expect(Object.fromEntries(found)).toEqual(told)
  })

  test('I12: carries no lane that has to wait', async () => {
    const world = createWorld({ outbox: { maxInFlight: 1 } }, (post) => post.answers(500, { error: 'internal' }))
    await world.opens({ features: ['batch', 'lanes'] })
    const send = (prompt: string, sessionId: string) => world.connection.send({ type: 'send', prompt, sessionId })
    send('failing', 's1')
    await settle()
    world.server(SERVER_IS_SILENT)
    send('1', 's2')
    send('2', 's2')
    send('behind failing', 's1')
    await settle()
    await world.post('send').answers(200)
    expect(world.posts.map(({ body }) => body.prompt)).toEqual(['failing', '1', '2'])
  })
})

test.each(['watch', 'unwatch', 'suspend', 'stop'])(
  'what goes to an endpoint that the server acts on goes alone, whatever the app calls its type: %s',
  (endpoint) => {
    const message = createMessage(new Lane(''), { type: 'own', endpoint })
    expect(isPostedAlone(message)).toBe(true)
  },
)

describe('the size of a batch', () => {
  test.each<[string, size: number, ConnectionError]>([
    ['a 500', 5, toHttpError(500)],
    ['a 413', 5, toHttpError(413)],
    ['no answer', 5, new ConnectionError('timeout', 'late')],
    ['a quota', 50, toHttpError(429)],
    ['a 425: it came too early', 50, toHttpError(425)],
    ['a login page', 50, toHttpError(302)],
  ])('C27: is halved if one of its messages may be why it failed: of ten, after %s, it is %i', (_, size, error) => {
    const batchSize = new BatchSize()
    batchSize.failed(10, error)
    expect(batchSize.size).toBe(size)
  })

  test('is one for good, once the server has turned batches down; that is news once', () => {
    const batchSize = new BatchSize()
    expect([batchSize.refuse(), batchSize.refuse()]).toEqual([true, false])
    for (const change of ['renew', 'grow'] as const) {
      batchSize[change]()
      expect(batchSize.size).toBe(1)
    }
  })

  test('is the most again on a fresh stream', () => {
    const batchSize = new BatchSize()
    batchSize.failed(2, toHttpError(500))
    expect(batchSize.size).toBe(1)
    batchSize.renew()
    expect(batchSize.size).toBe(50)
  })
})

test('C62: a batch waits for a probe, where the endpoint `batch` has answered 404 on a stream that answered nothing else', async () => {
  const world = createWorld({}, (post) => {
    if (post.endpoint === 'batch') return post.answers(404, {})
    if (post.endpoint === 'probe') world.stream.sends({ type: 'probe', nonce: post.body.nonce })
    return SERVER_ACCEPTS(post)
  })
  const deliveries = ['a', 'b'].map((prompt) => world.connection.send({ type: 'send', prompt }))
  for (let streams = 1; streams <= 6 && deliveries[0]?.status === 'queued'; streams++) {
    await world.opens({ features: ['batch', 'probe'] })
    await settle()
    if (world.connection.phase === 'backoff') await world.retries()
  }
  expect(deliveries.map(({ status }) => status)).toEqual(['accepted', 'accepted'])
  expect(world.errors).toContain('unknown-endpoint')
})
