import { Appender, type AppenderOptions } from './appender'
import { Reader, type ReaderOptions } from './reader'
import { RedisRuns } from './redisRuns'
import { Subscriptions } from './subscriptions'

export type PartOptions = AppenderOptions & ReaderOptions

/** A part of a log: what one primary has. */
export type Part = ReturnType<typeof createPart>

/** The part that has a session, or whatever else has a name. */
export type PartOf = (name: string) => Part

export function createPart(options: PartOptions) {
  const { link, keys, health } = options
  const subscriptions = new Subscriptions({
    redis: link.subscriber,
    onRefused: (cause) => health.refusesSubscription(cause),
    onRestored: () => health.hears(),
  })
  return {
    link,
    keys,
    health,
    subscriptions,
    appender: new Appender(options),
    reader: new Reader(options),
    runs: new RedisRuns({ ...options, subscriptions }),
  }
}
