import type { AnyStateMachine } from 'xstate'
import type { Move } from '../plan'
import { throws, waits } from './causes'
import { fatal, move, type World } from './move'
import { always, never } from './when'

/** Timers that fire, and actors that throw. */
export const fromWithin = ({ events }: AnyStateMachine): readonly Move<World>[] => [
  ...events
    .filter((type) => type.startsWith('xstate.after.'))
    .map((type) => move(type, always, waits({ isAlive: true }))),
  ...events.filter((type) => type.startsWith('xstate.error.')).map((type) => move(type, never, throws, fatal)),
]
