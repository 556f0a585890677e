import type { Inbox } from '../inbox/inbox'
import type { ConnectionContext } from '../machine/types'
import type { Outbox } from '../outbox/outbox'
import type { OwnPost } from '../outbox/ownPosts'
import { HEAD, isCursor, isSeq, parseVerdicts } from '../protocol'
import type { Connection } from './api'
import { being, check, isName } from './checks'

interface WatchParts {
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly context: () => ConnectionContext
  readonly resumeLeftOvers: () => void
}

/** How sessions come to be tracked on an open line, and how that ends. */
export function createWatch(parts: WatchParts): Pick<Connection, 'watch' | 'unwatch'> & {
  /** The session is tracked no more: the stream need not carry it. */
  detach(sessionId: string): void
} {
  const { inbox, outbox, context, resumeLeftOvers } = parts

  function attach(sessionId: string, connectionId: string) {
    // A resume that comes first attaches the session too: then there is nothing left to post.
    let attachment: ReturnType<Inbox['attachment']>
    const fields = () => {
      attachment = inbox.attachment(sessionId)
      return attachment?.cursor
    }
    const settle: OwnPost['settle'] = (end) => {
      const isBehind = 'error' in end || attachment?.confirm(parseVerdicts(end.receipt))
      if (isBehind) resumeLeftOvers()
    }
    outbox.post({ type: 'watch', sessionId, fields, settle }, connectionId)
  }

  function detach(sessionId: string) {
    const { connectionId } = context()
    // No stream carries it.
    if (!connectionId) return
    // Tracked again meanwhile, the session may have been attached before this detached it.
    const settle = () => inbox.want(sessionId) && resumeLeftOvers()
    const fields = () => !inbox.cursor(sessionId) && { sessionId }
    outbox.post({ type: 'unwatch', sessionId, fields, settle }, connectionId)
  }

  function unwatch(sessionId: string) {
    inbox.unwatch(sessionId)
    detach(sessionId)
  }

  return {
    watch(sessionId, { after } = {}) {
      check('sessionId', sessionId, isName)
      const isPlace = (value: unknown) =>
        isSeq(value) || value === 'head' || (isCursor(value) && value.sessionId === sessionId)
      check('after', after ?? 0, being("a whole number, 'head' or a cursor of this session", isPlace))
      const isNews = inbox.watch(sessionId, after === 'head' ? HEAD : after)
      const release = inbox.hold(sessionId)
      if (isNews) {
        const { features, farewell, connectionId } = context()
        const isAwake = connectionId && farewell !== 'said'
        if (isAwake && features.includes('watch-replay')) attach(sessionId, connectionId)
        else resumeLeftOvers()
      }
      const end = () => {
        if (release()) unwatch(sessionId)
      }
      return Object.assign(end, { [Symbol.dispose]: end })
    },
    unwatch,
    detach,
  }
}
