import type { ConnectionContext } from '../../../machine/types'
import type { Move } from '../plan'
import { answers, leavesOutAgain, marks, sends, waits, watches } from './causes'
import { type Cause, disowns, type Fields, fatal, move, newSession, retryable, type State, type World } from './move'
import { isIn, isPosting, isResuming, isStreaming } from './when'

/** A resume that ends with nothing, with something new, or with the same hole again. */
const withLeftOvers = (name: string, can: State, cause: Cause, fields: Fields = () => ({})) =>
  [
    { details: '', before: () => {}, leftOvers: () => [], isByServer: false },
    { details: ', left-overs', before: watches, leftOvers: newSession, isByServer: false },
    {
      details: ', no progress',
      before: leavesOutAgain,
      leftOvers: ({ cursors }: ConnectionContext) => cursors.slice(0, 1),
      isByServer: true,
    },
  ].map(({ details, before, leftOvers, isByServer }) =>
    move(
      name + details,
      (snapshot) => can(snapshot) && (!details || isResuming(snapshot)),
      async (world) => {
        await before(world)
        await cause(world)
      },
      (context) => ({ ...fields(context), leftOvers: leftOvers(context), isByServer }),
    ),
  )

/** The ends of a replay, and of the POST that asked for it. */
export const resumeMoves: readonly Move<World>[] = [
  ...withLeftOvers('stream.replayed', isStreaming, marks, ({ resumeId }) => ({ resumeId })),
  move('stream.replayed, no id', isStreaming, sends({ type: 'reconnected' }), () => ({
    resumeId: null,
    leftOvers: [],
  })),
  move('stream.replayed, another id', isStreaming, sends({ type: 'reconnected', resumeId: 'r0' }), () => ({
    resumeId: 'r0',
    leftOvers: [],
  })),

  ...withLeftOvers('resume.succeeded', isPosting, answers('reconnect', 200)),
  move('resume.failed, 500', isPosting, answers('reconnect', 500), retryable),
  move('resume.failed, 404', isPosting, answers('reconnect', 404), disowns),
  move('resume.failed, 403', isPosting, answers('reconnect', 403), fatal),
  move('resume.failed, the replay stalls', isIn('replaying'), waits({ isAlive: true }), retryable),
]
