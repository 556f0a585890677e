import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { FEATURES, type Feature } from '../../src/protocol'
import { createExpand, type Edge } from '../../src/testing/explore/expand'
import { explore } from '../../src/testing/explore/explore'
import type { ReplayOptions } from '../../src/testing/explore/replay'
import { count, createReporter } from './reporter'
import { exploreTabs, workOnTabs } from './tabs/main'
import { bundle, createPool, WORKER, work } from './workers'

const USAGE = `npm run explore -- --depth N [--features none|all|mix|detaching|name,name] [--edges N] [--workers N]
npm run explore -- tabs --help

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
  const chosen = features === undefined ? Object.keys(SETS) : [features]
  let total = 0
  for (const [index, name] of chosen.entries()) {
    const options = SETS[name] ?? { features: name.split(',') as Feature[] }
    const pool = createPool<readonly string[], readonly Edge[]>(Number(workers), [JSON.stringify(options)])
    const reporter = createReporter(name.padEnd(4))
    const { violations, states, edges, rate, depth } = await explore({
      ...options,
      // A letter more is six times as many edges.
      depth: Number(values.depth) - Math.min(index, 1),
      maxEdges: Number(values.edges),
      expand: pool.perform,
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

const [mode, ...args] = process.argv.slice(2)
if (mode === WORKER) {
  if (args[0] === 'tabs') workOnTabs(String(args[1]))
  else work(createExpand(JSON.parse(String(args[0]))))
} else {
  await bundle(import.meta.url)
  if (mode === 'tabs') await exploreTabs(args)
  else await main()
}
