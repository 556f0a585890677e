import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { HEAD } from '../../protocol'
import { memoryLog, type SessionLog } from '../../server'
import { type RedisLog, redisLog } from '../../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis'
import { createTestServer, openStream, range, until } from '../support/server'

/** A server whose log has the events 6 to 10 of `room` left. */
async function trimmed(log: SessionLog, trim: () => Promise<unknown>) {
  const { server } = createTestServer({ log })
  for (const n of range(1, 10)) await server.publish('room', { type: 'x', n })
  await trim()
  const { epoch } = await log.head('room')
  return { server, epoch }
}

type Trimmed = () => ReturnType<typeof trimmed>

/**
 * docs/protocol.md: the `from` of a `reset` is the first `seq` that the server still has, minus 1.
 */
function resets(open: Trimmed) {
  test.each<[string, (epoch: string) => object]>([
    ['older than the log', (epoch) => ({ lastSeq: 2, epoch })],
    ['beyond the head', (epoch) => ({ lastSeq: 99, epoch })],
    ['of another epoch', () => ({ lastSeq: 7, epoch: 'other' })],
    ['from now on', () => ({ lastSeq: HEAD })],
  ])('a cursor %s is told where what is left begins and ends', async (_, cursor) => {
    const { server, epoch } = await open()
    const stream = await openStream(server)
    const sessions = [{ sessionId: 'room', ...cursor(epoch) }]
    const { sessions: verdicts } = await (await stream.post('reconnect', { type: 'reconnect', sessions })).json()
    expect(verdicts).toEqual([{ sessionId: 'room', status: 'reset', epoch, from: 5, to: 10 }])
  })

  test('a watch after `from` brings all that is left', async () => {
    const { server, epoch } = await open()
    const stream = await openStream(server)
    const answer = await (await stream.post('watch', { type: 'watch', sessionId: 'room', lastSeq: 5, epoch })).json()
    expect(answer.sessions).toMatchObject([{ status: 'resumed', from: 5, to: 10 }])
    await until(() => stream.events.length === 5, 'the rest')
    expect(stream.events).toEqual(range(6, 10).map((seq) => `room:${seq}`))
  })
}

describe('a reset with the log in memory', () =>
  resets(() => trimmed(memoryLog({ maxEvents: 5 }), () => Promise.resolve())))

describeWithRedis('a reset with the log on Redis', () => {
  let redis: RedisServer
  const opened: RedisLog[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const log of opened.splice(0)) log.close()
    await redis.admin.flushall()
  })
  afterAll(() => redis.stop())

  resets(() => {
    const log = redisLog({ url: redis.url })
    opened.push(log)
    return trimmed(log, () => redis.admin.xtrim('holdline:{room}:log', 'MINID', '0-6'))
  })
})

test('a session that is one too many is forbidden where its stream would have begun, reset or not', async () => {
  const { server } = createTestServer({ log: memoryLog({ maxEvents: 5 }), limits: { sessionsPerStream: 1 } })
  for (const n of range(1, 10)) await server.publish('room', { type: 'x', n })
  const stream = await openStream(server)
  const sessions = ['alice', 'room'].map((sessionId) => ({ sessionId, lastSeq: 2 }))
  const { sessions: verdicts } = await (await stream.post('reconnect', { type: 'reconnect', sessions })).json()
  expect(verdicts[1]).toMatchObject({ sessionId: 'room', status: 'forbidden', from: 10, to: 10 })
})
