import type { Cluster } from 'ioredis'
import type { Definable } from './scripts'
import { readInfo, refuseEviction } from './serverInfo'

/** Sharded Pub/Sub came with it. */
const LEAST_VERSION = 7

export interface InfoScript {
  /** `INFO` of the server that has the key: by itself it would go to any. */
  holdlineInfo(key: string): Promise<string>
}

export function withInfoScript<R extends Definable>(redis: R): R & InfoScript {
  redis.defineCommand('holdlineInfo', { numberOfKeys: 1, lua: "return redis.call('INFO')" })
  return redis as R & InfoScript
}

/** The servers of a cluster: which one has a slot, and in which life of its data it is. */
export class Shards {
  readonly #cluster: Pick<Cluster, 'slots'> & InfoScript
  /** A key in each slot. */
  readonly #keys: ReadonlyMap<number, string>
  /** By address. */
  readonly #known = new Map<string, string>()
  readonly #asking = new Map<string, Promise<string>>()

  constructor(cluster: Pick<Cluster, 'slots' | 'on'> & InfoScript, keys: ReadonlyMap<number, string>) {
    this.#cluster = cluster
    this.#keys = keys
    cluster.on('-node', () => this.forget())
  }

  /** Of the server that has the slot; '' as long as nothing was asked. */
  address(slot: number): string {
    return this.#cluster.slots[slot]?.[0] ?? ''
  }

  /** As `RedisLink.server`. When it resolves, `address` is right, unless it was known before. */
  async server(slot: number): Promise<string> {
    const address = this.address(slot)
    const known = this.#known.get(address)
    if (known !== undefined) return known
    const key = this.#keys.get(slot) ?? ''
    // Slots of which nothing is known may be anywhere.
    const place = address || key
    const asking = this.#asking.get(place) ?? this.#ask(slot, key).finally(() => this.#asking.delete(place))
    this.#asking.set(place, asking)
    return asking
  }

  forget(): void {
    this.#known.clear()
  }

  async #ask(slot: number, key: string): Promise<string> {
    const info = await readInfo(this.#cluster.holdlineInfo(key))
    refuseEviction(info)
    const version = info('redis_version')
    if (Number.parseInt(version, 10) < LEAST_VERSION)
      throw new Error(`redisLog: a Redis Cluster must be of version ${LEAST_VERSION} or newer, and this is ${version}`)
    const id = info('master_replid')
    // Wherever it was found.
    this.#known.set(this.address(slot), id)
    return id
  }
}
