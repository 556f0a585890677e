import type { Attack } from '../types'
import { bigEvents, replays } from './bigEvents'
import { deepJson } from './deepJson'
import { forgedEvents, forgedQuestions } from './forgedOnRedis'
import { framesBehindSlowCommand, megabyteIds, strangersAtTheDoor } from './heldFrames'
import { bigHellos, numericPrincipal, silentSockets } from './hellos'
import { iframes } from './iframes'
import { lostRights } from './lostRights'
import { readingCreates } from './readingCreates'
import { receipts } from './receipts'
import { reconnectFlood, slowReaders, stalledBodies } from './slowPeers'
import { waitingCommands, waitingThenGone } from './waitingCommands'

/** All of them, in the order of the failure catalogue. */
export const ATTACKS: readonly Attack[] = [
  slowReaders,
  deepJson,
  stalledBodies,
  megabyteIds,
  strangersAtTheDoor,
  framesBehindSlowCommand,
  waitingCommands,
  waitingThenGone,
  receipts,
  readingCreates,
  iframes,
  lostRights,
  bigEvents,
  replays,
  forgedEvents,
  forgedQuestions,
  bigHellos,
  silentSockets,
  numericPrincipal,
  reconnectFlood,
]
