import type { TestPost } from '../harness/network'
import type { Watch } from './watch'
import { isOfQueue, isOk, isResume, keepsSessions, liveId, liveOf } from './wire'

/** I14: after a suspend no send leaves on that stream before it has been resumed. */
export const resumedFirst: Watch = ({ connection, streams }, report) => {
  let isKept = false
  /** The stream that a suspend was posted for, and no resume has succeeded on since. */
  let suspended: string | null = null
  let resume: TestPost | undefined
  return {
    onFrame(stream, type, data) {
      if (type !== 'welcome' || stream !== liveOf(streams)) return
      isKept = keepsSessions(data)
      // It begins anew.
      suspended = null
    },
    onPost(post) {
      const { connectionId, endpoint } = post
      if (endpoint === 'suspend' && !isKept && connectionId === liveId(streams)) {
        suspended = connectionId
        resume = undefined
      } else if (suspended === null || connectionId !== suspended) return
      else if (isResume(post)) resume = post
      else if (isOfQueue(post)) report(`${endpoint} is posted on ${suspended}, which is suspended`)
    },
    onAnswer(post, { status }) {
      if (post === resume && isOk(status)) suspended = null
    },
    onSettled() {
      const { outbox } = connection.getSnapshot()
      if (suspended === liveId(streams) && suspended !== null && outbox.state !== 'held')
        report(`the outbox is ${outbox.state} on ${suspended}, which is suspended`)
    },
    memory: () => [suspended !== null && suspended === liveId(streams)],
  }
}
