import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { Commands } from '../../server/command/commands'
import { PlaceQueue } from '../../server/command/placeQueue'
import { GRACE, Presence } from '../../server/command/presence'
import { MIN_RECEIPT_AGE, Receipts } from '../../server/command/receipts'
import { tooMany } from '../../server/errors'
import { Budgets } from '../../server/limits/budget'
import { MAX_SWELLING, parsedWeight, REQUEST_WEIGHT, SESSION_WEIGHT, textWeight } from '../../server/limits/weights'
import { bytesInUse, swelling, withBudgets } from '../support/memory'
import {
  answer,
  BASE,
  counter,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  range,
  settle,
  until,
} from '../support/server'

const SEND = { type: 'send', sessionId: 'room' }

/** A server whose budgets the test can look at. */
function createServer(overrides: Parameters<typeof createTestServer>[0] = {}) {
  const { server, budgets } = withBudgets(() => createTestServer(overrides))
  return { ...server, budgets }
}

type Server = ReturnType<typeof createServer>['server']

/** A POST whose client can go away. */
function postAbortable(
  server: Server,
  connectionId: string,
  body: string,
  { as = 'alice', key = '', to = 'send' } = {},
) {
  const abort = new AbortController()
  const headers: Record<string, string> = {
    'Content-Type': 'application/json',
    Authorization: as,
    'X-Connection-ID': connectionId,
    ...(key && { 'Idempotency-Key': key }),
  }
  const request = new Request(`${BASE}/${to}`, { method: 'POST', headers, body, signal: abort.signal })
  let isWatched = false
  const { signal } = request
  const listen = signal.addEventListener.bind(signal)
  signal.addEventListener = (...given: Parameters<typeof listen>) => {
    isWatched = true
    listen(...given)
  }
  return {
    answered: server.fetch(request),
    abort: () => abort.abort(),
    /**
     * Until it has come to a place where it waits for others, for so long that the server looks
     * whether its client is there.
     */
    async waits(clock: { readonly timers: number; advance(ms: number): Promise<void> }) {
      // Before it waits its key goes through a thread pool, and that takes real time.
      for (let turn = 0; turn < 8_000 && !isWatched; turn += 1) await clock.advance(300)
      await until(() => isWatched, 'the wait')
    },
  }
}

describe('C98: a command that waits', () => {
  test('holds the text of its body, not what that is parsed into', async () => {
    const commands = manualCommands()
    const { server } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    void stream.post('send', SEND)
    await until(() => commands.running === 1, 'the slow one')
    const body = `{"type":"send","sessionId":"room","x":${swelling(250_000)}}`
    const before = bytesInUse()
    for (const _ of range(1, 40)) void stream.post('send', body)
    await settle(50)
    const held = bytesInUse() - before
    // Parsed, they would be 200 MB.
    expect(held).toBeLessThan(40 * 2.2 * body.length)
    for (const n of range(1, 41)) {
      await until(() => commands.calls.length === n, `command ${n}`)
      commands.endNext()
    }
    expect(commands.calls.at(-1)?.message).toEqual(JSON.parse(body))
  })

  test('beyond its principal’s share of limits.memory it is told 429, and when to come back; nobody else is', async () => {
    const commands = manualCommands()
    const { server, budgets } = createServer({ onCommand: commands.onCommand })
    const [stream, other] = [await openStream(server), await openStream(server, 'bob')]
    void stream.post('send', SEND)
    await until(() => commands.running === 1, 'the slow one')
    const body = JSON.stringify({ ...SEND, text: 'x'.repeat(200_000) })
    const refused: Response[] = []
    for (const _ of range(1, 100)) {
      void stream.post('send', body).then((response) => response.status === 200 || refused.push(response))
    }
    await until(() => refused.length > 0, 'a refusal')
    await settle(20)
    for (const response of refused) {
      expect([response.status, response.headers.get('Retry-After')]).toEqual([429, '5'])
      expect(await response.json()).toEqual({ error: 'too-many' })
    }
    expect(budgets.heldBy('alice')).toBeLessThanOrEqual(budgets.share)
    expect(budgets.heldBy('alice')).toBeGreaterThan(0.6 * budgets.share)
    void other.post('send', SEND)
    await settle(20)
    expect(budgets.heldBy('bob')).toBeGreaterThan(REQUEST_WEIGHT)
    // What was kept is run, and what they held is given back.
    await until(() => {
      commands.endNext()
      return budgets.heldBy('alice') === SESSION_WEIGHT
    }, 'the end of what alice held')
    expect(commands.calls.length).toBeGreaterThan(40)
  })

  test('is dropped when its request was aborted and the grace is over: it is not run, and holds nothing', async () => {
    const commands = manualCommands()
    const { server, clock, budgets } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const first = stream.post('send', { ...SEND, n: 1 })
    await until(() => commands.running === 1, 'the slow one')
    const held = budgets.process.used
    const second = postAbortable(server, stream.connectionId, JSON.stringify({ ...SEND, n: 2 }), { key: 'k' })
    await second.waits(clock)
    const third = stream.post('send', { ...SEND, n: 3 })
    await settle(20)
    second.abort()
    await clock.advance(GRACE - 1)
    expect(budgets.process.used).toBeGreaterThan(held + 2 * REQUEST_WEIGHT)
    await clock.advance(1)
    await second.answered
    expect(budgets.process.used).toBeLessThan(held + 2 * REQUEST_WEIGHT)
    commands.endNext()
    await until(() => commands.calls.length === 2, 'the third')
    commands.endNext()
    expect([(await first).status, (await third).status]).toEqual([200, 200])
    expect(commands.calls.map(({ message }) => message.n)).toEqual([1, 3])
    // Its verdict was never given, so the repeat runs it.
    void stream.post('send', { ...SEND, n: 2 }, { key: 'k' })
    await until(() => commands.calls.length === 3, 'the repeat')
  })

  test('keeps its place for a repeat within the grace, which is longer than the longest backoff of a client', async () => {
    const commands = manualCommands()
    const { server, clock } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    void stream.post('send', { ...SEND, n: 1 })
    await until(() => commands.running === 1, 'the slow one')
    const body = JSON.stringify({ ...SEND, n: 2 })
    const gone = postAbortable(server, stream.connectionId, body, { key: 'k' })
    await gone.waits(clock)
    void stream.post('send', { ...SEND, n: 3 })
    await settle(20)
    gone.abort()
    await clock.advance(GRACE - 1)
    const again = await openStream(server)
    // Before it has joined the first one its key goes through a thread pool, so the clock has to
    // stand still.
    const { timers } = clock
    const repeat = postAbortable(server, again.connectionId, body, { key: 'k' })
    for (let waiting = 0; waiting < 3; ) {
      await settle()
      waiting = clock.timers > timers ? waiting + 1 : 0
    }
    await clock.advance(2 * GRACE)
    for (const n of range(1, 3)) {
      await until(() => commands.calls.length === n, `command ${n}`)
      commands.endNext()
    }
    expect(await answer(repeat.answered)).toEqual([200, { n: expect.any(Number) }])
    expect(commands.calls.map(({ message }) => message.n)).toEqual([1, 2, 3])
    expect(GRACE).toBeGreaterThanOrEqual(30_000)
  })

  test('is dropped when its stream and the grace are over, where a host does not tell that a request was aborted', async () => {
    const commands = manualCommands()
    const { server, clock, budgets } = createServer({ onCommand: commands.onCommand })
    const [stream, other] = [await openStream(server), await openStream(server, 'bob')]
    void other.post('send', SEND)
    await until(() => commands.running === 1, 'the slow one')
    const messages = range(1, 3).map((n) => ({ id: `b${n}`, endpoint: 'send', body: SEND }))
    const alone = postAbortable(server, stream.connectionId, JSON.stringify(SEND), { key: 'k' })
    const batch = postAbortable(server, stream.connectionId, JSON.stringify({ messages }), { to: 'batch' })
    await alone.waits(clock)
    await batch.waits(clock)
    await stream.cancel()
    await clock.advance(GRACE)
    expect(await answer(alone.answered)).toEqual([404, { error: 'unknown-stream' }])
    const results = [{ id: 'b1', status: 404, error: 'unknown-stream' }]
    expect(await answer(batch.answered)).toEqual([200, { results }])
    expect(budgets.heldBy('alice')).toBe(0)
    commands.endNext()
    await settle(20)
    expect(commands.calls).toHaveLength(1)
  })

  test('is not dropped as long as anybody waits for it, nor once it has begun', async () => {
    const commands = manualCommands()
    const { server, clock } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const body = JSON.stringify(SEND)
    const first = postAbortable(server, stream.connectionId, body, { key: 'k1' })
    await until(() => commands.running === 1, 'the first')
    const second = range(1, 2).map(() => postAbortable(server, stream.connectionId, body, { key: 'k2' }))
    for (const each of second) await each.waits(clock)
    first.abort()
    second[0]?.abort()
    await clock.advance(2 * GRACE)
    commands.endNext()
    await until(() => commands.calls.length === 2, 'the second')
    commands.endNext()
    expect((await second[1]?.answered)?.status).toBe(200)
    // The first was run: its repeat has its receipt.
    expect(await answer(stream.post('send', SEND, { key: 'k1' }))).toEqual([200, { n: expect.any(Number) }])
    expect(commands.calls).toHaveLength(2)
  })

  test('in a line behind somebody else’s batch is dropped as well', async () => {
    const commands = manualCommands()
    const { server, clock, budgets } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    const messages = range(1, 2).map((n) => ({ id: `b${n}`, endpoint: 'send', body: SEND }))
    void stream.post('batch', { messages })
    await until(() => commands.running === 1, 'the batch')
    const held = budgets.process.used
    const behind = range(1, 20).map(() => postAbortable(server, stream.connectionId, JSON.stringify(SEND)))
    for (const { waits } of behind) await waits(clock)
    for (const { abort } of behind) abort()
    await clock.advance(GRACE)
    await Promise.all(behind.map(({ answered }) => answered))
    expect(budgets.process.used).toBe(held)
  })
})

describe('C98: what is charged for a text', () => {
  test.each<[string, string, (json: string) => number]>([
    ['alone', 'send', (json) => 2 * json.length],
    ['in a batch, all of it from the beginning', 'batch', (json) => 2 * json.length],
    ['that is longer when it is written anew', 'long', (json) => json.length + 22 * (json.length / 5)],
  ])('%s', async (_, kind, least) => {
    const commands = manualCommands()
    const { server, budgets } = createServer({ onCommand: commands.onCommand })
    const stream = await openStream(server)
    void stream.post('send', SEND)
    await until(() => commands.running === 1, 'the slow one')
    const messages = range(1, 50).map((n) => ({
      id: `b${n}`,
      endpoint: 'send',
      body: { ...SEND, x: 'x'.repeat(4_000) },
    }))
    const json = {
      send: JSON.stringify({ ...SEND, x: 'x'.repeat(200_000) }),
      batch: JSON.stringify({ messages }),
      long: `{"type":"send","sessionId":"room","x":[${'1e20,'.repeat(40_000)}1]}`,
    }[kind] as string
    const before = budgets.process.used
    void stream.post(kind === 'batch' ? 'batch' : 'send', json)
    await settle(20)
    expect(budgets.process.used - before).toBeGreaterThan(0.98 * least(json))
  })

  test('there is room for is asked before it is parsed', async () => {
    const { server } = createServer({ onCommand: () => new Promise(() => {}) })
    const stream = await openStream(server)
    const post = () => stream.post('send', { ...SEND, x: 'x'.repeat(200_000) })
    const isFull = async () => (await Promise.race([post(), settle(5)])) !== undefined
    while (!(await isFull()));
    const parse = vi.spyOn(JSON, 'parse')
    expect([(await post()).status, parse.mock.calls.length]).toEqual([429, 0])
    parse.mockRestore()
  })
})

describe('C98: a command that runs', () => {
  test('and is larger in memory than its principal has room for is told 429 in its turn, and not run', async () => {
    const commands = manualCommands()
    // A share of 10 MiB.
    const limits = { memory: 320 * 262_144 }
    const { server } = createServer({ onCommand: commands.onCommand, limits })
    const stream = await openStream(server)
    const body = (sessionId: string) => `{"type":"send","sessionId":"${sessionId}","x":${swelling(200_000)}}`
    const posts = range(1, 3).map((n) => stream.post('send', body(`room${n}`)))
    const statuses: number[] = []
    for (const post of posts) void post.then(({ status }) => statuses.push(status))
    await until(() => statuses.length === 2, 'two refusals')
    expect([statuses, commands.running]).toEqual([[429, 429], 1])
  })

  test.each([
    ['empty objects', swelling(200_000)],
    ['empty arrays', `[${'[],'.repeat(60_000)}[]]`],
    ['numbers', `[${'1,'.repeat(99_999)}1]`],
    ['decimals', `[${'.5,'.replace('.', '0.').repeat(50_000)}1]`],
    ['short texts', `[${'"",'.repeat(60_000)}""]`],
    ['texts', `[${range(1, 20_000).map((n) => `"text ${n} and more"`)}]`],
    ['wide text', JSON.stringify('漢'.repeat(100_000))],
    ['small objects', `[${'{"a":1},'.repeat(25_000)}1]`],
    ['one large object', `{${range(1, 20_000).map((n) => `"k${n}":1`)}}`],
    ['objects with names of their own', `[${range(1, 10_000).map((n) => `{"k${n}":${n}}`)}]`],
    ['nested', `[${'[[[[1]]]],'.repeat(20_000)}1]`],
  ])('weighs no less than it is: %s', (_, json) => {
    JSON.parse(json)
    const kept: unknown[] = []
    const before = bytesInUse()
    for (const _ of range(1, 5)) kept.push(JSON.parse(json))
    const real = (bytesInUse() - before) / kept.length
    expect(real).toBeLessThan(1.1 * parsedWeight(json) + 50_000)
    expect(parsedWeight(json)).toBeLessThan(MAX_SWELLING * json.length)
  })
})

describe('C100: receipts', () => {
  test('of one principal are never forgotten for another’s', async () => {
    const count = counter()
    const { server } = createServer({ onCommand: count, limits: { receipts: 80 } })
    const [mallory, alice] = [await openStream(server, 'mallory'), await openStream(server)]
    expect(await answer(alice.post('send', SEND, { key: 'payment' }))).toEqual([200, 1])
    const statuses: number[] = []
    for (const n of range(1, 40)) statuses.push((await mallory.post('send', SEND, { key: `m${n}` })).status)
    expect(statuses).toEqual([...range(1, 10).map(() => 200), ...range(1, 30).map(() => 429)])
    expect(await answer(alice.post('send', SEND, { key: 'payment' }))).toEqual([200, 1])
    // Not one of those was run.
    expect(count()).toBe(12)
    expect((await mallory.post('send', SEND)).status).toBe(200)
    expect((await mallory.post('send', SEND, { key: 'm1' })).status).toBe(200)
  })

  test('are kept for 15 min, and then give way, the oldest first', async () => {
    const count = counter()
    const { server, clock } = createServer({ onCommand: count, limits: { receipts: 16 } })
    const stream = await openStream(server)
    const send = (key: string) => answer(stream.post('send', SEND, { key }))
    expect([await send('a'), await send('b')]).toEqual([
      [200, 1],
      [200, 2],
    ])
    await clock.advance(MIN_RECEIPT_AGE - 1)
    expect((await send('c'))[0]).toBe(429)
    await clock.advance(1)
    expect(await send('c')).toEqual([200, 3])
    expect([await send('b'), await send('c')]).toEqual([
      [200, 2],
      [200, 3],
    ])
    expect(await send('a')).toEqual([200, 4])
  })

  test('the welcome says how long they are kept at least, and never more than that', async () => {
    for (const [receiptAge, told] of [
      [undefined, MIN_RECEIPT_AGE],
      [60_000, 60_000],
    ] as const) {
      const { server } = createServer(receiptAge ? { limits: { receiptAge } } : {})
      expect((await openStream(server)).frames[0]?.receiptAge).toBe(told)
    }
  })

  test('that other processes have no room for are a 429 as well, and nothing is remembered of that', async () => {
    const budgets = new Budgets(1e8)
    const receipts = new Receipts({ budgets, receipts: 100, receiptAge: 1e9, clock: { now: () => 0 }, onError() {} })
    const claim = vi.fn(() => Promise.reject(tooMany()))
    const onError = vi.fn()
    const shared = { claim, outcome: async () => undefined, cancel: async () => [] }
    const commands = new Commands({ budgets, receipts, shared, onError })
    const run = vi.fn()
    const presence = new Presence(
      () => undefined,
      () => () => {},
      fakeClock(),
    )
    const command = {
      chain: 'c',
      principalId: 'a',
      identity: 'k',
      fingerprint: 'f',
      refusal: undefined,
      cancels: [],
      weight: 9,
      run,
    }
    for (const _ of range(1, 2)) expect((await commands.execute(command, presence)).status).toBe(429)
    expect([claim.mock.calls.length, run.mock.calls.length, onError.mock.calls.length]).toEqual([2, 0, 0])
    expect(budgets.process.used).toBe(0)
  })

  test('give way to work when they are old, also those of somebody else where the process is full', () => {
    let now = 1e6
    const budgets = new Budgets(80_000)
    const receipts = new Receipts({ budgets, receipts: 1e6, receiptAge: 1e9, clock: { now: () => now }, onError() {} })
    const keep = (principalId: string, identity: string) => {
      const room = receipts.reserve(principalId, identity)
      room?.keep({ fingerprint: 'f', answer: { status: 200, json: '1' } })
      return room !== undefined
    }
    for (const principal of range(1, 8)) {
      let isKept = true
      for (let n = 0; isKept; n += 1) isKept = keep(`p${principal}`, `p${principal}-${n}`)
    }
    expect(budgets.process.used).toBeGreaterThan(75_000)
    const work = budgets.of('somebody else')
    expect(work.take(8_000)).toBe(false)
    now += MIN_RECEIPT_AGE
    expect(work.take(8_000)).toBe(true)
    expect([receipts.find('p1-0'), receipts.find('p8-0')]).toMatchObject([undefined, { fingerprint: 'f' }])
    work.give(8_000)
    now += 1e9
    receipts.forgetOld()
    expect(budgets.process.used).toBe(0)
  })

  test('that are large do not take the room of commands: beyond half of a share their text is not remembered, and that is told', async () => {
    const count = counter()
    const { server, errors, budgets } = createServer({ onCommand: () => ({ n: count(), text: 'x'.repeat(200_000) }) })
    const stream = await openStream(server)
    for (const n of range(1, 200)) {
      const response = await stream.post('send', SEND, { key: `k${n}` })
      expect([response.status, (await response.json()).n]).toEqual([200, n])
    }
    expect(budgets.heldBy('alice')).toBeLessThan(0.6 * budgets.share)
    expect(await answer(stream.post('send', SEND, { key: 'k200' }))).toEqual([200, null])
    expect((await (await stream.post('send', SEND, { key: 'k1' })).json()).n).toBe(1)
    expect(errors[0]).toMatchObject({ message: expect.stringContaining('no room to remember a receipt of 200') })
  })

  test('of more than 262,144 characters are null, and that is told', async () => {
    const { server, errors } = createServer({ onCommand: () => 'x'.repeat(262_144) })
    const stream = await openStream(server)
    expect(await answer(stream.post('send', SEND, { key: 'k' }))).toEqual([200, null])
    expect(errors).toMatchObject([{ message: expect.stringContaining('262146') }])
  })
})

describe('C97: nothing is kept that was not checked', () => {
  test('an id in a cursor that is none is answered, and not put on the stream; nor is an epoch of any length', async () => {
    const { server, budgets } = createServer()
    const stream = await openStream(server)
    const held = budgets.process.used
    const huge = 'x'.repeat(100_000)
    const response = await stream.post('reconnect', {
      type: 'reconnect',
      resumeId: 'r',
      sessions: [
        { sessionId: huge, lastSeq: 0 },
        { sessionId: 'room', lastSeq: 1, epoch: huge },
      ],
    })
    const { sessions } = await response.json()
    expect(sessions.map(({ status }: { status: string }) => status)).toEqual(['forbidden', 'reset'])
    await until(() => stream.ofType('reconnected').length === 1, 'the marker')
    expect(JSON.stringify(stream.frames).length).toBeLessThan(2_000)
    expect(budgets.process.used - held).toBe(SESSION_WEIGHT)
  })

  test('a request that waits for authenticate has not been read, and there is a bound for all of them', async () => {
    const answers: (() => void)[] = []
    const { server, budgets } = createServer({
      authenticate: () => new Promise<null>((resolve) => answers.push(() => resolve(null))),
    })
    const bound = Math.floor(budgets.share / REQUEST_WEIGHT)
    let pulled = 0
    const bodies = range(1, 20).map(() => {
      const body = new ReadableStream(
        {
          pull(controller) {
            pulled += 1
            controller.close()
          },
        },
        { highWaterMark: 0 },
      )
      const headers = { 'Content-Type': 'application/json' }
      return server.fetch(new Request(`${BASE}/send`, { method: 'POST', headers, body, duplex: 'half' } as RequestInit))
    })
    const others = range(1, bound).map(() => server.fetch(new Request(`${BASE}/events`)))
    const refused = await Promise.all(others.slice(bound - 20))
    expect(refused.map(({ status, headers }) => [status, headers.get('Retry-After')])).toEqual(
      range(1, 20).map(() => [503, '1']),
    )
    expect([answers.length, pulled]).toEqual([bound, 0])
    for (const go of answers) go()
    for (const { status } of await Promise.all([...bodies, ...others.slice(0, bound - 20)])) expect(status).toBe(401)
    expect(budgets.process.used).toBe(0)
  })
})

describe('a queue of places', () => {
  test('is first come, first served, and who leaves from the middle was never there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 10 }), async (leavers) => {
        const queue = new PlaceQueue()
        const served: number[] = []
        const places = range(0, 9).map((n) => {
          const place = queue.join()
          void Promise.resolve(place.reached).then(() => served.push(n))
          return place
        })
        const gone = new Set(leavers.filter((n) => n > 0))
        for (const n of gone) places[n]?.leave()
        const left = range(0, 9).filter((n) => !gone.has(n))
        for (const n of left) {
          await settle(1)
          expect(served.at(-1)).toBe(n)
          places[n]?.leave()
          places[n]?.leave()
        }
        expect([served, queue.isEmpty]).toEqual([left, true])
      }),
      { numRuns: 30 },
    )
  })
})

test('C97 C98: whatever is posted, aborted, repeated and disconnected: in the end nothing is held', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('open' as const), as: fc.constantFrom('alice', 'bob') }),
    fc.record({
      do: fc.constant('post' as const),
      stream: fc.nat(3),
      endpoint: fc.constantFrom('send', 'stop', 'batch', 'watch', 'reconnect', 'probe', 'nothing'),
      body: fc.constantFrom('ok', 'large', 'no json', 'deep', 'other type'),
      key: fc.constantFrom('', 'k1', 'k2', 'k3', 'bad key'),
    }),
    fc.record({ do: fc.constant('abort' as const), n: fc.nat(10) }),
    fc.record({ do: fc.constant('end' as const), n: fc.nat(3) }),
    fc.record({ do: fc.constant('cancel' as const), stream: fc.nat(3) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 500, GRACE, 100_000) }),
  )
  const bodyOf = (endpoint: string, kind: string) => {
    if (kind === 'no json') return '{'
    if (kind === 'deep') return '['.repeat(1_000)
    const body = {
      type: kind === 'other type' ? 'x' : endpoint,
      sessionId: 'room',
      lastSeq: 0,
      nonce: 'n',
      sessions: [{ sessionId: 'room-2', lastSeq: 0 }],
      text: kind === 'large' ? 'x'.repeat(200_000) : '漢',
    }
    const messages = range(1, 3).map((n) => ({ id: `k${n}`, endpoint: 'send', body: { ...body, type: 'send' } }))
    return JSON.stringify(endpoint === 'batch' ? { messages } : body)
  }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const commands = manualCommands()
      const limits = { memory: 320 * 262_144, stall: 5_000, receiptAge: 60_000, receipts: 24 }
      const { server, clock, budgets } = createServer({ onCommand: commands.onCommand, limits })
      const streams: Awaited<ReturnType<typeof openStream>>[] = []
      const owners: string[] = []
      const posts: ReturnType<typeof postAbortable>[] = []
      for (const each of steps) {
        if (each.do === 'open' && streams.length < 4) {
          streams.push(await openStream(server, each.as))
          owners.push(each.as)
        } else if (each.do === 'post') {
          const connectionId = streams[each.stream]?.connectionId ?? 'none'
          const as = owners[each.stream] ?? 'alice'
          const { endpoint, key } = each
          posts.push(postAbortable(server, connectionId, bodyOf(endpoint, each.body), { as, key, to: endpoint }))
        } else if (each.do === 'abort') posts[each.n]?.abort()
        else if (each.do === 'end') for (const _ of range(0, each.n)) commands.endNext()
        else if (each.do === 'cancel') await streams[each.stream]?.cancel()
        else if (each.do === 'wait') await clock.advance(each.ms)
        await settle(1)
      }
      for (const stream of streams) await stream.cancel()
      let isDone = false
      const all = Promise.allSettled(posts.map(({ answered }) => answered)).then(() => {
        isDone = true
      })
      while (!isDone) {
        commands.endNext()
        await settle(1)
      }
      await all
      await clock.advance(60_000)
      // There is no timer: what is too old goes with the next command.
      const last = await openStream(server)
      const posted = last.post('send', SEND)
      while (commands.running === 0) await settle(1)
      commands.endNext()
      await posted
      await last.cancel()
      await settle()
      expect([budgets.process.used, budgets.heldBy('alice'), budgets.heldBy('bob')]).toEqual([0, 0, 0])
      expect(clock.timers).toBe(0)
    }),
    { numRuns: 60 },
  )
}, 120_000)

test('a text weighs a byte for each character of Latin-1, and two for each where there is another', () => {
  expect([textWeight('é'.repeat(10)), textWeight(`${'é'.repeat(9)}漢`)]).toEqual([10, 20])
})
