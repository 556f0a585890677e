import type { RunError } from './api'

/**
 * How a producer came to its end. `lost`: the run was ended by another hand, or taken from this
 * process.
 */
export type Ending =
  | { readonly type: 'finished' }
  | { readonly type: 'failed'; readonly error: RunError }
  | { readonly type: 'suspended'; readonly waitsFor: unknown }
  | { readonly type: 'lost' }

export type OwnEnding = Exclude<Ending, { type: 'lost' }>

export const LOST: Ending = { type: 'lost' }
export const TOO_LARGE: OwnEnding = { type: 'failed', error: 'too-large' }
