import { Cluster, Redis } from 'ioredis'
import { checkMethods, checkNames, checkNumber } from '../check'
import { type Timers, wallClock } from '../clock'

export interface RedisLogOptions {
  /**
   * `redis://…`, or `rediss://…` for TLS, of one primary. Either this or `client` must be given.
   */
  readonly url?: string
  /**
   * A client of the `ioredis` package that knows how to connect: a `Redis`, e.g. by Sentinel, or a
   * `Cluster`, whose servers must be of version 7 or newer. It is duplicated, not used itself.
   */
  readonly client?: Redis | Cluster
  /** The prefix of every key and channel. Default: `holdline`. */
  readonly prefix?: string
  /**
   * Events kept per session, about (Redis trims in blocks of 100); the oldest go first. Default:
   * 10,000.
   */
  readonly maxEvents?: number
  /**
   * About how much the events of a session may take in Redis, bytes; the oldest go first. A larger
   * event is refused with a TypeError. At least 65,536. Default: 8,388,608 (8 MiB). How much all
   * sessions take is bounded by Redis' own `maxmemory`.
   */
  readonly maxSessionBytes?: number
  /**
   * How long after its last event the events of a session are kept, ms. Default: 3,600,000 (1 h).
   * The numbering is kept for a day longer. `Infinity` keeps every session for ever.
   */
  readonly maxAge?: number
  /**
   * How many replicas must have an event before `publish` resolves (Redis' `WAIT`, 1 s). Fewer
   * reject it, though it is appended. Default: 0; a failover may then lose events that were
   * acknowledged.
   */
  readonly replicas?: number
  /** Default: the global timers. */
  readonly clock?: Timers
}

/** ms. */
export const DAY = 86_400_000
const timers: Timers = {
  ...wallClock,
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, ms)
    // It does not keep a process alive; its connections do. Where it is a number, there is no such
    // thing.
    timer.unref?.()
    return timer
  },
}

export type ResolvedRedisLog = ReturnType<typeof resolveRedisLog>

/** @throws TypeError naming the option */
export function resolveRedisLog(options: RedisLogOptions) {
  checkNames('redisLog', options, [
    'url',
    'client',
    'prefix',
    'maxEvents',
    'maxAge',
    'maxSessionBytes',
    'replicas',
    'clock',
  ])
  const {
    url,
    client,
    prefix = 'holdline',
    maxEvents = 10_000,
    maxAge = 3_600_000,
    maxSessionBytes = 8_388_608,
    replicas = 0,
    clock = timers,
  } = options
  if ((url === undefined) === (client === undefined)) throw new TypeError("redisLog: give either 'url' or 'client'")
  if (url !== undefined && !/^rediss?:\/\/[^/]/.test(String(url))) {
    throw new TypeError("'url' must be like 'redis://host:6379' or 'rediss://host:6379'")
  }
  if (client !== undefined && !(client instanceof Redis || client instanceof Cluster)) {
    throw new TypeError("'client' must be a Redis or a Cluster of 'ioredis'")
  }
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_:.-]+$/.test(prefix)) {
    throw new TypeError("'prefix' must be letters, digits, '_', ':', '.' and '-'")
  }
  checkNumber('maxEvents', maxEvents, { integer: true })
  if (maxAge !== Infinity) checkNumber('maxAge', maxAge, { integer: true })
  checkNumber('maxSessionBytes', maxSessionBytes, { integer: true, min: 65_536 })
  checkNumber('replicas', replicas, { integer: true, min: 0 })
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  const isForEver = maxAge === Infinity
  return {
    source: client ?? String(url),
    prefix,
    maxEvents,
    maxSessionBytes,
    /** ms, or 0 for ever. */
    maxAge: isForEver ? 0 : maxAge,
    keep: isForEver ? 0 : maxAge + DAY,
    replicas,
    clock,
  }
}
