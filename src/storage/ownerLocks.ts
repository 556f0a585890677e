import type { Clock, LocksLike } from '../environment'

/** How long the answer to a lock request may hold up the line, ms. */
const LOCK_TIMEOUT = 2_000

/** The locks that are held, until all of them end at once. */
interface Term {
  readonly owners: Set<string>
  readonly over: Promise<void>
  readonly end: () => void
}

export interface OwnerLocksOptions {
  readonly manager: LocksLike | undefined
  /** Of the names of the locks. [spec] Web Locks: a name must not begin with a dash. */
  readonly prefix: string
  readonly clock: Clock
  /** Told once. */
  fail(why: string, cause: unknown): void
}

/**
 * A connection holds a Web Lock of its name while it has something stored, so that no other page
 * takes its messages for left behind.
 */
export class OwnerLocks {
  readonly #options: OwnerLocksOptions
  /** None as well, once they have failed. */
  #manager: LocksLike | undefined
  #term: Term | undefined

  constructor(options: OwnerLocksOptions) {
    this.#options = options
    this.#manager = options.manager
  }

  /** Without locks nobody can tell who is gone. */
  get canTell(): boolean {
    return !!this.#manager
  }

  /** Holds one's own, from now until `release`. */
  hold(owner: string) {
    const term = this.#current()
    if (!this.#manager || term.owners.has(owner)) return
    term.owners.add(owner)
    // A lock that was just released is not free at once.
    void this.#request(owner, term, false)
  }

  /** Tells whether the owner is gone, and its lock ours now, until `release`. */
  async take(owner: string): Promise<boolean> {
    const term = this.#current()
    if (term.owners.has(owner)) return false
    const isOurs = await this.#request(owner, term, true)
    if (isOurs) term.owners.add(owner)
    return isOurs
  }

  release() {
    this.#term?.end()
    this.#term = undefined
  }

  #current(): Term {
    this.#term ??= newTerm()
    return this.#term
  }

  #request(owner: string, { over }: Term, ifAvailable: boolean): Promise<boolean> {
    const { clock, prefix } = this.#options
    return new Promise((resolve) => {
      let request: 'due' | 'settled' = 'due'
      const settle = (isOurs: boolean) => {
        const end = isOurs && request === 'due' ? over : Promise.resolve()
        request = 'settled'
        clock.clearTimeout(timer)
        resolve(isOurs)
        return end
      }
      const fail = (cause: unknown) => {
        if (request === 'settled') return
        if (this.#manager) this.#options.fail(String(cause), cause)
        // Locks that fail are not asked again.
        this.#manager = undefined
        settle(false)
      }
      const timer = clock.setTimeout(() => fail('no answer in 2 s'), LOCK_TIMEOUT)
      // The lock is not needed any more.
      void over.then(() => settle(false))
      const ask = async () => this.#manager?.request(prefix + owner, { ifAvailable }, (lock) => settle(!!lock))
      ask().then(() => fail('it did not call back'), fail)
    })
  }
}

function newTerm(): Term {
  let end = () => {}
  const over = new Promise<void>((resolve) => {
    end = resolve
  })
  return { owners: new Set(), over, end }
}
