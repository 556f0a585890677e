import { connectionMachine } from '../../../machine/connectionMachine'
import type { ConnectionInput } from '../../../machine/types'
import type { Move } from '../plan'
import { fromWithin } from './fromWithin'
import type { World } from './move'
import { pageMoves } from './pageMoves'
import { resumeMoves } from './resumeMoves'
import { streamMoves } from './streamMoves'
import { upstreamMoves } from './upstreamMoves'

/** Everything that happens to a connection. */
export const connectionMoves = (policy: ConnectionInput): readonly Move<World>[] => [
  ...pageMoves,
  ...streamMoves(policy),
  ...resumeMoves,
  ...upstreamMoves,
  ...fromWithin(connectionMachine),
]
