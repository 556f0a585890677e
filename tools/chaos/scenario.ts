import { randomUUID } from 'node:crypto'
import { eventSourceTransport, fetchStreamTransport } from 'holdline/adapters'
import { FEATURES, type Feature } from '../../src/protocol'
import { type Dice, oneOf } from './dice'
import type { Foreign } from './foreign'

/** What a seed makes of a run. */
export interface Scenario {
  /** The server half of this library, or one that is not ours. */
  readonly server: 'own' | 'foreign'
  /** What the server announces; it keeps no other promise. */
  readonly features: readonly Feature[]
  readonly maxInFlight: number
  readonly sessionIds: readonly string[]
  /** The most messages that the app lets wait for a verdict. */
  readonly window: number
  /** Unsettled messages and cursors are stored, and the page is reloaded now and then. */
  readonly hasStorage: boolean
  /** Requests carry a token, which the server changes now and then. */
  readonly hasTokens: boolean
  /** How long a stream lives, ms of the run's clock. */
  readonly streamAge: number
  /** What reads the stream. */
  readonly reader: keyof typeof READERS
}

export const READERS = { eventSource: eventSourceTransport, fetchStream: fetchStreamTransport }

/** Of a foreign server no more is asked than it announces; its sessions are told apart for good. */
export function drawScenario(
  dice: Dice,
  { idempotency, foreign }: { readonly idempotency: boolean; readonly foreign?: Foreign | undefined },
): Scenario {
  const drawn = drawAny(dice, idempotency)
  if (!foreign) return drawn
  const run = randomUUID()
  return {
    ...drawn,
    server: 'foreign',
    features: drawn.features.filter((feature) => foreign.features.includes(feature)),
    sessionIds: drawn.sessionIds.map((sessionId) => `${sessionId}-${run}`),
    hasTokens: true,
  }
}

function drawAny({ draw }: Dice, idempotency: boolean): Scenario {
  const random = draw('scenario')
  const maxInFlight = oneOf(random, [1, 1, 1, 2, 10, Infinity])
  return {
    server: 'own',
    features: FEATURES.filter(
      (feature) => (random() < 0.7 && feature !== 'idempotency') || (feature === 'idempotency' && idempotency),
    ),
    maxInFlight,
    sessionIds: ['alpha', 'beta', 'gamma', 'delta', 'epsilon'].slice(0, oneOf(random, [1, 3, 5])),
    // Hundreds of POSTs at once would be a load test, and on a busy machine none of them would be
    // answered in time.
    window: oneOf(random, maxInFlight === Infinity ? [10, 30] : [1, 10, 100, 500]),
    hasStorage: random() < 0.5,
    hasTokens: random() < 0.5,
    streamAge: oneOf(random, [30_000, 3_600_000]),
    reader: oneOf(random, ['eventSource', 'fetchStream'] as const),
  }
}

/**
 * The clock of both sides runs this much faster than real time, so that even a `Retry-After` costs
 * little.
 */
export const SPEED = 30

export const clock = {
  now: () => performance.timeOrigin + SPEED * performance.now(),
  setTimeout: (callback: () => void, ms: number) => setTimeout(callback, ms / SPEED),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout | undefined),
}
