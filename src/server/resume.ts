import { type Cursor, parseVerdicts, type SessionVerdict } from '../protocol'
import type { Pacer } from './limits/pacer'
import { LOOKUP_WEIGHT } from './limits/weights'
import type { SessionHead } from './log/sessionLog'
import type { ResolvedOptions } from './options'
import { isSessionId } from './request/cursors'
import type { Principal } from './request/principal'
import type { Authority } from './stream/authority'
import type { StreamRef } from './stream/streams'

export interface ResumerOptions<P extends Principal>
  extends Pick<ResolvedOptions<P>, 'log' | 'authorize' | 'onMetric'> {
  readonly authority: Authority<P>
  readonly pacer: Pacer
}

/** Attaches sessions to a stream, each from its cursor on. */
export class Resumer<P extends Principal> {
  readonly #options: ResumerOptions<P>

  constructor(options: ResumerOptions<P>) {
    this.#options = options
  }

  /** With a marker, the stream tells in-band where the replay ends. */
  async resume(
    principal: P,
    stream: StreamRef,
    cursors: readonly Cursor[],
    marker?: { readonly resumeId?: string },
  ): Promise<readonly SessionVerdict[]> {
    const { authority, pacer, onMetric } = this.#options
    await pacer.admit(principal.id, LOOKUP_WEIGHT * cursors.length)
    const mark = authority.mark()
    const verdicts = await Promise.all(cursors.map((cursor) => this.#judge(principal, cursor)))
    // A malformed id, which may be of any size, is not put on the stream: only the answer tells of
    // it.
    const sessions = verdicts.filter(({ sessionId }) => isSessionId(sessionId))
    const taken = parseVerdicts({ sessions: await stream.call({ type: 'resume', sessions, marker }) })
    const sessionIds = taken.map(({ sessionId }) => sessionId)
    await authority.refuseIfRevoked(mark, principal, stream, sessionIds)
    for (const { status, from, to } of taken)
      if (status === 'resumed' && to > from) onMetric({ name: 'replays', value: to - from })
    const told = new Map(taken.map((verdict) => [verdict.sessionId, verdict]))
    return verdicts.flatMap((verdict) => told.get(verdict.sessionId) ?? (isSessionId(verdict.sessionId) ? [] : verdict))
  }

  /** One bad session never fails a resume: not one with a malformed id, nor one that is gone. */
  async #judge(principal: P, cursor: Cursor): Promise<SessionVerdict> {
    const { authorize, log } = this.#options
    const { sessionId, lastSeq } = cursor
    const permission = isSessionId(sessionId) && (await authorize(principal, sessionId, 'read'))
    if (permission === true) return verdictOn(cursor, await log.head(sessionId))
    return { sessionId, status: permission === 'gone' ? 'gone' : 'forbidden', from: lastSeq, to: lastSeq }
  }
}

/**
 * Whether everything after the cursor can still be replayed. If not, the client goes on from the
 * head and reloads: what is left in the log is after `from`. A session that cannot be read now is
 * followed from its cursor, so that the client loses nothing: the events after it are sent when
 * they can be read.
 */
export function verdictOn({ sessionId, lastSeq, epoch }: Cursor, log: SessionHead): SessionVerdict {
  if (log.isUnreadable) return { sessionId, status: 'resumed', epoch, from: lastSeq, to: lastSeq }
  const before = log.first - 1
  // A cursor at 0 has counted nothing, so it belongs to every epoch.
  const isOfOtherEpoch = lastSeq > 0 && epoch !== undefined && epoch !== log.epoch
  const isLost = isOfOtherEpoch || lastSeq > log.head || lastSeq < before
  const known = { sessionId, epoch: log.epoch || undefined, to: log.head }
  return isLost ? { ...known, status: 'reset', from: before } : { ...known, status: 'resumed', from: lastSeq }
}
