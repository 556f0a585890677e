import { seededRandom } from '../../src/testing/harness/random'

export type Random = () => number
export type Dice = ReturnType<typeof createDice>

/**
 * What is drawn depends on the seed and on what it is drawn for, and not on when: so timing shifts
 * nothing.
 */
export function createDice(seed: number) {
  const draw = (...purpose: unknown[]): Random => seededRandom(hash([seed, ...purpose].join(' ')))
  return {
    draw,
    chance: (probability: number, ...purpose: unknown[]) => draw(...purpose)() < probability,
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let hashed = 2_166_136_261
  for (const character of text) hashed = Math.imul(hashed ^ (character.codePointAt(0) ?? 0), 16_777_619)
  return hashed
}

export const oneOf = <T>(random: Random, values: readonly T[]) => values[Math.floor(random() * values.length)] as T

/** By how many of 1,000 draws each of them is to come up. */
export type Weights<Name extends string> = Readonly<Record<Name, number>>

export function pick<Name extends string>(weights: Weights<Name>, random: Random): Name | undefined {
  let left = 1_000 * random()
  for (const name in weights) {
    left -= weights[name]
    if (left < 0) return name
  }
  return undefined
}

/** Tells each time how often it was asked about the same thing. */
export function createCounter() {
  const counts = new Map<unknown, number>()
  return (thing: unknown) => {
    const count = (counts.get(thing) ?? 0) + 1
    counts.set(thing, count)
    return count
  }
}
