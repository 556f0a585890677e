import type { Connection } from '../connection/api'
import { partsOf } from '../connection/publicConnection'
import { PAGE } from './page'

/** A value that is read anew, as `useSyncExternalStore` wants it. */
export interface Store<Value> {
  getSnapshot(): Value
  /** Returns the function that unsubscribes. */
  subscribe(listener: () => void): () => void
}

export interface CountedParts<Value> {
  /** Calls back with each change. Returns the function that ends it. */
  readonly on: (changed: () => void) => () => void
  /** The same reference until something changes. */
  readonly read: (now: number) => Value
  /** To count down to, ms since the epoch. */
  readonly times: (value: Value) => readonly (number | null)[]
}

/** A value in which times are counted down: it changes with each whole second as well. */
export function counted<Value>(connection: Connection, { on, read, times }: CountedParts<Value>): Store<Value> {
  const { clock } = partsOf(connection).settings
  const getSnapshot = () => read(clock.now())
  return {
    getSnapshot,
    subscribe(listener) {
      let last = getSnapshot()
      let cancel = () => {}
      const tick = () => {
        cancel()
        const now = clock.now()
        const value = read(now)
        const left = times(value).flatMap((at) => (at !== null && at > now ? [(at - now) % 1_000 || 1_000] : []))
        cancel = PAGE.later(tick, Math.min(...left))
        if (value === last) return
        last = value
        listener()
      }
      const end = on(tick)
      tick()
      return () => {
        cancel()
        end()
      }
    },
  }
}

/** The ms until `at`, rounded up to whole seconds. */
export const leftUntil = (at: number, now: number): number => Math.ceil(Math.max(0, at - now) / 1_000) * 1_000
