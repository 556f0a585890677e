import type { Watch } from './watch'
import { isOk, longest, resultsOf, wishOf } from './wire'

/**
 * I15: what the outbox waits for, and until when, is in the snapshot; no wait of its own outlives
 * its stream.
 */
export const waitsAreTold: Watch = ({ connection, time }, report) => {
  const { now } = time.clock
  /** When the last wait ends that a server has asked for, at the latest. */
  let askedUntil = 0
  let hasFailed = false
  let isFresh = false
  let stream: string | null = null
  connection.on('opened', ({ connectionId }) => {
    isFresh = connectionId !== stream
    stream = connectionId
  })
  return {
    onAnswer(post, answer) {
      const wishes = resultsOf(post, answer.status, answer.text).flatMap(({ retryAfter }) => retryAfter ?? [])
      for (const ms of [wishOf(answer, now()).retryAfter, ...wishes])
        askedUntil = Math.max(askedUntil, now() + longest(ms))
      hasFailed ||= !isOk(answer.status) || wishes.length > 0
    },
    onSettled() {
      const { phase, outbox } = connection.getSnapshot()
      const waits = connection.pending.flatMap(({ retryAt }) => retryAt ?? [])
      const first = waits.length ? Math.min(...waits) : null
      if (outbox.retryAt !== first) report(`the snapshot says ${outbox.retryAt}, the deliveries ${first}`)
      if (phase !== 'open' && outbox.state !== 'held') report(`${outbox.state} in ${phase}`)
      if (outbox.state === 'pausing' && first === null) report('pausing, and nothing waits')
      if (isFresh && !hasFailed && first !== null && first > askedUntil)
        report(`a wait of ${first - now()} ms outlives its stream`)
      isFresh = false
      hasFailed = false
    },
    memory: () => [Math.max(0, askedUntil - now())],
  }
}
