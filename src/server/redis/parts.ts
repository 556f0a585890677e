import { Cluster } from 'ioredis'
import { isSeq } from '../../protocol'
import { StoredEntry } from '../log/storedEntry'
import type { Metric } from '../metrics'
import { connectCluster } from './clusterLink'
import { Feeds } from './feeds'
import { createHealths } from './health'
import { createKeys } from './keys'
import type { Connections, RedisLink } from './link'
import type { RedisNode } from './node'
import { DAY, type ResolvedRedisLog } from './options'
import { createPart, type Part, type PartOf } from './part'
import { partitionOf } from './partitions'
import { MAX_KEPT } from './reader'
import { connectRedis } from './redisLink'

/** The server that the log serves, as far as it has joined. */
export interface Owner {
  node: RedisNode | undefined
  /** How long the ids of events are kept, ms. */
  onceAge: number
  onError(error: unknown): void
  onMetric(metric: Metric): void
}

/** All that asks Redis, wired to each other: one part, or on a cluster one for each partition. */
export class Parts {
  readonly owner: Owner = { node: undefined, onceAge: DAY, onError: console.error, onMetric: () => {} }
  readonly all: readonly [Part, ...Part[]]
  readonly feeds: Feeds<Part>
  readonly of: PartOf
  readonly #connections: Connections

  constructor(options: ResolvedRedisLog) {
    const { source, prefix, replicas } = options
    const connecting = {
      prefix,
      ownWriter: replicas > 0,
      onError: (error: unknown) => this.owner.onError(error),
      onMessage: (index: number, channel: string, text: string) => this.#hear(index, channel, text),
      onLost: (indices: ReadonlySet<number>) => this.#restore(indices),
    }
    this.#connections =
      source instanceof Cluster ? connectCluster(source, connecting) : connectRedis(source, connecting)
    const createHealth = createHealths(connecting.onError)
    const [link, ...links] = this.#connections.links
    const create = (each: RedisLink) => this.#create(each, { ...options, health: createHealth(each.address) })
    this.all = [create(link), ...links.map(create)]
    const [only] = this.all
    this.of = links.length === 0 ? () => only : (name) => this.all[partitionOf(name)] ?? only
    this.feeds = this.#createFeeds(options)
  }

  close(): void {
    this.owner.onError = () => {}
    for (const { subscriptions } of this.all) subscriptions.close()
    this.feeds.close()
    this.#connections.close()
  }

  #create(link: RedisLink, options: ResolvedRedisLog & Pick<Part, 'health'>): Part {
    return createPart({
      ...options,
      link,
      keys: createKeys(link.prefix),
      onError: (error) => this.owner.onError(error),
      onceAge: () => this.owner.onceAge,
      onAppended: (sessionId, epoch, seq, json) =>
        this.feeds.take(sessionId, epoch, () => ({
          seq,
          entry: json.length <= MAX_KEPT ? new StoredEntry(sessionId, seq, epoch, json) : undefined,
        })),
    })
  }

  #createFeeds({ clock }: ResolvedRedisLog): Feeds<Part> {
    return new Feeds({
      subscribe: (sessionId) => {
        const { subscriptions, keys } = this.of(sessionId)
        return subscriptions.add(keys.channel(sessionId))
      },
      unsubscribe: (sessionId) => {
        const { subscriptions, keys } = this.of(sessionId)
        void subscriptions.remove(keys.channel(sessionId))
      },
      parts: this.all,
      partOf: this.of,
      repair: ({ subscriptions }) => subscriptions.repair(),
      readNews: (sessionId, after, limit) => this.of(sessionId).reader.news(sessionId, after, limit),
      onRepair: () => this.owner.onMetric({ name: 'repairs', value: 1 }),
      onCheck: () => {
        this.#connections.forgetServers()
        if (this.owner.node) this.#connections.ping()
        this.owner.node?.look()
      },
      clock,
    })
  }

  /** What other processes publish goes to this one's node, to its runs, or to a feed. */
  #hear(index: number, channel: string, text: string) {
    const part = this.all[index]
    if (!part || this.owner.node?.receive(channel, text) || part.runs.receive(channel, text)) return
    const sessionId = part.keys.sessionOf(channel)
    if (sessionId === undefined) return
    const [epoch = '', number] = text.split(' ', 2)
    const seq = Number(number)
    if (isSeq(seq)) this.feeds.wake(sessionId, epoch, seq)
  }

  /** The subscriptions of these parts do not stand any more. */
  #restore(indices: ReadonlySet<number>) {
    const lost = new Set(this.all.filter((_, index) => indices.has(index)))
    for (const { subscriptions } of lost) subscriptions.lose()
    void this.feeds.resubscribe(lost)
  }
}
