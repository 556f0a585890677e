import { outboxMachine } from '../../../machine/outboxMachine'
import type { Move } from '../plan'
import { answersSend, fails, sendsApart, suspends, welcomes } from './causes'
import { fromWithin } from './fromWithin'
import { move, type World } from './move'
import { isIn } from './when'

/** Everything that happens to the gate of its outbox, while it is connecting. */
export const outboxMoves = (): readonly Move<World>[] => [
  move('release', isIn('held'), welcomes(false)),
  move('hold', isIn('suspended', 'flowing', 'pausing'), fails()),
  move('suspend', isIn('suspended', 'flowing', 'pausing'), suspends),
  move('pause', isIn('flowing'), answersSend(503)),
  move('flow', isIn('pausing'), sendsApart),
  ...fromWithin(outboxMachine),
]
