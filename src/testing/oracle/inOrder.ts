import type { TestPost } from '../harness/network'
import { Lanes } from './lanes'
import type { Watch } from './watch'
import { carried, isInFlight } from './wire'

/** I4: messages of a lane are posted in the order of send(), one at a time. */
export const inOrder: Watch = ({ connection, posts }, report, { maxFailures }) => {
  const lanes = new Lanes(connection)

  /**
   * A message of this lane that another POST carries. A stop does not wait for it, nor it for the
   * stop.
   */
  const besideIn = (post: TestPost, id: string) => {
    const others = posts.filter((other) => other !== post && isInFlight(other)).flatMap(carried)
    const lane = lanes.of(id).filter(({ isStop }) => isStop === lanes.isStop(id))
    return lane.find(({ delivery }) => delivery.id !== id && others.includes(delivery.id))
  }

  return {
    onPost(post) {
      const own = carried(post)
      for (const id of own) {
        const beside = besideIn(post, id)
        if (beside) report(`${id} is posted beside ${beside.delivery.id}, of the same lane`)
        for (const { delivery, isStop } of lanes.of(id)) {
          if (delivery.id === id) break
          // A message that has used up its failures is passed, and a stop does not wait for the
          // messages that it stops.
          const mayBePassed = delivery.attempts >= maxFailures || (!isStop && lanes.isStop(id))
          if (delivery.status === 'queued' && !mayBePassed && !own.includes(delivery.id))
            report(`${id} is posted before ${delivery.id}`)
        }
      }
    },
    onSettled: lanes.tidy,
  }
}
