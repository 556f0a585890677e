import type { Watch } from './watch'
import { isOfQueue, liveId } from './wire'

/** I3: no send POST starts outside open. */
export const sendsInOpen: Watch = ({ connection, streams }, report) => ({
  onPost(post) {
    if (!isOfQueue(post)) return
    if (connection.phase !== 'open') report(`${post.endpoint} is posted in ${connection.phase}`)
    if (post.connectionId !== liveId(streams)) report(`${post.endpoint} is posted to ${post.connectionId}`)
  },
})
