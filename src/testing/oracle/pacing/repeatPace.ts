import { isFinal, Lanes } from '../lanes'
import type { Watch } from '../watch'
import { carried, isOk, resultsOf, type Wish, wishOf } from '../wire'
import { Waits } from './waits'

/** docs/protocol.md: repeated in place, with backoff. */
const MAY_PASS = [0, 408, 425, 429, 500, 502, 503, 504]

/** I12, of messages: none is repeated before the wait of its lane is over. */
export const repeatPace: Watch = (harness, report) => {
  const { connection, time } = harness
  const { now } = time.clock
  const waits = new Waits(harness)
  const lanes = new Lanes(connection)
  const laneOf = (id: string) => lanes.nameOf(id) ?? id
  /** When a message may be posted again; a wait that the client chose ends with the stream. */
  const repeats = new Map<string, { readonly at: number; readonly isAskedFor: boolean }>()
  /** How often a lane has failed in a row. */
  const failuresOf = new Map<string, number>()
  let failed: { readonly id: string; readonly wish: Wish }[] = []
  let stream: string | null = null

  connection.on('opened', ({ connectionId }) => {
    if (connectionId === stream) return
    stream = connectionId
    failuresOf.clear()
    failed = failed.filter(({ wish }) => wish.retryAfter > 0)
    for (const [id, { isAskedFor }] of repeats) if (!isAskedFor) repeats.delete(id)
  })
  connection.on('delivery', ({ id, status }) => {
    if (isFinal(status)) failuresOf.delete(laneOf(id))
  })

  const until = (at: number) => Math.max(0, at - now())
  return {
    memory: () => [...[...repeats].flatMap(([id, { at }]) => (until(at) ? [id, until(at)] : [])), ...failuresOf],
    onDraw: (value) => waits.drawn(value),
    onPost(post) {
      const early = (repeats.get(String(carried(post)[0]))?.at ?? 0) - now()
      if (early > 0) report(`a message is repeated ${Math.ceil(early)} ms too early`)
    },
    onAnswer(post, answer) {
      if (post.isAborted) return
      const { status, text } = answer
      const results = resultsOf(post, status, text)
      // A batch that failed as a whole is the failure of its first message.
      for (const { id, retryAfter, status: own } of isOk(status) ? results : results.slice(0, 1)) {
        if (!MAY_PASS.includes(own)) continue
        failuresOf.set(laneOf(id), (failuresOf.get(laneOf(id)) ?? 0) + 1)
        const wish = retryAfter === undefined ? wishOf(answer, now()) : { retryAfter, spread: retryAfter / 2 }
        failed.push({ id, wish })
      }
    },
    onSettled() {
      for (const { id, wish } of failed) {
        const at = now() + waits.least(failuresOf.get(laneOf(id)) ?? 1, wish)
        repeats.set(id, { at, isAskedFor: wish.retryAfter > 0 })
      }
      const pending = connection.pending.map(({ id }) => id)
      for (const id of repeats.keys()) if (!pending.includes(id)) repeats.delete(id)
      lanes.tidy()
      waits.settled()
      failed = []
    },
  }
}
