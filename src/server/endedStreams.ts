/** How long a page may take to say goodbye, ms. An engine may cut the stream first. */
const MAX_AGE = 10_000
/** Of all principals together; so many sessions are named, and a stream without one counts as one. */
export const MAX_SESSIONS = 10_000

interface Ended {
  readonly principalId: string
  readonly sessionIds: ReadonlySet<string>
  readonly at: number
}

/** Streams that ended a moment ago, and the sessions that were attached to them: a farewell may arrive after the end of its stream. */
export function createEndedStreams(clock: { now(): number }) {
  // Oldest first.
  const byId = new Map<string, Ended>()
  let sessions = 0

  function forgetOld() {
    for (const [id, { at, sessionIds }] of byId) {
      const age = clock.now() - at
      if (sessions <= MAX_SESSIONS && age >= 0 && age <= MAX_AGE) return
      byId.delete(id)
      sessions -= sessionIds.size + 1
    }
  }

  return {
    add(id: string, principalId: string, attached: Iterable<string>) {
      const sessionIds = new Set(attached)
      byId.set(id, { principalId, sessionIds, at: clock.now() })
      sessions += sessionIds.size + 1
      forgetOld()
    },

    /** Which of these were attached; `undefined` if no stream of theirs has just ended. */
    attachedOf(id: unknown, principalId: string, sessionIds: readonly string[]): readonly string[] | undefined {
      forgetOld()
      // `String` would throw: a client may say `{ "toString": 1 }`.
      const ended = typeof id === 'string' ? byId.get(id) : undefined
      return ended?.principalId === principalId ? sessionIds.filter((each) => ended.sessionIds.has(each)) : undefined
    },
  }
}
