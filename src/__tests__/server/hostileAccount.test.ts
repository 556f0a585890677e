import { describe, expect, test, vi } from 'vitest'
import { type Metric, memoryLog } from '../../server'
import { Pacer } from '../../server/limits/pacer'
import { REQUEST_WEIGHT } from '../../server/limits/weights'
import { ask, createSockets } from '../support/gateway'
import { bytesInUse, swelling, withBudgets } from '../support/memory'
import {
  BASE,
  createTestServer,
  getEvents,
  manualCommands,
  openStream,
  post,
  range,
  settle,
  until,
} from '../support/server'

// What one account, or a stranger, can do to the others. Each of these did it once.

const cursors = (count: number, prefix = 'room') =>
  range(1, count).map((n) => ({ sessionId: `${prefix}-${n}`, lastSeq: 0 }))

describe('C98: a request that the server itself acts on', () => {
  test('is on the account of its principal as it is when it is parsed, for as long as it waits', async () => {
    const { server: chat, budgets } = withBudgets(() => createTestServer())
    const stream = await openStream(chat.server)
    const spends = { type: 'reconnect', sessions: cursors(100) }
    // Time stands still, so what comes from now on waits for the pace of resumes.
    for (const _ of range(1, 11)) await stream.post('reconnect', spends)
    const body = `{"type":"reconnect","sessions":[],"x":${swelling(250_000)}}`
    const before = bytesInUse()
    const statuses: number[] = []
    for (const _ of range(1, 60)) void stream.post('reconnect', body).then(({ status }) => statuses.push(status))
    await until(() => statuses.length > 50, 'what there is no room for')
    await settle(50)
    // Of 60 bodies, 5 MiB each.
    expect(bytesInUse() - before).toBeLessThan(budgets.share + 8 * 2 ** 20)
    expect(new Set(statuses)).toEqual(new Set([429]))
    expect(budgets.heldBy('alice')).toBeLessThanOrEqual(budgets.share)
    await chat.clock.advance(60_000)
    await until(() => statuses.length === 60, 'the rest')
    expect(statuses.slice(-2)).toEqual([200, 200])
  })
})

describe('C100: what was refused and comes slowly', () => {
  test('keeps nobody from being asked who they are', async () => {
    const { server: chat, budgets } = withBudgets(() => createTestServer())
    const answers: number[] = []
    for (const _ of range(1, budgets.share / REQUEST_WEIGHT + 100)) {
      const body = new ReadableStream({ start() {} })
      const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, duplex: 'half' }
      void chat.server.fetch(new Request(`${BASE}/send`, init)).then(({ status }) => answers.push(status))
    }
    await settle(50)
    expect((await getEvents(chat.server, 'bob')).status).toBe(200)
    // What there is no room for is not read to its end, and is answered all the same.
    expect(new Set(answers)).toEqual(new Set([401]))
    expect(answers.length).toBeGreaterThan(1_000)
    await chat.clock.advance(10_000)
    await until(() => answers.length === budgets.share / REQUEST_WEIGHT + 100, 'the rest')
    expect(budgets.heldBy('')).toBe(0)
  })
})

describe('C105: what one principal posts', () => {
  const KB = 1_000
  /** 80 kB/s, and 10 kB at once. */
  const limits = { bodyRate: 80 * KB, bodyBytes: 80 * KB }
  /** Bodies of 20 kB; each tells when the server has begun to read it. */
  function poster({ server }: ReturnType<typeof createTestServer>, connectionId: string) {
    const read: number[] = []
    const answers: Response[] = []
    const statuses = () => answers.map(({ status }) => status)
    const send = (n: number, signal?: AbortSignal) => {
      const bytes = new TextEncoder().encode(JSON.stringify({ type: 'send', text: 'x'.repeat(20 * KB) }))
      const body = new ReadableStream(
        {
          pull(controller) {
            read.push(n)
            controller.enqueue(bytes)
            controller.close()
          },
        },
        { highWaterMark: 0 },
      )
      const headers = {
        'Content-Type': 'application/json',
        'Content-Length': String(bytes.byteLength),
        Authorization: 'alice',
        'X-Connection-ID': connectionId,
      }
      const init = { method: 'POST', headers, body, duplex: 'half', ...(signal && { signal }) }
      void server.fetch(new Request(`${BASE}/send`, init)).then((response) => answers.push(response))
    }
    return { read, answers, statuses, send }
  }

  test('is so many bytes per second: beyond that a body is not read yet; then it is, and nothing is refused', async () => {
    const throttled: number[] = []
    const onMetric = ({ name, value }: Metric) => name === 'throttled' && throttled.push(value)
    const chat = createTestServer({ limits, onMetric })
    const { connectionId } = await openStream(chat.server)
    const { read, statuses, send } = poster(chat, connectionId)
    for (const n of range(1, 8)) send(n)
    await settle(20)
    expect(read).toEqual([1])
    await chat.clock.advance(1_000)
    await settle(20)
    expect(read.length).toBeGreaterThanOrEqual(4)
    expect(read.length).toBeLessThanOrEqual(5)
    await chat.clock.advance(1_500)
    await until(() => statuses().length === 8, 'the rest')
    expect(read).toEqual(range(1, 8))
    expect(new Set(statuses())).toEqual(new Set([200]))
    expect(throttled).toEqual(range(1, 7).map(() => 1))
  })

  test('beyond 2 s of waiting is 429, with the time when to come back', async () => {
    const chat = createTestServer({ limits })
    const { connectionId } = await openStream(chat.server)
    const { answers, statuses, send } = poster(chat, connectionId)
    for (const n of range(1, 20)) send(n)
    await chat.clock.advance(3_000)
    await until(() => statuses().length === 20, 'all answers')
    const refused = answers.filter(({ status }) => status === 429)
    expect(statuses().filter((status) => status === 200).length).toBeGreaterThanOrEqual(8)
    expect(refused.length).toBeGreaterThanOrEqual(10)
    expect(new Set(refused.map(({ headers }) => headers.get('Retry-After')))).toEqual(new Set(['1']))
  })

  test('holds up no other principal, and is counted over all its streams', async () => {
    const chat = createTestServer({ limits })
    const [first, second] = [await openStream(chat.server), await openStream(chat.server)]
    const [one, other] = [poster(chat, first.connectionId), poster(chat, second.connectionId)]
    for (const n of range(1, 3)) one.send(n)
    for (const n of range(1, 3)) other.send(n)
    await settle(20)
    expect([one.read, other.read]).toEqual([[1], []])
    const bobs = await openStream(chat.server, 'bob')
    expect((await bobs.post('send', { type: 'send', text: 'x'.repeat(4 * KB) })).status).toBe(200)
  })

  test('is counted where no length is announced', async () => {
    const chat = createTestServer({ limits })
    const stream = await openStream(chat.server)
    const text = 'x'.repeat(20 * KB)
    expect((await stream.post('send', { type: 'send', text })).status).toBe(200)
    const statuses: number[] = []
    void stream.post('send', { type: 'send', text }).then(({ status }) => statuses.push(status))
    await settle(20)
    expect(statuses).toEqual([])
    await chat.clock.advance(300)
    await until(() => statuses.length === 1, 'the second')
  })

  test('lets what is small pass: a client that is throttled can stop, probe, watch and resume, over both wires', async () => {
    const chat = createTestServer({ limits })
    const stream = await openStream(chat.server)
    const { read, send } = poster(chat, stream.connectionId)
    for (const n of range(1, 3)) send(n)
    await settle(20)
    expect(read).toEqual([1])
    const small = (endpoint: string, body: object) => {
      const headers = { 'Content-Length': String(JSON.stringify(body).length) }
      return post(chat.server, endpoint, body, { connectionId: stream.connectionId, headers })
    }
    for (const [endpoint, body] of [
      ['probe', { type: 'probe', nonce: 'n' }],
      ['watch', { type: 'watch', sessionId: 'room', lastSeq: 0 }],
      ['stop', { type: 'stop', sessionId: 'room' }],
      ['reconnect', { type: 'reconnect', sessions: [{ sessionId: 'room', lastSeq: 0 }] }],
    ] as const) {
      expect([endpoint, (await small(endpoint, body)).status]).toEqual([endpoint, 200])
    }
    const socket = await createSockets({ fetch: chat.server.fetch }).opens()
    expect(await ask(socket, 'stop', { type: 'stop', sessionId: 'room' })).toMatchObject({ status: 200 })
    expect(read).toEqual([1])
  })

  test('is neither counted nor held once its client is gone', async () => {
    const { server: chat, budgets } = withBudgets(() => createTestServer({ limits }))
    const { connectionId } = await openStream(chat.server)
    const { statuses, send } = poster(chat, connectionId)
    send(1)
    await until(() => statuses().length === 1, 'the first')
    const held = budgets.heldBy('alice')
    const client = new AbortController()
    for (const n of range(2, 5)) send(n, client.signal)
    await settle(20)
    expect(budgets.heldBy('alice')).toBe(held + 4 * REQUEST_WEIGHT)
    client.abort()
    await chat.clock.advance(200)
    await until(() => statuses().length === 5, 'their ends')
    expect(statuses().slice(1)).toEqual([404, 404, 404, 404])
    expect(budgets.heldBy('alice')).toBe(held)
    send(6)
    await until(() => statuses().length === 6, 'the next one, at once')
    expect(statuses()[5]).toBe(200)
  })

  test('cannot be bounded below a body per second', () => {
    expect(() => createTestServer({ limits: { bodyRate: 1 } })).toThrow("'limits.bodyRate'")
    expect(() => createTestServer({ limits: { bodyRate: 262_144 } })).not.toThrow()
  })
})

describe('C105: replays that wait', () => {
  test('cost a look at one of them each time, however many sessions and streams there are', async () => {
    const log = memoryLog()
    const { server, clock } = createTestServer({ log, limits: { replayRate: 1_048_576 } })
    const text = 'x'.repeat(1_000)
    for (const { sessionId } of cursors(500)) {
      for (const _ of range(1, 20)) await server.publish(sessionId, { type: 'said', text })
    }
    const streams = await Promise.all(range(1, 4).map(() => openStream(server)))
    const resuming = streams.flatMap((stream) =>
      range(0, 4).map((n) => {
        const sessions = cursors(500).slice(100 * n, 100 * n + 100)
        return stream.post('reconnect', { type: 'reconnect', resumeId: `r${n}`, sessions })
      }),
    )
    let isResumed = false
    void Promise.all(resuming).then(() => {
      isResumed = true
    })
    for (let ms = 0; !isResumed && ms < 60_000; ms += 100) await clock.advance(100)
    const looks = vi.spyOn(Pacer.prototype, 'delay')
    await clock.advance(2_000)
    expect(looks.mock.calls.length).toBeGreaterThan(0)
    expect(looks.mock.calls.length).toBeLessThan(4_000)
    looks.mockRestore()
    const isAll = () => streams.every(({ events }) => events.length === 10_000)
    for (let s = 0; !isAll() && s < 300; s += 1) await clock.advance(1_000)
    // None is forgotten while it waits, nor kept from its marker.
    for (const { events, ofType } of streams) {
      expect(events).toHaveLength(10_000)
      expect(new Set(events).size).toBe(10_000)
      expect(ofType('reconnected')).toHaveLength(5)
    }
  }, 60_000)

  test('whose session is detached meanwhile hold up none of the others', async () => {
    const { server, clock } = createTestServer({ limits: { replayRate: 65_536 } })
    const text = 'x'.repeat(10_000)
    for (const { sessionId } of cursors(6)) {
      for (const _ of range(1, 5)) await server.publish(sessionId, { type: 'said', text })
    }
    const stream = await openStream(server)
    await stream.post('reconnect', { type: 'reconnect', resumeId: 'r', sessions: cursors(6) })
    await clock.advance(500)
    for (const n of [1, 2, 3]) await stream.post('unwatch', { type: 'unwatch', sessionId: `room-${n}` })
    await clock.advance(20_000)
    for (const n of [4, 5, 6]) expect(stream.events.filter((event) => event.startsWith(`room-${n}:`))).toHaveLength(5)
    expect(stream.ofType('reconnected')).toHaveLength(1)
  })
})

describe('C100: streams that have just ended', () => {
  test('of one principal are not forgotten for another’s, however many it opens', async () => {
    const farewells: unknown[] = []
    const { server } = createTestServer({
      onSuspend: ({ principal, sessions }) => {
        farewells.push([principal.id, sessions.length])
      },
    })
    const bob = await openStream(server, 'bob')
    await bob.watch('bob-1')
    await bob.cancel()
    for (const _ of range(1, 10_001)) await (await getEvents(server)).body?.cancel()
    const farewell = { type: 'session_suspend', sessions: [{ sessionId: 'bob-1', lastSeq: 0 }] }
    expect((await bob.post('suspend', farewell)).status).toBe(200)
    expect(farewells).toEqual([['bob', 1]])
  })
})

test('C105: a suspend has the pace of a resume: `authorize`, and other processes, are asked about as many sessions', async () => {
  const asked: string[] = []
  const { server, clock } = createTestServer({
    authorize: (_, sessionId) => {
      asked.push(sessionId)
      return true
    },
  })
  const stream = await openStream(server)
  await stream.post('reconnect', { type: 'reconnect', sessions: cursors(100) })
  asked.length = 0
  const suspending = range(1, 50).map(() => stream.post('suspend', { type: 'session_suspend', sessions: cursors(100) }))
  await settle(50)
  expect(asked.length).toBeLessThan(1_200)
  await clock.advance(10_000)
  for (const { status } of await Promise.all(suspending)) expect(status).toBe(200)
  expect(asked).toHaveLength(5_000)
})

describe('C98: commands of one session', () => {
  test('of several principals take turns: nobody stands behind all that another one has sent', async () => {
    const ran: string[] = []
    const commands = manualCommands()
    const { server } = createTestServer({
      onCommand: (call) => {
        ran.push(String(call.message.name))
        return commands.onCommand(call)
      },
    })
    const [eve, bob] = [await openStream(server, 'eve'), await openStream(server, 'bob')]
    // Without a key nothing is hashed, so no other thread decides who is first.
    const send = (stream: typeof eve, name: string) => stream.post('send', { type: 'send', sessionId: 'room', name })
    const answers = range(1, 30).map((n) => send(eve, `eve-${n}`))
    await until(() => ran.length === 1, 'the first')
    await settle(50)
    answers.push(...range(1, 3).map((n) => send(bob, `bob-${n}`)))
    await settle(50)
    let isDone = false
    void Promise.all(answers).then(() => {
      isDone = true
    })
    while (!isDone) {
      commands.endNext()
      await settle(2)
    }
    const places = range(1, 3).map((n) => ran.indexOf(`bob-${n}`))
    expect(Math.max(...places)).toBeLessThan(10)
    for (const who of ['eve', 'bob']) {
      const own = ran.filter((key) => key.startsWith(who))
      expect(own).toEqual(range(1, own.length).map((n) => `${who}-${n}`))
    }
    expect(ran).toHaveLength(33)
  })

  test('are one at a time, whoever they are of', async () => {
    let running = 0
    let most = 0
    const commands = manualCommands()
    const { server } = createTestServer({
      onCommand: async (call) => {
        running += 1
        most = Math.max(most, running)
        await commands.onCommand(call)
        running -= 1
      },
    })
    const streams = await Promise.all(['eve', 'bob', 'alice'].map((who) => openStream(server, who)))
    const answers = range(1, 30).map((n) =>
      streams[n % 3]?.post('send', { type: 'send', sessionId: 'room' }, { key: `k${n}` }),
    )
    let isDone = false
    void Promise.all(answers).then(() => {
      isDone = true
    })
    while (!isDone) {
      await settle(2)
      commands.endNext()
    }
    expect([most, commands.calls.length]).toEqual([1, 30])
  })
})

test('C98: a server that closes does not run what has not begun, and waits for what has', async () => {
  const commands = manualCommands()
  const { server } = createTestServer({ onCommand: commands.onCommand })
  const stream = await openStream(server)
  const statuses: number[] = []
  for (const n of range(1, 20)) {
    const posted = stream.post('send', { type: 'send', sessionId: 'room' }, { key: `k${n}` })
    void posted.then(({ status }) => statuses.push(status))
    if (n === 1) await until(() => commands.running === 1, 'the first')
  }
  await settle(50)
  let state: 'closing' | 'closed' = 'closing'
  void server.close().then(() => {
    state = 'closed'
  })
  await until(() => statuses.length === 19, 'what has not begun')
  expect([state, new Set(statuses)]).toEqual(['closing', new Set([503])])
  commands.endNext()
  await until(() => state === 'closed', 'the end')
  await until(() => statuses.length === 20, 'the last answer')
  expect([commands.calls.length, statuses.at(-1)]).toEqual([1, 200])
})

test('a stranger who is refused in many ways does not use up what the operator is told of other settings', async () => {
  const { server, errors } = createTestServer({ allowedHosts: ['chat.test'] })
  for (const n of range(1, 200)) await post(server, 'send', '{}', { headers: { Origin: `https://evil-${n}.example` } })
  const told = errors.length
  expect(told).toBeLessThanOrEqual(100)
  await server.fetch(new Request('http://other.test/api/events', { headers: { Authorization: 'alice' } }))
  expect(errors.slice(told).map(String)).toEqual([expect.stringContaining('is not in allowedHosts')])
})
