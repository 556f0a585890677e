import type { Program } from './programs'
import type { Findings } from './types'
import type { VictimProcess } from './victimProcess'

export type ClientWire = 'eventsource' | 'fetch' | 'websocket'

/** What a hostile server, or one that shares the client's origin, does to a client. */
export interface Trap {
  readonly row: string
  readonly name: string
  /** Empty: no transport has a part in it. */
  readonly over: readonly ClientWire[]
  /** Sets up the server, lets the victim connect, and says what came of it. */
  run(victim: Program<VictimProcess>, over: ClientWire): Promise<Findings>
}

/** Until it is met, or for so long, ms. */
export async function until(isMet: () => boolean | Promise<boolean>, ms = 5_000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(10)) if (await isMet()) return true
  return false
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/**
 * The most that a process held over what it held at first, MiB, until the returned function is
 * called.
 */
export function watchMemory(program: Program<unknown>): () => number {
  const start = program.rss()
  let peak = start
  const timer = setInterval(() => {
    peak = Math.max(peak, program.rss())
  }, 20)
  return () => {
    clearInterval(timer)
    return peak - start
  }
}
