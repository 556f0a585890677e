import type { Programs } from './programs'
import type { ClientWire, Trap } from './trap'
import type { Findings } from './types'
import type { VictimProcess } from './victimProcess'

/** One trap for one client, in a process of its own. */
export async function spring(programs: Programs, trap: Trap, over: ClientWire | undefined): Promise<Findings> {
  const victim = programs.start<VictimProcess>('victimProcess')
  try {
    return await trap.run(victim, over ?? 'eventsource')
  } catch (error) {
    return {
      failures: [victim.end ? `the client's process ended: ${victim.end}` : `it broke off: ${error}`],
      facts: {},
    }
  } finally {
    victim.stop()
  }
}
