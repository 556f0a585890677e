import { isAsk } from '../harness/network'
import type { Watch } from './watch'
import { isInFlight, isLive } from './wire'

/** I1: at most one live stream; none in idle and backoff. */
export const oneStream: Watch = ({ connection, streams, posts }, report) => ({
  onStream(stream) {
    if (streams.some((other) => other !== stream && !other.isClosed)) report('a stream begins beside a live one')
  },
  onSettled() {
    const { phase } = connection
    const live = streams.filter(isLive).length
    if (live > 1 || (live && (phase === 'idle' || phase === 'backoff'))) report(`${live} live in ${phase}`)
    const isAsking = posts.some((post) => isAsk(post) && isInFlight(post))
    if (isAsking && (live || phase !== 'connecting'))
      report(`it is asked why a stream failed in ${phase}, with ${live} live`)
  },
})
