import { createWorld } from '../world/world'
import { createExpand, type Expand } from './expand'
import { fingerprint, hash } from './fingerprint'
import type { ReplayOptions } from './replay'
import { type Exploration, type Progress, search } from './search'

export type { Exploration, Progress }

export interface ExploreOptions extends ReplayOptions {
  /** How many letters a sequence has at most. */
  readonly depth: number
  /** Enough is enough. Default: no limit. */
  readonly maxEdges?: number
  /** Called about five times a second. */
  readonly onProgress?: (progress: Progress) => void
  /**
   * What follows from a node. Default: it is worked out here; it may be elsewhere, `lanes` nodes at
   * a time.
   */
  readonly expand?: Expand
  readonly lanes?: number
}

/**
 * Lets happen to a connection whatever can happen, in every order, breadth first, and checks the
 * invariants after each step. From each new state a healthy network has to lead to an open line
 * that is up to date (I9).
 *
 * A node is a sequence of letters, carried out on a real connection in a world of its own; nothing
 * is simulated. Sequences that lead to the same state are one node: see `fingerprint`.
 */
export function explore(options: ExploreOptions): Promise<Exploration> {
  const { expand = createExpand(options) } = options
  return search({ path: [], state: hash(fingerprint(createWorld(options))) }, expand, options)
}
