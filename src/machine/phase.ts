import type { Phase } from './types'

const PHASES = ['idle', 'connecting', 'awaitingWelcome', 'reconnecting', 'open', 'backoff'] as const satisfies Phase[]

/** The public name of the state that the machine is in, at any depth. */
export function phase(snapshot: { hasTag(tag: Phase): boolean }): Phase {
  const found = PHASES.find((name) => snapshot.hasTag(name))
  if (!found) throw new TypeError('not a snapshot of connectionMachine: it has no phase tag')
  return found
}
