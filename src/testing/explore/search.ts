import type { Expand } from './expand'
import { type Finding, isSame } from './finding'

export interface Progress {
  /** Of the nodes that are being expanded. */
  readonly depth: number
  /** How many of them are done. */
  readonly done: number
  readonly of: number
  /** Distinct states. */
  readonly states: number
  /** Distinct (state, letter) pairs that were carried out. */
  readonly edges: number
  /** Edges per second. */
  readonly rate: number
}

export interface Exploration extends Pick<Progress, 'depth' | 'states' | 'edges' | 'rate'> {
  /** One per invariant and message. */
  readonly violations: readonly Finding[]
}

export interface SearchOptions {
  /** How many letters a sequence has at most, without those that lead to the root. */
  readonly depth: number
  /** Enough is enough. Default: no limit. */
  readonly maxEdges?: number
  /** Called about five times a second. */
  readonly onProgress?: (progress: Progress) => void
  /** How many nodes are worked out at a time. Default: one. */
  readonly lanes?: number
}

/** Where a search begins: a sequence of letters, and the hash of the state to which it leads. */
export interface Root {
  readonly path: readonly string[]
  readonly state: number
}

/** Breadth first. Sequences that lead to the same state are one node. */
export async function search(root: Root, expand: Expand, options: SearchOptions): Promise<Exploration> {
  const { maxEdges = Number.POSITIVE_INFINITY, onProgress, lanes = 1 } = options
  const violations: Finding[] = []
  const states = new Set([root.state])
  const began = performance.now()
  let edges = 0
  let told = began
  let depth = 0
  let nodes: readonly (readonly string[])[] = [root.path]

  const progress = (done: number): Progress => ({
    depth,
    done,
    of: nodes.length,
    states: states.size,
    edges,
    rate: Math.round((edges * 1_000) / (performance.now() - began)),
  })

  for (; depth < options.depth && nodes.length; depth++) {
    const next: (readonly string[])[] = []
    let taken = 0
    const work = async () => {
      for (let path = nodes[taken++]; path && edges < maxEdges; path = nodes[taken++]) {
        for (const { letter, state, findings } of await expand(path)) {
          edges++
          for (const finding of findings) {
            if (!violations.some((known) => isSame(known, finding))) violations.push(finding)
          }
          if (state === undefined || states.has(state)) continue
          states.add(state)
          next.push([...path, letter])
        }
        if (performance.now() - told < 200) continue
        told = performance.now()
        onProgress?.(progress(Math.min(taken, nodes.length)))
      }
    }
    await Promise.all(Array.from({ length: lanes }, work))
    // Longer sequences would only show the same again.
    nodes = edges < maxEdges && !violations.length ? next : []
  }
  const { rate } = progress(0)
  return { depth, states: states.size, edges, rate, violations }
}
