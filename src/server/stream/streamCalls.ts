import { isObject, isSeq, isText, parseVerdicts, type SessionVerdict, TOO_MANY_SESSIONS } from '../../protocol'
import type { ChatStream } from './api'

/**
 * The calls that a request makes on the stream that it names. Plain JSON: the stream may be another
 * process's.
 */
export type StreamCall =
  /**
   * Takes on what the verdicts say, and answers with them: a session one too many becomes
   * `forbidden`.
   */
  | {
      readonly type: 'resume'
      readonly sessions: readonly SessionVerdict[]
      /** Given: the replay marker follows, with this `resumeId`. */
      readonly marker?: { readonly resumeId?: string } | undefined
    }
  /** Attaches a session, unless it is: a command for it has been let in. */
  | { readonly type: 'join'; readonly sessionId: string; readonly after: number; readonly epoch: string }
  | { readonly type: 'detach'; readonly sessionId: string }
  /**
   * Detaches these at once, as their principal may not read them any more. If one was attached, the
   * stream ends: so the client is told.
   */
  | { readonly type: 'revoke'; readonly sessionIds: readonly string[] }
  /** Writes a probe's answer. */
  | { readonly type: 'echo'; readonly nonce: string }
  /** Answers with those that are attached; with `{ empty }` for one that has not begun. */
  | { readonly type: 'attached'; readonly sessionIds: readonly string[] }
  /**
   * The same, also of a stream that has just ended. Answers null if the stream has been resumed
   * since: `resumeId` is that of the last resume that the client knew of, null for none. An older
   * client names none.
   */
  | { readonly type: 'farewell'; readonly sessionIds: readonly string[]; readonly resumeId?: string | null | undefined }

export async function callStream(stream: ChatStream, call: StreamCall): Promise<unknown> {
  switch (call.type) {
    case 'resume': {
      if (call.marker) stream.resumeId = call.marker.resumeId
      const sessions = await Promise.all(call.sessions.map((verdict) => takeOn(stream, verdict)))
      if (call.marker) stream.confirm({ ...call.marker, sessions })
      return sessions
    }
    case 'join':
      // A resume may have been quicker, and knows better where to start. A full stream is no reason
      // not to run what is sent, but its answer is missed.
      if (!stream.isAttached(call.sessionId) && !(await stream.attach(call.sessionId, call.after, call.epoch)))
        stream.say({ type: 'unattached', sessions: [oneTooMany(call.sessionId, call.after)] })
      return stream.begin(call.sessionId)
    case 'detach':
      return stream.detach(call.sessionId)
    case 'revoke': {
      const revoked = attached(stream, call)
      for (const sessionId of revoked) stream.detach(sessionId)
      if (revoked.length > 0) stream.retire()
      return undefined
    }
    case 'echo':
      return stream.say({ type: 'probe', nonce: call.nonce })
    case 'attached':
      return attached(stream, call).map((sessionId) => (stream.hasBegun(sessionId) ? sessionId : { empty: sessionId }))
    case 'farewell':
      return isOld(call, stream) ? null : attached(stream, call)
  }
}

const attached = (stream: ChatStream, { sessionIds }: { readonly sessionIds: readonly string[] }) =>
  sessionIds.filter((sessionId) => stream.isAttached(sessionId))

/** A suspend that the client has come back from. */
const isOld = (call: StreamCall, { resumeId }: ChatStream) =>
  call.type === 'farewell' && call.resumeId !== undefined && call.resumeId !== (resumeId ?? null)

async function takeOn(stream: ChatStream, verdict: SessionVerdict): Promise<SessionVerdict> {
  const { sessionId, status, from, to, epoch = '' } = verdict
  if (status === 'gone' || status === 'forbidden') {
    stream.detach(sessionId)
    return verdict
  }
  const after = status === 'reset' ? to : from
  const isTaken = await stream.attach(sessionId, after, epoch, to)
  return isTaken ? verdict : oneTooMany(sessionId, after)
}

const oneTooMany = (sessionId: string, from: number): SessionVerdict => ({
  sessionId,
  status: 'forbidden',
  error: TOO_MANY_SESSIONS,
  from,
  to: from,
})

/**
 * A call that came from another process, which may run another version; `undefined` if it is none
 * of this one's.
 */
export function parseCall(value: unknown): StreamCall | undefined {
  if (!isObject(value)) return undefined
  const { type, sessionId, after, epoch, nonce, sessionIds, marker, resumeId: last } = value
  const isList = Array.isArray(sessionIds) && sessionIds.every(isText)
  if (type === 'farewell' && isList)
    return { type, sessionIds, resumeId: isText(last) || last === null ? last : undefined }
  if ((type === 'attached' || type === 'revoke') && isList) return { type, sessionIds }
  if (type === 'echo' && isText(nonce)) return { type, nonce }
  if (type === 'resume') {
    const resumeId = isObject(marker) && isText(marker.resumeId) ? { resumeId: marker.resumeId } : {}
    return { type, sessions: parseVerdicts(value), marker: isObject(marker) ? resumeId : undefined }
  }
  if (!isText(sessionId)) return undefined
  if (type === 'detach') return { type, sessionId }
  return type === 'join' && isSeq(after) && isText(epoch) ? { type, sessionId, after, epoch } : undefined
}
