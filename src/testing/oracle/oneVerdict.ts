import type { Delivery, Verdict } from '../../connection/messages'
import { isFinal, onDelivery } from './lanes'
import type { Watch } from './watch'
import { carried, isInFlight, isOk, resultsOf } from './wire'

/** I5: every message ends in exactly one verdict, or is still pending. */
export const oneVerdict: Watch = ({ connection, posts }, report) => {
  const unsettled = new Map<string, Delivery>()
  const ended = new Map<string, Delivery['status']>()
  const verdicts = new Map<string, Verdict>()
  const taken = new Set<string>()
  /** Answered 401: it may be posted again, with other headers, at any moment. */
  const refused = new Set<string>()
  onDelivery(connection, (delivery) => {
    const { id } = delivery
    ended.delete(id)
    verdicts.delete(id)
    unsettled.set(id, delivery)
    void delivery.settled.then((verdict) => verdicts.set(id, verdict))
  })
  connection.on('delivery', ({ id, status }) => {
    const before = ended.get(id)
    if (before) report(`${id} is told ${status} after ${before}`)
    if (isFinal(status)) ended.set(id, status)
    if (status === 'accepted' && !taken.has(id)) report(`${id} is accepted, and no 2xx said so`)
  })
  return {
    onAnswer(post, { status, text }) {
      for (const { id, status: own } of resultsOf(post, status, text)) {
        if (isOk(own)) taken.add(id)
        if (own === 401) refused.add(id)
        else refused.delete(id)
      }
    },
    onSettled() {
      if (!unsettled.size) return
      const { pending } = connection
      for (const [id, delivery] of unsettled) {
        const { status } = delivery
        const verdict = verdicts.get(id)?.status
        const places = pending.filter((other) => other === delivery).length
        const isCarried = posts.some((post) => isInFlight(post) && carried(post).includes(id))
        if (isFinal(status)) {
          if (verdict !== status || ended.get(id) !== status) {
            report(`${id} is ${status}, its verdict ${verdict}, and ${ended.get(id)} was told`)
          }
          if (places) report(`${id} is ${status} and pending`)
          unsettled.delete(id)
        } else {
          if (verdict) report(`${id} is ${status}, and its verdict ${verdict}`)
          if (places !== 1) report(`${id} is ${status}, and pending ${places} times`)
          if (isCarried === (status === 'sending') || refused.has(id)) continue
          report(`${id} is ${status}; under way: ${isCarried}`)
        }
      }
    },
  }
}
