import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { FEATURES, type Feature } from '../../src/protocol'
import { createExpand, type Edge, type Expand } from '../../src/testing/explore/expand'
import { explore, type Progress } from '../../src/testing/explore/explore'
import type { ReplayOptions } from '../../src/testing/explore/replay'

const USAGE = `npm run explore -- --depth N [--features none|all|mix|detaching|name,name] [--edges N] [--workers N]

  --depth     how many letters a sequence has at most (7)
  --features  what the server announces; without it, all, and then none, mix and detaching with one letter less
  --edges     stop after so many edges
  --workers   processes (one per core)`

/**
 * Servers, the one that can do most first. A heartbeat makes a dead stream known, and takes time to
 * explore.
 */
const SETS: Readonly<Record<string, ReplayOptions>> = {
  all: { features: FEATURES, heartbeat: 20_000 },
  none: { features: [] },
  mix: { features: ['contiguous-seq', 'receipts', 'idempotency'] },
  detaching: { features: FEATURES.filter((feature) => feature !== 'suspend-keeps'), heartbeat: 20_000 },
}

type Task = { readonly id: number; readonly path: readonly string[] }
type Done = { readonly id: number; readonly edges?: readonly Edge[]; readonly error?: string }

const WORKER = '--worker'
/**
 * What is explored is what the sources say now, even if they are edited meanwhile; and the bundle
 * is a third faster than tsx.
 */
const BUNDLE = fileURLToPath(new URL('../../node_modules/.cache/holdline-explore.mjs', import.meta.url))

/** How many nodes a worker is given at a time, so that it never waits for the next one. */
const AHEAD = 8

/** Works out what is asked for, one node after the other. */
function work(options: ReplayOptions) {
  const expand = createExpand(options)
  let last: Promise<unknown> = Promise.resolve()
  process.on('message', ({ id, path }: Task) => {
    last = last.then(async () => {
      const done: Done = await expand(path).then(
        (edges) => ({ id, edges }),
        (error) => ({ id, error: `${error} after ${JSON.stringify(path)}` }),
      )
      process.send?.(done)
    })
  })
}

function createPool(count: number, options: ReplayOptions) {
  const waiting = new Map<number, (done: Done) => void>()
  let lastId = 0
  const workers = Array.from({ length: count }, () => {
    // Worlds are many and short-lived: a larger nursery halves what the garbage collector takes.
    const worker = fork(BUNDLE, [WORKER, JSON.stringify(options)], { execArgv: ['--max-semi-space-size=64'] })
    worker.on('message', (done: Done) => waiting.get(done.id)?.(done))
    return { worker, tasks: 0 }
  })
  const expand: Expand = (path) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      const chosen = workers.reduce((least, other) => (other.tasks < least.tasks ? other : least))
      chosen.tasks++
      waiting.set(id, ({ edges, error }) => {
        chosen.tasks--
        waiting.delete(id)
        if (edges) resolve(edges)
        else reject(new Error(error))
      })
      chosen.worker.send({ id, path } satisfies Task)
    })
  return {
    expand,
    lanes: count * AHEAD,
    end() {
      for (const { worker } of workers) worker.disconnect()
    },
  }
}

const count = (value: number) => value.toLocaleString('en')

/** A bar on a terminal, else a line now and then. */
function createReporter(name: string) {
  const { isTTY } = process.stdout
  let last = 0
  const line = ({ depth, done, of, states, edges, rate }: Progress) => {
    const filled = Math.round((20 * done) / of)
    const bar = '█'.repeat(filled) + '░'.repeat(20 - filled)
    return `${name} depth ${depth + 1} ${bar} ${count(states)} states, ${count(edges)} edges, ${count(rate)}/s`
  }
  return {
    onProgress(progress: Progress) {
      if (isTTY) process.stdout.write(`\r\x1b[K${line(progress)}`)
      else if (performance.now() - last > 10_000) {
        last = performance.now()
        console.log(line(progress))
      }
    },
    end() {
      if (isTTY) process.stdout.write('\r\x1b[K')
    },
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      depth: { type: 'string', default: '7' },
      features: { type: 'string' },
      edges: { type: 'string', default: 'Infinity' },
      workers: { type: 'string', default: String(availableParallelism()) },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return console.log(USAGE)
  const { features, workers } = values
  const { build } = await import('esbuild')
  await build({
    entryPoints: [fileURLToPath(import.meta.url)],
    outfile: BUNDLE,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  })

  const chosen = features === undefined ? Object.keys(SETS) : [features]
  let total = 0
  for (const [index, name] of chosen.entries()) {
    const options = SETS[name] ?? { features: name.split(',') as Feature[] }
    const pool = createPool(Number(workers), options)
    const reporter = createReporter(name.padEnd(4))
    const { violations, states, edges, rate, depth } = await explore({
      ...options,
      // A letter more is six times as many edges.
      depth: Number(values.depth) - Math.min(index, 1),
      maxEdges: Number(values.edges),
      expand: pool.expand,
      lanes: pool.lanes,
      onProgress: reporter.onProgress,
    })
    pool.end()
    reporter.end()
    console.log(
      `${name.padEnd(4)} depth ${depth}: ${count(states)} states, ${count(edges)} edges, ${count(rate)}/s, ${violations.length} violations`,
    )
    for (const { test } of violations) console.log(`\n${test}`)
    total += edges
    if (violations.length) process.exitCode = 1
  }
  console.log(`${count(total)} edges in all`)
}

const [mode, options] = process.argv.slice(2)
if (mode === WORKER) work(JSON.parse(String(options)))
else await main()
