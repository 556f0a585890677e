/**
 * Memory that is held for somebody, in bytes: taken before work is queued, given back when it has
 * ended or is given up.
 */
export interface Account {
  /** False, and nothing is taken, if this account or one that it draws on has too little left. */
  take(bytes: number): boolean
  give(bytes: number): void
}

/** One principal holds no more than this part of the whole. */
const SHARE = 1 / 8

/** The account of one socket, stream or request. It draws on its principal's. */
export class Budget implements Account {
  readonly limit: number
  readonly #source: Account | undefined
  #used = 0
  #isClosed = false

  constructor(limit: number, source?: Account) {
    this.limit = limit
    this.#source = source
  }

  get used() {
    return this.#used
  }

  take(bytes: number): boolean {
    if (this.#isClosed || this.#used + bytes > this.limit || this.#source?.take(bytes) === false) return false
    this.#used += bytes
    return true
  }

  give(bytes: number) {
    if (this.#isClosed) return
    this.#used -= bytes
    this.#source?.give(bytes)
  }

  /** The end of its owner: all that is still taken is given back, and nothing is taken any more. */
  close() {
    this.give(this.#used)
    this.#isClosed = true
  }
}

/**
 * The accounts of all principals, which draw on the process's. A principal who holds nothing costs
 * nothing.
 */
export class Budgets {
  readonly process: Budget
  readonly share: number
  /**
   * Gives back something that can be done without, of this principal or of anybody. False if there
   * is nothing.
   */
  reclaim: (principalId?: string) => boolean = () => false
  readonly #held = new Map<string, number>()

  constructor(limit: number) {
    this.process = new Budget(limit)
    this.share = Math.ceil(limit * SHARE)
  }

  heldBy(principalId: string): number {
    return this.#held.get(principalId) ?? 0
  }

  of(principalId: string): Account {
    return new Share(this, principalId)
  }

  take(principalId: string, bytes: number): boolean {
    while (this.heldBy(principalId) + bytes > this.share) if (!this.reclaim(principalId)) return false
    while (!this.process.take(bytes)) if (!this.reclaim()) return false
    this.#set(principalId, this.heldBy(principalId) + bytes)
    return true
  }

  give(principalId: string, bytes: number) {
    this.process.give(bytes)
    this.#set(principalId, this.heldBy(principalId) - bytes)
  }

  #set(principalId: string, held: number) {
    if (held > 0) this.#held.set(principalId, held)
    else this.#held.delete(principalId)
  }
}

/** The account of one principal. A class, because each stream has one. */
class Share implements Account {
  readonly #budgets: Budgets
  readonly #principalId: string

  constructor(budgets: Budgets, principalId: string) {
    this.#budgets = budgets
    this.#principalId = principalId
  }

  take(bytes: number) {
    return this.#budgets.take(this.#principalId, bytes)
  }

  give(bytes: number) {
    this.#budgets.give(this.#principalId, bytes)
  }
}
