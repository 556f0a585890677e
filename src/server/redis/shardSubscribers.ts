import type { Cluster, Redis } from 'ioredis'
import type { Shards } from './shards'

export interface ShardSubscribersOptions {
  readonly cluster: Pick<Cluster, 'on' | 'refreshSlotsCache'>
  readonly shards: Pick<Shards, 'address' | 'forget' | 'server'>
  /** Makes a connection to that server, for subscriptions alone. */
  connect(address: string): Redis
  onMessage(channel: string, text: string): void
  /** No subscription in these slots stands any more. */
  onLost(slots: ReadonlySet<number>): void
}

/** The connection to a server, and the slots whose channels are heard there. */
interface Ear {
  readonly address: string
  readonly redis: Redis
  readonly slots: Set<number>
  /** `doubtful`: the server has taken subscriptions back. */
  state: 'sure' | 'doubtful'
}

/** How often in a row a slot is looked for at another server. */
const MAX_MOVES = 5

/**
 * Sharded Pub/Sub: a channel is heard only where its slot is. That is one connection to each server
 * that has one of the slots.
 */
export class ShardSubscribers {
  readonly #options: ShardSubscribersOptions
  readonly #ears = new Map<string, Ear>()

  constructor(options: ShardSubscribersOptions) {
    this.#options = options
    options.cluster.on('refresh', () => this.#follow())
  }

  subscribe(slot: number, channels: readonly string[]): Promise<void> {
    return this.#ask(slot, (redis) => redis.ssubscribe(...channels))
  }

  unsubscribe(slot: number, channels: readonly string[]): Promise<void> {
    return this.#ask(slot, (redis) => redis.sunsubscribe(...channels))
  }

  ping(): void {
    for (const { redis } of this.#ears.values()) redis.ping().catch(() => {})
  }

  close(): void {
    for (const ear of this.#ears.values()) this.#retire(ear)
  }

  /** Asks the server that has the slot; if it has gone meanwhile, the next one. */
  async #ask(slot: number, ask: (redis: Redis) => Promise<unknown>): Promise<void> {
    const { shards } = this.#options
    for (let left = MAX_MOVES; left > 0; left -= 1) {
      await shards.server(slot)
      const ear = this.#earOf(slot)
      const error = await ask(ear.redis).then(
        () => undefined,
        (reason: Error) => reason,
      )
      if (ear.slots.has(slot) && !(error && isPassing(error))) {
        if (error) throw error
        return
      }
      // The next question about the slot is led to where it is, and waits until it can be answered.
      shards.forget()
    }
    throw new Error(`redisLog: slot ${slot} is on the move`)
  }

  #earOf(slot: number): Ear {
    const address = this.#options.shards.address(slot)
    const ear = this.#ears.get(address) ?? this.#open(address)
    for (const other of this.#ears.values()) if (other !== ear) other.slots.delete(slot)
    ear.slots.add(slot)
    return ear
  }

  #open(address: string): Ear {
    const { cluster, connect, onMessage, onLost } = this.#options
    const ear: Ear = { address, redis: connect(address), slots: new Set(), state: 'sure' }
    this.#ears.set(address, ear)
    const look = () => {
      if (this.#ears.get(address) === ear) cluster.refreshSlotsCache()
    }
    ear.redis.on('smessage', onMessage)
    ear.redis.on('ready', () => onLost(new Set(ear.slots)))
    // Perhaps another one has taken its place.
    ear.redis.on('close', look)
    // [ioredis] The server has unsubscribed a channel, because its slot has gone.
    ear.redis.on('moved', () => {
      ear.state = 'doubtful'
      look()
    })
    return ear
  }

  /** After it was asked which server has which slot. */
  #follow() {
    const { shards, onLost } = this.#options
    const lost = new Set<number>()
    for (const ear of this.#ears.values()) {
      for (const slot of ear.slots) {
        const isElsewhere = shards.address(slot) !== ear.address
        if (isElsewhere) ear.slots.delete(slot)
        if (isElsewhere || ear.state === 'doubtful') lost.add(slot)
      }
      ear.state = 'sure'
      if (ear.slots.size === 0) this.#retire(ear)
    }
    if (lost.size > 0) onLost(lost)
  }

  #retire(ear: Ear) {
    this.#ears.delete(ear.address)
    ear.redis.disconnect()
  }
}

/** The slot is elsewhere, or its server has just started. */
const isPassing = ({ message }: Error) => /^(MOVED|CLUSTERDOWN)\b/.test(message)
