import type { Cluster, ClusterHost } from '../log/cluster'
import type { JoinRuns } from '../log/runLog'
import type { LogEntry, SessionLog } from '../log/sessionLog'
import { joinRunLogs } from './joinedRuns'
import { createNode } from './node'
import { type RedisLogOptions, resolveRedisLog } from './options'
import { Parts } from './parts'

export interface RedisLog extends SessionLog {
  append(...given: Parameters<SessionLog['append']>): Promise<LogEntry>
  join(host: ClusterHost): Cluster
  readonly joinRuns: JoinRuns
  /**
   * Ends the connections. Call it after the server's `close()`, when nothing is published any more.
   */
  close(): void
}

/** The part that would have this one has what is of no session, process or principal. */
const HOME = 'home'

/**
 * A `SessionLog` in Redis, for any number of processes: in one primary (≥ 6.2), or in the shards of
 * a Redis Cluster (≥ 7). Streams are the log, Pub/Sub the wake-up. docs/scaling.md says what Redis
 * promises and what it does not.
 *
 * @throws TypeError naming the option, if one is invalid or unknown
 */
export function redisLog(options: RedisLogOptions): RedisLog {
  const resolved = resolveRedisLog(options)
  const { clock } = resolved
  const parts = new Parts(resolved)
  const { owner, feeds } = parts
  return {
    append: (...given) => parts.of(given[0]).appender.append(...given),

    read: (sessionId, after, limit) =>
      feeds.entriesAfter(sessionId, after, limit) ?? parts.of(sessionId).reader.read(sessionId, after, limit),

    head: (sessionId) => parts.of(sessionId).reader.head(sessionId),

    subscribe: (sessionId, listener) => feeds.listen(sessionId, listener),

    join(host) {
      if (owner.node) throw new TypeError('redisLog: a log serves one server; make another one')
      owner.onError = host.onError
      owner.onMetric = (metric) => host.onMetric(metric)
      // Redis takes whole ms.
      owner.onceAge = Math.ceil(host.receiptAge)
      const receiptAge = owner.onceAge
      owner.node = createNode({ partOf: parts.of, home: parts.of(HOME), clock, host: { ...host, receiptAge } })
      return owner.node
    },

    joinRuns: (process) => joinRunLogs({ parts, process, clock }),

    close: () => parts.close(),
  }
}
