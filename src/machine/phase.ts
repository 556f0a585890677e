import type { Phase } from './types'

const PHASES = ['idle', 'connecting', 'awaitingWelcome', 'reconnecting', 'open', 'backoff'] as const satisfies Phase[]

/** The public name of the state that the machine is in, at any depth. */
export const phase = (snapshot: { hasTag(tag: Phase): boolean }) =>
  PHASES.find((name) => snapshot.hasTag(name)) as Phase
