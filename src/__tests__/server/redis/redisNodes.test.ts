import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type ChatServerOptions, type CommandCall, CommandRejected, type Metric } from '../../../server'
import { redisLog } from '../../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../../support/redis'
import { startRedisProxy } from '../../support/redisProxy'
import {
  answer,
  createTestServer,
  fakeClock,
  manualCommands,
  openStream,
  type PostOptions,
  post,
  range,
  settle,
} from '../../support/server'

describeWithRedis('two processes behind a balancer that knows no mercy', () => {
  let redis: RedisServer
  const opened: { close(): void }[] = []
  let rooms = 0
  const newRoom = () => `room${++rooms}`

  /** A process: its server, its log, and the clock of the latter. */
  function start(overrides: Partial<ChatServerOptions> = {}, url = redis.url) {
    const clock = fakeClock()
    const log = redisLog({ url, clock })
    opened.push(log)
    const metrics: Metric[] = []
    const started = createTestServer({ log, onMetric: (metric) => metrics.push(metric), ...overrides })
    return { ...started, log, logClock: clock, metrics }
  }
  type Process = ReturnType<typeof start>

  /** A stream of one, whose POSTs all come to the other. */
  async function connect(here: Process, there: Process, as = 'alice') {
    const stream = await openStream(here.server, as)
    // Its channel has to stand before it can be reached.
    await expect.poll(() => redis.admin.publish(channelOf(nodeOf(stream)), '')).toBe(1)
    const { connectionId } = stream
    return {
      ...stream,
      get events() {
        return stream.events
      },
      get ending() {
        return stream.ending
      },
      post: (endpoint: string, body: unknown, options: PostOptions = {}) =>
        post(there.server, endpoint, body, { as, connectionId, ...options }),
    }
  }

  /**
   * Another process, as far as Redis knows: it keeps what it is told, and answers each question the
   * same, or not at all.
   */
  async function startPeer(name: string, told?: unknown) {
    const client = redis.admin.duplicate()
    const heard: { readonly id: string; readonly from: string; readonly answer?: unknown }[] = []
    client.on('message', async (_, id) => {
      const message = { id, ...JSON.parse((await redis.admin.get(mailOf(id))) ?? '') }
      heard.push(message)
      if (told !== undefined) void tell(message.from, { re: id, answer: told })
    })
    await client.subscribe(channelOf(name))
    return { heard, leave: () => client.disconnect() }
  }
  /** A process asks a peer that hears, and does not answer. */
  async function askPeer(name: string) {
    const there = start()
    const peer = await startPeer(name)
    const watch = { type: 'watch', ...cursor('room') }
    const answering = post(there.server, 'watch', watch, { connectionId: streamOf(name) })
    await expect.poll(() => peer.heard).toHaveLength(1)
    return { there, peer, answering }
  }
  const channelOf = (name: string) => `holdline:node:${name}`
  const mailOf = (id: string) => `holdline:mail:${id}`
  let mails = 0
  /** As processes do it: the message stands under a key, and who is to read it is woken. */
  async function tell(name: string, message: object, id = `me.${++mails}`) {
    await redis.admin.set(mailOf(id), JSON.stringify({ to: name, ...message }), 'PX', 10_000)
    return redis.admin.publish(channelOf(name), id)
  }
  const streamOf = (name: string) => `${name}.${'A'.repeat(22)}`
  const nodeOf = ({ connectionId }: { connectionId: string }) => connectionId.split('.')[0] ?? ''

  /** The keys of the commands that somebody is running. */
  async function claims() {
    const keys = await redis.admin.keys('holdline:receipt:*')
    const values = await Promise.all(keys.map((key) => redis.admin.get(key)))
    return keys.filter((_, index) => values[index]?.includes('claimedBy'))
  }

  /** Lets the second look come, 250 ms later. */
  async function looking(process: Process, asking: Promise<Response>) {
    await expect.poll(() => process.logClock.timers).toBe(2)
    await process.logClock.advance(250)
    return asking
  }

  const send = (sessionId: string, more = {}) => ({ type: 'send', sessionId, ...more })
  const cursor = (sessionId: string, lastSeq = 0) => ({ sessionId, lastSeq })

  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(() => {
    for (const log of opened.splice(0)) log.close()
  })
  afterAll(() => redis.stop())

  test('a resume through another process replays on the stream, with verdicts and marker', async () => {
    const [here, there] = [start(), start()]
    const [room, gone] = [newRoom(), 'gone1']
    for (const n of range(1, 40)) await there.server.publish(room, { type: 'x', n })
    const stream = await connect(here, there)
    const sessions = [cursor(room, 10), cursor(gone, 3), cursor('bobs', 1)]
    const [status, body] = await answer(stream.post('reconnect', { type: 'reconnect', resumeId: 'r1', sessions }))
    const verdicts = [
      { sessionId: room, status: 'resumed', from: 10, to: 40, epoch: expect.any(String) },
      { sessionId: gone, status: 'gone', from: 3, to: 3 },
      { sessionId: 'bobs', status: 'forbidden', from: 1, to: 1 },
    ]
    expect([status, body]).toEqual([200, { ok: true, sessions: verdicts }])
    await expect
      .poll(() => stream.ofType('reconnected'))
      .toEqual([{ type: 'reconnected', resumeId: 'r1', sessions: verdicts }])
    expect(stream.events).toEqual(range(11, 40).map((seq) => `${room}:${seq}`))
    await there.server.publish(room, { type: 'x' })
    await expect.poll(() => stream.events.at(-1)).toBe(`${room}:41`)
    expect(there.metrics).toContainEqual({ name: 'forwarded', value: 1 })
    expect(there.metrics).toContainEqual({ name: 'replays', value: 30 })
  })

  test('watch, unwatch and probe reach the stream', async () => {
    const [here, there] = [start(), start()]
    const room = newRoom()
    await here.server.publish(room, { type: 'x' })
    const stream = await connect(here, there)
    expect((await stream.post('watch', { type: 'watch', ...cursor(room) })).status).toBe(200)
    await expect.poll(() => stream.events).toEqual([`${room}:1`])
    expect((await stream.post('watch', { type: 'watch', ...cursor('bobs') })).status).toBe(403)
    expect((await stream.post('probe', { type: 'probe', nonce: 'n1' })).status).toBe(200)
    await expect.poll(() => stream.ofType('probe')).toEqual([{ type: 'probe', nonce: 'n1' }])
    // That of the regular look: none is left behind by an answer.
    expect(there.logClock.timers).toBe(1)
    expect((await stream.post('unwatch', { type: 'unwatch', sessionId: room })).status).toBe(200)
    await here.server.publish(room, { type: 'x' })
    await stream.post('probe', { type: 'probe', nonce: 'n2' })
    await expect.poll(() => stream.ofType('probe')).toHaveLength(2)
    expect(stream.events).toEqual([`${room}:1`])
  })

  test('suspend tells of the sessions that the stream is attached to', async () => {
    const onSuspend = vi.fn()
    const [here, there] = [start(), start({ onSuspend })]
    const room = newRoom()
    const stream = await connect(here, there)
    await stream.post('watch', { type: 'watch', ...cursor(room) })
    const sessions = [cursor(room, 7), cursor('room-other', 1)]
    expect((await stream.post('suspend', { type: 'session_suspend', sessions })).status).toBe(200)
    expect(onSuspend).toHaveBeenCalledWith({
      principal: { id: 'alice' },
      connectionId: stream.connectionId,
      sessions: [cursor(room, 7)],
    })
  })

  test('C114: a farewell reaches the app after the end of its stream, in whichever process that was', async () => {
    const onSuspend = vi.fn()
    const [here, there] = [start(), start({ onSuspend })]
    const room = newRoom()
    const stream = await connect(here, there)
    await stream.post('watch', { type: 'watch', ...cursor(room) })
    await stream.cancel()
    const sessions = [cursor(room, 7), cursor('room-other', 1)]
    expect((await stream.post('suspend', { type: 'session_suspend', sessions })).status).toBe(200)
    expect(onSuspend).toHaveBeenCalledWith(expect.objectContaining({ sessions: [cursor(room, 7)] }))
    expect((await stream.post('watch', { type: 'watch', ...cursor(room) })).status).toBe(404)
  })

  test('a command runs where it arrives, and whoever sent it hears what comes of it', async () => {
    const calls: CommandCall[] = []
    const here = start({ onCommand: () => expect.unreachable() })
    const there = start({
      async onCommand(call) {
        calls.push(call)
        const { seq } = await call.publish(String(call.sessionId), { type: 'reply' })
        return { seq }
      },
    })
    const room = newRoom()
    const stream = await connect(here, there)
    await there.server.publish(room, { type: 'from before' })
    expect(await answer(stream.post('send', send(room), { key: 'k1' }))).toEqual([200, { seq: 2 }])
    expect(calls).toMatchObject([{ connectionId: stream.connectionId, sessionId: room, idempotencyKey: 'k1' }])
    await expect.poll(() => stream.events).toEqual([`${room}:2`])
    // Without a session, and several at once.
    const messages = [
      { id: 'b1', endpoint: 'send', body: send(room) },
      { id: 'b2', endpoint: 'send', body: send(room) },
    ]
    const [, { results }] = await answer(stream.post('batch', { type: 'batch', messages }))
    expect(results).toMatchObject([{ receipt: { seq: 3 } }, { receipt: { seq: 4 } }])
    await expect.poll(() => stream.events).toEqual(range(2, 4).map((seq) => `${room}:${seq}`))
  })

  test("another's stream, and one that was never given out, are unknown in every process", async () => {
    const [here, there] = [start(), start()]
    const stream = await connect(here, there)
    const bobs = { as: 'bob', connectionId: stream.connectionId }
    const never = { connectionId: streamOf(nodeOf(stream)) }
    for (const options of [bobs, never]) {
      const sessions = [cursor('room')]
      expect((await post(there.server, 'reconnect', { type: 'reconnect', sessions }, options)).status).toBe(404)
      expect((await post(there.server, 'send', send('room'), options)).status).toBe(404)
      expect((await post(there.server, 'send', { type: 'stop' }, options)).status).toBe(400)
      expect((await post(there.server, 'stop', { type: 'stop' }, options)).status).toBe(404)
      const messages = [{ id: 'b1', endpoint: 'stop', body: { type: 'stop' } }]
      expect((await post(there.server, 'batch', { type: 'batch', messages }, options)).status).toBe(404)
    }
  })

  test('a POST for the stream of a process that is no more is answered 404, after a second look', async () => {
    const onCommand = vi.fn()
    const [here, there] = [start(), start({ onCommand })]
    const stream = await connect(here, there)
    here.log.close()
    await expect.poll(() => redis.admin.publish(channelOf(nodeOf(stream)), '')).toBe(0)
    expect((await looking(there, stream.post('send', send('room')))).status).toBe(404)
    expect((await looking(there, stream.post('reconnect', { type: 'reconnect', sessions: [] }))).status).toBe(404)
    expect(there.logClock.timers).toBe(1)
    expect(onCommand).not.toHaveBeenCalled()
  })

  test('a process whose subscription is just being renewed is found at the second look', async () => {
    const there = start()
    const connectionId = streamOf('late')
    const asking = post(there.server, 'probe', { type: 'probe', nonce: 'n' }, { connectionId })
    await expect.poll(() => there.logClock.timers).toBe(2)
    const late = await startPeer('late', { status: 200, json: 'null' })
    await there.logClock.advance(250)
    expect((await asking).status).toBe(200)
    expect(there.logClock.timers).toBe(1)
    late.leave()
  })

  test('a process that does not answer within 5 s is one to try again: 503', async () => {
    const { there, peer: zombie, answering } = await askPeer('zombie')
    // Now and then it is looked whether the process still is there. It is.
    let looks = 0
    let response: Response | undefined
    void answering.then((answered) => {
      response = answered
    })
    for (;;) {
      await expect.poll(() => there.logClock.timers > 1 || response !== undefined).toBe(true)
      if (response) break
      await there.logClock.advance(250)
      looks += 1
    }
    expect(looks).toBe(20)
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '1'])
    // What comes later is nobody's.
    const [{ id, from } = { id: '', from: '' }] = zombie.heard
    expect(await tell(from, { re: id, answer: { status: 200, json: 'null' } })).toBe(1)
    await settle()
    expect(there.errors).toEqual([])
    zombie.leave()
  })

  test('a process that dies with the question is gone, and not silent', async () => {
    const { there, peer: dying, answering } = await askPeer('dying')
    dying.leave()
    await expect.poll(() => redis.admin.pubsub('NUMSUB', channelOf('dying'))).toEqual([channelOf('dying'), 0])
    await there.logClock.advance(250)
    expect((await answering).status).toBe(404)
    // That of the regular look.
    expect(there.logClock.timers).toBe(1)
  })

  test('what another version asks, and what is no question at all, harms nobody', async () => {
    const [here, there] = [start(), start()]
    const stream = await connect(here, there)
    const me = await startPeer('me')
    for (const nonsense of ['', '{', 'null', '[]', '7', '{"answer":{}}', '{"from":1}']) {
      await redis.admin.publish(channelOf(nodeOf(stream)), nonsense)
      await redis.admin.set(mailOf('odd.1'), nonsense)
      await redis.admin.publish(channelOf(nodeOf(stream)), 'odd.1')
    }
    await redis.admin.del(mailOf('odd.1'))
    const { connectionId } = stream
    for (const call of [undefined, null, {}, { type: 'later' }, { type: 'join', sessionId: 'room' }]) {
      await tell(nodeOf(stream), {
        from: 'me',
        request: { principalId: 'alice', connectionId, call },
      })
    }
    await expect.poll(() => me.heard).toHaveLength(5)
    for (const told of me.heard) expect(told).toMatchObject({ answer: { status: 503 } })
    expect((await stream.post('probe', { type: 'probe', nonce: 'n' })).status).toBe(200)
    expect(here.errors).toEqual([])
    me.leave()
  })

  test.each([
    [[]],
    [{}],
    [{ status: 999, json: 'null' }],
    [{ status: 101, json: 'null' }],
    [{ status: 204, json: 'null' }],
    [{ status: 200, json: '{' }],
    [{ status: 200, json: 7 }],
    [{ status: 404.5, json: 'null', headers: { 'no header': 1 } }],
  ])('the answer %j of another process is none: 503', async (told) => {
    const onCommand = vi.fn()
    const there = start({ onCommand })
    const odd = await startPeer('odd', told)
    const connectionId = streamOf('odd')
    await expect.poll(() => redis.admin.call('PUBSUB', 'CHANNELS', channelOf('*'))).toHaveLength(2)
    expect((await post(there.server, 'send', send('room'), { connectionId })).status).toBe(503)
    expect(onCommand).not.toHaveBeenCalled()
    odd.leave()
  })

  test('a question that comes twice, as after a reconnect, is carried out once', async () => {
    const [here, there] = [start(), start()]
    const stream = await connect(here, there)
    const { connectionId } = stream
    const me = await startPeer('me')
    const room = newRoom()
    for (const id of [1, 1, 2]) {
      const call = { type: 'echo', nonce: String(id) }
      await tell(nodeOf(stream), { from: 'me', request: { principalId: 'alice', connectionId, call } }, `${room}.${id}`)
    }
    await expect.poll(() => me.heard).toHaveLength(2)
    await expect.poll(() => stream.ofType('probe').map(({ nonce }) => nonce)).toEqual(['1', '2'])
    me.leave()
  })

  test('a repeat gets the same receipt in every process, and something else under its key a 409', async () => {
    const ran: unknown[] = []
    const onCommand = ({ message }: CommandCall) => ({ ran: ran.push(message.n) })
    const [here, there] = [start({ onCommand }), start({ onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    const receipt = [200, { ran: 1 }]
    expect(await answer(stream.post('send', send(room), { key }))).toEqual(receipt)
    const { connectionId } = stream
    expect(await answer(post(here.server, 'send', send(room), { connectionId, key }))).toEqual(receipt)
    expect(await answer(stream.post('send', send(room), { key }))).toEqual(receipt)
    for (const { server } of [here, there]) {
      const other = answer(post(server, 'send', send(room, { n: 2 }), { connectionId, key }))
      expect(await other).toEqual([409, { error: 'id-reused' }])
    }
    expect(ran).toHaveLength(1)
    // Keys are of one principal.
    const bobs = await connect(here, there, 'bob')
    expect(await answer(bobs.post('send', send(room), { key }))).toEqual([200, { ran: 2 }])
  })

  test('a process that never ran the command knows which one it was', async () => {
    const onCommand = ({ message }: CommandCall) => ({ n: message.n })
    const [here, there] = [start({ onCommand }), start({ onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const { connectionId } = stream
    const key = `k-${room}`
    expect(await answer(stream.post('send', send(room, { n: 1 }), { key }))).toEqual([200, { n: 1 }])
    const elsewhere = (n: number) => answer(post(here.server, 'send', send(room, { n }), { connectionId, key }))
    expect(await elsewhere(2)).toEqual([409, { error: 'id-reused' }])
    expect(await elsewhere(1)).toEqual([200, { n: 1 }])
  })

  test('what is known of a command is kept for as long as `limits.receiptAge` says, in whole ms', async () => {
    const onCommand = ({ publish, sessionId = '' }: CommandCall) => publish(sessionId, { type: 'x' })
    const [here, there] = [start(), start({ onCommand, limits: { receiptAge: 86_400_000 / 7 } })]
    await redis.admin.flushall()
    const room = newRoom()
    const stream = await connect(here, there)
    expect((await stream.post('send', send(room), { key: `k-${room}` })).status).toBe(200)
    const keys = await redis.admin.keys('*')
    const kept = keys.filter((key) => key.includes(':once:') || key.includes(':receipt:'))
    expect(kept).toHaveLength(2)
    for (const key of kept) {
      const ms = await redis.admin.pttl(key)
      expect(ms).toBeGreaterThan(12_000_000)
      expect(ms).toBeLessThanOrEqual(12_342_858)
    }
  })

  test('a stream that is attached stays where it is when it is asked to join', async () => {
    const here = start()
    const stream = await openStream(here.server)
    const room = newRoom()
    await stream.watch(room)
    const { epoch } = await here.server.publish(room, { type: 'x' })
    const { connectionId } = stream
    const call = { type: 'join', sessionId: room, after: 0, epoch }
    const me = await startPeer('me')
    const question = { from: 'me', request: { principalId: 'alice', connectionId, call } }
    await expect.poll(() => tell(nodeOf(stream), question)).toBe(1)
    await expect.poll(() => me.heard).toHaveLength(1)
    await here.server.publish(room, { type: 'x' })
    await expect.poll(() => stream.events).toEqual([`${room}:1`, `${room}:2`])
    me.leave()
  })

  test('a stream of its own that is unknown is no question to anybody', async () => {
    const here = start()
    const unknown = streamOf(nodeOf(await openStream(here.server)))
    expect((await post(here.server, 'stop', { type: 'stop' }, { connectionId: unknown })).status).toBe(404)
    expect(here.metrics).not.toContainEqual({ name: 'forwarded', value: 1 })
  })

  describe('C100: the receipts of one principal', () => {
    const limits = { receipts: 32 }
    const sending = (stream: Awaited<ReturnType<typeof startPair>>, from: number, to: number) =>
      Promise.all(range(from, to).map((n) => answer(stream.post('send', send(stream.room, { n }), { key: `k${n}` }))))
    const receipts = async () => (await redis.admin.keys('holdline:receipt:*')).length
    const quotas = () => redis.admin.keys('holdline:quota:*')
    const ran: unknown[] = []
    const onCommand = ({ message }: CommandCall) => ran.push(message.n)
    /** As if they had been claimed earlier. */
    async function age(ms: number) {
      for (const quota of await quotas()) {
        for (const hash of await redis.admin.zrange(quota, 0, '-1')) {
          await redis.admin.zincrby(quota, -ms, hash)
        }
      }
    }
    beforeEach(async () => {
      ran.length = 0
      await redis.admin.flushall()
    })
    async function startPair(as = 'alice') {
      const [here, there] = [start({ onCommand, limits }), start({ onCommand, limits })]
      return Object.assign(await connect(here, there, as), { here, there, room: newRoom() })
    }

    test('are an eighth of all: beyond, a command is answered 429 before it runs, and a repeat gets its receipt', async () => {
      const stream = await startPair()
      const answers = await sending(stream, 1, 6)
      expect(answers.map(([status]) => status).sort()).toEqual([200, 200, 200, 200, 429, 429])
      expect(ran).toHaveLength(4)
      expect(await receipts()).toBe(4)
      const refused = await stream.post('send', send(stream.room, { n: 9 }), { key: 'k9' })
      expect([refused.status, await refused.json()]).toEqual([429, { error: 'too-many-receipts' }])
      expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(250)
      const repeated = await sending(stream, 1, 6)
      expect(repeated).toEqual(answers)
      expect(ran).toHaveLength(4)
      // What was refused is no receipt: with room it runs.
      await age(900_000)
      expect((await sending(stream, 1, 6)).map(([status]) => status)).toEqual(Array(6).fill(200))
    })

    test('are kept for 15 min at least; then the oldest gives way, one for each new one', async () => {
      const stream = await startPair()
      for (const n of range(1, 4)) await sending(stream, n, n)
      await age(899_000)
      expect((await sending(stream, 5, 5))[0]?.[0]).toBe(429)
      await age(1_000)
      expect((await sending(stream, 5, 5))[0]?.[0]).toBe(200)
      expect(await receipts()).toBe(4)
      const { connectionId } = stream
      // In a process that has not run it. The second one is still known, the first is not.
      const elsewhere = (n: number) =>
        answer(post(stream.here.server, 'send', send(stream.room, { n }), { connectionId, key: `k${n}` }))
      expect(await elsewhere(2)).toEqual([200, 2])
      expect(ran).toEqual([1, 2, 3, 4, 5])
    })

    test('do not count against anybody else', async () => {
      const [alices, bobs] = [await startPair(), await startPair('bob')]
      await sending(alices, 1, 8)
      const answers = await sending(bobs, 1, 4)
      expect(answers.map(([status]) => status)).toEqual([200, 200, 200, 200])
    })

    test('are given back by a command that failed, and go with their age', async () => {
      let isDown = true
      const failing = (call: CommandCall) => {
        if (isDown) throw new Error('down')
        return onCommand(call)
      }
      const here = start({ onCommand: failing, limits })
      const stream = Object.assign(await connect(here, here), { here, there: here, room: newRoom() })
      for (const n of range(1, 8)) expect((await sending(stream, n, n))[0]?.[0]).toBe(500)
      isDown = false
      expect((await sending(stream, 1, 4)).map(([status]) => status)).toEqual([200, 200, 200, 200])
      const [quota = ''] = await quotas()
      expect(await redis.admin.pttl(quota)).toBeGreaterThan(86_000_000)
      await age(86_400_001)
      await sending(stream, 5, 5)
      expect(await redis.admin.zcard(quota)).toBe(1)
    })
  })

  test('C106: a receipt that is none is told by name, and its command is not run: it may have been', async () => {
    const onCommand = vi.fn(() => 'done')
    const [here, there] = [start({ onCommand }), start({ onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    await redis.admin.flushall()
    expect((await stream.post('send', send(room), { key })).status).toBe(200)
    const [receipt = ''] = await redis.admin.keys('holdline:receipt:*')
    const elsewhere = () => post(here.server, 'send', send(room), { connectionId: stream.connectionId, key })
    for (const nonsense of [
      '',
      'abc',
      '[]',
      '{"fingerprint":7}',
      '{"fingerprint":"f","answer":{"status":"x","json":"1"}}',
    ]) {
      await redis.admin.set(receipt, nonsense)
      expect((await elsewhere()).status).toBe(503)
      expect(String(here.errors.at(-1))).toContain(`${receipt} holds no receipt`)
    }
    expect(onCommand).toHaveBeenCalledTimes(1)
  })

  test('how a command was rejected, and what may not be run any more, is known to all', async () => {
    const onCommand = vi.fn(() => {
      throw new CommandRejected(422, 'no')
    })
    let mayWrite = true
    const authorize = () => mayWrite
    const [here, there] = [start({ onCommand, authorize }), start({ onCommand, authorize })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    expect(await answer(stream.post('send', send(room), { key }))).toEqual([422, { error: 'no' }])
    mayWrite = false
    const { connectionId } = stream
    expect(await answer(post(here.server, 'send', send(room), { connectionId, key }))).toEqual([422, { error: 'no' }])
    // What was attached to that stream may not be read any more, so it ends.
    await here.clock.advance(100)
    await expect.poll(() => stream.ending).toBe('ended')
    const { connectionId: next } = await openStream(here.server)
    expect(await answer(post(here.server, 'send', send(room), { connectionId: next, key: `${key}2` }))).toEqual([
      403,
      { error: 'forbidden' },
    ])
    expect(onCommand).toHaveBeenCalledTimes(1)
  })

  test('a repeat that comes while another process runs the command waits for its receipt', async () => {
    const manual = manualCommands()
    const [here, there] = [start({ onCommand: manual.onCommand }), start({ onCommand: manual.onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    const first = answer(stream.post('send', send(room), { key }))
    await expect.poll(() => manual.running).toBe(1)
    const second = answer(post(here.server, 'send', send(room), { connectionId: stream.connectionId, key }))
    await expect.poll(() => here.logClock.timers).toBeGreaterThan(1)
    manual.endNext()
    expect(await first).toEqual([200, { n: 1 }])
    let isAnswered = false
    void second.then(() => (isAnswered = true))
    await expect
      .poll(async () => {
        await here.logClock.advance(200)
        return isAnswered
      })
      .toBe(true)
    expect(await second).toEqual([200, { n: 1 }])
    expect(manual.calls).toHaveLength(1)
  })

  test('a long command keeps its claim', async () => {
    const manual = manualCommands()
    const [here, there] = [start(), start({ onCommand: manual.onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const first = answer(stream.post('send', send(room), { key: `k-${room}` }))
    await expect.poll(() => manual.running).toBe(1)
    const [receipt = ''] = await claims()
    await redis.admin.pexpire(receipt, 100_000)
    await there.logClock.advance(2_000)
    // Renewed: what is left is the length of a claim again.
    await expect.poll(() => redis.admin.pttl(receipt)).toBeLessThanOrEqual(6_000)
    manual.endNext()
    expect(await first).toEqual([200, { n: 1 }])
    await expect.poll(() => redis.admin.pttl(receipt)).toBeGreaterThan(6_000)
    // That of the regular look.
    expect(there.logClock.timers).toBe(1)
  })

  test('whoever has lost a claim does not overwrite what the next one says', async () => {
    const manual = manualCommands()
    const [here, there] = [start(), start({ onCommand: manual.onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const first = answer(stream.post('send', send(room), { key: `k-${room}` }))
    await expect.poll(() => manual.running).toBe(1)
    const [receipt = ''] = await claims()
    await redis.admin.set(receipt, '{"fingerprint":"other"}')
    await there.logClock.advance(2_000)
    manual.endNext()
    // It was run, and says so.
    expect(await first).toEqual([200, { n: 1 }])
    expect(await redis.admin.get(receipt)).toBe('{"fingerprint":"other"}')
  })

  test('a claim whose answer was lost is found to be its own', async () => {
    const proxy = await startRedisProxy(redis.port)
    opened.push(proxy)
    const [here, there] = [start(), start({}, proxy.url)]
    const room = newRoom()
    const stream = await connect(there, there)
    await here.server.publish(room, { type: 'x' })
    await stream.post('watch', { type: 'watch', ...cursor(room) })
    // Of a session that has begun nothing is asked before the claim.
    await expect.poll(() => stream.events).toHaveLength(1)
    expect(here.errors).toEqual([])
    proxy.mode = 'swallow answers'
    const sent = answer(stream.post('send', send(room), { key: `k-${room}` }))
    await expect.poll(claims).toHaveLength(1)
    proxy.mode = 'pass'
    proxy.cut()
    expect(await sent).toEqual([200, { took: 'send' }])
  })

  test('a command whose process died is run again, and what it published is not published twice', async () => {
    const dies = async (call: CommandCall) => {
      await call.publish(String(call.sessionId), { type: 'one' })
      return new Promise(() => {})
    }
    const lives = async (call: CommandCall) => {
      const { seq } = await call.publish(String(call.sessionId), { type: 'one' })
      const other = await call.publish(String(call.sessionId), { type: 'two' })
      return [seq, other.seq]
    }
    const [here, there] = [start({ onCommand: lives }), start({ onCommand: dies })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    void stream.post('send', send(room), { key })
    await expect.poll(() => stream.events).toEqual([`${room}:1`])
    there.log.close()
    // As if the claim had run out.
    await redis.admin.del(await claims())
    const again = answer(post(here.server, 'send', send(room), { connectionId: stream.connectionId, key }))
    expect(await again).toEqual([200, [1, 2]])
    expect((await here.log.read(room, 0, 10)).map(({ event }) => event.type)).toEqual(['one', 'two'])
  })

  test('a failed command leaves no claim behind: the repeat runs', async () => {
    const onCommand = vi.fn((): unknown => {
      throw new Error('no')
    })
    const [here, there] = [start(), start({ onCommand })]
    const room = newRoom()
    const stream = await connect(here, there)
    const key = `k-${room}`
    expect((await stream.post('send', send(room), { key })).status).toBe(500)
    onCommand.mockReturnValue('done')
    expect(await answer(stream.post('send', send(room), { key }))).toEqual([200, 'done'])
  })

  test('a process that has said goodbye is not reached any more, and the others go on', async () => {
    const [here, there] = [start(), start()]
    const room = newRoom()
    const stream = await connect(here, there)
    await stream.post('watch', { type: 'watch', ...cursor(room) })
    await here.server.close({ retryAfter: 10, spread: 20_000 })
    await expect.poll(() => stream.ending).toBe('ended')
    expect(stream.ofType('goodbye')).toEqual([{ type: 'goodbye', retryAfter: 10, spread: 20_000 }])
    const watch = () => stream.post('watch', { type: 'watch', ...cursor(room) })
    expect((await looking(there, watch())).status).toBe(404)
    await redis.cut()
    await expect.poll(async () => (await here.log.head(room)).head).toBe(0)
    expect((await looking(there, watch())).status).toBe(404)
    // Its log is open: what was going on there can be told to the end.
    await here.server.publish(room, { type: 'last words' })
    const next = await connect(there, there)
    await next.post('reconnect', { type: 'reconnect', sessions: [cursor(room)] })
    await expect.poll(() => next.events).toEqual([`${room}:1`])
  })

  describe('C104: a revocation', () => {
    const watch = (sessionId: string) => ({ type: 'watch', ...cursor(sessionId) })

    test('ends the streams of all processes, at once, and no other', async () => {
      const [here, there] = [start(), start()]
      const room = newRoom()
      const streams = [await connect(here, there), await connect(there, here), await connect(there, here, 'bob')]
      for (const stream of streams) expect((await stream.post('watch', watch(room))).status).toBe(200)
      await there.server.revoke('alice', room)
      await expect.poll(() => streams.map(({ ending }) => ending)).toEqual(['ended', 'ended', 'open'])
      const [alice, bob] = [await connect(here, there), streams[2]]
      await there.server.revoke('alice')
      await expect.poll(() => alice.ending).toBe('ended')
      expect(bob?.ending).toBe('open')
    })

    test('whose wake-up was lost is found with the next look; that of the process itself is no news to it', async () => {
      const here = start()
      const revoking = here.server.revoke('alice')
      const stream = await openStream(here.server)
      await revoking
      await here.logClock.advance(10_000)
      await settle(50)
      expect(stream.ending).toBe('open')
      await redis.admin.xadd('holdline:revocations', '*', 'e', '{"node":"another","principalId":"alice"}')
      await here.logClock.advance(10_000)
      await expect.poll(() => stream.ending).toBe('ended')
    })

    test('is read from Redis and not believed of a message; what is none is passed over', async () => {
      const here = start()
      const stream = await connect(here, here)
      for (const json of ['no JSON', 'null', '7', '{"principalId":7}', '{"principalId":"alice","sessionId":7}']) {
        await redis.admin.xadd('holdline:revocations', '*', 'e', json)
        await redis.admin.publish('holdline:revocations', '{"node":"another","principalId":"alice"}')
      }
      await settle(50)
      await redis.admin.xadd('holdline:revocations', '*', 'e', '{"node":"another","principalId":"bob"}')
      const bob = await openStream(here.server, 'bob')
      await redis.admin.xadd('holdline:revocations', '*', 'e', '{"node":"another","principalId":"bob"}')
      await redis.admin.publish('holdline:revocations', '')
      await expect.poll(() => bob.ending).toBe('ended')
      expect([stream.ending, here.errors]).toEqual(['open', []])
    })

    test('reaches what another process is attaching meanwhile', async () => {
      let answerIt = (_: boolean) => {}
      const [here, there] = [start(), start({ authorize: () => new Promise((resolve) => (answerIt = resolve)) })]
      const room = newRoom()
      const stream = await connect(here, there)
      const [witness, third] = [await openStream(there.server), await openStream(there.server, 'bob')]
      const asking = answer(stream.post('watch', watch(room)))
      await settle(50)
      await here.server.revoke('alice', room)
      await here.server.revoke('bob')
      await expect.poll(() => third.ending).toBe('ended')
      answerIt(true)
      expect(await asking).toEqual([404, { error: 'unknown-stream' }])
      await here.server.publish(room, { type: 'secret' })
      await here.clock.advance(100)
      await expect.poll(() => stream.ending).toBe('ended')
      expect([stream.events, witness.ending]).toEqual([[], 'open'])
    })

    test('that Redis does not take rejects, and has ended the streams of this process', async () => {
      const here = start()
      const stream = await openStream(here.server)
      here.log.close()
      await expect(here.server.revoke('alice')).rejects.toThrow()
      expect(here.errors).toHaveLength(1)
      await expect.poll(() => stream.ending).toBe('ended')
    })

    test('is kept for a day, ten thousand of them at most, about', async () => {
      const here = start()
      await here.server.revoke('alice', 'room')
      expect(await redis.admin.pttl('holdline:revocations')).toBeGreaterThan(86_000_000)
      const [entry] = await redis.admin.xrevrange('holdline:revocations', '+', '-', 'COUNT', 1)
      expect(JSON.parse(entry?.[1][1] ?? '')).toEqual({
        node: expect.stringMatching(/^.{22}$/),
        principalId: 'alice',
        sessionId: 'room',
      })
    })
  })

  test('a log belongs to one server', () => {
    const { log } = start()
    expect(() => createTestServer({ log })).toThrow('a log serves one server')
  })
})
