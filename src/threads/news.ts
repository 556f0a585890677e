import type { Run } from './run'

/** Runs that nothing on this page has read, and that those who follow are told of. */
export class News<R extends Run> {
  /** The oldest first. One may have ended before anybody could read it. */
  readonly #unread: R[] = []
  /** How often each may still be read: once by each of those who followed. */
  readonly #due = new WeakMap<R, number>()
  /** One that ended before this page came; no other has begun since, and it is still to be told. */
  #broken: R | undefined

  has(run: R): boolean {
    return this.#unread.includes(run)
  }

  add(run: R, followers: number) {
    this.#unread.push(run)
    this.#due.set(run, followers)
  }

  /** The last run broke before this page came. */
  breakOff(run: R, followers: number) {
    this.#broken = run
    this.#due.set(run, followers)
  }

  /** Another run has begun. */
  forgetBroken() {
    if (this.#broken) this.#due.delete(this.#broken)
    this.#broken = undefined
  }

  /** That one, unless all have read it; else the oldest. */
  choose(wanted: R | undefined): R | undefined {
    if (!wanted) return this.#unread[0] ?? this.#broken
    return Number(this.#due.get(wanted)) > 0 ? wanted : undefined
  }

  take(run: R) {
    this.#due.set(run, Number(this.#due.get(run)) - 1)
    if (this.has(run)) this.#unread.splice(this.#unread.indexOf(run), 1)
    this.#broken = undefined
  }
}
