import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { type RedisCluster, startRedisCluster } from '../../../../tools/shared/redisCluster'
import type { ChatServerOptions } from '../../../server'
import { type RedisLogOptions, redisLog } from '../../../server/redis'
import { createPartitions, partitionOf } from '../../../server/redis/partitions'
import { createRuns } from '../../../server/runs'
import { aclLines } from '../../support/aclLines'
import { describeWithRedis } from '../../support/redis'
import { answer, createTestServer, fakeClock, openStream, post, range, settle } from '../../support/server'

const SOON = { timeout: 20_000, interval: 20 }

describeWithRedis('a log on a cluster of three shards', () => {
  let cluster: RedisCluster
  let rooms = 0
  const partitions = createPartitions()
  const opened: { close(): void }[] = []

  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterEach(() => {
    for (const log of opened.splice(0)) log.close()
  })
  afterAll(() => cluster.stop())

  /** A process: its server, its log, and the clock of the latter. */
  function start(overrides: Partial<ChatServerOptions> = {}, options: RedisLogOptions = {}) {
    const clock = fakeClock()
    const log = redisLog({ client: cluster.createClient(), clock, ...options })
    opened.push(log)
    return { ...createTestServer({ log, ...overrides }), log, logClock: clock }
  }

  const partitionAt = (name: string) => partitions[partitionOf(name)] as (typeof partitions)[number]
  const shardOf = (room: string) => cluster.ownerOf(partitionAt(room).slot)
  /** A room that this server has. */
  async function roomOf(shard: number): Promise<string> {
    for (;;) {
      const room = `room${++rooms}`
      if ((await shardOf(room)) === shard) return room
    }
  }
  const roomsOfAll = () => Promise.all([0, 1, 2].map(roomOf))
  const nodeOf = ({ connectionId }: { connectionId: string }) => connectionId.split('.')[0] ?? ''

  /** A stream of one process, whose POSTs all come to another. */
  async function connect(here: ReturnType<typeof start>, there: ReturnType<typeof start>, as = 'alice') {
    const stream = await openStream(here.server, as)
    const { connectionId } = stream
    const node = nodeOf(stream)
    const channel = `holdline:{${partitionAt(node).tag}}:node:${node}`
    await expect.poll(() => cluster.admin.spublish(channel, '')).toBe(1)
    return {
      stream,
      channel,
      post: (endpoint: string, body: object, key?: string) =>
        answer(post(there.server, endpoint, body, { as, connectionId, ...(key !== undefined && { key }) })),
    }
  }

  test('each of them has about a third of the sessions, and all that there is of one', async () => {
    const { log } = start()
    await Promise.all(range(1, 150).map((n) => log.append(`even${n}`, { type: 'x' })))
    const metas = await Promise.all(cluster.servers.map(({ admin }) => admin.keys('holdline:*:{even*:meta')))
    const logs = await Promise.all(cluster.servers.map(({ admin }) => admin.keys('holdline:*:{even*:log')))
    for (const [index, keys] of metas.entries()) {
      expect(keys.length).toBeGreaterThan(30)
      expect(logs[index]?.map((key) => key.replace(/log$/, 'meta')).sort()).toEqual(keys.sort())
    }
  })

  test('its partitions are where Redis says that their hash tags lead', async () => {
    const slots = await Promise.all(
      partitions.map(({ tag }) => cluster.admin.cluster('KEYSLOT', `holdline:{${tag}}:x`)),
    )
    expect(slots).toEqual(partitions.map(({ slot }) => slot))
  })

  test('POSTs that arrive in another process reach the stream, and a command runs once', async () => {
    const onCommand = vi.fn(async (call) => (await call.publish(call.sessionId, { type: 'reply' })).seq)
    const [here, there] = [start({ onCommand }), start({ onCommand })]
    const { stream, post: postThere } = await connect(here, there)
    const some = await roomsOfAll()
    const sessions = some.map((sessionId) => ({ sessionId, lastSeq: 0 }))
    expect((await postThere('reconnect', { type: 'reconnect', sessions }))[0]).toBe(200)
    expect((await postThere('probe', { type: 'probe', nonce: 'n' }))[0]).toBe(200)
    for (const sessionId of some) {
      const key = `k-${sessionId}`
      expect(await postThere('send', { type: 'send', sessionId }, key)).toEqual([200, 1])
      const { connectionId } = stream
      expect(await answer(post(here.server, 'send', { type: 'send', sessionId }, { connectionId, key }))).toEqual([
        200, 1,
      ])
    }
    await expect.poll(() => [...stream.events].sort()).toEqual(some.map((room) => `${room}:1`).sort())
    expect(stream.ofType('probe')).toHaveLength(1)
    expect(onCommand).toHaveBeenCalledTimes(3)
    expect([here.errors, there.errors]).toEqual([[], []])
  })

  test('a process that is no more is known to be, and a revocation reaches all others', async () => {
    const [here, there] = [start(), start()]
    const { stream, channel, post: postThere } = await connect(here, there)
    const other = await openStream(there.server, 'bob')
    await here.server.revoke('bob')
    await expect.poll(() => other.ending).toBe('ended')
    here.log.close()
    await expect.poll(() => cluster.admin.spublish(channel, '')).toBe(0)
    const asking = postThere('probe', { type: 'probe', nonce: 'n' })
    await expect.poll(() => there.logClock.timers).toBe(2)
    await there.logClock.advance(250)
    expect((await asking)[0]).toBe(404)
    expect(stream.ofType('probe')).toEqual([])
  })

  test('a run is stopped from another process, and buried if its own dies', async () => {
    const [here, there] = [start(), start()]
    const lease = 1_000
    const [mine, others] = [createRuns({ server: here.server, lease }), createRuns({ server: there.server, lease })]
    const runChannels = async () => {
      const asking = cluster.servers.map(({ admin }) => admin.call('PUBSUB', 'SHARDCHANNELS', 'holdline:*:runs:*'))
      return (await Promise.all(asking)).flat()
    }
    const forever = () => new Promise<never>(() => {})
    const [stopped, lost] = (await roomsOfAll()) as [string, string, string]
    const call = (sessionId: string) => ({ principal: { id: 'alice' }, sessionId, idempotencyKey: undefined })
    // Who is told of a run is told in the partition of its session.
    await expect.poll(async () => (await runChannels()).length).toBe(2 * partitions.length)
    const { run } = await mine.start(call(stopped), forever)
    expect(await others.stop(stopped)).toBe(run)
    await mine.idle()
    await others.start(call(lost), forever)
    there.log.close()
    const ends = async () => (await here.log.read(lost, 0, 10)).filter(({ event }) => event.type === 'run.ended')
    await expect
      .poll(async () => {
        await here.clock.advance(400)
        return (await ends()).map(({ event }) => event.reason)
      }, SOON)
      .toEqual(['interrupted'])
  })

  test('C106: the rights that docs/scaling.md gives a process are enough', async () => {
    const lines = aclLines().filter((line) => line.split(' ')[2] === 'holdline')
    expect(lines).toHaveLength(2)
    for (const { admin } of cluster.servers)
      for (const line of lines) await admin.call('ACL', ...line.split(' ').slice(1))
    const client = () =>
      cluster.createClient().duplicate([], { redisOptions: { username: 'holdline', password: 'secret' } })
    const [here, there] = [start({}, { client: client() }), start({}, { client: client() })]
    const { stream, post: postThere } = await connect(here, there)
    const some = await roomsOfAll()
    for (const sessionId of some) {
      expect((await postThere('send', { type: 'send', sessionId }, `k-${sessionId}`))[0]).toBe(200)
      await there.server.publish(sessionId, { type: 'x' })
    }
    await expect.poll(() => [...stream.events].sort()).toEqual(some.map((room) => `${room}:1`).sort())
    const runs = createRuns({ server: here.server })
    const call = { principal: { id: 'alice' }, sessionId: some[0], idempotencyKey: undefined }
    await runs.start(call, async function* () {
      yield { type: 'x' }
    })
    await runs.idle()
    await here.server.revoke('alice')
    await expect.poll(() => stream.ending).toBe('ended')
    for (const { logClock } of [here, there]) await logClock.advance(10_000)
    // A slot that moves, to somewhere else and back.
    const [{ slot }] = [partitionAt(some[0] ?? '')]
    for (const to of [1, 0]) {
      await cluster.moveSlot(slot, to)
      await there.server.publish(some[0] ?? '', { type: 'x' })
    }
    expect([here.errors, there.errors]).toEqual([[], []])
  })

  test('one of its servers alone is no primary, and it is told how to use it', async () => {
    const { server, errors, log } = start({}, { client: cluster.servers[0]?.admin as Redis })
    const stream = await openStream(server)
    for (const room of ['room1', 'room2', 'room3', 'room4', 'room5']) await stream.watch(room)
    const told = errors.map(String).filter((error) => error.includes('Redis Cluster'))
    expect(told).toEqual([expect.stringMatching(/only be used as 'client: new Cluster.* \(MOVED \d+ 127/)])
    const appending = ['room1', 'room2', 'room3', 'room4'].map((room) => log.append(room, { type: 'x' }))
    const refused = (await Promise.allSettled(appending)).filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
  })

  test('`replicas`: without any nothing is acknowledged', async () => {
    const { log } = start({}, { replicas: 1 })
    const [room = ''] = await roomsOfAll()
    await expect(log.append(room, { type: 'x' })).rejects.toThrow('0 of 1 replicas')
    expect((await log.head(room)).head).toBe(1)
  })

  test('closing it leaves no connection behind', async () => {
    const count = async () => {
      const lists = await Promise.all(cluster.servers.map(({ admin }) => admin.call('CLIENT', 'LIST')))
      return lists.map((list) => String(list).trim().split('\n').length)
    }
    await settle(100)
    const before = await count()
    const { log } = start()
    for (const room of await roomsOfAll()) await log.subscribe(room, () => {})
    // One that asks and one that listens.
    await expect.poll(count).toEqual(before.map((n) => n + 2))
    log.close()
    await expect.poll(count).toEqual(before)
  })

  test('a slot that moves under load: nothing accepted is lost or doubled, and readers hear on, or are told', async () => {
    const [here, there] = [start(), start()]
    const room = await roomOf(0)
    const neighbour = await roomOf(2)
    const heard: [number, unknown][] = []
    let position = 0
    const readOn = async () => {
      for (const { seq, event } of await here.log.read(room, position, 1_000)) {
        if (seq > position) heard.push([seq, event.n])
        position = Math.max(position, seq)
      }
    }
    await here.log.subscribe(room, () => void readOn().catch(() => {}))
    let state: 'going' | 'over' = 'going'
    const accepted: [number, unknown][] = []
    const load = async () => {
      for (let n = 1; state === 'going'; n += 1) {
        const { seq } = await there.log.append(room, { type: 'x', n })
        accepted.push([seq, n])
      }
    }
    const loading = load()
    await expect.poll(() => accepted.length, SOON).toBeGreaterThan(20)
    expect(await cluster.moveSlot(partitionAt(room).slot, 1)).toBeGreaterThan(2)
    const before = accepted.length
    await expect.poll(() => accepted.length, SOON).toBeGreaterThan(before + 20)
    state = 'over'
    await loading
    expect(accepted.map(([seq]) => seq)).toEqual(range(1, accepted.length))
    const stands = (await here.log.read(room, 0, 10_000)).map(({ seq, event }) => [seq, event.n])
    expect(stands).toEqual(accepted)
    await expect.poll(() => heard, SOON).toEqual(accepted)
    // Where it is now its events are heard, without a look.
    const channel = `holdline:{${partitionAt(room).tag}}:session:${room}`
    await expect
      .poll(() => cluster.servers[1]?.admin.call('PUBSUB', 'SHARDNUMSUB', channel), SOON)
      .toEqual([channel, 1])
    await there.log.append(room, { type: 'x', n: 'last' })
    await expect.poll(() => heard.at(-1)?.[1], SOON).toBe('last')
    expect((await there.log.append(neighbour, { type: 'x' })).seq).toBe(1)
    expect([here.errors, there.errors]).toEqual([[], []])
  })

  test('a primary that dies and comes back empty: its sessions are reset, the others go on, and it is told once', async () => {
    const [here, there] = [start(), start()]
    const [first, lost, third] = (await roomsOfAll()) as [string, string, string]
    const epochs = new Map<string, string>()
    for (const room of [first, lost, third]) epochs.set(room, (await there.server.publish(room, { type: 'x' })).epoch)
    const streams = await Promise.all(
      [first, lost, third].map(async (room) => {
        const stream = await openStream(here.server)
        await stream.watch(room)
        await expect.poll(() => stream.events).toEqual([`${room}:1`])
        return stream
      }),
    )
    const victim = cluster.servers[1]
    await victim?.down()
    // As long as it is away the others do not wait for it.
    const waiting = there.server.publish(lost, { type: 'x' }).catch(() => undefined)
    for (const room of [first, third]) expect(await there.server.publish(room, { type: 'x' })).toMatchObject({ seq: 2 })
    await expect
      .poll(() => [streams[0]?.events.at(-1), streams[2]?.events.at(-1)])
      .toEqual([`${first}:2`, `${third}:2`])
    await victim?.up()
    // A slow machine takes longer to start it than a command waits.
    await expect
      .poll(async () => (await waiting) ?? there.server.publish(lost, { type: 'x' }).catch(() => undefined), SOON)
      .toMatchObject({ seq: 1, epoch: expect.not.stringMatching(epochs.get(lost) ?? '') })
    await expect.poll(() => streams[1]?.ending, SOON).toBe('ended')
    const next = await openStream(here.server)
    const sessions = [{ sessionId: lost, lastSeq: 1, epoch: epochs.get(lost) }]
    const { sessions: verdicts } = await (await next.post('reconnect', { type: 'reconnect', sessions })).json()
    expect(verdicts).toMatchObject([{ sessionId: lost, status: 'reset', to: 1 }])
    // Nothing has happened to the others.
    await here.logClock.advance(10_000)
    for (const room of [first, third]) expect((await here.log.head(room)).epoch).toBe(epochs.get(room))
    expect([streams[0]?.ending, streams[2]?.ending]).toEqual(['open', 'open'])
    for (const { errors } of [here, there]) {
      const told = errors.map(String)
      expect(told.length).toBeGreaterThan(0)
      expect(new Set(told).size).toBe(told.length)
    }
  })
})
