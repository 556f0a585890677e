import type { Move } from '../plan'
import { connectsToBrokenPage, isOffline, suspends } from './causes'
import { awayFor, KNOWN, LONG, move, type World } from './move'
import { always, canSuspend, isActive, isIn } from './when'

/** The app and the page. */
export const pageMoves: readonly Move<World>[] = [
  move('connect', always, ({ harness }) => harness.connection.connect()),
  move('connect, with a page that throws', isIn('idle'), connectsToBrokenPage),
  move('disconnect', always, ({ harness }) => harness.connection.disconnect()),
  move('reconnect', always, ({ harness }) => harness.connection.reconnect()),
  move('reconnect, by the page', isActive, ({ harness }) => harness.page.returns()),
  move('wake', always, ({ harness }) => harness.connection.wake(), awayFor(0)),
  move('wake, by the page', isActive, ({ harness }) => harness.page.shows(), awayFor(0)),
  move('wake, after a long time', isActive, isOffline, awayFor(LONG)),

  move('page.suspended', canSuspend, suspends, () => ({ cursors: [KNOWN] })),
]
