import { Budgets } from '../limits/budget'

/** How long a page may take to say goodbye, ms. An engine may cut the stream first. */
const MAX_AGE = 10_000
/**
 * The most sessions that ended streams of all principals name; a stream without one counts as one.
 * One principal has an eighth.
 */
export const MAX_SESSIONS = 10_000

const NONE: ReadonlySet<string> = new Set()

interface Ended {
  readonly principalId: string
  readonly sessionIds: ReadonlySet<string>
  readonly at: number
}

/**
 * Streams that ended a moment ago, and the sessions that were attached to them: a farewell may
 * arrive after the end of its stream.
 */
export function createEndedStreams(clock: { now(): number }) {
  // Oldest first.
  const byId = new Map<string, Ended>()
  const byPrincipal = new Map<string, Set<string>>()
  const room = new Budgets(MAX_SESSIONS)
  room.reclaim = (principalId) => {
    const [oldest] = (principalId === undefined ? byId : byPrincipal.get(principalId))?.keys() ?? []
    return oldest !== undefined && forget(oldest)
  }

  function forget(id: string): boolean {
    const ended = byId.get(id)
    if (!ended) return false
    const { principalId, sessionIds } = ended
    const own = byPrincipal.get(principalId)
    byId.delete(id)
    own?.delete(id)
    if (own?.size === 0) byPrincipal.delete(principalId)
    room.give(principalId, sessionIds.size + 1)
    return true
  }

  function forgetOld() {
    for (const [id, { at }] of byId) {
      const age = clock.now() - at
      if (age >= 0 && age <= MAX_AGE) return
      forget(id)
    }
  }

  return {
    add(id: string, principalId: string, attached: Iterable<string>) {
      const named = new Set(attached)
      // An empty Set takes as much as all the rest.
      const sessionIds = named.size > 0 ? named : NONE
      forgetOld()
      if (!room.take(principalId, sessionIds.size + 1)) return
      const own = byPrincipal.get(principalId) ?? new Set()
      byPrincipal.set(principalId, own.add(id))
      byId.set(id, { principalId, sessionIds, at: clock.now() })
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

export type EndedStreams = ReturnType<typeof createEndedStreams>
