import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { LogEntry, SessionLog } from '../server'
import { type RedisLog, type RedisLogOptions, redisLog } from '../server/redis'
import { describeWithRedis, type RedisServer, startRedis } from './_redis'
import { range } from './_server'

describeWithRedis('redisLog', () => {
  let redis: RedisServer
  const logs: RedisLog[] = []
  let sessions = 0
  const newSession = () => `s${++sessions}`
  const open = (options: RedisLogOptions = {}) => {
    const log = redisLog({ url: redis.url, ...options })
    logs.push(log)
    return log
  }
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterEach(() => {
    for (const log of logs.splice(0)) log.close()
  })
  afterAll(() => redis.stop())

  const seqs = (entries: readonly LogEntry[]) => entries.map(({ seq }) => seq)
  const append = (log: SessionLog, session: string, n: number) => log.append(session, { type: 'x', n })

  test('numbers events without a gap from 1, in the order of the calls, and reads them back', async () => {
    const log = open()
    const session = newSession()
    const entries = await Promise.all(range(1, 200).map((n) => append(log, session, n)))
    expect(entries.map(({ seq, event }) => [seq, event.n])).toEqual(range(1, 200).map((n) => [n, n]))
    const read = await log.read(session, 150, 20)
    expect(read).toEqual(entries.slice(150, 170))
    expect(await log.head(session)).toEqual({ epoch: entries[0]?.epoch, first: 1, head: 200 })
  })

  test('processes share it: each hears of what another appended', async () => {
    const [one, other] = [open(), open()]
    const session = newSession()
    let calls = 0
    const stop = await one.subscribe(session, () => calls++)
    await append(other, session, 1)
    await append(other, session, 2)
    await expect.poll(() => calls).toBe(2)
    expect(seqs(await one.read(session, 0, 10))).toEqual([1, 2])
    expect(seqs(await other.read(session, 1, 10))).toEqual([2])
    stop()
    await append(other, session, 3)
    expect(seqs(await one.read(session, 0, 10))).toEqual([1, 2, 3])
    expect(calls).toBe(2)
  })
})
