import type { Clock } from '../clock'
import { unavailable } from '../errors'
import type { RunBatch, RunChange, RunLog, RunPage } from '../log/runLog'
import type { Metric } from '../metrics'
import { type Hold, holdsOf, parseRecord, type RunRecord, runningOf, type Step, toText } from './record'

export interface RunStoreOptions {
  readonly log: RunLog
  /** The name of this process. */
  readonly process: string
  readonly clock: Clock
  onMetric(metric: Metric): void
  /** This process has changed the session. */
  onChanged(sessionId: string, record: RunRecord): void
}

export interface View {
  readonly page: RunPage
  readonly record: RunRecord
}

/** What is to be done, if anything, and what is told to the caller once it is. */
export interface Decision<T> {
  readonly step?: Step | undefined
  readonly value: T
}

export interface Done<T> {
  readonly value: T
  /** As in the page that is read after it. */
  readonly kept: number
}

export interface Question<T> {
  readonly sessionId: string
  /** About which it must be known whether they have ended. */
  readonly names?: readonly string[]
  /** A process that the session is to be taken from the list of, if it has nothing in it. */
  readonly frees?: string
  /** Pure: called again with another view, if somebody was faster. */
  decide(view: View): Decision<T>
}

/** Each try that fails means that another one has made a step. */
const MAX_TRIES = 200

/**
 * The runs of the sessions in the log: read, judged here, and written if nothing has changed
 * meanwhile.
 */
export class RunStore {
  readonly #options: RunStoreOptions
  /**
   * The end of the line of those that somebody was faster than, by session. Without it each of many
   * would try as often as there are others.
   */
  readonly #lines = new Map<string, Promise<unknown>>()

  constructor(options: RunStoreOptions) {
    this.#options = options
  }

  async view(sessionId: string, names: readonly string[] = []): Promise<View> {
    const page = await this.#options.log.read(sessionId, names)
    return { page, record: parseRecord(sessionId, page.record) }
  }

  /**
   * Rejects with what `decide` throws, and with whatever the log rejects with: then it may have
   * been done all the same.
   */
  async change<T>(question: Question<T>): Promise<Done<T>> {
    return (await this.#try(question)) ?? this.#inLine(question.sessionId, () => this.#insist(question))
  }

  async #inLine<R>(sessionId: string, ask: () => Promise<R>): Promise<R> {
    const before = this.#lines.get(sessionId) ?? Promise.resolve()
    const asking = before.then(ask)
    const end = asking.then(
      () => {},
      () => {},
    )
    this.#lines.set(sessionId, end)
    void end.then(() => this.#lines.get(sessionId) === end && this.#lines.delete(sessionId))
    return asking
  }

  async #insist<T>(question: Question<T>): Promise<Done<T>> {
    for (let tries = 1; tries < MAX_TRIES; tries += 1) {
      const done = await this.#try(question)
      if (done) return done
    }
    throw unavailable()
  }

  /** `undefined`: somebody was faster. */
  async #try<T>({ sessionId, names, frees, decide }: Question<T>): Promise<Done<T> | undefined> {
    const { process, onChanged } = this.#options
    const view = await this.view(sessionId, names)
    const { step = frees === undefined ? undefined : { record: view.record, events: [], ended: [] }, value } =
      decide(view)
    if (!step) return { value, kept: view.page.kept }
    const changed = await this.#write(sessionId, toChange(view, step, { process, frees }))
    if (!changed) return undefined
    onChanged(sessionId, step.record)
    return { value, kept: changed.kept }
  }

  append(sessionId: string, batch: RunBatch): Promise<'appended' | 'lost' | 'full'> {
    const { log } = this.#options
    const isDone = (outcome: string) => outcome === 'appended'
    return this.#measure(batch.events.length, async () => log.append(sessionId, batch), isDone)
  }

  #write(sessionId: string, change: RunChange) {
    const { log } = this.#options
    return this.#measure(change.events.length, async () => log.change(sessionId, change), Boolean)
  }

  async #measure<R>(events: number, ask: () => Promise<R>, isDone: (result: R) => boolean): Promise<R> {
    const { clock, onMetric } = this.#options
    const start = clock.now()
    const result = await ask()
    if (isDone(result) && events > 0) {
      onMetric({ name: 'appends', value: events })
      onMetric({ name: 'append.duration', value: Math.max(0, clock.now() - start) })
    }
    return result
  }
}

interface Context {
  readonly process: string
  readonly frees: string | undefined
}

function toChange({ page, record: before }: View, step: Step, { process, frees }: Context): RunChange {
  const { record: after, events } = step
  const had = holdsOf(before)
  const has = holdsOf(after)
  const holders = processesOf(has)
  const left = [...processesOf(had), ...(frees === undefined ? [] : [frees])].filter((name) => !holders.includes(name))
  return {
    version: page.version,
    next: { version: crypto.randomUUID(), record: toText(after) },
    token: runningOf(after)?.token ?? '',
    events: events.map((event) => JSON.stringify(event)),
    keep: keepOf(before, step),
    ended: step.ended,
    holds: holders,
    frees: [...new Set(left)],
    wakes: processesOf(concerned(before, after)).filter((name) => name !== process),
    due: after.active?.state === 'suspended' ? after.active.until : undefined,
  }
}

/** The log keeps the active run from its begin on. */
function keepOf(before: RunRecord, { record: { active }, events }: Step): RunChange['keep'] {
  if (!active) return 'none'
  if (active.id === before.active?.id) return 'same'
  return events.findIndex(({ type }) => type === 'run.started')
}

/** Those that were ended or have started. */
function concerned(before: RunRecord, after: RunRecord): readonly Hold[] {
  const tokens = holdsOf(after).map(({ token }) => token)
  const started = runningOf(after)
  return holdsOf(before).filter(
    ({ token }) => !tokens.includes(token) || (token === started?.token && token !== runningOf(before)?.token),
  )
}

const processesOf = (holds: readonly Hold[]) => [...new Set(holds.map(({ process }) => process))]
