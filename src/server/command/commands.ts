import { isToBeRepeated } from '../../protocol/status'
import { type Answer, refusalOf } from '../answer'
import { CommandRejected, Refusal, tooMany, unknownStream } from '../errors'
import { Budget, type Budgets } from '../limits/budget'
import { CANCELLED, type Cluster, type Outcome } from '../log/cluster'
import type { MaybePromise } from '../log/sessionLog'
import { isTooDeep, MAX_DEPTH } from '../request/json'
import { Lines, type Place } from './line'
import type { Presence } from './presence'
import type { Receipts } from './receipts'

export interface Command {
  /** Commands of one chain run one after the other. Those of several principals take turns. */
  readonly chain: string
  readonly principalId: string
  /** Whose command it is and its Idempotency-Key; without one it is run each time. */
  readonly identity: string | undefined
  /** Says whether two commands of one identity are the same. */
  readonly fingerprint: string
  /** Why it must not be run. A repeat gets its receipt all the same: what it did may be the very reason. */
  readonly refusal: Answer | undefined
  /** Those that must not run any more, unless they have begun: identities of the same principal. */
  readonly cancels: readonly string[]
  /** What it holds while it runs, bytes. */
  readonly weight: number
  run(): MaybePromise<unknown>
}

export interface CommandsOptions {
  readonly budgets: Budgets
  readonly receipts: Receipts
  /** Where the outcomes of other processes are found, if there are any. */
  readonly shared: Pick<Cluster, 'outcome' | 'claim' | 'cancel'> | undefined
  onError(error: unknown): void
}

/** A command on its way, and those who wait for its answer: it, and its repeats. */
interface Execution {
  readonly fingerprint: string
  readonly waiting: Set<(answer: Answer) => void>
  /** `takenBack`: a stop has named it when it had begun. If it fails, it is not run again. */
  state: 'queued' | 'begun' | 'takenBack' | 'over'
  /** Tells those who wait. Without an answer there is nobody. One that was queued is not run any more. */
  end(answer?: Answer): void
}

const ID_REUSED: Answer = { status: 409, json: '{"error":"id-reused"}' }
/** To a repeat: the same answer, if it is the same command. */
const answerTo = (known: Outcome, fingerprint: string) =>
  known.fingerprint === fingerprint || known.fingerprint === CANCELLED.fingerprint ? known.answer : ID_REUSED
const UNAVAILABLE: Answer = { status: 503, json: '{"error":"unavailable"}', headers: { 'Retry-After': '1' } }
/** Characters of a receipt's JSON: as much as a message may have by default. A larger one is reported, and becomes `null`. */
const MAX_RECEIPT = 262_144

/** Runs each command once, and remembers how it ended. */
export class Commands {
  readonly #options: CommandsOptions
  readonly #chains = new Lines()
  /** What a principal has in a chain: only the first of it stands in the chain's own line, and so nobody stands behind all of it. */
  readonly #own = new Lines()
  readonly #executions = new Set<Execution>()
  readonly #byIdentity = new Map<string, Execution>()
  readonly #onIdle: (() => void)[] = []

  constructor(options: CommandsOptions) {
    this.#options = options
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
    if (refusal) return identity === undefined ? refusal : this.#answerElsewhere(identity, fingerprint, refusal)
    return answerOf(this.#begin(command), presence)
  }

  /** What has not begun is not run: there may be an hour of it. Settles when nothing is running any more. */
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
      // Of one that was dropped while it stood in a line this is never heard of again.
      if (own.reached) await own.reached
      if (isOver()) return
      place ??= this.#chains.join(chain)
      if (place.reached) await place.reached
      if (isOver()) return
      execution.state = 'begun'
      const refused = cancelling && (await cancelling)
      end(refused ?? (await this.#perform(command, execution)))
    }
    void perform()
    return execution
  }

  /** Never rejects. Resolves with why the command must not be run: it cannot be promised that the others do not begin. */
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
      return this.#unavailableFor(error)
    }
  }

  /** Never rejects. What there is no room for is not run: it would be run again when it is repeated. */
  async #perform(command: Command, execution: Execution): Promise<Answer> {
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
      return this.#unavailableFor(error)
    }
  }

  #unavailableFor(error: unknown): Answer {
    const { onError } = this.#options
    if (error instanceof Refusal) return refusalOf(error, onError)
    onError(error)
    return UNAVAILABLE
  }

  /** Of a command that must not be run. */
  async #answerElsewhere(identity: string, fingerprint: string, refusal: Answer): Promise<Answer> {
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
      if (error instanceof CommandRejected) return { status: error.status, json: JSON.stringify({ error: error.code }) }
      onError(error)
      return { status: 500, json: '{"error":"internal"}' }
    }
  }
}

/**
 * Until the client is gone. It is told that its stream is unknown: where a host does not tell that a request was aborted, the end of
 * the stream is all that is known.
 */
function answerOf(execution: Execution, presence: Presence): Promise<Answer> {
  return new Promise((resolve) => {
    execution.waiting.add(resolve)
    // One that has begun, and the one that began it, have an end of their own.
    if (execution.state !== 'queued' && execution.waiting.size === 1) return
    void presence.gone.then(() => {
      if (!execution.waiting.delete(resolve)) return
      resolve(refusalOf(unknownStream(), () => {}))
      if (execution.waiting.size === 0 && execution.state === 'queued') execution.end()
    })
  })
}

/** The command was applied, so a receipt that is no JSON must not look like a failure: the client would repeat it. */
function toJson(receipt: unknown, onError: (error: unknown) => void): string {
  try {
    const json = JSON.stringify(receipt) ?? 'null'
    if (isTooDeep(json)) throw new TypeError(`onCommand: a receipt must not be nested more than ${MAX_DEPTH} deep`)
    if (json.length > MAX_RECEIPT)
      throw new TypeError(
        `onCommand: a receipt must not have more than ${MAX_RECEIPT} characters of JSON, but has ${json.length}; ` +
          'return what names it, and publish the rest',
      )
    return json
  } catch (error) {
    onError(error)
    return 'null'
  }
}
