import { Stryker } from '@stryker-mutator/core'
import { config, fileOf, filesOf, isSurvivor, KeptResults, type Pass, placeOf, type Result } from './keptResults'

// Changes the code in every way that Stryker knows, room by room, and runs the room's own tests on
// each change. What they let pass is tried once more with all tests that vitest.mutation.config.ts
// allows. A change that ends in no time counts as detected: run it on a machine that is quiet. `npm
// run mutate -- outbox inbox` takes these rooms only.

/** The tests of a room: below `src/__tests__`, without `.test.ts`. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  machine: ['machine/*', 'connection/connection', 'connection/regressions'],
  outbox: [
    'outbox/*',
    'connection/delivery',
    'connection/lateFailures',
    'connection/regressions',
    'connection/longRuns',
  ],
  inbox: [
    'inbox/*',
    'storage/*',
    'connection/watch',
    'connection/suspend',
    'connection/longRuns',
    'connection/regressions',
  ],
  protocol: ['protocol/*', 'outbox/*', 'inbox/*'],
  adapters: ['adapters/*', 'connection/suspend'],
  storage: ['storage/*'],
}

/** A run that is stopped loses the results of so many files. */
const FILES_AT_ONCE = 6

interface Tally {
  readonly detected: number
  readonly survivors: readonly string[]
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((room) => !(room in ROOMS))
if (unknown.length) {
  console.error(`no such room: ${unknown.join(', ')}. There are: ${Object.keys(ROOMS).join(', ')}`)
  process.exit(2)
}

const tallies: (readonly [room: string, tally: Tally])[] = []
for (const [room, tests] of Object.entries(ROOMS)) {
  if (wanted.length && !wanted.includes(room)) continue
  const tally = await mutateRoom(room, tests)
  tallies.push([room, tally])
  console.log(`\n${describe(room, tally)}`)
  for (const survivor of tally.survivors) console.log(`  ${survivor}`)
}
console.log(`\n${tallies.map(([room, tally]) => describe(room, tally)).join('\n')}`)
process.exitCode = tallies.every(([, tally]) => share(tally) >= 0.95) ? 0 : 1

async function mutateRoom(room: string, tests: readonly string[]): Promise<Tally> {
  const kept = new KeptResults(room)
  const changed = filesOf(room).filter((file) => kept.isOld(file))
  for (let at = 0; at < changed.length; at += FILES_AT_ONCE) {
    const files = changed.slice(at, at + FILES_AT_ONCE)
    kept.record(files, await mutate(files, tests.join(',')))
  }
  const isKeptSurvivor = (result: Result) => !changed.includes(fileOf(result))
  await mutateAgain(kept, 'own', tests.join(','), isKeptSurvivor)
  await mutateAgain(kept, 'all', '')
  const survivors = kept.results.filter(isSurvivor)
  return { detected: kept.results.length - survivors.length, survivors: survivors.map(toLine) }
}

/** Tries the survivors that have not met these tests yet. */
async function mutateAgain(kept: KeptResults, pass: Pass, tests: string, isWanted = (_: Result) => true) {
  // A block holds most other mutants: apart, so that few of those that are detected run again.
  const isBlock = ({ mutatorName }: Result) => mutatorName === 'BlockStatement'
  const untried = kept.untried(pass).filter(isWanted)
  for (const tried of [untried.filter(isBlock), untried.filter((result) => !isBlock(result))]) {
    if (!tried.length) continue
    const mutators = new Set(kept.results.map(({ mutatorName }) => mutatorName))
    const others = [...mutators].filter((name) => tried.every(({ mutatorName }) => mutatorName !== name))
    kept.recordAgain(pass, tried, await mutate(tried.map(placeOf), tests, others))
  }
}

/** An invalid or ignored mutant counts for nothing. */
async function mutate(
  mutated: readonly string[],
  tests: string,
  excludedMutations: string[] = [],
): Promise<readonly Result[]> {
  process.env.MUTATION_TESTS = tests
  const results = await new Stryker({
    ...config,
    mutate: [...mutated],
    mutator: { excludedMutations },
    reporters: ['progress-append-only'],
  }).runMutationTest()
  return results.filter(({ status }) => status !== 'CompileError' && status !== 'RuntimeError' && status !== 'Ignored')
}

function toLine(result: Result): string {
  const replacement = (result.replacement ?? '').split('\n').join(' ').slice(0, 100)
  return `${placeOf(result)} ${result.status} ${result.mutatorName}: ${replacement}`
}

function share({ detected, survivors }: Tally): number {
  return detected / Math.max(1, detected + survivors.length)
}

function describe(room: string, tally: Tally): string {
  const percent = (100 * share(tally)).toFixed(1)
  return `${room}: ${tally.detected} of ${tally.detected + tally.survivors.length} detected (${percent} %)`
}
