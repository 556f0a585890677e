import type { RedisLink } from './link'

export interface SubscriptionsOptions {
  readonly redis: RedisLink['subscriber']
  /**
   * Told once, until everything that is wanted is subscribed again: then `onRestored` is called.
   */
  onRefused(cause: unknown): void
  onRestored(): void
}

/**
 * `asked`: the answer is under way. `missing`: refused, or lost with its connection. `leaving`: it
 * could not be given back.
 */
type State = 'asked' | 'heard' | 'missing' | 'leaving'
interface Channel {
  readonly name: string
  state: State
}

/** Channels of one SUBSCRIBE. */
const CHUNK = 500

/**
 * The channels that this process listens to. What Redis refuses is asked for again with each
 * `repair`, not only once.
 */
export class Subscriptions {
  readonly #options: SubscriptionsOptions
  readonly #channels = new Map<string, Channel>()
  #isTold = false

  constructor(options: SubscriptionsOptions) {
    this.#options = options
  }

  /** Resolves when what is published to it arrives, or Redis has refused that. Never rejects. */
  async add(name: string): Promise<void> {
    const channel = this.#channels.get(name) ?? { name, state: 'missing' }
    this.#channels.set(name, channel)
    await this.#ask([channel])
  }

  async remove(name: string): Promise<void> {
    const channel = this.#channels.get(name)
    if (channel) await this.#giveBack(channel)
  }

  /** After a reconnect: no subscription stands. What is being asked is asked again by ioredis. */
  lose(): void {
    for (const { name } of this.#inState('leaving')) this.#channels.delete(name)
    move(this.#inState('heard'), 'heard', 'missing')
  }

  /** Asks for what is missing and gives back what is too much. Never rejects. */
  async repair(): Promise<void> {
    await Promise.all(this.#inState('leaving').map((channel) => this.#giveBack(channel)))
    const missing = this.#inState('missing')
    for (let index = 0; index < missing.length; index += CHUNK) {
      const chunk = missing.slice(index, index + CHUNK).filter(({ state }) => state === 'missing')
      if (chunk.length > 0) await this.#ask(chunk)
    }
    if (!this.#isTold || this.#inState('missing').length + this.#inState('leaving').length > 0) return
    this.#isTold = false
    this.#options.onRestored()
  }

  close(): void {
    this.#isTold = true
    this.#channels.clear()
  }

  async #ask(some: readonly Channel[]): Promise<void> {
    for (const channel of some) channel.state = 'asked'
    try {
      await this.#options.redis.subscribe(...some.map(({ name }) => name))
      move(some, 'asked', 'heard')
    } catch (error) {
      move(some, 'asked', 'missing')
      // Redis refuses the whole command for one channel that it refuses.
      if (some.length > 1 && /^NOPERM/.test(String(Object(error).message)))
        await Promise.all(some.map((channel) => this.#ask([channel])))
      else this.#tell(error)
    }
  }

  async #giveBack(channel: Channel): Promise<void> {
    channel.state = 'leaving'
    try {
      await this.#options.redis.unsubscribe(channel.name)
      if (channel.state === 'leaving') this.#channels.delete(channel.name)
    } catch (error) {
      this.#tell(error)
    }
  }

  #inState(state: State) {
    return [...this.#channels.values()].filter((channel) => channel.state === state)
  }

  #tell(error: unknown) {
    if (!this.#isTold) this.#options.onRefused(error)
    this.#isTold = true
  }
}

function move(some: readonly Channel[], from: State, to: State) {
  for (const channel of some) if (channel.state === from) channel.state = to
}
