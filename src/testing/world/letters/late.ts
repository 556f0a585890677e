import type { TestPost } from '../../harness/network'
import { type Alphabet, accepts, command, down, type Letter, says } from '../letter'
import type { World } from '../world'

/** What was aborted is answered all the same. */
const late = (act: (post: TestPost, world: World) => void): Letter => {
  const isDead = ({ isAborted, isAnswered }: TestPost) => isAborted && !isAnswered
  return {
    isEnabled: ({ harness }) => harness.posts.some(isDead),
    act(world) {
      for (const post of world.harness.posts.filter(isDead)) act(post, world)
    },
  }
}

export const LATE: Alphabet = {
  'late stream': command(
    ({ lines, event, head }) => {
      for (const { stream } of lines) {
        if (!stream.isClosed) continue
        stream.opens()
        stream.welcomes({ connectionId: stream.connectionId ?? 'late' })
        stream.sends({ ...event, sessionId: 's1', seq: head('s1') + 1 })
        stream.sends({ type: 'goodbye', retryAfter: 2_000 })
        stream.fails()
      }
    },
    ({ lines }) => lines.some(({ stream }) => stream.isClosed),
  ),
  // The end of the replay of an earlier resume.
  'late marker': down(
    ({ stream, resumes }) => stream.sends({ type: 'reconnected', resumeId: resumes[0]?.body.resumeId, sessions: [] }),
    ({ resumes }, { features }) => features.includes('replay-marker') && resumes.length > 1,
  ),
  'late ok': late(accepts),
  'late 401': late(says(401)),
  'late 500': late(says(500)),
}
