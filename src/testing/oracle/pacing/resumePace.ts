import { before, type Watch } from '../watch'
import { isResume, keepsSessions } from '../wire'

/** docs/protocol.md: as many resumes may a server cause without a pause. */
const MAX_RESUMES = 5

/** I12, of resumes: a server cannot cause them as fast as it likes. */
export const resumePace: Watch = ({ connection, time }, report) => {
  const { now } = time.clock
  const { stableDelay } = connection.actor.getSnapshot().context.policy.backoff
  /**
   * Of this stream, without a pause between them, beyond the first and those that the app asked
   * for.
   */
  let resumes = -1
  let openedAt: number | null = null
  let isKept = false

  const shut = () => {
    if (openedAt !== null && now() - openedAt >= stableDelay) resumes = Math.min(resumes, 0)
    openedAt = null
  }
  before(connection, ['watch', 'unwatch'], () => {
    resumes--
  })
  connection.on('opened', () => {
    openedAt = now()
  })
  connection.on('closed', shut)
  connection.on('phase', ({ phase }) => phase !== 'open' && shut())

  return {
    onStream() {
      resumes = -1
    },
    onFrame(_, type, data) {
      if (type === 'welcome') isKept = keepsSessions(data)
      return undefined
    },
    onPost(post) {
      if (post.endpoint === 'suspend' && !isKept) resumes--
      if (isResume(post) && ++resumes > MAX_RESUMES) report(`a stream is resumed ${resumes} times without a pause`)
    },
  }
}
