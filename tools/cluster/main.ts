import { hasRedis } from '../shared/redisServer'
import { readOptions, USAGE } from './options'
import { type Outcome, type RunOptions, run } from './run'

/** How many broken rules are shown. */
const MAX_SHOWN = 20

const options = readArguments()
const startedAt = performance.now()
let shown = ''
const outcome = await run({ ...options, onProgress: showProgress })
clearProgress()
summarize(outcome)
process.exitCode = outcome.violations.length > 0 ? 1 : 0

function summarize({ violations, counts }: Outcome) {
  for (const [what, times] of Object.entries(counts).sort(([a], [b]) => a.localeCompare(b))) {
    console.log(`${times.toLocaleString('en').padStart(10)}  ${what}`)
  }
  for (const violation of violations.slice(0, MAX_SHOWN)) console.log(`  ${violation}`)
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
  console.log(`${options.clients} clients, seed ${options.seed}, ${seconds} s: ${violations.length} violations`)
}

function showProgress(step: string, share: number) {
  if (process.stdout.isTTY) {
    process.stdout.write(`\r${'█'.repeat(40 * share).padEnd(40, '░')} ${step}\x1b[K`)
    return
  }
  const tenth = share < 1 ? `${Math.floor(10 * share)}0 %` : step
  if (tenth !== shown) console.log(share < 1 ? `${tenth}: ${step}` : step)
  shown = tenth
}

function clearProgress() {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
}

function readArguments(): RunOptions {
  try {
    const options = readOptions(process.argv.slice(2))
    if (options.log !== 'memory' && !hasRedis)
      throw new Error('there is no redis-server: install one, or name it in REDIS_SERVER')
    return options
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}
