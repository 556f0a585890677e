import type { LockFact } from './types'

/** What is used of a `LockManager`. */
export interface TabLocks {
  request(
    name: string,
    options: { readonly steal?: boolean; readonly signal?: AbortSignal },
    callback: (lock: unknown) => Promise<void>,
  ): Promise<unknown>
}

/**
 * The lock of the leader: waits for it, holds it, and waits again when it was stolen.
 *
 * | state | the lock is given | the request ends |
 * | --- | --- | --- |
 * | `waiting` | `lock.granted` → `held` | `lock.failed` → `over` |
 * | `held` | | it was stolen: `lock.lost` → `over`, and another request |
 * | `over` | is given back at once | |
 */
export class TabLock {
  readonly #locks: TabLocks
  readonly #name: string
  readonly #tell: (fact: LockFact) => void
  #end = () => {}

  constructor(locks: TabLocks, name: string, tell: (fact: LockFact) => void) {
    this.#locks = locks
    this.#name = name
    this.#tell = tell
  }

  readonly wait = () => this.#request(false)
  readonly steal = () => this.#request(true)
  /** Gives it back, or waits no more. */
  readonly end = () => this.#end()

  #request(steal: boolean) {
    this.#end()
    let state: 'waiting' | 'held' | 'over' = 'waiting'
    let release = () => {}
    const abort = new AbortController()
    this.#end = () => {
      if (state === 'waiting') abort.abort()
      state = 'over'
      release()
    }
    const take = async () => {
      if (state === 'over') return
      state = 'held'
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      this.#tell({ type: 'lock.granted' })
      return held
    }
    const lose = (error?: unknown) => {
      const was = state
      state = 'over'
      if (was === 'waiting') this.#tell({ type: 'lock.failed', error })
      if (was !== 'held') return
      this.#tell({ type: 'lock.lost' })
      this.#request(false)
    }
    // [spec] Web Locks: `steal` and `signal` exclude each other.
    const ask = async () => this.#locks.request(this.#name, steal ? { steal } : { signal: abort.signal }, take)
    ask().then(() => lose(), lose)
  }
}
