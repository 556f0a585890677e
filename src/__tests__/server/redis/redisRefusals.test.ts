import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { listen } from '../../../../tools/shared/listen'
import { type Connection, type ConnectionOptions, createConnection } from '../../../index'
import { createChatServer } from '../../../server'
import { type RedisLogOptions, redisLog } from '../../../server/redis'
import { describeWithRedis, type RedisServer, type StartRedisOptions, startRedis } from '../../support/redis'
import { startRedisProxy } from '../../support/redisProxy'
import { fakeClock } from '../../support/server'

let redis: RedisServer
let sessions = 0
const newSession = (kind = 'room') => `${kind}${++sessions}`
const opened: (() => unknown)[] = []
/** Real waits of the client and of ioredis are part of these tests. */
const SOON = { timeout: 20_000 }

function describeRefusals(what: string, options: StartRedisOptions, tests: () => void) {
  describeWithRedis(what, () => {
    beforeAll(async () => {
      redis = await startRedis(options)
    })
    afterEach(async () => {
      for (const close of opened.splice(0).reverse()) await close()
    })
    afterAll(() => redis.stop())
    tests()
  })
}

/** A process that serves HTTP. */
async function startProcess(options: RedisLogOptions = {}) {
  const clock = fakeClock()
  const log = redisLog({ ...(options.client ? {} : { url: redis.url }), clock, ...options })
  const errors: string[] = []
  const runs: unknown[] = []
  const chat = createChatServer({
    log,
    authenticate: () => ({ id: 'alice' }),
    authorize: () => true,
    async onCommand({ sessionId, message, publish }) {
      runs.push(message.prompt)
      await publish(String(sessionId), { type: 'answer', to: message.prompt })
    },
    onError: (error) => errors.push(String(error)),
  })
  const http = await listen(chat.fetch)
  opened.push(async () => {
    log.close()
    await http.close()
  })
  return { log, chat, clock, errors, runs, url: http.url }
}
type Process = Awaited<ReturnType<typeof startProcess>>

function connect({ url }: Process, options: Partial<ConnectionOptions> = {}) {
  const connection: Connection = createConnection({ url, backoff: { base: 20, cap: 100 }, ...options })
  const events: string[] = []
  const verdicts: string[] = []
  const ids: string[] = []
  connection.on('message', ({ sessionId, seq }) => events.push(`${sessionId}:${seq}`))
  connection.on('session', ({ sessionId, status }) => verdicts.push(`${sessionId} ${status}`))
  connection.on('opened', ({ connectionId }) => ids.push(connectionId))
  connection.on('error', () => {})
  connection.connect()
  opened.push(connection.dispose)
  return { connection, events, verdicts, ids }
}

const metaOf = (session: string) => `holdline:{${session}}:meta`
const publish = ({ chat }: Process, session: string) => chat.publish(session, { type: 'x' })
/** So long unused that reading it refreshes its expiry. */
const makeOld = (session: string) => redis.admin.pexpire(metaOf(session), 60_000)
const config = (name: string, value: string | number) => redis.admin.config('SET', name, value)

interface Refusal {
  readonly code: string
  begin(): Promise<unknown>
  end(): Promise<unknown>
}

const REFUSALS: readonly Refusal[] = [
  {
    code: 'MISCONF',
    async begin() {
      const [, folder = ''] = (await redis.admin.config('GET', 'dir')) as string[]
      // Nothing can be renamed to where a folder is.
      await mkdir(join(folder, 'dump.rdb'), { recursive: true })
      await config('stop-writes-on-bgsave-error', 'yes')
      await redis.admin.bgsave()
      await expect.poll(() => redis.admin.info('persistence')).toContain('rdb_last_bgsave_status:err')
    },
    end: () => config('stop-writes-on-bgsave-error', 'no'),
  },
  { code: 'OOM', begin: () => config('maxmemory', 1), end: () => config('maxmemory', 0) },
  {
    code: 'NOREPLICAS',
    begin: () => config('min-replicas-to-write', 1),
    end: () => config('min-replicas-to-write', 0),
  },
]

describeRefusals('a Redis that refuses writes', { args: ['--save', '3600 1'] }, () => {
  describe.each(REFUSALS)('$code', ({ code, begin, end }) => {
    test('C90: sessions are read and followed, new ones too; a command waits, and runs once', async () => {
      const [server, other] = [await startProcess(), await startProcess()]
      const [old, fresh] = [newSession(), newSession()]
      for (let n = 0; n < 3; n += 1) await publish(server, old)
      await makeOld(old)
      await begin()
      const cursors = [
        { sessionId: old, lastSeq: 1 },
        { sessionId: fresh, lastSeq: 0 },
      ]
      const { connection, events, verdicts, ids } = connect(server, { cursors })
      await expect.poll(() => events, SOON).toEqual([`${old}:2`, `${old}:3`])
      expect(verdicts).toEqual([`${old} resumed`, `${fresh} resumed`])
      await expect(publish(other, old)).rejects.toThrow(code)
      const delivery = connection.send({ type: 'send', sessionId: old, prompt: 'hi' })
      await expect.poll(() => delivery.status, SOON).toBe('sending')
      const told = [expect.stringMatching(new RegExp(`^Error: redisLog: Redis refuses to write.*${code}`))]
      await expect.poll(() => server.errors, SOON).toEqual(told)
      await end()
      expect(await delivery.settled).toMatchObject({ status: 'accepted' })
      await publish(other, fresh)
      await expect.poll(() => events.slice(2).sort(), SOON).toEqual([`${old}:4`, `${fresh}:1`].sort())
      expect([server.runs, ids.length]).toEqual([['hi'], 1])
      expect(server.errors).toEqual(told)
    })

    test('C90: after a restart in this state all processes tell the same epoch, and the first event keeps it', async () => {
      const [server, other] = [await startProcess(), await startProcess()]
      const session = newSession()
      const { epoch } = await publish(server, session)
      // As after a promotion.
      await redis.admin.replicaof('127.0.0.1', 1)
      await redis.admin.replicaof('NO', 'ONE')
      await redis.cut()
      await begin()
      await expect.poll(async () => (await server.log.head(session)).epoch, SOON).not.toBe(epoch)
      const head = await server.log.head(session)
      await expect.poll(() => other.log.head(session), SOON).toEqual(head)
      expect(await server.log.head(session)).toEqual(head)
      await end()
      expect(await publish(other, session)).toMatchObject({ epoch: head.epoch, seq: 2 })
      expect(await server.log.head(session)).toMatchObject({ epoch: head.epoch, head: 2 })
    })
  })

  test('C90: a reset of a session without a numbering is told once, and its next first event arrives', async () => {
    const server = await startProcess()
    const session = newSession()
    const { connection, events, verdicts } = connect(server, {
      cursors: [{ sessionId: session, lastSeq: 5, epoch: 'long gone' }],
    })
    await expect.poll(() => connection.phase, SOON).toBe('open')
    await publish(server, session)
    await expect.poll(() => events, SOON).toEqual([`${session}:1`])
    expect(verdicts).toEqual([`${session} reset`])
  })
})

describeRefusals('a Redis that refuses one session', {}, () => {
  test('C90: the others are read and followed; it waits, keeps its cursor, and goes on by itself', async () => {
    const [good, bad, damaged] = [newSession('good'), newSession('bad'), newSession('good')]
    const user = ['ACL', 'SETUSER', 'half', 'on', '>secret', '+@all', 'allchannels'] as const
    const own = ['~holdline:receipt:*', '~holdline:quota:*', '~holdline:revocations']
    await redis.admin.call(...user, 'resetkeys', '~holdline:{good*', ...own)
    const all = await startProcess()
    const half = await startProcess({ url: redis.url.replace('//', '//half:secret@') })
    for (const session of [good, bad, damaged]) for (let n = 0; n < 2; n += 1) await publish(all, session)
    const meta = await redis.admin.hgetall(metaOf(damaged))
    await redis.admin.set(metaOf(damaged), 'something else')

    const cursors = [good, bad, damaged].map((sessionId) => ({ sessionId, lastSeq: 1 }))
    const { connection, events, verdicts } = connect(half, { cursors })
    await expect.poll(() => events, SOON).toEqual([`${good}:2`])
    expect(verdicts).toEqual([`${good} resumed`, `${bad} resumed`, `${damaged} resumed`])
    const delivery = connection.send({ type: 'send', sessionId: good, prompt: 'hi' })
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })
    for (const _ of [1, 2]) await half.clock.advance(10_000)
    await publish(all, good)
    await expect.poll(() => events, SOON).toEqual([`${good}:2`, `${good}:3`, `${good}:4`])
    expect(half.errors.sort()).toEqual([
      expect.stringMatching(`redisLog: session ${bad} cannot be read, and waits until it can .*NOPERM`),
      expect.stringMatching(`redisLog: session ${damaged} cannot be read, and waits until it can .*WRONGTYPE`),
    ])

    await redis.admin.call(...user, 'allkeys')
    await redis.admin.del(metaOf(damaged))
    await redis.admin.hset(metaOf(damaged), meta)
    await half.clock.advance(10_000)
    await expect.poll(() => events.slice(3).sort(), SOON).toEqual([`${bad}:2`, `${damaged}:2`])
    await publish(all, bad)
    await expect.poll(() => events, SOON).toContain(`${bad}:3`)
  })
})

const AWAY: readonly Refusal[] = [
  {
    code: 'LOADING',
    async begin() {
      for (let n = 0; n < 1_000; n += 1) await redis.admin.set(`filler${n}`, 'x'.repeat(1_000))
      await config('key-load-delay', 3_000)
      await config('loading-process-events-interval-bytes', 1_024)
      const loading = redis.admin.duplicate()
      opened.push(() => loading.disconnect())
      loading.call('DEBUG', 'RELOAD').catch(() => {})
    },
    end: () => expect.poll(() => redis.admin.ping().catch(String), SOON).toBe('PONG'),
  },
  {
    code: 'BUSY',
    async begin() {
      await config('lua-time-limit', 10)
      const busy = redis.admin.duplicate()
      opened.push(() => busy.disconnect())
      busy.call('EVAL', 'while true do end', '0').catch(() => {})
    },
    end: () => redis.admin.call('SCRIPT', 'KILL'),
  },
]

describeRefusals('a Redis that answers nobody for a while', { args: ['--enable-debug-command', 'yes'] }, () => {
  test.each(AWAY)('C90: $code is told once, and whoever asks is told to come back; nothing is lost', async (away) => {
    const server = await startProcess()
    const session = newSession()
    for (let n = 0; n < 2; n += 1) await publish(server, session)
    await away.begin()
    await expect.poll(() => redis.admin.ping().catch(String), SOON).toContain(away.code)
    const answers: number[] = []
    const { connection, events, ids } = connect(server, {
      cursors: [{ sessionId: session, lastSeq: 0 }],
      async fetch(input, init) {
        const response = await fetch(input, init)
        if (String(input).endsWith('/reconnect')) answers.push(response.status)
        return response
      },
    })
    await expect.poll(() => answers.length, SOON).toBeGreaterThan(1)
    expect(new Set(answers)).toEqual(new Set([503]))
    const delivery = connection.send({ type: 'send', sessionId: session, prompt: 'hi' })
    await away.end()
    expect(await delivery.settled).toMatchObject({ status: 'accepted' })
    await expect.poll(() => events, SOON).toEqual([1, 2, 3].map((seq) => `${session}:${seq}`))
    expect(ids).toHaveLength(1)
    expect(server.errors).toEqual([
      expect.stringMatching(`^Error: redisLog: Redis does not do what it is asked, .*${away.code}`),
    ])
  })

  test('C90: a pause is waited for', async () => {
    const server = await startProcess()
    const session = newSession()
    await publish(server, session)
    await redis.admin.call('CLIENT', 'PAUSE', '500', 'WRITE')
    const { events } = connect(server, { cursors: [{ sessionId: session, lastSeq: 0 }] })
    await expect.poll(() => events, SOON).toEqual([`${session}:1`])
    expect(server.errors).toEqual([])
  })
})

describeRefusals('subscriptions that Redis refuses', {}, () => {
  const acl = (...rules: string[]) => redis.admin.call('ACL', 'SETUSER', 'app', ...rules)
  const channels = async () => (await redis.admin.call('PUBSUB', 'CHANNELS')) as string[]
  const asApp = () => startProcess({ url: redis.url.replace('//', '//app:secret@') })
  beforeAll(() => acl('on', '>secret', '~*', '+@all', 'allchannels'))

  test('C91: refused in a re-subscribe they are asked for with the next look, the own channel too', async () => {
    const [here, there] = [await asApp(), await startProcess()]
    const session = newSession()
    const { connection, events, ids } = connect(here)
    connection.watch(session)
    await expect.poll(channels, SOON).toContain(`holdline:session:${session}`)
    await expect.poll(async () => (await channels()).filter((name) => name.includes(':node:')).length).toBe(2)
    // Redis itself ends the connections of whoever loses a channel.
    await acl('resetchannels')
    await expect.poll(() => here.errors, SOON).toEqual([expect.stringMatching(/redisLog: Redis refuses a sub.*NOPERM/)])
    await publish(there, session)
    for (const _ of [1, 2]) await here.clock.advance(10_000)
    await expect.poll(() => events, SOON).toEqual([`${session}:1`])
    await acl('allchannels')
    await here.clock.advance(10_000)
    await expect.poll(channels, SOON).toContain(`holdline:session:${session}`)
    // Live again, and found by the other one.
    await publish(there, session)
    await expect.poll(() => events, SOON).toEqual([`${session}:1`, `${session}:2`])
    const probe = await fetch(`${there.url}/probe`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Connection-ID': String(connection.connectionId) },
      body: JSON.stringify({ type: 'probe', nonce: 'n' }),
    })
    expect([probe.status, ids.length, here.errors.length]).toEqual([200, 1, 1])
  })

  test('C91: refused from the start, a session is read all the same, and its events are found with the look', async () => {
    await acl('resetchannels')
    const [here, there] = [await asApp(), await startProcess()]
    const session = newSession()
    await publish(there, session)
    const { events } = connect(here, { cursors: [{ sessionId: session, lastSeq: 0 }] })
    await expect.poll(() => events, SOON).toEqual([`${session}:1`])
    await publish(there, session)
    await here.clock.advance(10_000)
    await expect.poll(() => events, SOON).toEqual([`${session}:1`, `${session}:2`])
    await acl('allchannels')
    expect(here.errors).toHaveLength(1)
  })

  test('C91: a primary that has become a replica is left with the next look, and so is what was subscribed there', async () => {
    const next = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] })
    const proxy = await startRedisProxy(redis.port)
    opened.push(
      () => next.stop(),
      () => proxy.close(),
    )
    const here = await startProcess({ url: proxy.url })
    const session = newSession()
    const { epoch } = await publish(here, session)
    const listener = vi.fn()
    await here.log.subscribe(session, listener)
    await expect.poll(() => next.admin.hget(metaOf(session), 'head'), SOON).toBe('1')
    await next.admin.replicaof('NO', 'ONE')
    await redis.admin.replicaof('127.0.0.1', next.port)
    proxy.target = next.port
    await here.clock.advance(10_000)
    await expect
      .poll(async () => await next.admin.call('PUBSUB', 'CHANNELS'), SOON)
      .toContain(`holdline:session:${session}`)
    await expect.poll(async () => (await here.log.head(session)).epoch).not.toBe(epoch)
    const there = await startProcess({ url: next.url })
    const calls = listener.mock.calls.length
    await publish(there, session)
    await expect.poll(() => listener.mock.calls.length, SOON).toBeGreaterThan(calls)
    await redis.admin.replicaof('NO', 'ONE')
  })
})
