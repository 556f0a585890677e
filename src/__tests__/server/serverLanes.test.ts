import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../protocol'
import { type CommandCall, CommandRejected } from '../../server'
import { Lanes, laneOf } from '../../server/command/lanes'
import {
  answer,
  createTestServer,
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

const encoded = (lane: string) => ({ 'X-Lane': encodeURIComponent(lane) })

/** Under a key, in a lane; of a session of its own unless told. */
function postTo(stream: Poster, lane: string, key: string, fields: JsonObject = {}) {
  return stream.post('send', { type: 'send', sessionId: `room-${key}`, ...fields }, { key, headers: encoded(lane) })
}

const send = (id: string, lane: unknown, fields: JsonObject = {}) => ({
  id,
  endpoint: 'send',
  lane,
  body: { type: 'send', sessionId: `room-${id}`, ...fields },
})

async function resultsOf(response: Promise<Response>): Promise<{ id: string; status: number }[]> {
  expect((await response).status).toBe(200)
  return (await (await response).json()).results
}
const statuses = (results: readonly { id: string; status: number }[]) =>
  Object.fromEntries(results.map(({ id, status }) => [id, status]))

/** Commands whose key says what becomes of them: `slow…` end when told, `fail…` fail once. */
function staged() {
  const ran: string[] = []
  const failed = new Set<string>()
  const slow = new Map<string, () => void>()
  const onCommand = async ({ idempotencyKey: key = '' }: CommandCall) => {
    ran.push(key)
    if (key.startsWith('slow')) await new Promise<void>((resolve) => slow.set(key, resolve))
    if (key.startsWith('fail') && !failed.has(key)) {
      failed.add(key)
      throw new Error('not now')
    }
    if (key.startsWith('no')) throw new CommandRejected(422, 'no')
    return key
  }
  return {
    ran,
    onCommand,
    begun: (key: string) => until(() => ran.includes(key), key),
    end: (key: string) => slow.get(key)?.(),
  }
}

describe('C61: a lane', () => {
  test('is in nobody else’s way: a POST of another one is answered while a batch is slow', async () => {
    const { onCommand, begun, end } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const batch = stream.post('batch', { messages: [send('slow', 'a'), send('rest', 'a')] })
    await begun('slow')
    expect(await answer(postTo(stream, 'b', 'quick'))).toEqual([200, 'quick'])
    const own = postTo(stream, 'a', 'later')
    end('slow')
    expect(statuses(await resultsOf(batch))).toEqual({ slow: 200, rest: 200 })
    expect((await own).status).toBe(200)
  })

  test('without lanes a later POST waits for the rest of a batch, as it always did', async () => {
    const { ran, onCommand, begun, end } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const batch = stream.post('batch', { messages: [send('slow', undefined), send('rest', undefined)] })
    await begun('slow')
    const later = stream.post('send', { type: 'send' }, { key: 'later' })
    await settle(20)
    expect(ran).toEqual(['slow'])
    end('slow')
    await Promise.all([batch, later])
    expect(ran).toEqual(['slow', 'rest', 'later'])
  })

  test('has one command at a time, in the order of arrival, whatever sessions they are of', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const keys = range(1, 4).map((n) => `k${n}`)
    const posts = keys.map((key) => postTo(stream, 'l', key))
    for (const n of range(1, 4)) {
      await until(() => commands.calls.length === n, `command ${n}`)
      await settle(20)
      expect(commands.calls.map(({ idempotencyKey }) => idempotencyKey)).toEqual(keys.slice(0, n))
      commands.endNext()
    }
    for (const { status } of await Promise.all(posts)) expect(status).toBe(200)
  })

  test('commands of one session never run at once, in whichever lanes they are', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const posts = ['a', 'b'].map((lane) => postTo(stream, lane, lane, { sessionId: 'room' }))
    for (const n of [1, 2]) {
      await until(() => commands.calls.length === n, `command ${n}`)
      await settle(20)
      expect(commands.running).toBe(1)
      commands.endNext()
    }
    await Promise.all(posts)
  })

  test('commands without a session wait for those of their lane only', async () => {
    const { onCommand, begun, end, ran } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const plain = { sessionId: undefined }
    const first = postTo(stream, '', 'slow', plain)
    const next = postTo(stream, '', 'next', plain)
    await begun('slow')
    expect((await postTo(stream, 'switch', 'other', plain)).status).toBe(200)
    expect(ran).toEqual(['slow', 'other'])
    end('slow')
    await Promise.all([first, next])
    expect(ran).toEqual(['slow', 'other', 'next'])
  })

  test('is one stream’s: another page of the same principal has its own order', async () => {
    const { onCommand, begun, end } = staged()
    const { server } = createTestServer({ onCommand })
    const [one, other] = [await openStream(server), await openStream(server)]
    const slow = postTo(one, 'l', 'slow')
    await begun('slow')
    expect((await postTo(other, 'l', 'quick')).status).toBe(200)
    end('slow')
    await slow
  })

  test('goes on when a command of it was refused, malformed, or its client is gone', async () => {
    const { onCommand, begun, ran } = staged()
    const { server, clock } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const slow = postTo(stream, 'l', 'slow')
    await begun('slow')
    const waiting = postTo(stream, 'l', 'waits')
    const wrong = postTo(stream, 'l', 'wrong', { sessionId: 'not mine' })
    expect((await wrong).status).toBe(400)
    await stream.cancel()
    let status: number | undefined
    void waiting.then((response) => {
      status = response.status
    })
    while (status === undefined) await clock.advance(10_000)
    expect(status).toBe(404)
    const again = await openStream(server)
    expect((await postTo(again, 'l', 'bobs', { sessionId: 'bob' })).status).toBe(403)
    expect((await postTo(again, 'l', 'next')).status).toBe(200)
    expect(ran).toEqual(['slow', 'next'])
    void slow
  })

  test.each<[string, string]>([
    ['of 257 characters', 'x'.repeat(257)],
    ['with a line break', 'a\nb'],
    ['with a control character of Unicode', 'a\u0085b'],
  ])('named by a text %s is a bad request, alone and in a batch, and nothing else is', async (_, lane) => {
    const { onCommand, ran } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    expect(await answer(postTo(stream, lane, 'a'))).toEqual([
      400,
      { error: 'bad-request', message: expect.any(String) },
    ])
    const messages = [send('b', lane), send('c', '漢'.repeat(256)), send('d', '')]
    expect(statuses(await resultsOf(stream.post('batch', { messages })))).toEqual({ b: 400, c: 200, d: 200 })
    expect(ran.toSorted()).toEqual(['c', 'd'])
  })

  test.each([7, null, ['a'], {}])('named by %j is a bad request for that message of a batch', async (lane) => {
    const { server } = createTestServer()
    const stream = await openStream(server)
    const results = await resultsOf(stream.post('batch', { messages: [send('a', lane), send('b', 'l')] }))
    expect(statuses(results)).toEqual({ a: 400, b: 200 })
  })

  test.each(['%', '%ff', '%ed%a0%80'])('whose header is %s, which decodes to nothing, is a bad request', (header) => {
    expect(() => laneOf(header)).toThrow('X-Lane, URL-decoded: lane must be')
  })

  test('may be named by a page of another origin', async () => {
    const { server } = createTestServer({ allowedOrigins: ['https://app.test'] })
    const headers = { Origin: 'https://app.test', 'Access-Control-Request-Headers': 'x-lane' }
    const { headers: answered } = await server.fetch(
      new Request('http://chat.test/api/send', { method: 'OPTIONS', headers }),
    )
    expect(answered.get('Access-Control-Allow-Headers')?.toLowerCase()).toContain('x-lane')
  })
})

describe('a batch of several lanes', () => {
  test('ends, at the first that must be repeated, its lane only; the others go on, and results have their ids', async () => {
    const { onCommand, ran } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const messages = [send('fail', 'a'), send('b1', 'b'), send('a2', 'a'), send('no', 'b'), send('b2', 'b')]
    expect(await resultsOf(stream.post('batch', { messages }))).toEqual([
      { id: 'fail', status: 500, error: 'internal' },
      { id: 'b1', status: 200, receipt: 'b1' },
      { id: 'no', status: 422, error: 'no' },
      { id: 'b2', status: 200, receipt: 'b2' },
    ])
    expect(ran).not.toContain('a2')
    expect(statuses(await resultsOf(stream.post('batch', { messages })))).toEqual({
      fail: 200,
      a2: 200,
      b1: 200,
      no: 422,
      b2: 200,
    })
  })

  test('runs its lanes at the same time, and each in its order', async () => {
    const commands = manualCommands()
    const { server } = createTestServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const messages = ['a1', 'b1', 'a2', 'b2', 'a3'].map((id) => send(id, id[0]))
    const answered = resultsOf(stream.post('batch', { messages }))
    await until(() => commands.running === 2, 'both lanes')
    await settle(20)
    expect(commands.calls).toHaveLength(2)
    while (commands.calls.length < 5) {
      commands.endNext()
      await settle(20)
    }
    for (const _ of range(1, 5)) commands.endNext()
    expect((await answered).map(({ id }) => id)).toEqual(['a1', 'b1', 'a2', 'b2', 'a3'])
    const order = commands.calls.map(({ idempotencyKey = '' }) => idempotencyKey)
    for (const lane of ['a', 'b'])
      expect(order.filter((key) => key.startsWith(lane))).toEqual(range(1, lane === 'a' ? 3 : 2).map((n) => lane + n))
  })

  test('lets nothing that came later into its lanes, and everything past them', async () => {
    const { onCommand, begun, end, ran } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const batch = stream.post('batch', { messages: [send('slow', 'a'), send('a2', 'a'), send('b1', 'b')] })
    await begun('slow')
    const own = postTo(stream, 'a', 'a3')
    for (const lane of ['b', 'c']) expect((await postTo(stream, lane, `${lane}2`)).status).toBe(200)
    await settle(20)
    // Which of two lanes is first is for neither to say.
    expect(ran.toSorted()).toEqual(['b1', 'b2', 'c2', 'slow'])
    expect(ran.indexOf('b1')).toBeLessThan(ran.indexOf('b2'))
    end('slow')
    await Promise.all([batch, own])
    expect(ran.slice(4)).toEqual(['a2', 'a3'])
  })

  test('C61: is answered when the lanes that are through have waited 1 s for a slow one; its repeat has the same verdicts', async () => {
    const { onCommand, begun, end, ran } = staged()
    const { server, clock } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const messages = [send('slow', 'a'), send('a2', 'a'), send('b', 'b'), send('c', 'c')]
    let isAnswered = false
    const answered = stream.post('batch', { messages }).finally(() => {
      isAnswered = true
    })
    await begun('slow')
    await until(() => ran.length === 3, 'the other lanes')
    await clock.advance(999)
    expect(isAnswered).toBe(false)
    await clock.advance(1)
    expect(statuses(await resultsOf(answered))).toEqual({ b: 200, c: 200 })
    const repeat = resultsOf(stream.post('batch', { messages: messages.slice(0, 2) }))
    await settle(20)
    expect(ran).not.toContain('a2')
    end('slow')
    expect(statuses(await repeat)).toEqual({ slow: 200, a2: 200 })
    expect(ran.toSorted()).toEqual(['a2', 'b', 'c', 'slow'])
    expect(clock.timers).toBe(1)
  })

  test('that was answered does not go on by itself: what has no result is run when it comes again', async () => {
    const { onCommand, begun, end, ran } = staged()
    const { server, clock } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const answered = stream.post('batch', { messages: [send('slow', 'a'), send('a2', 'a'), send('b', 'b')] })
    await begun('slow')
    await begun('b')
    await settle(20)
    await clock.advance(1_000)
    await answered
    end('slow')
    // It has its turn when all that is left of the batch is over.
    expect((await postTo(stream, 'a', 'a3')).status).toBe(200)
    expect(ran).toEqual(['slow', 'b', 'a3'])
  })

  test('of which nothing has ended waits for the first lane that has', async () => {
    const { onCommand, begun, end } = staged()
    const { server, clock } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const answered = stream.post('batch', { messages: [send('slow1', 'a'), send('slow2', 'b')] })
    await Promise.all(['slow1', 'slow2'].map(begun))
    await clock.advance(5_000)
    end('slow2')
    await settle(20)
    await clock.advance(1_000)
    expect(statuses(await resultsOf(answered))).toEqual({ slow2: 200 })
    end('slow1')
  })

  test('for an unknown stream, or one that ends meanwhile, leaves its places', async () => {
    const { onCommand, begun, end } = staged()
    const { server } = createTestServer({ onCommand })
    const stream = await openStream(server)
    const batch = { messages: [send('slow', 'a'), send('b', 'b')] }
    expect((await post(server, 'batch', batch, { connectionId: 'A'.repeat(22) })).status).toBe(404)
    const answered = stream.post('batch', { messages: [send('slow', 'a'), send('a2', 'a')] })
    await begun('slow')
    await stream.cancel()
    end('slow')
    expect(statuses(await resultsOf(answered))).toEqual({ slow: 200, a2: 404 })
    const again = await openStream(server)
    expect(statuses(await resultsOf(again.post('batch', batch)))).toEqual({ slow: 200, b: 200 })
  })
})

describe('C98: what lanes hold', () => {
  test('is nothing when nothing stands in them', () => {
    const lanes = new Lanes()
    const owner = { principalId: 'p', connectionId: 'c' }
    const places = range(1, 100).map((n) => lanes.join(owner, `l${n % 10}`))
    expect(lanes.size).toBe(10)
    for (const { leave } of places) {
      leave()
      leave()
    }
    expect(lanes.size).toBe(0)
  })

  test('is on the memory of their principal, with their names', async () => {
    const held: number[] = []
    for (const lane of [undefined, 'l']) {
      const commands = manualCommands()
      const { server } = createTestServer({ onCommand: commands.onCommand, limits: { memory: 83_886_080 } })
      const stream = await openStream(server)
      let count = 0
      let isFull = false
      while (!isFull) {
        const messages = range(1, 50).map((n) => send(`m${count}-${n}`, lane && lane + n))
        count += 1
        const answered = stream.post('batch', { messages })
        const status = await Promise.race([answered.then((response) => response.status), settle(3)])
        isFull = status === 429
      }
      held.push(count)
    }
    const [without = 0, withLanes = 0] = held
    expect(withLanes).toBeLessThan(without / 2)
  }, 60_000)
})
