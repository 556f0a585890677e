import { setIdleTimeout } from '../clock'
import type { Overdue, RunLog } from '../log/runLog'
import type { ServerParts } from '../parts'
import type { LocalRuns } from './localRuns'
import { bury, end, type Hold, holdsOf, type Step } from './record'
import type { Decision, RunStore, View } from './store'

export interface WatchOptions {
  readonly log: RunLog
  readonly store: RunStore
  readonly locals: LocalRuns
  /** ms. */
  readonly lease: number
  readonly parts: ServerParts
}

/**
 * Rounds in one lease; and with how many rounds this process looks at what it has itself: Pub/Sub
 * loses messages.
 */
const ROUNDS = 3

/** Says that this process lives, and ends the runs of those that do not say so any more. */
export class Watch {
  readonly #options: WatchOptions
  /** `over`: its server is closed, and it has no run. */
  #state: 'watching' | 'over' = 'over'
  #rounds = 0
  #isTold = false

  constructor(options: WatchOptions) {
    this.#options = options
  }

  /** A run may begin while its server closes. */
  start() {
    if (this.#state === 'watching') return
    this.#state = 'watching'
    void this.#round()
  }

  async #round() {
    const { parts, lease, locals } = this.#options
    const { clock, isClosed, onError } = parts
    try {
      await this.#look()
      this.#isTold = false
    } catch (error) {
      if (!this.#isTold) onError(error)
      this.#isTold = true
    }
    if (isClosed() && locals.size === 0) {
      this.#state = 'over'
      return
    }
    setIdleTimeout(clock, () => void this.#round(), lease / ROUNDS)
  }

  async #look() {
    const { log, locals } = this.#options
    await log.renew()
    this.#rounds += 1
    if (this.#rounds % ROUNDS === 0) locals.lookAtAll()
    const seen = new Set<string>()
    let failure: { readonly error: unknown } | undefined
    for (;;) {
      const news = (await log.overdue()).filter((each) => !seen.has(keyOf(each)))
      if (news.length === 0) break
      for (const each of news) {
        seen.add(keyOf(each))
        // One session that cannot be read holds up no other.
        await this.#clear(each).catch((error: unknown) => {
          failure ??= { error }
          return log.postpone(each)
        })
      }
    }
    if (failure) throw failure.error
  }

  async #clear({ sessionId, process }: Overdue) {
    const { store, parts } = this.#options
    const { value } = await store.change({
      sessionId,
      ...(process !== undefined && { frees: process }),
      decide: (view) => (process === undefined ? expire(view) : mourn(view, process)),
    })
    for (let left = value.count; left > 0; left -= 1) parts.onMetric({ name: value.metric, value: 1 })
  }
}

/** How many runs ended, and what they count as. */
interface Ended {
  readonly metric: 'runs.interrupted' | 'runs.failed'
  readonly count: number
}

const keyOf = ({ sessionId, process = '' }: Overdue) => `${sessionId} ${process}`

function mourn({ record }: View, process: string): Decision<Ended> {
  const isDead = (hold: Hold) => hold.process === process
  const count = holdsOf(record).filter(isDead).length
  return { step: bury(record, isDead), value: { metric: 'runs.interrupted', count } }
}

/** Without a run that is due this still takes the session from the list. */
function expire({ record, page }: View): Decision<Ended> {
  const { active } = record
  const none: Step = { record, events: [], ended: [] }
  if (active?.state !== 'suspended') return { step: none, value: { metric: 'runs.interrupted', count: 0 } }
  if (active.until <= page.now) {
    const step = end(record, active.id, 'interrupted', 'expired')
    return { step, value: { metric: 'runs.interrupted', count: 1 } }
  }
  // A memory log that was full has dropped its events.
  const step = page.kept === 0 ? end(record, active.id, 'failed', 'too-large') : undefined
  return { step: step ?? none, value: { metric: 'runs.failed', count: step ? 1 : 0 } }
}
