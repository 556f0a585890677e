import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Stryker } from '@stryker-mutator/core'

// Changes the code in every way that Stryker knows, room by room, and runs the room's own tests on
// each change. What they let pass is tried once more with all tests that stryker.config.json
// allows. `npm run mutate -- outbox inbox` takes these rooms only.

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
  inbox: ['inbox/*', 'connection/watch', 'connection/suspend', 'connection/longRuns', 'connection/regressions'],
  protocol: ['protocol/*', 'outbox/*', 'inbox/*'],
  adapters: ['adapters/*', 'connection/suspend'],
  storage: ['storage/*'],
}

interface Tally {
  readonly detected: number
  readonly survivors: readonly string[]
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const config = JSON.parse(readFileSync(join(ROOT, 'stryker.config.json'), 'utf8'))
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
  const globs = config.mutate
    .filter((glob: string) => glob.includes(room))
    .map((glob: string) => glob.replace(/\{[^}]*\}/, room === 'adapters' ? '{adapters,adapters/websocket}' : room))
  const first = await kept(`${room}.json`, digest([`src/${room}`]), () => mutate(globs, tests.join(',')))
  const passed = first.filter(isSurvivor)
  const left: Result[] = []
  const everything = digest(['src'])
  for (const mutator of new Set(passed.map(({ mutatorName }) => mutatorName))) {
    const ofIt = passed.filter(({ mutatorName }) => mutatorName === mutator)
    const others = [...new Set(first.map(({ mutatorName }) => mutatorName))].filter((name) => name !== mutator)
    const second = await kept(`${room}.${mutator}.json`, everything, () => mutate(ofIt.map(placeOf), '', others))
    const places = new Set(ofIt.map(identityOf))
    left.push(...second.filter((result) => isSurvivor(result) && places.has(identityOf(result))))
  }
  return { detected: first.length - left.length, survivors: left.map(toLine) }
}

type Result = Awaited<ReturnType<Stryker['runMutationTest']>>[number]

/**
 * A run that was stopped goes on with the pass at which it was. The first pass over a room is made
 * again if its code changes: more tests detect no less. Delete `reports/mutation` to begin anew.
 */
async function kept(name: string, key: string, run: () => Promise<readonly Result[]>): Promise<readonly Result[]> {
  const path = join(ROOT, 'reports/mutation', name)
  if (existsSync(path)) {
    const { key: ofThen, results } = JSON.parse(readFileSync(path, 'utf8'))
    if (ofThen === key) return results
  }
  const results = await run()
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, JSON.stringify({ key, results }))
  return results
}

function digest(folders: readonly string[]): string {
  const hash = createHash('sha256')
  for (const folder of folders) {
    const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).sort()
    for (const name of names) if (name.endsWith('.ts')) hash.update(name).update(readFileSync(join(ROOT, folder, name)))
  }
  return hash.digest('hex')
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

function isSurvivor({ status }: Result): boolean {
  return status === 'Survived' || status === 'NoCoverage'
}

function fileOf({ fileName }: Result): string {
  return fileName.replace(/^.*?(?=src\/)/, '')
}

/** As Stryker takes it: lines from 1, columns from 0. Its results count both from 0. */
function placeOf(result: Result): string {
  const { start, end } = result.location
  return `${fileOf(result)}:${start.line + 1}:${start.column}-${end.line + 1}:${end.column}`
}

function identityOf(result: Result): string {
  return `${placeOf(result)} ${result.mutatorName} ${result.replacement}`
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
