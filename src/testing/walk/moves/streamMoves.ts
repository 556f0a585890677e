import type { ConnectionInput } from '../../../machine/types'
import { type Cursor, FEATURES } from '../../../protocol'
import type { Move } from '../plan'
import {
  answersProbe,
  fails,
  leavesOut,
  opens,
  sends,
  startsOver,
  waits,
  welcomes,
  welcomesWithBrokenClock,
} from './causes'
import { fatal, KNOWN, LONG, move, retryable, TRANSIENT, type World } from './move'
import { isIn, isOpen, isStreaming, isUnwelcomed, isWatched, isWelcomed } from './when'

/** Everything that can come of a stream. */
export function streamMoves({ timeouts, backoff }: ConnectionInput): readonly Move<World>[] {
  const heartbeat = Math.min(...Object.values(timeouts), backoff.stableDelay || LONG) / 4
  const bare = { features: [], heartbeat: null }
  const probed = { features: ['probe'] as const, heartbeat }
  const rich = { features: FEATURES, heartbeat }
  const welcomed = (
    details: string,
    cursors: readonly Cursor[],
    announced: typeof bare | typeof probed | typeof rich,
  ) =>
    move(`stream.welcomed, ${details}`, isStreaming, welcomes(cursors.length > 0, announced), () => ({
      connectionId: 'c',
      cursors,
      ...announced,
    }))
  return [
    move('stream.opened', isStreaming, opens),
    welcomed('no session', [], bare),
    welcomed('no session, all features', [], rich),
    welcomed('sessions', [KNOWN], probed),
    welcomed('sessions, all features', [KNOWN], rich),
    {
      ...welcomed('no session, with a clock that throws', [], bare),
      can: isIn('connecting'),
      cause: welcomesWithBrokenClock,
    },
    move('stream.failed', isStreaming, fails(), retryable),
    move(
      'stream.failed, bad welcome',
      isStreaming,
      ({ harness }) => harness.stream.welcomes({ protocolVersion: 1 }),
      retryable,
    ),
    move('stream.failed, 401 after the welcome', isWelcomed, fails(401), retryable),
    move('stream.refused, 401', isUnwelcomed, fails(401), fatal),
    move('stream.refused, 204', isUnwelcomed, fails(204), fatal),
    move('stream.refused, 403', isUnwelcomed, fails(403), retryable),
    move('stream.silent', isWatched, waits({ isAlive: false }), retryable),
    move('stream.drained', isStreaming, sends({ type: 'goodbye' }), () => ({ delay: {}, error: TRANSIENT })),
    // Suspended, all are to be resumed anyway.
    move('stream.gapped', isOpen, leavesOut, ({ farewell }) => ({ cursors: [KNOWN], isByServer: farewell === 'none' })),
    move('stream.reset', isStreaming, startsOver, retryable),
    move('stream.probed, its nonce', isStreaming, answersProbe, ({ probes }) => ({ nonce: `p${probes}` })),
    move('stream.probed, another nonce', isStreaming, sends({ type: 'probe' }), () => ({ nonce: '' })),
  ]
}
