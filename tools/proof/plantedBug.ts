import type { Feature } from '../../src/protocol'
import type { Invariant } from '../../src/testing'
import type { Anchor } from './anchor'

/** A row of the failure catalogue, made to come back by changing one place of the library. */
export interface PlantedBug extends Anchor {
  /** Rows of the catalogue, or an invariant of the design. */
  readonly row: string
  readonly bug: string
  readonly file: string
  readonly replace: string
  /** An invariant that it breaks, and letters of the explorer that show it. */
  readonly shows?: Sighting
  /** The same, of the explorer of tabs. */
  readonly showsInTabs?: SightingInTabs
}

export interface Sighting {
  readonly invariant: Invariant
  readonly letters: readonly string[]
  /** What the server announces. Default: nothing. */
  readonly features?: readonly Feature[]
  /** ms. */
  readonly heartbeat?: number
}

export interface SightingInTabs {
  readonly invariant: Invariant
  /** One of `tools/proof/tabs/sets.ts`. */
  readonly set: string
  /** Separated by commas. */
  readonly path: string
}
