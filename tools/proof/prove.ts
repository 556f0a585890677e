import { spawn } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { copyProject } from './_copy'
import { plantIn } from './load'
import { PLANTED } from './planted'
import type { PlantedBug } from './plantedBug'

// Plants one bug after the other in a copy of the project, and shows which test, and which
// exploration, catches it. One that survives is a missing test. `npm run prove -- C07 I3` plants
// only those of these rows; `--tests` explores nothing, and `--exploration` does nothing else: what
// it lets pass (a survivor to it) is for the tests to catch.

/** Tests of these take long, or are about the planted bugs themselves. */
const SLOW =
  /(^|\/)(planted|explore|walk|chaos|cluster|contract|soak|load|http|integration|serverOverHttp|readme|docs|failures)\.test\.ts$/
/**
 * After the tests that name the row: first what is fast; then what speaks HTTP, and the model walk.
 */
const STAGES: readonly (readonly string[])[] = [
  [
    '--exclude=**/{planted,explore,walk,chaos,http,integration,serverOverHttp,readme,docs,example*}.test.ts',
    'src/__tests__',
  ],
  ['testing/walk', 'tools/chaos', 'wire/http', 'wire/integration', 'wire/serverOverHttp'].map(
    (name) => `src/__tests__/${name}.test.ts`,
  ),
]
const EXPLORATION = ['--config', 'vitest.field.config.ts', 'tools/field/explore.test.ts']
const EXPLORATION_OF_TABS = ['--testNamePattern=whatever happens', 'src/__tests__/tabs/explore.test.ts']
/** A bug may well be an endless loop, ms. */
const PATIENCE = 240_000

interface Catch {
  readonly test: string
  readonly message: string
}

const args = process.argv.slice(2)
const rows = args.filter((argument) => !argument.startsWith('--'))
const bugs = PLANTED.filter(({ row }) => rows.length === 0 || rows.some((wanted) => row.split(' ').includes(wanted)))
const explores = !args.includes('--tests')
const tests = !args.includes('--exploration')

const { path, remove } = await copyProject()
let survivors = 0
let seenByOracle = 0
try {
  for (const [index, planted] of bugs.entries()) {
    const restore = await plant(planted)
    const named = await testsNaming(planted.row)
    const byTest = tests ? await catchWith(named.length ? [named, ...STAGES] : STAGES) : undefined
    const exploration = planted.row === 'tabs' ? EXPLORATION_OF_TABS : EXPLORATION
    const byExploration = explores ? await catchWith([exploration]) : undefined
    await restore()
    if (!byTest && !byExploration) survivors++
    if (byExploration) seenByOracle++
    console.log(`${String(index + 1).padStart(2)}/${bugs.length}  ${planted.row}: ${planted.bug}`)
    if (tests) console.log(`       test         ${byTest ? byTest.test : 'SURVIVED'}`)
    if (explores) console.log(`       exploration  ${byExploration ? byExploration.message : '–'}`)
  }
} finally {
  await remove()
}
console.log(
  `\n${bugs.length} planted, ${bugs.length - survivors} caught${explores ? `, ${seenByOracle} of them by exploration too` : ''}`,
)
process.exitCode = survivors > 0 ? 1 : 0

async function plant(planted: PlantedBug): Promise<() => Promise<void>> {
  const target = join(path, planted.file)
  const text = await readFile(target, 'utf8')
  await writeFile(target, plantIn(text, planted))
  return () => writeFile(target, text)
}

async function catchWith(stages: readonly (readonly string[])[]): Promise<Catch | undefined> {
  for (const stage of stages) {
    const caught = await firstFailure(stage)
    if (caught) return caught
  }
  return undefined
}

/**
 * The test files that name one of the bug's rows: most bugs are caught by one of them, in seconds.
 */
async function testsNaming(row: string): Promise<readonly string[]> {
  const names = new RegExp(`\\b(${row.split(' ').join('|')})\\b`)
  const all = await readdir(join(path, 'src/__tests__'), { recursive: true })
  const files = all
    .filter((file) => file.endsWith('.test.ts') && !SLOW.test(file))
    .map((file) => `src/__tests__/${file}`)
  const texts = await Promise.all(files.map((file) => readFile(join(path, file), 'utf8')))
  return files.filter((_, index) => names.test(texts[index] ?? ''))
}

async function firstFailure(filters: readonly string[]): Promise<Catch | undefined> {
  const output = join(path, 'result.json')
  await writeFile(output, '')
  const child = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--bail=1', '--reporter=json', `--outputFile=${output}`, ...filters],
    { cwd: path, stdio: 'ignore', detached: true, env: { ...process.env, CI: '' } },
  )
  const timer = setTimeout(() => process.kill(-(child.pid as number), 'SIGKILL'), PATIENCE)
  await new Promise((resolve) => child.once('exit', resolve))
  clearTimeout(timer)
  const text = await readFile(output, 'utf8')
  // Killed before it could tell: the bug is an endless loop.
  if (!text) return { test: `${filters.at(-1)} never ended`, message: 'never ended' }
  const { testResults, success } = JSON.parse(text) as Report
  // A run without a test fails as well, whatever is planted.
  if (testResults.length === 0) throw new Error(`there is no test in ${filters.join(' ')}`)
  for (const { name, assertionResults, message } of testResults) {
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status === 'failed') return { test: fullName, message: firstLine(failureMessages[0]) }
    }
    if (message) return { test: `${name.slice(path.length + 1)} does not load`, message: firstLine(message) }
  }
  return success ? undefined : { test: 'the run ended with errors', message: 'the run ended with errors' }
}

function firstLine(text = ''): string {
  return (
    text
      .split('\n')[0]
      ?.replace(/^\w*Error: /, '')
      .slice(0, 160) ?? ''
  )
}

interface Report {
  readonly success: boolean
  readonly testResults: readonly {
    readonly name: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}
