import type { MemorySession } from './memorySession'

/** The sessions of a memory log, in the order in which they give way to others. */
export class Shelves {
  /** Sessions without listeners, the longest unused first. */
  readonly idle = new Set<MemorySession>()
  /**
   * The others by size: each shelf begins at four times the size of the one before. The longest
   * unused first here too.
   */
  readonly followed = Array.from({ length: 27 }, () => new Set<MemorySession>())
  /** Sessions that keep a run whole. They give way last: then the run fails. */
  readonly #kept = new Set<MemorySession>()
  readonly #byNeed = [this.idle, ...this.followed.toReversed(), this.#kept]

  /** The session was used now. */
  put(session: MemorySession, isFollowed: boolean) {
    session.shelf?.delete(session)
    session.shelf = this.#shelfOf(session, isFollowed).add(session)
  }

  /** The session is unused for as long as before, but has another size, or followers. */
  sort(session: MemorySession, isFollowed: boolean) {
    if (this.#shelfOf(session, isFollowed) !== session.shelf) this.put(session, isFollowed)
  }

  /** The session that gives way next. The one that needs the room keeps its newest event. */
  victimFor(needy: MemorySession): MemorySession | undefined {
    for (const shelf of this.#byNeed)
      for (const session of shelf) if (session !== needy || session.size > 1) return session
    return undefined
  }

  #shelfOf({ bytes, isWhole }: MemorySession, isFollowed: boolean): Set<MemorySession> {
    if (isWhole) return this.#kept
    const size = Math.floor(Math.log2(bytes) / 2)
    return (isFollowed && this.followed[size]) || this.idle
  }
}
