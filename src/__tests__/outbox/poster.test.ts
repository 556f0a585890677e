import type { Feature } from 'holdline'
import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import { createOutbox, gateOf } from '../support/outboxParts'

const INTERNAL = toHttpError(500, 'internal')
const FORBIDDEN = toHttpError(403)
/** A minute, with half of the spread. */
const TOLD_TO_WAIT = toHttpError(429, undefined, 60_000)
const IDEMPOTENT: { features: readonly Feature[] } = { features: ['idempotency'] }
const BATCH: { features: readonly Feature[] } = { features: ['batch'] }

describe('I15: what the queue waits for', () => {
  test('is told, and the machine with it, once for each change', async () => {
    const tells: string[] = []
    const { outbox, clock, opens, send, at, states } = createOutbox()
    const now = clock.now()
    expect(outbox.state).toEqual({ state: 'held', retryAt: null })
    opens({ tell: (state) => void tells.push(state) })
    send('a')
    await at(0).fails(TOLD_TO_WAIT)
    const b = send('b')
    await at(1).fails(INTERNAL)
    b.cancel()
    expect(states).toEqual([
      { state: 'flowing', retryAt: null },
      { state: 'pausing', retryAt: now + 75_000 },
      { state: 'flowing', retryAt: now + 75_000 },
      { state: 'pausing', retryAt: now + 250 },
      { state: 'pausing', retryAt: now + 75_000 },
    ])
    expect(outbox.state).toBe(states.at(-1))
    expect(tells).toEqual(['pause', 'flow', 'pause'])
  })

  test('is nothing for a delivery that is under way or has ended, though its lane waits', async () => {
    const { clock, opens, send, at } = createOutbox()
    const now = clock.now()
    opens()
    const [a, b, c] = [send('a'), send('b'), send('c')]
    for (const index of [0, 1]) await at(index).fails(TOLD_TO_WAIT)
    expect([a.retryAt, b.retryAt, c.retryAt]).toEqual([now + 75_000, now + 75_000, null])
    a.cancel()
    expect(a.retryAt).toBeNull()
  })

  test('I8: leaves no timer where the gate closes while turns are taken', async () => {
    const { outbox, clock, opens, send, at, on, told } = createOutbox()
    opens()
    send('a')
    await at(0).fails(INTERNAL)
    expect(clock.pending).toBe(1)
    outbox.hold()
    send('b', { maxAge: 10 })
    clock.jump(10)
    on.change = (change) => change === 'b rejected' && outbox.hold()
    opens()
    expect(told).toContain('b rejected')
    expect(clock.pending).toBe(0)
  })
})

describe('I14: on a suspended stream', () => {
  test('two messages that want to leave ask once for a resume, and nothing leaves before it', () => {
    const { outbox, opens, send, sent, facts, posts } = createOutbox()
    for (const id of ['a', 'b']) send(id)
    outbox.suspend(gateOf())
    expect([facts, posts]).toEqual([[{ type: 'upstream.wanted' }], []])
    opens()
    expect(sent()).toEqual(['a', 'b'])
  })

  test('nothing is asked for until a message wants to leave; the queue is held', () => {
    const { outbox, send, facts, posts } = createOutbox()
    outbox.suspend(gateOf())
    expect([facts, outbox.state.state]).toEqual([[], 'held'])
    send('a')
    expect([facts, posts]).toEqual([[{ type: 'upstream.wanted' }], []])
  })
})

describe('a gate that opens again on the same stream', () => {
  test('I12: ends no wait of our own', async () => {
    const { outbox, clock, opens, send, at, sent } = createOutbox()
    opens()
    send('a')
    await at(0).fails(INTERNAL)
    outbox.hold()
    opens()
    await clock.advance(249)
    expect(sent()).toEqual(['a'])
    await clock.advance(1)
    expect(sent()).toEqual(['a', 'a'])
  })

  test('C59: aborts nothing that is under way: the grace is for POSTs of an older stream', async () => {
    const { outbox, clock, opens, send, at, sent } = createOutbox()
    opens(IDEMPOTENT)
    send('a')
    outbox.hold()
    opens(IDEMPOTENT)
    await clock.advance(1_000)
    expect([at(0).aborted, sent()]).toEqual([false, ['a']])
  })

  test.each([
    ['c1', 'keep the size that they have come to', [4, 2]],
    ['c2', 'begin anew, as it is another one', [4, 4]],
  ])('C27: as %s lets batches %s', async (connectionId, _, sizes) => {
    const { outbox, clock, opens, send, at, posts } = createOutbox()
    for (const id of ['a', 'b', 'c', 'd']) send(id, { lane: 'one' })
    opens(BATCH)
    await at(0).fails(INTERNAL)
    outbox.hold()
    opens({ ...BATCH, connectionId })
    await clock.advance(250)
    expect(posts.map(({ body }) => Object(body.messages).length)).toEqual(sizes)
  })
})

describe('C61: giveUpAfter', () => {
  const failing = () => createOutbox({ outbox: { maxFailures: 2, giveUpAfter: 1_000 } })

  test('is time on an open line, however often the gate is told to close', async () => {
    const { outbox, clock, opens, send, at } = failing()
    opens({ isResumed: true })
    const delivery = send('a')
    await at(0).fails(INTERNAL)
    outbox.hold()
    clock.jump(10_000)
    outbox.hold()
    opens({ connectionId: 'c2', isResumed: true })
    await at(1).fails(INTERNAL)
    expect(delivery.status).toBe('queued')
    clock.jump(1_000)
    await clock.advance(0)
    await at(2).fails(INTERNAL)
    expect([delivery.status, delivery.error?.code]).toEqual(['unknown', 'exhausted'])
  })

  test('needs a server that answers: a stream that only opens is no answer', async () => {
    const { outbox, clock, opens, send, at } = failing()
    opens()
    const delivery = send('a')
    await at(0).fails(INTERNAL)
    clock.jump(1_000)
    outbox.hold()
    opens({ connectionId: 'c2' })
    await at(1).fails(INTERNAL)
    expect(delivery.status).toBe('queued')
  })
})

describe('a POST that outlives its stream', () => {
  test('C68: and is cut off may have been applied', async () => {
    const { outbox, opens, send, at } = createOutbox()
    opens()
    const delivery = send('a')
    outbox.hold()
    outbox.abort()
    opens({ connectionId: 'c2' })
    await at(1).fails(FORBIDDEN)
    expect((await delivery.settled).status).toBe('unknown')
  })

  test('C68: and never left has not, and nothing is told of it', async () => {
    const { outbox, opens, send, at, told } = createOutbox({ starting: 'later' })
    opens()
    send('a')
    outbox.hold()
    opens({ connectionId: 'c2' })
    expect(at(0).aborted).toBe(true)
    at(1).starts()
    await at(1).fails(FORBIDDEN)
    expect(told).toEqual(['a queued', 'a sending', 'a rejected'])
  })

  test('C59: and is answered within its grace is over: as many POSTs are under way as may be', async () => {
    const { outbox, clock, opens, send, at, sent } = createOutbox({ outbox: { maxInFlight: 1 } })
    opens(IDEMPOTENT)
    send('a', { lane: 'one' })
    outbox.hold()
    opens({ ...IDEMPOTENT, connectionId: 'c2' })
    send('a2', { lane: 'one' })
    send('b')
    await at(0).answers({})
    expect(sent()).toEqual(['a', 'a2'])
    await clock.advance(1_000)
    expect(sent()).toEqual(['a', 'a2'])
  })

  test('C59: counts as dropped: after maxDrops of them its message is given up', async () => {
    const { outbox, clock, opens, send } = createOutbox({ outbox: { maxDrops: 2 } })
    opens(IDEMPOTENT)
    const delivery = send('a')
    for (const connectionId of ['c2', 'c3']) {
      expect(delivery.status).toBe('sending')
      outbox.hold()
      opens({ ...IDEMPOTENT, connectionId })
      await clock.advance(1_000)
    }
    expect([delivery.status, delivery.attempts, delivery.error?.code]).toEqual(['unknown', 2, 'exhausted'])
  })

  test('does not count as dropped where the line was left', () => {
    const { outbox, opens, send } = createOutbox({ outbox: { maxDrops: 2 } })
    const delivery = send('a')
    for (const connectionId of ['c1', 'c2', 'c3', 'c4']) {
      opens({ connectionId })
      expect(delivery.status).toBe('sending')
      outbox.hold()
      outbox.abort()
    }
    expect([delivery.status, delivery.attempts]).toEqual(['queued', 4])
  })
})
