import type { Command, Redis } from 'ioredis'
import type { RunScripts } from './runScripts'
import type { Scripts } from './scripts'

/** A client of Redis, as far as it is used: it knows the scripts. */
export type Commands = Pick<Redis, 'get' | 'set' | 'xadd' | 'xrange' | 'xrevrange' | 'pexpire' | 'zrangebyscore'> &
  Scripts &
  RunScripts

/** What a part of a log asks of the primary that has it. */
export interface RedisLink {
  /** Begins all keys and channels. */
  readonly prefix: string
  readonly commands: Commands
  /**
   * Where `WAIT` holds up nothing but other appends; `commands`, if no append waits for replicas.
   */
  readonly writer: Commands
  /** In `commands` Pub/Sub would be in the way. */
  readonly subscriber: {
    subscribe(...channels: string[]): Promise<unknown>
    unsubscribe(...channels: string[]): Promise<unknown>
  }
  /** Resolves with the number of those who hear it. */
  publish(channel: string, text: string): Promise<number>
  /** How many hear that channel. They may hear `text` for it, which was published there before. */
  receivers(channel: string, text: string): Promise<number>
  /**
   * Which server it is that holds the data, in its present life. @throws if it may evict what it
   * holds
   */
  server(): Promise<string>
  /** The address of that server, as far as it is known; '' where there is but one. */
  address(): string
  /** How many replicas, up to `count`, have what `writing` has written to the session of `key`. */
  acknowledged(count: number, key: string, writing: Promise<unknown>): Promise<number>
}

/** The connections of a log. None is made before it is needed. */
export interface Connections {
  /** One for each part of the log. */
  readonly links: readonly [RedisLink, ...RedisLink[]]
  /** Asks anew which servers there are: a replica can be promoted under a connection. */
  forgetServers(): void
  /** A dead connection that only listens would not be noticed. */
  ping(): void
  close(): void
}

export interface ConnectionsOptions {
  readonly prefix: string
  /** Whether appends wait for replicas. */
  readonly ownWriter: boolean
  onError(error: unknown): void
  /** Heard by the link of that index. */
  onMessage(index: number, channel: string, text: string): void
  /** No subscription of these links stands any more. */
  onLost(indices: ReadonlySet<number>): void
}

/** ms. A command is repeated over reconnects until then. */
export const COMMAND_TIMEOUT = 5_000
/** How long replicas have, ms. */
export const REPLICA_TIMEOUT = 1_000
/** [spec] As Redis names the lives of its data. */
const SERVER = /^[0-9a-f]{40}$/

/** Of every connection, also of a client that is handed in and set up in another way. */
export const SETTINGS = {
  lazyConnect: true,
  commandTimeout: COMMAND_TIMEOUT,
  // By time, and not by tries: these take about as long. What has been waiting in a longer outage
  // is then let go.
  maxRetriesPerRequest: 12,
  // A connection can die without a word.
  socketTimeout: COMMAND_TIMEOUT,
  // After a reconnect the subscribers have to read what they missed, so they subscribe anew
  // themselves.
  autoResubscribe: false,
  enableOfflineQueue: true,
  stringNumbers: false,
}

/** Commands that were under way before. */
const begun = new WeakSet<object>()

/**
 * ioredis keeps what has timed out and sends it with the next connection: much too late, and after
 * the caller has given up. What it repeats in time may come to another server, or to another life
 * of the same one, so a script then asks for itself where it is.
 */
export function guardRepeats(client: Redis): void {
  const { sendCommand } = client
  client.sendCommand = (command, stream) => {
    if (command.isSettled) return command.promise
    if (begun.has(command)) forgetServer(command)
    begun.add(command)
    return sendCommand.call(client, command, stream)
  }
}

/** The caller's word for `master_replid`, behind the keys of a script. */
function forgetServer({ name, args }: Command): void {
  const at = 2 + Number(args[1])
  if (/^eval/.test(name) && SERVER.test(String(args[at]))) args[at] = ''
}
