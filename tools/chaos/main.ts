import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startPython } from '../shared/pythonServer'
import { findForeign } from './foreign'
import { type Outcome, type RunOptions, run } from './run'

const USAGE = `npm run chaos -- [--seeds 100 | --seed 7] [--sends 2000] [--events 10000] [--server python]
npm run chaos -- tabs [--kills 20] [--seconds 300] [--worker] [--seed 1] [--sends 2000] [--events 10000]

--seeds   runs the seeds 1 to this one
--seed    runs this one, and prints what was done to the line
--server  in the place of the server half: python is examples/servers/python, and a base URL such as
          http://127.0.0.1:3000/api/chat is a server that takes 'Authorization: Bearer <any name>' for
          a user, makes an event with the prompt of each {"type":"send","sessionId","prompt"}, refuses a
          prompt that is no text, and has a heartbeat of 500 ms at most. No more is asked of it than it
          announces. --sends is 500 and --events 500 by default, the number of others' messages.
Each seed has two runs: against a server with idempotency, and against one without.
tabs      kills eight tabs of a real Chromium that share a line; with --worker a shared worker leads them`
/** How many broken rules of one run are shown. */
const MAX_SHOWN = 10
/** The client's clock is faster than that of the server, s. */
const PYTHON_HEARTBEAT = 0.25

if (process.argv[2] === 'tabs') {
  const { mainOfTabs } = await import('./tabs/main')
  process.exit(await mainOfTabs(process.argv.slice(3)).catch(explainUsage))
}
const { seeds, seed, sends, events, server } = readArguments()
const python = server === 'python' ? await startPython({ heartbeat: PYTHON_HEARTBEAT }) : undefined
const foreign = server === undefined ? undefined : await findForeign(python?.url ?? server)
const isVerbose = seed !== undefined
const modes = foreign && !foreign.features.includes('idempotency') ? [false] : [true, false]
const runs: RunOptions[] = (isVerbose ? [seed] : Array.from({ length: seeds }, (_, index) => index + 1)).flatMap(
  (seed) => modes.map((idempotency) => ({ seed, idempotency, sends, events, foreign })),
)
const total = runs.length
const startedAt = performance.now()
const faults: Record<string, number> = {}
let done = 0
let failed = 0

if (isVerbose) for (const options of runs) report(options, await run({ ...options, log: console.log }))
else await Promise.all(Array.from({ length: availableParallelism() }, work))
summarize()
await python?.stop()
if (python?.complaint) explainPython(python.complaint)
process.exitCode = failed ? 1 : 0

/** Takes one run after the other, in a process of its own. */
async function work() {
  let worker: ChildProcess | undefined
  for (let options = runs.shift(); options; options = runs.shift()) {
    worker ??= fork(fileURLToPath(new URL('worker.ts', import.meta.url)))
    report(options, await ask(worker, options))
    if (!worker.connected) worker = undefined
  }
  worker?.kill()
}

function ask(worker: ChildProcess, options: RunOptions) {
  return new Promise<Outcome>((resolve) => {
    worker.removeAllListeners()
    worker.once('message', resolve)
    worker.once('exit', (code, signal) => resolve({ violations: [`the process ended: ${signal ?? code}`], faults: {} }))
    worker.send(options)
  })
}

function report({ seed, idempotency }: RunOptions, { violations, faults: injected }: Outcome) {
  done++
  for (const [fault, times] of Object.entries(injected)) faults[fault] = (faults[fault] ?? 0) + times
  if (violations.length) explain(seed, idempotency, violations)
  if (!isVerbose) showProgress()
}

function explain(seed: number, idempotency: boolean, violations: readonly string[]) {
  failed++
  clearProgress()
  console.log(`seed ${seed}, a server ${idempotency ? 'with' : 'without'} idempotency: ${violations.length} violations`)
  for (const violation of violations.slice(0, MAX_SHOWN)) console.log(`  ${violation}`)
  console.log(
    `  again: npm run chaos -- --seed ${seed} --sends ${sends} --events ${events}${server ? ` --server ${server}` : ''}`,
  )
}

function explainPython(complaint: string) {
  failed++
  console.log(`the server in Python complains:\n${complaint}`)
}

function showProgress() {
  const progress = `${done} of ${total} runs, ${failed} failed`
  if (process.stdout.isTTY) {
    process.stdout.write(`\r${'█'.repeat((40 * done) / total).padEnd(40, '░')} ${progress}`)
  } else if (done % Math.ceil(total / 10) === 0) console.log(progress)
}

function clearProgress() {
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[2K')
}

function summarize() {
  clearProgress()
  for (const [fault, times] of Object.entries(faults).sort(([a], [b]) => a.localeCompare(b))) {
    console.log(`${String(times).padStart(8)}  ${fault}`)
  }
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
  console.log(`${done} runs of ${sends} messages and ${events} events in ${seconds} s, ${failed} failed`)
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        seeds: { type: 'string', default: '100' },
        seed: { type: 'string' },
        sends: { type: 'string' },
        events: { type: 'string' },
        server: { type: 'string' },
      },
    })
    const { server, sends = server ? '500' : '2000', events = server ? '500' : '10000' } = values
    return {
      server,
      seeds: toNumber(values.seeds),
      seed: values.seed === undefined ? undefined : toNumber(values.seed),
      sends: toNumber(sends),
      events: toNumber(events),
    }
  } catch (error) {
    return process.exit(explainUsage(error))
  }
}

function explainUsage(error: unknown) {
  console.error(`${(error as Error).message}\n\n${USAGE}`)
  return 2
}

function toNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text)
  throw new Error(`'${text}' is no whole number`)
}
