import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createChatServer } from '../../src/server'
import { type RedisLogOptions, redisLog } from '../../src/server/redis'
import { createRuns } from '../../src/server/runs'
import { startRedisCluster } from '../shared/redisCluster'
import { hasRedis, startRedis } from '../shared/redisServer'
import { interleave, type Measurement, median, ratio } from './_bench'

const EVENTS = 30_000
const SESSIONS = 300
/** How many are in the air. */
const WINDOW = 500
const ROUNDS = 3
/** Sessions of so many events, to weigh one. */
const WEIGHED = 2_000
const WEIGHED_EVENTS = 20
/** Sessions that one process follows, to weigh that. */
const FOLLOWED = 20_000
/** How long a process with runs is watched, ms, and what it may take of a core, %. */
const WATCHED = 6_000
const MAX_SHARE = 2
/** A shard may cost so much more for an event than a primary that is alone. */
const BAR = 1.5
/** About a token of an answer. */
const EVENT = { type: 'token', messageId: 'm-000001', text: 'a token or two of text, ' }

export const shards: Measurement = {
  name: 'shards',
  about: 'what an event, a session, one that is followed, and a process with runs cost a shard, against one primary',
  async run() {
    if (!hasRedis) throw new Error('shards needs a redis-server (apt-get install redis-server)')
    const [cluster, redis] = [await startRedisCluster(), await startRedis()]
    const places = {
      holdline: {
        admins: cluster.servers.map(({ admin }) => admin),
        options: () => ({ client: cluster.createClient() }),
      },
      bare: { admins: [redis.admin], options: () => ({ url: redis.url }) },
    }
    try {
      const sample = (subject: keyof typeof places) => costOfEvent(places[subject])
      for (const subject of ['holdline', 'bare'] as const) await sample(subject)
      const { ours, baseline } = await interleave(ROUNDS, sample)
      const [shard, primary] = [await bytesOfSession(places.holdline), await bytesOfSession(places.bare)]
      const [followed, elsewhere] = [await bytesOfFollowing(places.holdline), await bytesOfFollowing(places.bare)]
      const [share, alone] = [await shareOfRuns(places.holdline), await shareOfRuns(places.bare)]
      const cost = ratio(ours, baseline)
      return [
        {
          name: 'a shard’s core for an event, µs',
          ours: `${median(ours).toFixed(1)} (${perSecond(median(ours))}/s)`,
          baseline: `${median(baseline).toFixed(1)} by one primary`,
          value: cost.toFixed(2),
          bar: `≤ ${BAR}`,
          isMet: cost <= BAR,
        },
        {
          name: `a session of ${WEIGHED_EVENTS} events, bytes`,
          ours: shard.toFixed(0),
          baseline: `${primary.toFixed(0)} in one primary`,
          value: (shard / primary).toFixed(2),
          bar: '≤ 1.1',
          isMet: shard <= 1.1 * primary,
        },
        {
          name: 'a session that a process follows, bytes',
          ours: followed.toFixed(0),
          baseline: `${elsewhere.toFixed(0)} in one primary`,
          value: (followed / elsewhere).toFixed(2),
          bar: `≤ ${BAR}`,
          isMet: followed <= BAR * elsewhere,
        },
        {
          name: 'a process with runs, % of a core in all shards',
          ours: share.toFixed(2),
          baseline: `${alone.toFixed(2)} in one primary`,
          value: share.toFixed(2),
          bar: `≤ ${MAX_SHARE}`,
          isMet: share <= MAX_SHARE,
        },
      ]
    } finally {
      await Promise.all([cluster.stop(), redis.stop()])
    }
  },
}

interface Place {
  readonly admins: readonly Redis[]
  options(): RedisLogOptions
}

const perSecond = (micros: number) => Math.round(1e6 / micros).toLocaleString('en')

/**
 * µs of the servers' main threads for an event that one process appends and another one follows.
 */
async function costOfEvent({ admins, options }: Place): Promise<number> {
  const [writer, reader] = [redisLog(options()), redisLog(options())]
  const sessions = Array.from({ length: SESSIONS }, () => crypto.randomUUID())
  try {
    let heard = 0
    for (const session of sessions) await reader.subscribe(session, () => (heard += 1))
    const before = await cpuOf(admins)
    const lanes = Array.from({ length: WINDOW }, async (_, lane) => {
      for (let n = lane; n < EVENTS; n += WINDOW) await writer.append(sessions[n % SESSIONS] ?? '', EVENT)
    })
    await Promise.all(lanes)
    // What was announced last is read.
    for (let seen = -1; seen !== heard; await sleep(50)) seen = heard
    return (1e6 * ((await cpuOf(admins)) - before)) / EVENTS
  } finally {
    writer.close()
    reader.close()
  }
}

const cpuOf = async (admins: readonly Redis[]) =>
  sum(admins, async (admin) => {
    const info = await admin.info('cpu')
    const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1])
    return field('used_cpu_user_main_thread') + field('used_cpu_sys_main_thread')
  })

async function bytesOfFollowing({ admins, options }: Place): Promise<number> {
  const used = () => sum(admins, async (admin) => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]))
  const log = redisLog(options())
  try {
    await log.subscribe(crypto.randomUUID(), () => {})
    const before = await used()
    for (let n = 0; n < FOLLOWED; n += 500)
      await Promise.all(Array.from({ length: 500 }, () => log.subscribe(crypto.randomUUID(), () => {})))
    return ((await used()) - before) / FOLLOWED
  } finally {
    log.close()
  }
}

/** What the lease of a process takes of a core, %, though nothing runs. */
async function shareOfRuns({ admins, options }: Place): Promise<number> {
  const log = redisLog(options())
  const settings = {
    authenticate: () => null,
    authorize: () => true,
    onCommand: () => null,
    allowedHosts: 'any',
  } as const
  const server = createChatServer({ log, ...settings })
  createRuns({ server })
  try {
    await sleep(WATCHED / 3)
    const before = await cpuOf(admins)
    await sleep(WATCHED)
    return (1e5 * ((await cpuOf(admins)) - before)) / WATCHED
  } finally {
    await server.close()
    log.close()
  }
}

async function bytesOfSession({ admins, options }: Place): Promise<number> {
  const used = () =>
    sum(admins, async (admin) => Number(/used_memory_dataset:(\d+)/.exec(await admin.info('memory'))?.[1]))
  const log = redisLog(options())
  try {
    await log.append(crypto.randomUUID(), EVENT)
    const before = await used()
    await Promise.all(
      Array.from({ length: WEIGHED }, async (_, n) => {
        const session = `weighed-${n}`
        for (let count = 0; count < WEIGHED_EVENTS; count += 1) await log.append(session, EVENT)
      }),
    )
    return ((await used()) - before) / WEIGHED
  } finally {
    log.close()
  }
}

const sum = async (admins: readonly Redis[], ask: (admin: Redis) => Promise<number>) =>
  (await Promise.all(admins.map(ask))).reduce((total, part) => total + part, 0)
