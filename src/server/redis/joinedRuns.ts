import type { Timers } from '../clock'
import type { RunLog, RunProcess } from '../log/runLog'
import type { Part, PartOf } from './part'

export interface JoinRunLogsOptions {
  readonly parts: { readonly all: readonly [Part, ...Part[]]; readonly of: PartOf }
  readonly process: RunProcess
  readonly clock: Timers
}

/** How long a round waits for parts that do not answer, ms: leases elsewhere run out meanwhile. */
const PATIENCE = 500

/**
 * The runs of a log. In each of its parts a process lives by itself: where its lease cannot be
 * renewed, only the runs of that part are in danger.
 */
export function joinRunLogs({ parts, process, clock }: JoinRunLogsOptions): RunLog {
  const [first, ...others] = parts.all
  const only = first.runs.join(process)
  if (others.length === 0) return only
  const logs = new Map([[first, only], ...others.map((part) => [part, part.runs.join(process)] as const)])
  const logOf = (sessionId: string) => logs.get(parts.of(sessionId)) ?? only
  const asking = new Rounds(clock)
  /** Those in which the lease was renewed in this round. In others nobody is judged. */
  let renewed: readonly RunLog[] = []
  return {
    read: (sessionId, names) => logOf(sessionId).read(sessionId, names),
    change: (sessionId, change) => logOf(sessionId).change(sessionId, change),
    append: (sessionId, batch) => logOf(sessionId).append(sessionId, batch),
    async renew() {
      renewed = await asking.ask([...logs.values()], async (log) => {
        await log.renew()
        return log
      })
    },
    overdue: async () => (await asking.ask(renewed, async (log) => log.overdue())).flat(),
    postpone: (overdue) => logOf(overdue.sessionId).postpone(overdue),
  }
}

/** Asks several parts at once. */
class Rounds {
  readonly #clock: Timers
  /** Those that have not answered their last question. */
  readonly #busy = new Set<RunLog>()

  constructor(clock: Timers) {
    this.#clock = clock
  }

  /** The answers that came in time. Why others did not come is told by their part. */
  async ask<T>(logs: readonly RunLog[], question: (log: RunLog) => Promise<T>): Promise<readonly T[]> {
    const answers: T[] = []
    const askOne = async (log: RunLog) => {
      this.#busy.add(log)
      await question(log).then(
        (answer) => answers.push(answer),
        () => {},
      )
      this.#busy.delete(log)
    }
    let timer: unknown
    const patience = new Promise<void>((resolve) => {
      timer = this.#clock.setTimeout(resolve, PATIENCE)
    })
    await Promise.race([Promise.all(logs.filter((log) => !this.#busy.has(log)).map(askOne)), patience])
    this.#clock.clearTimeout(timer)
    return [...answers]
  }
}
