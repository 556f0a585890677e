import type { Move } from '../plan'
import { answers, answersOnce, meetsDeadServer, refusesProbe, wantsToLeave } from './causes'
import { fatal, move, retryable, type World } from './move'
import { isDoubted, isIn, mayPost } from './when'

/** Answers to POSTs that speak of the line. */
export const upstreamMoves: readonly Move<World>[] = [
  move('upstream.disowned', mayPost, answersOnce(404), retryable),
  move('upstream.disowned, by the probe', isIn('probing', 'doubting'), answers('probe', 404), retryable),
  move('upstream.unauthorized', mayPost, answersOnce(401), fatal),
  move('upstream.unauthorized, by the probe', isIn('doubting'), refusesProbe, fatal),
  move('upstream.doubtful', mayPost, meetsDeadServer, retryable),
  move('upstream.proved', isDoubted, answersOnce(200)),
  move('upstream.wanted', isIn('suspended'), wantsToLeave),
]
