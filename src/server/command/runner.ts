import { isToBeRepeated } from '../../protocol/status'
import { type Answer, refusalOf } from '../answer'
import { Misfit } from '../contract'
import { CommandRejected, Refusal, tooMany } from '../errors'
import { Budget, type Budgets } from '../limits/budget'
import { CANCELLED, type Cluster } from '../log/cluster'
import { answerTo, type Command, type Execution, ID_REUSED, UNAVAILABLE } from './execution'
import { toJson } from './receiptJson'
import type { Receipts } from './receipts'

export interface RunnerOptions {
  readonly budgets: Budgets
  readonly receipts: Receipts
  /** Where the outcomes of other processes are found, if there are any. */
  readonly shared: Pick<Cluster, 'outcome' | 'claim' | 'cancel'> | undefined
  onError(error: unknown): void
}

/**
 * Runs a command that has reached its turn, and has its outcome kept, here and where other
 * processes find it.
 */
export class Runner {
  readonly #options: RunnerOptions

  constructor(options: RunnerOptions) {
    this.#options = options
  }

  /**
   * Never rejects. What there is no room for is not run: it would be run again when it is repeated.
   */
  async perform(command: Command, execution: Execution): Promise<Answer> {
    const { principalId, identity, fingerprint, weight } = command
    const { budgets, receipts, shared } = this.#options
    const memory = new Budget(Infinity, budgets.of(principalId))
    const room = identity === undefined ? undefined : receipts.reserve(principalId, identity)
    // Processes that share a log share the receipts too: there it is decided whether there is room.
    const mustBeKept = identity !== undefined && !shared
    if ((mustBeKept && !room) || !memory.take(weight)) {
      room?.free()
      return refusalOf(tooMany(), () => {})
    }
    const answer = await (identity === undefined ? this.#run(command) : this.#runOnce(command, identity, execution))
    memory.close()
    // A failure was not applied: a repeat runs again.
    if (isToBeRepeated(answer.status) || answer === ID_REUSED) room?.free()
    else room?.keep({ fingerprint, answer })
    return answer
  }

  /** Never rejects. What cannot be asked about is not run: it may have been, elsewhere. */
  async #runOnce(command: Command, identity: string, execution: Execution): Promise<Answer> {
    const { shared, onError } = this.#options
    const run = async () => {
      const answer = await this.#run(command)
      return execution.state === 'takenBack' && isToBeRepeated(answer.status) ? CANCELLED.answer : answer
    }
    if (!shared) return run()
    const { fingerprint } = command
    try {
      const claim = await shared.claim(identity, fingerprint)
      if ('answer' in claim) return answerTo(claim, fingerprint)
      const answer = await run()
      // It was run, whether others hear of it or not.
      await claim.settle(answer.status < 500 ? answer : undefined).catch(onError)
      return answer
    } catch (error) {
      return this.unavailableFor(error)
    }
  }

  unavailableFor(error: unknown): Answer {
    const { onError } = this.#options
    if (error instanceof Refusal) return refusalOf(error, onError)
    onError(error)
    return UNAVAILABLE
  }

  /**
   * The answer to a command that must not be run: its outcome in another process, or else the
   * refusal.
   */
  async answerElsewhere(identity: string, fingerprint: string, refusal: Answer): Promise<Answer> {
    const { shared, onError } = this.#options
    try {
      const known = await shared?.outcome(identity)
      return known ? answerTo(known, fingerprint) : refusal
    } catch (error) {
      onError(error)
      return UNAVAILABLE
    }
  }

  /** Never rejects. */
  async #run({ run }: Command): Promise<Answer> {
    const { onError } = this.#options
    try {
      return { status: 200, json: toJson(await run(), onError) }
    } catch (error) {
      if (error instanceof Misfit) return refusalOf(error, onError)
      if (error instanceof CommandRejected) return { status: error.status, json: JSON.stringify({ error: error.code }) }
      onError(error)
      return { status: 500, json: '{"error":"internal"}' }
    }
  }
}
