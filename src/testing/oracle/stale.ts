import { before, type Watch } from './watch'
import { isResume, liveId, liveOf, parse } from './wire'

const COMMANDS = [
  'connect',
  'disconnect',
  'reconnect',
  'wake',
  'dispose',
  'send',
  'clearOutbox',
  'watch',
  'unwatch',
  'suspend',
] as const
const PAGE_EVENTS = ['hides', 'shows', 'stays', 'leaves', 'returns', 'freezes', 'goesOffline', 'comesOnline'] as const

/** I11: a result that belongs to an earlier stream or POST changes nothing. */
export const stale: Watch = (harness, report) => {
  const { connection, streams, posts, told } = harness
  const state = () => JSON.stringify(connection.actor.getSnapshot().value)
  const everything = () => [connection.getSnapshot(), state(), told.length, streams.length, posts.length]
  const line = () => {
    const { phase, attempt, connectionId, lastError } = connection
    return [phase, state(), attempt, connectionId, lastError, streams.length]
  }
  /**
   * A late result, and what must not change with it. Judged only if nothing else happens with it.
   */
  let suspect: { what: string; state: () => readonly unknown[]; before: readonly unknown[] } | null = null
  let isQuiet = false
  const disturb = () => {
    isQuiet = false
  }
  const late = (what: string, state: () => readonly unknown[]) => {
    if (!suspect && isQuiet) suspect = { what, state, before: state() }
    else if (suspect && suspect.state !== state) disturb()
  }
  const isOldMarker = (frame: unknown) => {
    const { type, resumeId } = Object(frame)
    return type === 'reconnected' && resumeId !== undefined && resumeId !== posts.findLast(isResume)?.body.resumeId
  }
  const isOldProof = (frame: unknown) => {
    const { type, nonce } = Object(frame)
    return type === 'probe' && nonce !== posts.findLast(({ endpoint }) => endpoint === 'probe')?.body.nonce
  }
  before(connection, COMMANDS, disturb)
  before(harness.page, PAGE_EVENTS, disturb)
  return {
    onFrame(stream, type, data) {
      if (stream !== liveOf(streams)) late(`a late ${type} of a stream`, everything)
      else if (type === 'message' && isOldMarker(parse(data))) late('the marker of an earlier resume', line)
      else if (type === 'message' && isOldProof(parse(data))) late('the answer to another probe', line)
      else disturb()
    },
    onAnswer(post, { status }) {
      const isOld = post.connectionId !== liveId(streams)
      if (post.isAborted) late(`a late ${status} of ${post.endpoint}`, everything)
      // What was applied on an old stream is applied; what is said of that stream is of the past.
      else if (isOld && (status === 401 || status === 404)) late(`a ${status} that speaks of an old stream`, line)
      else disturb()
    },
    onSettled() {
      if (suspect && isQuiet) {
        const { what, state, before } = suspect
        if (state().some((value, index) => value !== before[index])) report(`${what} changed something`)
      }
      suspect = null
      isQuiet = true
    },
  }
}
