import type { Watch } from './watch'
import { isInFlight, isResume, liveId } from './wire'

/** I2: at most one resume in flight, only in reconnecting, only for the current connectionId. */
export const oneResume: Watch = ({ connection, streams, posts }, report) => ({
  onPost(post) {
    if (!isResume(post)) return
    if (connection.phase !== 'reconnecting') report(`a resume starts in ${connection.phase}`)
    if (post.connectionId !== liveId(streams)) report(`a resume for ${post.connectionId}, it is ${liveId(streams)}`)
    if (posts.some((other) => other !== post && isResume(other) && isInFlight(other))) report('a resume beside another')
  },
  onSettled() {
    const { phase } = connection
    if (phase !== 'reconnecting' && posts.some((post) => isResume(post) && isInFlight(post))) report(`one in ${phase}`)
  },
})
