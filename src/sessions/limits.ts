import type { InboundMessage } from '../connection/messages'
import type { StatePlace } from './types'

/** An event that came while the state was loaded, and the cursor before it. */
export type Early = readonly [before: StatePlace, message: InboundMessage]
/** More of them are not kept: they are asked for again. */
export const MAX_EARLY = 1_000
/** How long a server that gives no verdicts has for its replay, ms. */
export const REPLAY = 1_000
export const KEEP_FOR = 300_000
