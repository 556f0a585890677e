import type { Clock } from './clock'
import type { Contract } from './contract'
import type { SessionLog } from './log/sessionLog'
import type { Metric } from './metrics'

/** The parts of a server that its other entry points work with. */
export interface ServerParts {
  readonly log: SessionLog
  readonly clock: Clock
  readonly contract: Contract
  /** The size of an event as JSON, and how long receipts are kept, ms. */
  readonly limits: { readonly eventBytes: number; readonly receiptAge: number }
  onMetric(metric: Metric): void
  onError(error: unknown): void
  isClosed(): boolean
}

/**
 * A property, and not a table of this module: a bundler may have made two copies of it. A spread
 * copies it too.
 */
const PARTS = Symbol.for('holdline.server')

export const withParts = <S extends object>(server: S, parts: ServerParts): S =>
  Object.assign(server, { [PARTS]: parts })

/** `undefined`: `createChatServer` has not made it. */
export const partsOf = (server: unknown): ServerParts | undefined =>
  (Object(server) as { readonly [PARTS]?: ServerParts })[PARTS]
