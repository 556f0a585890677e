import type { Connection } from '../connection/api'
import { partsOf } from '../connection/publicConnection'
import { PAGE } from './page'

/** The whole seconds until the line, or the queue, tries again; null where neither waits. */
export function countdown(connection: Connection) {
  const { clock } = partsOf(connection).settings
  let seconds: number | null = null
  return {
    getSnapshot: () => seconds,
    subscribe(listener: () => void): () => void {
      let cancel = () => {}
      const tick = () => {
        cancel()
        const { phase, retryAt, outbox } = connection.getSnapshot()
        const at = phase === 'open' && outbox.state === 'pausing' ? outbox.retryAt : retryAt
        const left = at === null ? 0 : Math.max(0, at - clock.now())
        const before = seconds
        seconds = at === null ? null : Math.ceil(left / 1_000)
        if (left) cancel = PAGE.later(tick, left % 1_000 || 1_000)
        if (seconds !== before) listener()
      }
      const unsubscribe = connection.subscribe(tick)
      return () => {
        cancel()
        unsubscribe()
      }
    },
  }
}
