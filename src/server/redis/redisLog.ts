import { Redis } from 'ioredis'
import { isSeq } from '../../protocol'
import { checkMethods, checkNames, checkNumber } from '../check'
import { type Timers, wallClock } from '../clock'
import type { Cluster, ClusterHost } from '../log/cluster'
import type { JoinRuns } from '../log/runLog'
import type { LogEntry, SessionLog } from '../log/sessionLog'
import { StoredEntry } from '../log/storedEntry'
import { Appender } from './appender'
import { Feeds } from './feeds'
import { createHealth } from './health'
import { createKeys, type Keys } from './keys'
import { createNode, type RedisNode } from './node'
import { MAX_KEPT, Reader } from './reader'
import { createRedisLink } from './redisLink'
import { RedisRuns } from './redisRuns'
import { Subscriptions } from './subscriptions'

export interface RedisLogOptions {
  /** `redis://…`, or `rediss://…` for TLS. Either this or `client` must be given. */
  readonly url?: string
  /**
   * A client of the `ioredis` package that knows how to connect, e.g. by Sentinel. It is
   * duplicated, not used itself.
   */
  readonly client?: Redis
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

export interface RedisLog extends SessionLog {
  append(...given: Parameters<SessionLog['append']>): Promise<LogEntry>
  join(host: ClusterHost): Cluster
  readonly joinRuns: JoinRuns
  /**
   * Ends the connections. Call it after the server's `close()`, when nothing is published any more.
   */
  close(): void
}

const DAY = 86_400_000
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

/**
 * A `SessionLog` in Redis (≥ 6.2, one primary), for any number of processes. Streams are the log,
 * Pub/Sub the wake-up. docs/scaling.md says what Redis promises and what it does not.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function redisLog(options: RedisLogOptions): RedisLog {
  const resolved = resolve(options)
  const owner: Owner = { node: undefined, onceAge: DAY, onError: console.error, onRepair: () => {} }
  const parts = createParts(resolved, owner)
  const { link, health, reader, appender, subscriptions, runs, feeds } = parts
  const { keys, clock } = resolved
  hear(parts, keys, owner)
  return {
    append: (...given) => appender.append(...given),

    read: (sessionId, after, limit) =>
      feeds.entriesAfter(sessionId, after, limit) ?? reader.read(sessionId, after, limit),

    head: (sessionId) => reader.head(sessionId),

    subscribe: (sessionId, listener) => feeds.listen(sessionId, listener),

    join(host) {
      if (owner.node) throw new TypeError('redisLog: a log serves one server; make another one')
      owner.onError = host.onError
      owner.onRepair = () => host.onMetric({ name: 'repairs', value: 1 })
      // Redis takes whole ms.
      owner.onceAge = Math.ceil(host.receiptAge)
      const receiptAge = owner.onceAge
      owner.node = createNode({ link, subscriptions, health, keys, clock, host: { ...host, receiptAge } })
      return owner.node
    },

    joinRuns: (process) => runs.join(process),

    close() {
      owner.onError = () => {}
      subscriptions.close()
      feeds.close()
      link.close()
    },
  }
}

/** The server that the log serves, as far as it has joined. */
interface Owner {
  node: RedisNode | undefined
  /** How long the ids of events are kept, ms. */
  onceAge: number
  onError(error: unknown): void
  onRepair(): void
}

type Parts = ReturnType<typeof createParts>

/** All that asks Redis, wired to each other. */
function createParts({ keys, source, replicas, clock, ...bounds }: Resolved, owner: Owner) {
  const tell = (error: unknown) => owner.onError(error)
  const link = createRedisLink(source, { ownWriter: replicas > 0, onError: tell })
  const health = createHealth(tell)
  const shared = { link, keys, health, ...bounds }
  const reader = new Reader({ ...shared, onError: tell })
  const writing = {
    ...shared,
    replicas,
    onAppended: (sessionId: string, epoch: string, seq: number, json: string) =>
      feeds.take(sessionId, epoch, () => ({
        seq,
        entry: json.length <= MAX_KEPT ? new StoredEntry(sessionId, seq, epoch, json) : undefined,
      })),
  }
  const appender = new Appender({ ...writing, onceAge: () => owner.onceAge })
  const subscriptions = new Subscriptions({
    redis: link.subscriber,
    onRefused: (cause) =>
      health.tell(
        'Redis refuses a subscription, so what happens elsewhere is heard late; it is asked every 10 s',
        cause,
      ),
  })
  const runs = new RedisRuns({ ...writing, subscriptions })
  const feeds = new Feeds({
    subscribe: (sessionId) => subscriptions.add(keys.channel(sessionId)),
    unsubscribe: (sessionId) => void subscriptions.remove(keys.channel(sessionId)),
    repair: () => subscriptions.repair(),
    readNews: (sessionId, after, limit) => reader.news(sessionId, after, limit),
    onRepair: () => owner.onRepair(),
    onCheck() {
      link.forgetServer()
      // Otherwise a dead connection would not be noticed.
      if (owner.node) link.subscriber.ping().catch(() => {})
      owner.node?.look()
    },
    clock,
  })
  return { link, health, reader, appender, subscriptions, runs, feeds }
}

/** What other processes publish goes to this one's node or to a feed. */
function hear({ link, subscriptions, runs, feeds }: Parts, keys: Keys, owner: Owner) {
  link.subscriber.on('message', (channel: string, text: string) => {
    if (owner.node?.receive(channel, text) || runs.receive(channel, text)) return
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
}

type Resolved = ReturnType<typeof resolve>

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
  const isForEver = maxAge === Infinity
  return {
    source: client ?? String(url),
    keys: createKeys(prefix),
    maxEvents,
    maxSessionBytes,
    /** ms, or 0 for ever. */
    maxAge: isForEver ? 0 : maxAge,
    keep: isForEver ? 0 : maxAge + DAY,
    replicas,
    clock,
  }
}
