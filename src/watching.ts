import type { Upstream } from './adapters/fetchUpstream'
import { ConnectionError } from './errors'
import type { Inbox } from './inbox'
import type { Gate } from './outbox'
import { parseVerdicts } from './protocol'

export interface WatchingOptions {
  readonly upstream: Upstream
  readonly inbox: Inbox
  /** For one POST, ms. */
  readonly timeout: number
  /** A session is tracked but not attached to the stream, and no POST of its own will change that: it takes a resume. */
  readonly onUnattached: () => void
}

export type Watching = ReturnType<typeof createWatching>

/** Tells the server which sessions to stream, while the line is open. Whatever it could not tell, the next resume does. */
export function createWatching({ upstream, inbox, timeout, onUnattached }: WatchingOptions) {
  /** The last wish of this tick for each session. */
  const wishes = new Map<string, 'watch' | 'unwatch'>()
  const inFlight = new Map<string, AbortController>()
  let gate: Gate | null = null
  let isScheduled = false

  function wish(sessionId: string, kind: 'watch' | 'unwatch') {
    wishes.set(sessionId, kind)
    if (isScheduled) return
    isScheduled = true
    queueMicrotask(() => {
      isScheduled = false
      flush()
    })
  }

  function flush() {
    if (!gate) return
    let needsResume = false
    for (const [sessionId, kind] of wishes) {
      if (inFlight.has(sessionId)) continue
      wishes.delete(sessionId)
      if (kind === 'watch' && !inbox.wants(sessionId)) continue
      if (kind === 'watch' && !gate.features.includes('watch-replay')) needsResume = true
      else void tell(sessionId, kind, gate)
    }
    if (needsResume) onUnattached()
  }

  async function tell(sessionId: string, kind: 'watch' | 'unwatch', opened: Gate) {
    const cursor = inbox.cursor(sessionId)
    const abort = new AbortController()
    inFlight.set(sessionId, abort)
    const outcome = await upstream
      .post({
        endpoint: kind,
        body: JSON.stringify({ type: kind, sessionId, ...cursor }),
        abort,
        timeout,
        mayStart: () => gate === opened,
      })
      .catch((error: Error) => error)
    inFlight.delete(sessionId)
    if (gate !== opened) {
      // Interrupted: it is told again when the gate opens, unless there is a later wish.
      if (!wishes.has(sessionId)) wishes.set(sessionId, kind)
      flush()
      return
    }
    if (!(outcome instanceof Error)) {
      if (kind === 'watch') inbox.attached(sessionId, parseVerdicts(outcome.json))
    } else if (outcome instanceof ConnectionError && outcome.status === 404) opened.disowned(outcome)
    else if (outcome instanceof ConnectionError && outcome.status === 401) opened.unauthorized(outcome)
    else if (kind === 'watch') onUnattached()
    flush()
  }

  return {
    wish,
    start(opened: Gate) {
      gate = opened
      flush()
    },
    stop() {
      gate = null
      for (const abort of inFlight.values()) abort.abort()
    },
    /** A new stream has no sessions yet, and its resume names all that are tracked. */
    forget: () => wishes.clear(),
  }
}
