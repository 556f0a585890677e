import type { Redis } from 'ioredis'

export interface SubscriptionsOptions {
  readonly redis: Pick<Redis, 'subscribe' | 'unsubscribe'>
  /** Told once, until everything that is wanted is subscribed again. */
  onRefused(cause: unknown): void
}

/** `asked`: the answer is under way. `missing`: refused, or lost with its connection. `leaving`: it could not be given back. */
type State = 'asked' | 'heard' | 'missing' | 'leaving'
interface Channel {
  readonly name: string
  state: State
}

/** Channels of one SUBSCRIBE. */
const CHUNK = 500

/** The channels that this process listens to. What Redis refuses is asked for again with each `repair`, not only once. */
export function createSubscriptions({ redis, onRefused }: SubscriptionsOptions) {
  const channels = new Map<string, Channel>()
  let isTold = false

  const inState = (state: State) => [...channels.values()].filter((channel) => channel.state === state)
  const move = (some: readonly Channel[], from: State, to: State) => {
    for (const channel of some) if (channel.state === from) channel.state = to
  }

  async function ask(some: readonly Channel[]): Promise<void> {
    for (const channel of some) channel.state = 'asked'
    try {
      await redis.subscribe(...some.map(({ name }) => name))
      move(some, 'asked', 'heard')
    } catch (error) {
      move(some, 'asked', 'missing')
      // Redis refuses the whole command for one channel that it refuses.
      if (some.length > 1 && /^NOPERM/.test(String(Object(error).message)))
        await Promise.all(some.map((channel) => ask([channel])))
      else tell(error)
    }
  }

  async function giveBack(channel: Channel): Promise<void> {
    channel.state = 'leaving'
    try {
      await redis.unsubscribe(channel.name)
      if (channel.state === 'leaving') channels.delete(channel.name)
    } catch (error) {
      tell(error)
    }
  }

  function tell(error: unknown) {
    if (!isTold) onRefused(error)
    isTold = true
  }

  return {
    /** Resolves when what is published to it arrives, or Redis has refused that. Never rejects. */
    async add(name: string): Promise<void> {
      const channel = channels.get(name) ?? { name, state: 'missing' }
      channels.set(name, channel)
      await ask([channel])
    },

    async remove(name: string): Promise<void> {
      const channel = channels.get(name)
      if (channel) await giveBack(channel)
    },

    /** After a reconnect: no subscription stands. What is being asked is asked again by ioredis. */
    lose() {
      for (const { name } of inState('leaving')) channels.delete(name)
      move([...channels.values()], 'heard', 'missing')
    },

    /** Asks for what is missing and gives back what is too much. Never rejects. */
    async repair(): Promise<void> {
      await Promise.all(inState('leaving').map(giveBack))
      const missing = inState('missing')
      for (let index = 0; index < missing.length; index += CHUNK) {
        const chunk = missing.slice(index, index + CHUNK).filter(({ state }) => state === 'missing')
        if (chunk.length > 0) await ask(chunk)
      }
      if (inState('missing').length + inState('leaving').length === 0) isTold = false
    },

    close() {
      isTold = true
      channels.clear()
    },
  }
}

export type Subscriptions = ReturnType<typeof createSubscriptions>
