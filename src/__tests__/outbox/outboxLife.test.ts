import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { toHttpError } from '../../adapters/httpError'
import type { StoredMessage } from '../../connection/store'
import { ConnectionError } from '../../errors'
import { settle } from '../support/fakes'
import { createOutbox } from '../support/outboxParts'

const typed = (type: string, fields: object = {}) => ({ type, ...fields })
const stored = (id: string, fields: Partial<StoredMessage> = {}): StoredMessage => ({
  id,
  message: typed('send', { sessionId: 's1' }),
  expiresAt: Number.POSITIVE_INFINITY,
  attempts: 0,
  place: `place of ${id}`,
  ...fields,
})
const idsOf = ({ outbox }: ReturnType<typeof createOutbox>) => outbox.pending.map(({ id }) => id)

describe('dispose', () => {
  test('C29: leaves what is stored: it may still go out, so its verdict is unknown', async () => {
    const { outbox, send, calls } = createOutbox({ storing: true })
    const delivery = send('a')
    outbox.retire()
    expect(await delivery.settled).toMatchObject({ status: 'unknown', attempts: 0, error: { code: 'cancelled' } })
    expect(calls).toEqual(['put a', 'close'])
  })

  test('rejects what is sent after it, and stores nothing of it', async () => {
    const { outbox, send, calls } = createOutbox({ storing: true })
    outbox.retire()
    const { settled } = send('a')
    expect(await settled).toMatchObject({ status: 'rejected', attempts: 0, error: { code: 'disposed' } })
    expect([outbox.size, calls]).toEqual([0, ['close']])
  })

  test('takes nothing that the storage brings after it', () => {
    const world = createOutbox({ storing: true })
    world.opens()
    world.outbox.retire()
    world.adopts([stored('old')])
    expect([idsOf(world), world.told, world.posts]).toEqual([[], [], []])
  })
})

describe('C30: clearOutbox', () => {
  test('lets nothing leave while it ends one after the other, and deletes what is stored', () => {
    const { outbox, opens, adopts, send, sent, told, calls } = createOutbox({ storing: true })
    for (const id of ['a', 'b']) send(id, { lane: 'one' })
    opens()
    adopts()
    outbox.clear()
    expect([sent(), told.slice(-2), calls.at(-1)]).toEqual([['a'], ['a unknown', 'b rejected'], 'clear'])
    send('c')
    expect(sent()).toEqual(['a', 'c'])
  })

  test('does not end the wait for the storage', () => {
    const { outbox, opens, adopts, send, sent } = createOutbox({ storing: true })
    opens()
    outbox.clear()
    send('a')
    expect(sent()).toEqual([])
    adopts()
    expect(sent()).toEqual(['a'])
  })
})

describe('C29: storage', () => {
  test('is asked once, and nothing leaves before it has answered; what it brings stands before all', () => {
    const world = createOutbox({ storing: true })
    const { outbox, opens, adopts, send, sent, calls } = world
    opens()
    send('a')
    outbox.hold()
    opens()
    expect([calls, sent()]).toEqual([['adopt', 'put a'], []])
    adopts([stored('old')])
    expect([idsOf(world), sent().toSorted()]).toEqual([
      ['old', 'a'],
      ['a', 'old'],
    ])
  })

  test('that brings a message which is here already: a copy elsewhere is deleted, and nothing is posted twice', () => {
    const world = createOutbox({ storing: true })
    const { opens, adopts, send, sent, calls } = world
    send('a')
    opens()
    adopts([stored('a'), stored('a', { place: 'elsewhere' })])
    expect([idsOf(world), sent()]).toEqual([['a'], ['a']])
    expect(calls.filter((call) => call.startsWith('remove'))).toEqual(['remove elsewhere'])
  })

  test('that brings prompts behind which a stop was sent meanwhile: the stop takes them back', () => {
    const { outbox, opens, adopts, told, posts } = createOutbox({ storing: true })
    opens({ features: ['cancels'] })
    outbox.enqueue(typed('stop', { sessionId: 's1' }), { id: 'stop' })
    adopts([stored('new'), stored('posted', { attempts: 1 })])
    expect(told).toContain('new rejected')
    expect(posts.map(({ body }) => body)).toEqual([{ type: 'stop', sessionId: 's1', cancels: ['posted'] }])
  })

  test.each([
    [0, 'rejected'],
    [1, 'unknown'],
  ])('C68: that brings a message with %i attempts: refused now, it is %s', async (attempts, status) => {
    const { opens, adopts, at, told } = createOutbox({ storing: true })
    opens()
    adopts([stored('old', { attempts })])
    await at(0).fails(toHttpError(403))
    expect(told.at(-1)).toBe(`old ${status}`)
  })

  test('does not get what has ended as it was sent', () => {
    const { outbox, send, told, calls } = createOutbox({ storing: true })
    outbox.enqueue(typed('nowhere'), { id: 'a' })
    send('b', { signal: AbortSignal.abort() })
    expect(told).toEqual(['a queued', 'a rejected', 'b queued', 'b rejected'])
    expect(calls.filter((call) => call.startsWith('put'))).toEqual([])
  })
})

describe('send', () => {
  test.each([
    [{ id: '' }, /^id: in use, or not 1-255/],
    [{ maxAge: 0 }, /^maxAge: 0 is not ms > 0/],
  ])('names the option that is none: %j', (options, says) => {
    expect(() => createOutbox().send('a', options)).toThrow(says)
  })

  test('rejects what does not fit the protocol, and posts nothing of it', async () => {
    const check = (part: string, { text }: { text?: string }, fail: (error: ConnectionError) => void) => {
      if (part === 'up' && text === 'bad') fail(new ConnectionError('invalid-message', 'text is bad'))
    }
    const { outbox, opens, posts } = createOutbox({ protocol: { check } as never })
    opens()
    const [bad, good] = ['bad', 'good'].map((text) => outbox.enqueue(typed('send', { text })))
    expect(await bad?.settled).toMatchObject({ status: 'rejected', attempts: 0, error: { code: 'invalid-message' } })
    expect([good?.status, posts.length]).toEqual(['sending', 1])
  })

  test('asks the protocol nothing about what is no JSON', async () => {
    const check = (part: string) => {
      if (part === 'up') throw new Error('asked')
    }
    const { outbox } = createOutbox({ protocol: { check } as never })
    const circle: { type: string; self?: unknown } = { type: 'send' }
    circle.self = circle
    const { settled } = outbox.enqueue(circle)
    expect(await settled).toMatchObject({ status: 'rejected', error: { code: 'invalid-message' } })
  })

  test('listens to its signal until the verdict', async () => {
    const { signal } = new AbortController()
    const { opens, send, at } = createOutbox()
    opens()
    send('a', { signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    await at(0).answers({})
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

test('I5: a message that the app cancels while its answer is told to the machine ends once', async () => {
  const { opens, send, at, on, told, outbox } = createOutbox()
  opens({ trust: 'lost' })
  const delivery = send('a')
  on.fact = () => void delivery.cancel()
  await at(0).answers({})
  expect(told).toEqual(['a queued', 'a sending', 'a unknown'])
  expect([delivery.status, outbox.size]).toEqual(['unknown', 0])
})

describe('a POST of the library’s own', () => {
  const watch = (ended: object[] = []) => ({
    type: 'watch' as const,
    sessionId: 's1',
    fields: () => ({ sessionId: 's1' }),
    settle: (end: object) => void ended.push(end),
  })

  test('C62: whose endpoint answers 404 on three streams that are known is given up with the reason', async () => {
    const { outbox, opens, at, facts, errors } = createOutbox()
    const ended: object[] = []
    for (const [index, connectionId] of ['c1', 'c2', 'c3'].entries()) {
      opens({ connectionId, isResumed: true })
      outbox.post(watch(ended), connectionId)
      await settle()
      await at(index).fails(toHttpError(404))
      outbox.hold()
      outbox.leaveStream()
    }
    expect(facts.map(({ type }) => type)).toEqual(['upstream.disowned', 'upstream.disowned'])
    expect(ended).toMatchObject([{ error: { code: 'unknown-endpoint' } }])
    expect(errors.map(({ code }) => code)).toEqual(['unknown-endpoint'])
  })

  test('C75: that is taken proves the stream, as a message does', async () => {
    const { outbox, opens, at, facts } = createOutbox()
    opens({ trust: 'lost' })
    outbox.post(watch(), 'c1')
    await settle()
    await at(0).answers({})
    expect(facts).toEqual([{ type: 'upstream.proved' }])
  })

  test('C61: that is taken shows that the server answers: the last message is given up in time', async () => {
    const { outbox, clock, opens, send, at } = createOutbox({ outbox: { maxFailures: 2, giveUpAfter: 1_000 } })
    opens()
    const delivery = send('a')
    await at(0).fails(toHttpError(500, 'internal'))
    outbox.post(watch(), 'c1')
    await settle()
    await at(1).answers({})
    clock.jump(1_000)
    await clock.advance(0)
    await at(2).fails(toHttpError(500, 'internal'))
    expect([delivery.status, delivery.error?.code]).toEqual(['unknown', 'exhausted'])
  })
})
