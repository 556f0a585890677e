import type { Answer, Cluster } from './cluster'
import { Refusal, refusalOf } from './http'
import { isTooDeep, MAX_DEPTH } from './json'
import type { Clock } from './options'
import type { MaybePromise } from './sessionLog'

/** Statuses that tell the client something else: ask for a new token, take a fresh stream, try again unchanged. */
const MISLEADING = [401, 404, 408, 410, 425, 429]

/**
 * Throw it in `onCommand` to turn a command down for good. The client's verdict is `rejected`; a repeat under the same
 * Idempotency-Key is answered the same without asking again.
 */
export class CommandRejected extends Error {
  override readonly name = 'CommandRejected'

  /**
   * @param status 400–499 without 401, 404, 408, 410, 425, 429, which a client takes for something else than a rejection
   * @param code what the client is told, as `{ "error": code }`: lower case letters, digits and dashes, at most 64
   * @throws TypeError if one of them is not that
   */
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code)
    if (!Number.isInteger(status) || status < 400 || status > 499 || MISLEADING.includes(status)) {
      throw new TypeError(`CommandRejected: 'status' must be 4xx, but none of ${MISLEADING.join(', ')}`)
    }
    if (!/^[a-z0-9-]{1,64}$/.test(code)) throw new TypeError("CommandRejected: 'code' must match ^[a-z0-9-]{1,64}$")
  }
}

export interface Command {
  /** Commands of one chain run one after the other. */
  readonly chain: string
  /** Whose command it is and its Idempotency-Key; without one it is run each time. */
  readonly identity: string | undefined
  /** Says whether two commands of one identity are the same. */
  readonly fingerprint: string
  /** Why it must not be run. A repeat gets its receipt all the same: what it did may be the very reason. */
  readonly refusal: Answer | undefined
  run(): MaybePromise<unknown>
}

export interface CommandsOptions {
  readonly receiptAge: number
  readonly receipts: number
  readonly clock: Clock
  /** Where the outcomes of other processes are found, if there are any. */
  readonly shared: Pick<Cluster, 'outcome' | 'claim'> | undefined
  onError(error: unknown): void
}

interface Known {
  readonly fingerprint: string
  readonly answer: MaybePromise<Answer>
}

const ID_REUSED: Answer = { status: 409, json: '{"error":"id-reused"}' }
/** To a repeat: the same answer, if it is the same command. */
const answerTo = (known: Known, fingerprint: string) => (known.fingerprint === fingerprint ? known.answer : ID_REUSED)
const UNAVAILABLE: Answer = { status: 503, json: '{"error":"unavailable"}', headers: { 'Retry-After': '1' } }

/** Runs each command once, and remembers how it ended. */
export function createCommands({ receiptAge, receipts, clock, shared, onError }: CommandsOptions) {
  const tails = new Map<string, Promise<Answer>>()
  const running = new Map<string, { readonly fingerprint: string; readonly answer: Promise<Answer> }>()
  /** In the order in which they ended, so that the oldest stands in front. */
  const ended = new Map<string, { readonly fingerprint: string; readonly answer: Answer; readonly at: number }>()

  function inTurn(chain: string, run: () => Promise<Answer>): Promise<Answer> {
    const before = tails.get(chain) ?? Promise.resolve()
    const answer = before.then(run)
    tails.set(chain, answer)
    void answer.then(() => {
      if (tails.get(chain) === answer) tails.delete(chain)
    })
    return answer
  }

  /** Never rejects. What cannot be asked about is not run: it may have been, elsewhere. */
  async function runOnce(identity: string, fingerprint: string, run: Command['run']): Promise<Answer> {
    if (!shared) return answerOf(run)
    try {
      const claim = await shared.claim(identity, fingerprint)
      if ('answer' in claim) return answerTo(claim, fingerprint)
      const answer = await answerOf(run)
      // It was run, whether others hear of it or not.
      await claim.settle(answer.status < 500 ? answer : undefined).catch(onError)
      return answer
    } catch (error) {
      if (error instanceof Refusal) return refusalOf(error, onError)
      onError(error)
      return UNAVAILABLE
    }
  }

  /** Of a command that must not be run. */
  async function answerElsewhere(identity: string, fingerprint: string): Promise<Answer | undefined> {
    try {
      const known = await shared?.outcome(identity)
      return known && answerTo(known, fingerprint)
    } catch (error) {
      onError(error)
      return UNAVAILABLE
    }
  }

  /** Never rejects. */
  async function answerOf(run: Command['run']): Promise<Answer> {
    try {
      return { status: 200, json: toJson(await run()) }
    } catch (error) {
      if (error instanceof CommandRejected) return { status: error.status, json: JSON.stringify({ error: error.code }) }
      onError(error)
      return { status: 500, json: '{"error":"internal"}' }
    }
  }

  /** The command was applied, so a receipt that is no JSON must not look like a failure: the client would repeat it. */
  function toJson(receipt: unknown): string {
    try {
      const json = JSON.stringify(receipt) ?? 'null'
      if (isTooDeep(json)) throw new TypeError(`onCommand: a receipt must not be nested more than ${MAX_DEPTH} deep`)
      return json
    } catch (error) {
      onError(error)
      return 'null'
    }
  }

  function forgetOld() {
    for (const [identity, { at }] of ended) {
      if (ended.size <= receipts && at + receiptAge > clock.now()) return
      ended.delete(identity)
    }
  }

  return {
    /** Takes its place in the chain before it returns. Never rejects. */
    async execute(command: Command): Promise<Answer> {
      const { chain, identity, fingerprint, refusal, run } = command
      if (identity === undefined) return refusal ?? inTurn(chain, () => answerOf(run))
      forgetOld()
      const known = running.get(identity) ?? ended.get(identity)
      if (known) return answerTo(known, fingerprint)
      if (refusal) return (await answerElsewhere(identity, fingerprint)) ?? refusal
      const answer = inTurn(chain, () => runOnce(identity, fingerprint, run))
      running.set(identity, { fingerprint, answer })
      const outcome = await answer
      running.delete(identity)
      // A failure was not applied, and neither was what a quota has stopped: a repeat runs again.
      if (outcome.status < 500 && outcome.status !== 429 && outcome !== ID_REUSED)
        ended.set(identity, { fingerprint, answer: outcome, at: clock.now() })
      forgetOld()
      return outcome
    },

    /** Settles when nothing is running any more. */
    async settled(): Promise<void> {
      await Promise.all(tails.values())
    },
  }
}
