import type { Standing, TabContext, Told } from './types'

// The pure functions that guards ask.

const RANKS: readonly Standing[] = ['hidden', 'visible', 'worker']
export const isStanding = (value: unknown): value is Standing => RANKS.includes(value as Standing)
export const outranks = (one: Standing, other: Standing) => RANKS.indexOf(one) > RANKS.indexOf(other)

type Tab = { readonly context: TabContext }

/** A leadership above the one that is known; of two in the same term, the higher name. */
export const isNewer = ({ context }: Tab, { tab, term }: Told) =>
  term > context.term ||
  (term === context.term && tab !== context.leader && (context.leader === null || tab > context.leader))
export const isCurrent = ({ context }: Tab, { tab, term }: Told) => tab === context.leader && term === context.term
export const hasChanged = (args: Tab, told: Told) => isCurrent(args, told) && told.line !== args.context.line
