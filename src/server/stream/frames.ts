import type { LogEntry } from '../log/sessionLog'

export const toFrame = (message: object) => `data: ${JSON.stringify(message)}\n\n`
export const PING = toFrame({ type: 'ping' })

/**
 * The envelope comes last, so that no payload can forge it. `prevSeq` is part of it, and this
 * server writes none.
 */
export function eventFrame(entry: LogEntry): string {
  const { sessionId, seq, epoch, json } = entry
  if (json === undefined) return toFrame({ ...entry.event, prevSeq: undefined, sessionId, seq, epoch })
  return `data: ${json.slice(0, -1)},"sessionId":${JSON.stringify(sessionId)},"seq":${seq},"epoch":${JSON.stringify(epoch)}}\n\n`
}
