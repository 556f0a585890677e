import { Redis } from 'ioredis'
import { isSeq } from '../../protocol'
import { checkMethods, checkNames, checkNumber } from '../check'
import { type Timers, wallClock } from '../clock'
import type { Cluster, ClusterHost } from '../log/cluster'
import type { JoinRuns } from '../log/runLog'
import type { LogEntry, SessionLog } from '../log/sessionLog'
import { StoredEntry } from '../log/storedEntry'
import { createAppender } from './appender'
import { createFeeds } from './feeds'
import { createHealth } from './health'
import { createKeys } from './keys'
import { createNode, type RedisNode } from './node'
import { createReader, MAX_KEPT } from './reader'
import { createRedisLink } from './redisLink'
import { RedisRuns } from './redisRuns'
import { createSubscriptions } from './subscriptions'

export interface RedisLogOptions {
  /** `redis://…`, or `rediss://…` for TLS. Either this or `client` must be given. */
  readonly url?: string
  /** A client of the `ioredis` package that knows how to connect, e.g. by Sentinel. It is duplicated, not used itself. */
  readonly client?: Redis
  /** The prefix of every key and channel. Default: `holdline`. */
  readonly prefix?: string
  /** Events kept per session, about (Redis trims in blocks of 100); the oldest go first. Default: 10,000. */
  readonly maxEvents?: number
  /**
   * About how much the events of a session may take in Redis, bytes; the oldest go first. A larger event is refused with a TypeError.
   * At least 65,536. Default: 8,388,608 (8 MiB). How much all sessions take is bounded by Redis' own `maxmemory`.
   */
  readonly maxSessionBytes?: number
  /**
   * How long after its last event the events of a session are kept, ms. Default: 3,600,000 (1 h). The numbering is kept for
   * a day longer. `Infinity` keeps every session for ever.
   */
  readonly maxAge?: number
  /**
   * How many replicas must have an event before `publish` resolves (Redis' `WAIT`, 1 s). Fewer reject it, though it is
   * appended. Default: 0; a failover may then lose events that were acknowledged.
   */
  readonly replicas?: number
  /** Default: the global timers. */
  readonly clock?: Timers
}

export interface RedisLog extends SessionLog {
  append(...given: Parameters<SessionLog['append']>): Promise<LogEntry>
  join(host: ClusterHost): Cluster
  readonly joinRuns: JoinRuns
  /** Ends the connections. Call it after the server's `close()`, when nothing is published any more. */
  close(): void
}

const DAY = 86_400_000
const timers: Timers = {
  ...wallClock,
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, ms)
    // It does not keep a process alive; its connections do. Where it is a number, there is no such thing.
    timer.unref?.()
    return timer
  },
}

/**
 * A `SessionLog` in Redis (≥ 6.2, one primary), for any number of processes. Streams are the log, Pub/Sub the wake-up.
 * docs/scaling.md says what Redis promises and what it does not.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function redisLog(options: RedisLogOptions): RedisLog {
  const { url, client, prefix, maxEvents, maxAge, maxSessionBytes, replicas, clock } = resolve(options)
  const keys = createKeys(prefix)
  /** ms, or 0 for ever. */
  const keep = maxAge === Infinity ? 0 : maxAge + DAY
  let onError: (error: unknown) => void = console.error
  let onRepair = () => {}
  let onceAge = DAY
  let node: RedisNode | undefined

  const tell = (error: unknown) => onError(error)
  const link = createRedisLink(client ?? String(url), { ownWriter: replicas > 0, onError: tell })
  const health = createHealth(tell)
  const reader = createReader({ link, keys, health, maxSessionBytes, keep, onError: tell })
  const writing = {
    link,
    keys,
    health,
    maxEvents,
    maxAge: maxAge === Infinity ? 0 : maxAge,
    maxSessionBytes,
    keep,
    replicas,
    onAppended: (sessionId: string, epoch: string, seq: number, json: string) =>
      feeds.take(sessionId, epoch, () => ({
        seq,
        entry: json.length <= MAX_KEPT ? new StoredEntry(sessionId, seq, epoch, json) : undefined,
      })),
  }
  const append = createAppender({ ...writing, onceAge: () => onceAge })
  const subscriptions = createSubscriptions({
    redis: link.subscriber,
    onRefused: (cause) =>
      health.tell(
        'Redis refuses a subscription, so what happens elsewhere is heard late; it is asked every 10 s',
        cause,
      ),
  })
  const runs = new RedisRuns({ ...writing, subscriptions })
  const feeds = createFeeds({
    subscribe: (sessionId) => subscriptions.add(keys.channel(sessionId)),
    unsubscribe: (sessionId) => void subscriptions.remove(keys.channel(sessionId)),
    repair: subscriptions.repair,
    readNews: reader.news,
    onRepair: () => onRepair(),
    onCheck() {
      link.forgetServer()
      // Otherwise a dead connection would not be noticed.
      if (node) link.subscriber.ping().catch(() => {})
      node?.look()
    },
    clock,
  })

  link.subscriber.on('message', (channel: string, text: string) => {
    if (node?.receive(channel, text) || runs.receive(channel, text)) return
    const sessionId = keys.sessionOf(channel)
    if (sessionId === undefined) return
    const [epoch = '', number] = text.split(' ', 2)
    const seq = Number(number)
    if (isSeq(seq)) feeds.wake(sessionId, epoch, seq)
  })
  link.subscriber.on('ready', () => {
    subscriptions.lose()
    void feeds.resubscribe()
  })

  return {
    append,

    read: (sessionId, after, limit) =>
      feeds.entriesAfter(sessionId, after, limit) ?? reader.read(sessionId, after, limit),

    head: reader.head,

    subscribe: feeds.listen,

    join(host) {
      if (node) throw new TypeError('redisLog: a log serves one server; make another one')
      onError = host.onError
      onRepair = () => host.onMetric({ name: 'repairs', value: 1 })
      // Redis takes whole ms.
      onceAge = Math.ceil(host.receiptAge)
      node = createNode({ link, subscriptions, health, keys, clock, host: { ...host, receiptAge: onceAge } })
      return node
    },

    joinRuns: (process) => runs.join(process),

    close() {
      onError = () => {}
      subscriptions.close()
      feeds.close()
      link.close()
    },
  }
}

function resolve(options: RedisLogOptions) {
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
  if (client !== undefined && !(client instanceof Redis)) throw new TypeError("'client' must be a Redis of 'ioredis'")
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9_:.-]+$/.test(prefix)) {
    throw new TypeError("'prefix' must be letters, digits, '_', ':', '.' and '-'")
  }
  checkNumber('maxEvents', maxEvents, { integer: true })
  if (maxAge !== Infinity) checkNumber('maxAge', maxAge, { integer: true })
  checkNumber('maxSessionBytes', maxSessionBytes, { integer: true, min: 65_536 })
  checkNumber('replicas', replicas, { integer: true, min: 0 })
  checkMethods('clock', clock, ['setTimeout', 'clearTimeout'])
  return { url, client, prefix, maxEvents, maxAge, maxSessionBytes, replicas, clock }
}
