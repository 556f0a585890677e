import type { Answer } from '../answer'
import { CANCELLED } from '../log/cluster'
import { answerOf, answerTo, type Command, type Execution, ID_REUSED, UNAVAILABLE } from './execution'
import { type Place, PlaceQueues } from './placeQueue'
import type { Presence } from './presence'
import { Runner, type RunnerOptions } from './runner'

/** Runs each command once, and remembers how it ended. */
export class Commands {
  readonly #options: RunnerOptions
  readonly #runner: Runner
  readonly #chains = new PlaceQueues()
  /**
   * The commands of one principal in a chain. Only the first of them stands in the chain's own
   * line, so others wait for one, not for all.
   */
  readonly #own = new PlaceQueues()
  readonly #executions = new Set<Execution>()
  readonly #byIdentity = new Map<string, Execution>()
  readonly #onIdle: (() => void)[] = []

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#runner = new Runner(options)
  }

  /** Takes its place in the chain before it returns. Never rejects. */
  async execute(command: Command, presence: Presence): Promise<Answer> {
    const { identity, fingerprint, refusal } = command
    const { receipts } = this.#options
    receipts.forgetOld()
    const ended = identity === undefined ? undefined : receipts.find(identity)
    if (ended) return answerTo(ended, fingerprint)
    const underWay = identity === undefined ? undefined : this.#byIdentity.get(identity)
    if (underWay) return underWay.fingerprint === fingerprint ? answerOf(underWay, presence) : ID_REUSED
    if (refusal) return identity === undefined ? refusal : this.#runner.answerElsewhere(identity, fingerprint, refusal)
    return answerOf(this.#begin(command), presence)
  }

  /**
   * Commands that have not begun are not run: they may take an hour. Settles when no command is
   * running.
   */
  async close(): Promise<void> {
    for (const execution of this.#executions) if (execution.state === 'queued') execution.end(UNAVAILABLE)
    if (this.#executions.size > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
  }

  #begin(command: Command): Execution {
    const { chain, principalId, identity, fingerprint } = command
    const own = this.#own.join(JSON.stringify([chain, principalId]))
    let place: Place | undefined = own.reached ? undefined : this.#chains.join(chain)
    const end = (answer?: Answer) => {
      execution.state = 'over'
      own.leave()
      place?.leave()
      this.#executions.delete(execution)
      if (identity !== undefined) this.#byIdentity.delete(identity)
      if (this.#executions.size === 0) for (const tell of this.#onIdle.splice(0)) tell()
      if (answer) for (const tell of execution.waiting) tell(answer)
    }
    const isFirst = place !== undefined && !place.reached
    const execution: Execution = { fingerprint, waiting: new Set(), state: isFirst ? 'begun' : 'queued', end }
    this.#executions.add(execution)
    if (identity !== undefined) this.#byIdentity.set(identity, execution)
    // At once: what it takes back may stand before it.
    const cancelling = this.#cancel(command)
    const isOver = () => execution.state === 'over'
    const perform = async () => {
      // A command that was dropped while it stood in a line never gets past this.
      if (own.reached) await own.reached
      if (isOver()) return
      place ??= this.#chains.join(chain)
      if (place.reached) await place.reached
      if (isOver()) return
      execution.state = 'begun'
      const refused = cancelling && (await cancelling)
      end(refused ?? (await this.#runner.perform(command, execution)))
    }
    void perform()
    return execution
  }

  /**
   * Never rejects. Resolves with why the command must not be run: it cannot be promised that the
   * others do not begin.
   */
  #cancel({ principalId, cancels }: Command): Promise<Answer | undefined> | undefined {
    return cancels.length > 0 ? this.#cancelAll(principalId, cancels) : undefined
  }

  async #cancelAll(principalId: string, cancels: readonly string[]): Promise<Answer | undefined> {
    const { shared, receipts } = this.#options
    const isQueued = (identity: string) => (this.#byIdentity.get(identity)?.state ?? 'queued') === 'queued'
    try {
      // Another process may have begun what is queued here.
      const cancelled = shared ? await shared.cancel(cancels) : receipts.cancel(principalId, cancels.filter(isQueued))
      for (const identity of cancelled) {
        const execution = this.#byIdentity.get(identity)
        if (execution?.state === 'queued') execution.end(CANCELLED.answer)
      }
      for (const identity of cancels) {
        const execution = this.#byIdentity.get(identity)
        if (execution?.state === 'begun') execution.state = 'takenBack'
      }
      return undefined
    } catch (error) {
      return this.#runner.unavailableFor(error)
    }
  }
}
