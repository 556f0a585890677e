import type { Inbox } from '../inbox/inbox'
import type { Outbox } from '../outbox/outbox'
import type { OwnPost } from '../outbox/ownPosts'
import { HEAD, isCursor, isSeq, parseVerdicts } from '../protocol'
import type { Unwatch, WatchOptions } from './api'
import { being, check, isName } from './checks'
import type { Line } from './line'

// How sessions come to be tracked on an open line, and how that ends.

interface WatchParts {
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly line: Line
}

export function watch(parts: WatchParts, sessionId: string, { after }: WatchOptions = {}): Unwatch {
  const { inbox, line } = parts
  check('sessionId', sessionId, isName)
  const isPlace = (value: unknown) =>
    isSeq(value) || value === 'head' || (isCursor(value) && value.sessionId === sessionId)
  check('after', after ?? 0, being("a whole number, 'head' or a cursor of this session", isPlace))
  const isNews = inbox.watch(sessionId, after === 'head' ? HEAD : after)
  const takeBack = inbox.hold(sessionId)
  if (isNews) {
    const { features, farewell, connectionId } = line.context()
    const isAwake = connectionId && farewell !== 'said'
    if (isAwake && features.includes('watch-replay')) attach(parts, sessionId, connectionId)
    else resumeLeftOvers(parts)
  }
  const end = () => {
    if (takeBack()) unwatch(parts, sessionId)
  }
  return Object.assign(end, { [Symbol.dispose]: end })
}

export function unwatch(parts: WatchParts, sessionId: string) {
  parts.inbox.unwatch(sessionId)
  detach(parts, sessionId)
}

/** In every phase but `open`, the resume that is due, or under way, takes them along. */
export function resumeLeftOvers({ inbox, line }: WatchParts) {
  const cursors = inbox.leftOvers()
  if (cursors.length && line.phase() === 'open')
    line.tell({ type: 'stream.gapped', cursors, isByServer: inbox.hasHole() })
}

/**
 * The app has not asked for these sessions, and they are quiet. On a line that is not open, events
 * of them may be on their way.
 */
export function releaseQuiet(parts: WatchParts, sessionIds: readonly string[]) {
  const { inbox, outbox, line } = parts
  if (line.phase() !== 'open') return
  const waiting = outbox.sessions
  for (const sessionId of sessionIds) {
    if (waiting.has(sessionId)) continue
    inbox.release(sessionId)
    if (line.context().features.includes('watch-replay')) detach(parts, sessionId)
  }
}

function attach(parts: WatchParts, sessionId: string, connectionId: string) {
  const { inbox, outbox } = parts
  // A resume that comes first attaches the session too: then there is nothing left to post.
  let attachment: ReturnType<Inbox['attachment']>
  const fields = () => {
    attachment = inbox.attachment(sessionId)
    return attachment?.cursor
  }
  const settle: OwnPost['settle'] = (end) => {
    if ('error' in end || attachment?.confirm(parseVerdicts(end.receipt)) === 'behind') resumeLeftOvers(parts)
  }
  outbox.post({ type: 'watch', sessionId, fields, settle }, connectionId)
}

/** Tells the server that the stream need not carry the session any more. */
function detach(parts: WatchParts, sessionId: string) {
  const { inbox, outbox, line } = parts
  const { connectionId } = line.context()
  if (!connectionId) return
  // Tracked again meanwhile, the session may have been attached before this detached it.
  const settle = () => inbox.want(sessionId) && resumeLeftOvers(parts)
  const fields = () => !inbox.cursor(sessionId) && { sessionId }
  outbox.post({ type: 'unwatch', sessionId, fields, settle }, connectionId)
}
