/** mulberry32: the same numbers for the same seed. */
export function seeded(seed: number) {
  let state = seed * 2_654_435_769
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return { random, draw: (below: number) => Math.floor(random() * below) }
}
