import type { ContractCase } from './case'
import { frames } from './cases/frames'
import { liveness } from './cases/liveness'
import { opening } from './cases/opening'
import { refusals } from './cases/refusals'
import { resuming } from './cases/resuming'
import { sending } from './cases/sending'
import { suspending } from './cases/suspending'
import { watching } from './cases/watching'

/**
 * The behaviours that a connection owes its app whatever carries it. For a runner of your choice:
 * `test.each(transportContract)('$name', ({ run }) => run(serve))`.
 */
export const transportContract: readonly ContractCase[] = [
  ...opening,
  ...sending,
  ...refusals,
  ...resuming,
  ...watching,
  ...liveness,
  ...suspending,
  ...frames,
]
