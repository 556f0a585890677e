import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import type { Edge } from '../../../src/testing/explore/expand'
import { type Finding, isSame } from '../../../src/testing/explore/finding'
import { hash } from '../../../src/testing/explore/fingerprint'
import { search } from '../../../src/testing/explore/search'
import { count, createReporter } from '../reporter'
import { createPool, work } from '../workers'
import { createTabsExpand, faultsAfter, replayTabs } from './expand'
import { fingerprint } from './fingerprint'
import { rootOf, SETS } from './sets'
import { createWalk, type Walk } from './walk'

const USAGE = `npm run explore -- tabs [--set ${Object.keys(SETS).join('|')}] [--depth N] [--walks N] [--length N] [--seed N] [--workers N]
npm run explore -- tabs --set NAME --path "a opens, b opens, a crashes"

  --set      which browser; without it, all of them
  --depth    how many letters follow the opening of the tabs (2)
  --walks    how many walks go further (1300)
  --length   how many letters a walk has (15)
  --seed     of the first walk (1)
  --workers  processes (one per core)
  --path     shows one sequence again, and the calm after it`

const LENGTH = 15

interface Plan {
  readonly set: string
  readonly depth: number
  readonly walks: number
  readonly length: number
  readonly seed: number
  readonly workers: number
}

/** A task is a path to expand, or the seed of a walk. */
type Task = readonly string[] | number
type Result = readonly Edge[] | Walk

/** In a worker. */
export function workOnTabs(json: string) {
  const { set, length }: Plan = JSON.parse(json)
  const options = optionsOf(set)
  const expand = createTabsExpand(options, set)
  const walk = createWalk(options, set, length)
  work<Task, Result>((task) => (typeof task === 'number' ? walk(task) : expand(task)))
}

export async function exploreTabs(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      set: { type: 'string' },
      depth: { type: 'string', default: '2' },
      walks: { type: 'string', default: '1300' },
      length: { type: 'string', default: String(LENGTH) },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(availableParallelism()) },
      path: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return console.log(USAGE)
  const { set, path, depth, walks, length, seed, workers } = values
  if (path !== undefined) return show(set ?? 'two', path)
  let total = 0
  for (const name of set === undefined ? Object.keys(SETS) : [set]) {
    total += await run({
      set: name,
      depth: Number(depth),
      walks: Number(walks),
      length: Number(length),
      seed: Number(seed),
      workers: Number(workers),
    })
  }
  console.log(`${count(total)} edges in all`)
}

async function run(plan: Plan): Promise<number> {
  const { set, depth, workers } = plan
  const options = optionsOf(set)
  const path = rootOf(options)
  const root = { path, state: hash(fingerprint(await replayTabs(path, options))) }
  const pool = createPool<Task, Result>(workers, ['tabs', JSON.stringify(plan)])
  const name = set.padEnd(9)
  const reporter = createReporter(name)
  const searched = await search(root, (path) => pool.perform(path) as Promise<readonly Edge[]>, {
    depth,
    lanes: pool.lanes,
    onProgress: reporter.onProgress,
  })
  reporter.end()
  const { states, edges, violations } = searched
  console.log(
    `${name} depth ${searched.depth}: ${count(states)} states, ${count(edges)} edges, ${violations.length} violations`,
  )
  const walked = await walkAll(plan, (seed) => pool.perform(seed) as Promise<Walk>, pool.lanes)
  pool.end()
  console.log(
    `${name} ${count(plan.walks)} walks: ${count(walked.edges)} edges, ${walked.violations.length} violations`,
  )
  for (const { invariant, test } of [...violations, ...walked.violations]) console.log(`\n${invariant}: ${test}`)
  if (violations.length + walked.violations.length) process.exitCode = 1
  return edges + walked.edges
}

async function walkAll({ walks, seed: first }: Plan, walk: (seed: number) => Promise<Walk>, lanes: number) {
  const edges = new Set<number>()
  const violations: Finding[] = []
  let seed = first
  const lane = async () => {
    while (seed < first + walks) {
      const done = await walk(seed++)
      for (const edge of done.edges) edges.add(edge)
      violations.push(...done.findings.filter((finding) => !violations.some((known) => isSame(known, finding))))
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return { edges: edges.size, violations }
}

async function show(set: string, path: string) {
  const letters = path.split(',').map((letter) => letter.trim())
  const options = optionsOf(set)
  const browser = await replayTabs(letters, options)
  for (const { name, role, rest, connection, had, errors } of browser.present)
    console.log(`${name} ${rest} ${role} ${connection.phase} had ${JSON.stringify([...had])} ${errors}`)
  const faults = await faultsAfter(letters, options)
  for (const { invariant, message } of faults) console.log(`${invariant}: ${message}`)
  if (faults.length) process.exitCode = 1
  else console.log('no promise is broken')
}

function optionsOf(set: string) {
  const options = SETS[set]
  if (!options) throw new Error(`there is no set ${set}: ${Object.keys(SETS)}`)
  return options
}
