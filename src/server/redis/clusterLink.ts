import type { Cluster, Redis } from 'ioredis'
import {
  COMMAND_TIMEOUT,
  type Connections,
  type ConnectionsOptions,
  guardRepeats,
  REPLICA_TIMEOUT,
  type RedisLink,
  SETTINGS,
} from './link'
import { createPartitions, type Partition } from './partitions'
import { type RunScripts, withRunScripts } from './runScripts'
import { type Scripts, withScripts } from './scripts'
import { ShardSubscribers } from './shardSubscribers'
import { type InfoScript, Shards, withInfoScript } from './shards'

type Client = Cluster & Scripts & RunScripts & InfoScript

/** How long a command waits for shards that disagree about a slot, until it asks again, ms. */
const MOVED_DELAY = 20
const CLUSTER_SETTINGS = {
  lazyConnect: true,
  enableOfflineQueue: true,
  enableAutoPipelining: false,
  scaleReads: 'master' as const,
  // They do not say when a channel is heard again, so that it could be read what was missed.
  shardedSubscribers: false,
  keyPrefix: '',
  // By time, and not by tries.
  maxRedirections: COMMAND_TIMEOUT / MOVED_DELAY,
  retryDelayOnMoved: MOVED_DELAY,
  retryDelayOnFailover: 100,
  retryDelayOnClusterDown: 100,
  retryDelayOnTryAgain: 100,
  // The cluster makes new ones.
  clusterNodeRetryStrategy: null,
}
/** The longest pause until a connection that only listens is tried again, ms. */
const MAX_RETRY_DELAY = 500

/** The connections of a log in a Redis Cluster, which has a link for each partition. */
export function connectCluster(source: Cluster, options: ConnectionsOptions): Connections {
  const { prefix, ownWriter, onError, onMessage, onLost } = options
  const partitions = createPartitions()
  const prefixOf = ({ tag }: Partition) => `${prefix}:{${tag}}`
  const indexBySlot = new Map(partitions.map(({ slot, index }) => [slot, index]))
  const indexByTag = new Map(partitions.map(({ tag, index }) => [tag, index]))
  const outages = new Outages(onError)
  const commands = openCluster(source, outages)
  const writer = ownWriter ? openCluster(source, outages) : commands
  const keys = new Map(partitions.map((partition) => [partition.slot, `${prefixOf(partition)}:server`]))
  const shards = new Shards(commands, keys)
  const subscribers = new ShardSubscribers({
    cluster: commands,
    shards,
    connect: (address) => openSubscriber(commands, address, outages),
    onMessage(channel, text) {
      const index = indexByTag.get(channel.slice(prefix.length + 2, channel.indexOf('}')))
      if (index !== undefined) onMessage(index, channel, text)
    },
    onLost: (slots) => onLost(new Set([...slots].map((slot) => indexBySlot.get(slot) ?? 0))),
  })

  const publish = async (channel: string, text: string) => Number(await commands.spublish(channel, text))
  const linkOf = (partition: Partition): RedisLink => ({
    prefix: prefixOf(partition),
    commands,
    writer,
    subscriber: {
      subscribe: (...channels) => subscribers.subscribe(partition.slot, channels),
      unsubscribe: (...channels) => subscribers.unsubscribe(partition.slot, channels),
    },
    publish,
    // `PUBSUB SHARDNUMSUB` has no key that would lead it to the right server.
    receivers: publish,
    server: () => shards.server(partition.slot),
    address: () => shards.address(partition.slot),
    acknowledged: (count, key, writing) => askReplicas(writer, { count, key, writing }),
  })
  return {
    links: partitions.map(linkOf) as [RedisLink, ...RedisLink[]],
    forgetServers: () => shards.forget(),
    ping: () => subscribers.ping(),
    close() {
      subscribers.close()
      for (const client of new Set([commands, writer])) client.disconnect()
    },
  }
}

function openCluster(source: Cluster, outages: Outages): Client {
  const cluster = source.duplicate([], {
    ...CLUSTER_SETTINGS,
    redisOptions: { ...SETTINGS, keyPrefix: '', reconnectOnError: null },
  }) as Cluster
  const { sendCommand, handleError } = cluster
  cluster.sendCommand = (command, stream, node) => {
    // As long as no server can be reached it would wait for ever.
    command.setTimeout(COMMAND_TIMEOUT)
    return sendCommand.call(cluster, command, stream, node)
  }
  // A command that was in vain to the end says why.
  cluster.handleError = (error, tries: { value?: number; last?: string }, handlers) => {
    if (error.message === 'Command timed out' && tries.last) error.message += `: ${tries.last}`
    tries.last = error.message
    handleError.call(cluster, error, tries, handlers)
  }
  cluster.on('error', (error) => outages.tell('', error))
  cluster.on('ready', () => outages.end(''))
  cluster.on('node error', (error, address) => outages.tell(address, error))
  cluster.on('+node', (node: Redis) => {
    guardRepeats(node)
    node.on('ready', () => outages.end(addressOf(node)))
  })
  return withInfoScript(withRunScripts(withScripts(cluster, 'SPUBLISH'), 'SPUBLISH'))
}

/** For subscriptions alone. */
function openSubscriber(cluster: Cluster, address: string, outages: Outages): Redis {
  const node = cluster.nodes().find((each) => addressOf(each) === address)
  if (!node) throw new Error(`redisLog: ${address} has just left the cluster`)
  const retryStrategy = (times: number) => Math.min(MAX_RETRY_DELAY, 25 * 2 ** times)
  const client = node.duplicate({ ...SETTINGS, readOnly: false, retryStrategy })
  guardRepeats(client)
  client.on('error', (error) => outages.tell(address, error))
  client.on('ready', () => outages.end(address))
  return client
}

/** Each connection, and each try, fails with an error of its own. One is told of each server. */
class Outages {
  readonly #onError: (error: unknown) => void
  /** Addresses; '' is the cluster. */
  readonly #told = new Set<string>()

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  tell(address: string, error: unknown): void {
    if (!this.#told.has(address)) this.#onError(error)
    this.#told.add(address)
  }

  end(address: string): void {
    this.#told.delete(address)
  }
}

const addressOf = ({ options: { host, port } }: Redis) => `${host}:${port}`

/**
 * `WAIT` has no key, and counts what this connection has written: it goes with a question about the
 * key, to the server that has it, or fails with that.
 */
async function askReplicas(
  writer: Cluster,
  { count, key, writing }: { readonly count: number; readonly key: string; readonly writing: Promise<unknown> },
): Promise<number> {
  await writing
  const [where, waited] = (await writer.pipeline().pttl(key).wait(count, REPLICA_TIMEOUT).exec()) ?? []
  const error = where?.[0] ?? waited?.[0]
  if (error)
    throw new Error(`redisLog: no replicas can be asked, so what was written may still be lost (${error.message})`)
  return Number(waited?.[1])
}
