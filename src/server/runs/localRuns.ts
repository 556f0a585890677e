import type { ServerParts } from '../parts'
import type { LocalRun } from './localRun'
import { bury, type Hold, holdsOf, type RunRecord, runningOf } from './record'
import type { RunStore, View } from './store'

export interface LocalRunsOptions {
  readonly store: RunStore
  /** The name of this process. */
  readonly process: string
  readonly parts: ServerParts
}

/** The runs that this process has, by session. Keeps them in step with what the log says. */
export class LocalRuns {
  readonly #options: LocalRunsOptions
  readonly #sessions = new Map<string, Set<LocalRun>>()
  /**
   * Sessions of which it is not known what the log has of this process: a run was `changed` while
   * it began, or a call has `failed`, and may reach the log at any time.
   */
  readonly #doubtful = new Map<string, 'changed' | 'failed'>()
  /** Sessions that are being looked at. One look at a time, however often it is asked for. */
  readonly #looks = new Map<string, 'looking' | 'lookingAgain'>()
  #count = 0
  readonly #onIdle: (() => void)[] = []

  constructor(options: LocalRunsOptions) {
    this.#options = options
  }

  get size() {
    return this.#count
  }

  add(run: LocalRun) {
    const own = this.#sessions.get(run.sessionId) ?? new Set()
    this.#sessions.set(run.sessionId, own.add(run))
    this.#tell(1)
  }

  remove(run: LocalRun) {
    const own = this.#sessions.get(run.sessionId)
    if (!own?.delete(run)) return
    if (own.size === 0) this.#sessions.delete(run.sessionId)
    this.#tell(-1)
    if (this.#count === 0) for (const tell of this.#onIdle.splice(0)) tell()
  }

  /** The log has not taken it. */
  drop(run: LocalRun) {
    run.drop()
    this.remove(run)
  }

  /** The log has it, unless it was ended since. */
  begin(run: LocalRun) {
    run.begin()
    const { sessionId } = run
    // A look that is under way judges only what had begun before it.
    if (this.#doubtful.has(sessionId) || this.#looks.has(sessionId)) this.look(sessionId)
  }

  /** The log has it in the queue, or it was ended or has even started since. */
  enqueue(run: LocalRun) {
    if (run.state === 'starting') run.state = 'queued'
    this.look(run.sessionId)
  }

  /** What this process may have in the session has no one here who takes care of it. */
  doubt(sessionId: string) {
    this.#doubtful.set(sessionId, 'failed')
    this.look(sessionId)
  }

  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve))
  }

  /** Asks the log how the runs of the session stand. Never rejects: it is looked again. */
  look(sessionId: string) {
    const isLooking = this.#looks.has(sessionId)
    this.#looks.set(sessionId, isLooking ? 'lookingAgain' : 'looking')
    if (!isLooking) void this.#lookOn(sessionId)
  }

  lookAtAll() {
    for (const sessionId of new Set([...this.#sessions.keys(), ...this.#doubtful.keys()])) this.look(sessionId)
  }

  /** The record as it is after a change that this process has made. */
  follow(sessionId: string, record: RunRecord, known = this.#knownIn(sessionId)) {
    const tokens = new Set(holdsOf(record).map(({ token }) => token))
    for (const run of known) {
      if (run.token === runningOf(record)?.token) run.begin()
      else if (!tokens.has(run.token)) run.lose()
    }
    const isUnheard = (run: LocalRun) => run.state === 'starting' && !tokens.has(run.token)
    if (this.#inSession(sessionId).some(isUnheard) && !this.#doubtful.has(sessionId))
      this.#doubtful.set(sessionId, 'changed')
  }

  async #lookOn(sessionId: string) {
    do {
      this.#looks.set(sessionId, 'looking')
      await this.#look(sessionId).catch(() => this.#doubtful.set(sessionId, 'failed'))
    } while (this.#looks.get(sessionId) === 'lookingAgain')
    this.#looks.delete(sessionId)
  }

  async #look(sessionId: string) {
    const { store, process } = this.#options
    // A run that comes into the log while it is read is not judged by what is read.
    const known = this.#knownIn(sessionId)
    const { record } = await store.view(sessionId)
    const doubt = this.#doubtful.get(sessionId)
    this.#doubtful.delete(sessionId)
    this.follow(sessionId, record, known)
    const isOrphan = ({ token, process: owner }: Hold) =>
      owner === process && !this.#inSession(sessionId).some((run) => run.token === token)
    if (doubt !== 'failed' && !holdsOf(record).some(isOrphan)) return
    // A change without an orphan only makes another version: what failed and is still on its way,
    // e.g. through an old connection, changes nothing then.
    const decide = (view: View) => ({ step: bury(view.record, isOrphan), value: undefined })
    await store.change({ sessionId, decide })
  }

  /** Those that the log is known to have had, and that do not look themselves how they stand. */
  #knownIn(sessionId: string): readonly LocalRun[] {
    return this.#inSession(sessionId).filter(({ state }) => state === 'queued' || state === 'producing')
  }

  #inSession(sessionId: string): readonly LocalRun[] {
    return [...(this.#sessions.get(sessionId) ?? [])]
  }

  #tell(more: 1 | -1) {
    this.#count += more
    this.#options.parts.onMetric({ name: 'runs', value: this.#count })
  }
}
