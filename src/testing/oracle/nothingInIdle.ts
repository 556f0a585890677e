import { before, type Watch } from './watch'
import { isInFlight, isLive } from './wire'

/** I8: in idle no timer, request, stream or page listener is left. */
export const nothingInIdle: Watch = ({ connection, streams, posts, page, time }, report) => {
  /**
   * The one exception: until `connect` is called, a message that was sent has a timer that says so.
   */
  let hints = 0
  let hasConnected = false
  before(connection, ['send'], () => {
    hints = hasConnected ? 0 : 1
  })
  before(connection, ['connect', 'dispose'], () => {
    hasConnected = true
    hints = 0
  })
  return {
    onSettled() {
      if (connection.phase !== 'idle') return
      if (time.clock.pending > hints) report(`${time.clock.pending} timers`)
      if (streams.some(isLive)) report('a stream')
      if (page.listeners) report(`${page.listeners} page listeners`)
      const post = posts.find(isInFlight)
      if (post) report(`${post.endpoint} is under way`)
    },
  }
}
