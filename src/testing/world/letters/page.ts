import { type Alphabet, command, isActive } from '../letter'

const HOUR = 3_600_000

export const PAGE: Alphabet = {
  'page sleeps for an hour': command(async ({ harness: { page, time } }) => {
    page.hides()
    time.jumps(HOUR)
    page.shows()
    // The timers that are due by now.
    await time.passes(0)
  }, isActive),
  'page hides': command(
    (world) => world.hides(),
    (world) => isActive(world) && world.isVisible(),
  ),
  'page shows': command(
    ({ harness: { page } }) => page.shows(),
    (world) => !world.isVisible(),
  ),
  'navigation that stays': command(({ harness: { page } }) => page.stays(), isActive),
  'page comes back from the cache': command(({ harness: { page } }) => {
    page.leaves()
    page.returns()
  }, isActive),
}
