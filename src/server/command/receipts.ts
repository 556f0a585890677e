import type { Answer } from '../answer'
import type { Clock } from '../clock'
import { tooMany } from '../errors'
import { Budgets } from '../limits/budget'
import { RECEIPT_WEIGHT, textWeight } from '../limits/weights'
import { CANCELLED, type Outcome } from '../log/cluster'

/**
 * A receipt is kept at least this long, whatever else wants its room; ms. Or for
 * `limits.receiptAge`, if that is less.
 */
export const MIN_RECEIPT_AGE = 900_000
export interface ReceiptsOptions {
  readonly budgets: Budgets
  /** How many, of all principals. */
  readonly receipts: number
  readonly receiptAge: number
  readonly clock: Pick<Clock, 'now'>
  onError(error: unknown): void
}

interface Receipt extends Outcome {
  readonly principalId: string
  readonly bytes: number
  readonly at: number
}

/** Room for what becomes of one command. */
export interface Room {
  /** Keeps it, in place of the room. */
  keep(outcome: Outcome): void
  /** There is nothing to keep. */
  free(): void
}

/**
 * How commands ended, counted and weighed per principal. They give way to work when they are older
 * than `MIN_RECEIPT_AGE`: the oldest first. So no principal makes the server forget a younger
 * receipt of another one, and a command runs only if there is room for its receipt.
 */
export class Receipts {
  readonly #options: ReceiptsOptions
  readonly #counts: Budgets
  /** By identity. In the order in which they ended, so that the oldest stands in front. */
  readonly #all = new Map<string, Receipt>()
  readonly #own = new Map<string, Set<string>>()

  constructor(options: ReceiptsOptions) {
    this.#options = options
    this.#counts = new Budgets(options.receipts)
    const reclaim = (principalId?: string) => this.#forgetOldest(MIN_RECEIPT_AGE, principalId)
    this.#counts.reclaim = reclaim
    options.budgets.reclaim = reclaim
  }

  /** The age that clients are promised, ms. */
  get minAge() {
    return Math.min(MIN_RECEIPT_AGE, this.#options.receiptAge)
  }

  find(identity: string): Outcome | undefined {
    return this.#all.get(identity)
  }

  /** Undefined if all there is is taken up by receipts that must be kept, or by work. */
  reserve(principalId: string, identity: string): Room | undefined {
    const count = this.#counts.of(principalId)
    const { budgets } = this.#options
    const memory = budgets.of(principalId)
    const bytes = RECEIPT_WEIGHT + textWeight(identity)
    if (!count.take(1)) return undefined
    if (!memory.take(bytes)) {
      count.give(1)
      return undefined
    }
    return {
      keep: ({ fingerprint, answer }) => {
        const more = answer === CANCELLED.answer ? 0 : textWeight(answer.json)
        const hasText = !more || (budgets.heldBy(principalId) + more <= budgets.share / 2 && memory.take(more))
        this.#add(identity, {
          principalId,
          fingerprint,
          answer: hasText ? answer : this.#withoutText(answer),
          bytes: hasText ? bytes + more : bytes,
          at: this.#options.clock.now(),
        })
      },
      free: () => {
        memory.give(bytes)
        count.give(1)
      },
    }
  }

  /**
   * Keeps `CANCELLED` for each of these that has no outcome: for all or none. @throws Refusal 429
   * if there is no room for them
   */
  cancel(principalId: string, identities: readonly string[]): readonly string[] {
    const open = identities.filter((identity) => !this.#all.has(identity))
    const rooms: Room[] = []
    for (const identity of open) {
      const room = this.reserve(principalId, identity)
      if (!room) {
        for (const taken of rooms) taken.free()
        throw tooMany()
      }
      rooms.push(room)
    }
    for (const room of rooms) room.keep(CANCELLED)
    return open
  }

  /**
   * That the command was applied matters more than what it said: large receipts must not take the
   * room that commands need.
   */
  #withoutText({ status, json }: Answer): Answer {
    this.#options.onError(
      new Error(
        `onCommand: there was no room to remember a receipt of ${json.length} characters; a repeat will be answered null. ` +
          'Return small receipts, or raise limits.memory',
      ),
    )
    return { status, json: status === 200 ? 'null' : '{"error":"rejected"}' }
  }

  forgetOld() {
    const { receiptAge } = this.#options
    // In one go. To find the first of a Map anew for each, V8 walks over all that were deleted: 2 s
    // for 100,000.
    for (const [identity, receipt] of this.#all) {
      if (!this.#isOf(receiptAge, receipt)) return
      this.#forget(identity, receipt)
    }
  }

  #add(identity: string, receipt: Receipt) {
    this.#all.set(identity, receipt)
    const own = this.#own.get(receipt.principalId)
    if (own) own.add(identity)
    else this.#own.set(receipt.principalId, new Set([identity]))
  }

  /** False if there is none of at least this age. */
  #forgetOldest(age: number, principalId?: string): boolean {
    const [identity = ''] = (principalId === undefined ? this.#all : this.#own.get(principalId))?.keys() ?? []
    const receipt = this.#all.get(identity)
    if (!receipt || !this.#isOf(age, receipt)) return false
    this.#forget(identity, receipt)
    return true
  }

  /** A clock that was set back makes none younger. */
  #isOf(age: number, { at }: Receipt): boolean {
    const { clock, receiptAge } = this.#options
    return Math.abs(clock.now() - at) >= Math.min(age, receiptAge)
  }

  #forget(identity: string, { principalId, bytes }: Receipt) {
    this.#all.delete(identity)
    const own = this.#own.get(principalId)
    own?.delete(identity)
    if (own?.size === 0) this.#own.delete(principalId)
    this.#options.budgets.of(principalId).give(bytes)
    this.#counts.of(principalId).give(1)
  }
}
