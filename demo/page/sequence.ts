/** Things numbered 0, 1, 2 …, as they arrive. Plain JSON. */
export interface Sequence {
  /** One more than the highest number that has arrived. */
  readonly next: number
  /** Numbers below `next` that have not arrived. */
  readonly missing: readonly number[]
  /** How many came that were there already. */
  readonly doubled: number
  /** How many came after a higher number. */
  readonly reordered: number
}

export const NOTHING_YET: Sequence = { next: 0, missing: [], doubled: 0, reordered: 0 }

export function arrive(sequence: Sequence, number: number): Sequence {
  const { next, missing, doubled, reordered } = sequence
  if (number >= next) {
    const skipped = Array.from({ length: number - next }, (_, index) => next + index)
    return { ...sequence, next: number + 1, missing: [...missing, ...skipped] }
  }
  if (!missing.includes(number)) return { ...sequence, doubled: doubled + 1 }
  return { ...sequence, missing: missing.filter((one) => one !== number), reordered: reordered + 1 }
}

export const hasArrived = ({ next, missing }: Sequence, number: number) => number < next && !missing.includes(number)

/** How many different ones have arrived. */
export const sizeOf = ({ next, missing }: Sequence) => next - missing.length
