import type { Trap } from '../trap'
import { badEvents } from './badEvents'
import { demo } from './demo'
import { endlessAnswer, endlessLine } from './endless'
import { redirects } from './redirects'
import { sharedStorage } from './sharedStorage'
import { resetStorm, resumeStorm, sessionStorm } from './storms'

export const TRAPS: readonly Trap[] = [
  badEvents,
  redirects,
  resumeStorm,
  resetStorm,
  sessionStorm,
  sharedStorage,
  endlessLine,
  endlessAnswer,
  demo,
]
