import { Redis } from 'ioredis'
import { redisLog } from '../../src/server/redis'
import { hasRedis, startRedis } from '../shared/redisServer'
import { interleave, type Measurement, median, ratio } from './_bench'

const EVENTS = 50_000
const SESSIONS = 100
/** How many are in the air. */
const WINDOW = 1_000
const ROUNDS = 5
const MAX_EVENTS = 10_000
const BAR = 0.6
/** About a token of an answer. */
const EVENT = { type: 'token', messageId: 'm-000001', text: 'a token or two of text, ' }

export const append: Measurement = {
  name: 'append',
  about: 'events/s that redisLog appends and announces, against XADD of the same, pipelined by the same client',
  async run() {
    if (!hasRedis) throw new Error('append needs a redis-server (apt-get install redis-server)')
    const redis = await startRedis()
    const log = redisLog({ url: redis.url, maxEvents: MAX_EVENTS })
    const client = new Redis(redis.url)
    const json = JSON.stringify(EVENT)
    const appenders = {
      holdline: (session: string) => log.append(session, EVENT),
      bare: (session: string) => client.xadd(`bare:${session}`, 'MAXLEN', '~', MAX_EVENTS, '*', 'e', json),
    }
    const sample = async (subject: keyof typeof appenders) => {
      const start = performance.now()
      const lanes = Array.from({ length: WINDOW }, async (_, lane) => {
        for (let n = lane; n < EVENTS; n += WINDOW) await appenders[subject](`s${n % SESSIONS}`)
      })
      await Promise.all(lanes)
      return (EVENTS / (performance.now() - start)) * 1_000
    }
    try {
      for (const subject of ['holdline', 'bare'] as const) await sample(subject)
      const { ours, baseline } = await interleave(ROUNDS, sample)
      const value = ratio(ours, baseline)
      return [
        {
          name: 'appends to Redis, events/s',
          ours: median(ours).toFixed(0),
          baseline: `${median(baseline).toFixed(0)} by XADD`,
          value: value.toFixed(3),
          bar: `≥ ${BAR}`,
          isMet: value >= BAR,
        },
      ]
    } finally {
      log.close()
      client.disconnect()
      await redis.stop()
    }
  },
}
