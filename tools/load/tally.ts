export interface Faults {
  readonly lost: number
  readonly doubled: number
  readonly disordered: number
}

/**
 * Counts what one client hears of one session. The events carry numbers of the load's own, from 1:
 * those of the library are what is on trial.
 */
export function createTally() {
  const skipped = new Set<number>()
  let last = 0
  let doubled = 0
  let disordered = 0
  return {
    take(n: number) {
      if (n > last) {
        for (let number = last + 1; number < n; number += 1) skipped.add(number)
        last = n
      } else if (skipped.delete(n)) disordered += 1
      else doubled += 1
    },
    /** Of the events 1 to `sent`. */
    judge: (sent: number): Faults => ({ lost: skipped.size + Math.max(0, sent - last), doubled, disordered }),
  }
}
