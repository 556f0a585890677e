/** The loss of a right to read: one session, or all of them. */
interface Revocation {
  readonly principalId: string
  readonly sessionId: string | undefined
}

/** Revocations that requests under way are held against. */
const MAX_RECENT = 1_000

/** The newest revocations, for requests that were under way when a right was taken away. */
export class RecentRevocations {
  readonly #newest: Revocation[] = []
  /** How many there have ever been. */
  #count = 0

  get count() {
    return this.#count
  }

  add(revocation: Revocation) {
    this.#count += 1
    this.#newest.push(revocation)
    if (this.#newest.length > MAX_RECENT) this.#newest.shift()
  }

  /**
   * Whether the right was taken away since the count was `mark`. If that is no longer known, it
   * counts as taken away.
   */
  includes(mark: number, principalId: string, sessionIds: readonly string[]): boolean {
    const since = this.#count - mark
    if (since === 0) return false
    const isMeant = ({ principalId: whose, sessionId }: Revocation) =>
      whose === principalId && (sessionId === undefined || sessionIds.includes(sessionId))
    return since > this.#newest.length || this.#newest.slice(-since).some(isMeant)
  }
}
