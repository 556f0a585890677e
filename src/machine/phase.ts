import type { Phase } from './types'

/**
 * The public name of the state that the machine is in, at any depth: each has one tag, and that is
 * its name.
 */
export const phase = ({ tags }: { readonly tags: ReadonlySet<string> }) => [...tags][0] as Phase
