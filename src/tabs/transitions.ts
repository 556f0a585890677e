import { ConnectionError } from '../errors'
import { withEvent } from '../machine/outboxMachine'
import type { Standing } from './types'

// The transitions, and parts of transitions, that stand in the chart more than once, each under the
// name that the chart uses.

/** A line of its own from here on; `why` is told. */
export const alone = (why: string) => ({
  target: '#own',
  actions: {
    type: 'emitOwn' as const,
    params: ({ event }: { event: object }) => ({
      error: new ConnectionError('not-shared', `this tab has a line of its own: ${why}`, {
        cause: 'error' in event ? event.error : undefined,
      }),
    }),
  },
})
export const broken = alone('a part of it has failed; see cause')
export const standing = (value: Standing) => ({ type: 'recordStanding' as const, params: () => ({ standing: value }) })

export const unfit = alone('the server does not announce contiguous-seq, replay-marker and probe')
export const toldUnfit = { guard: withEvent('isUnfit'), ...unfit }

/** It is greeted, so that it knows who follows. */
const greet = [withEvent('recordLeader'), 'sayHello' as const]
export const followUp = {
  guard: withEvent('isNewerAndUp'),
  target: '#following',
  actions: [...greet, 'emitReady' as const],
}
/** A leader that is news. */
export const follow = [
  { guard: withEvent('isNewerAndWanted'), target: '#joining', actions: greet },
  followUp,
  { guard: withEvent('isNewer'), target: '#following', actions: greet },
]
