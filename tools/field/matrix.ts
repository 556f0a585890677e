import { fileURLToPath } from 'node:url'
import { createVitest } from 'vitest/node'
import type { Place } from './place'
import type { SuiteResult } from './results'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HEAD = ['suite', 'host', 'on', 'proxy', 'transports', 'client', 'passed']

/** The places of all suites that exist, in the order of their files. Runs none of them. */
export async function collectPlaces(): Promise<readonly Place[]> {
  const config = `${ROOT}vitest.field.config.ts`
  const vitest = await createVitest('test', { root: ROOT, config, watch: false, reporters: [] })
  try {
    const { testModules } = await vitest.collect()
    const modules = [...testModules].sort((one, other) => one.moduleId.localeCompare(other.moduleId))
    const metas = modules.flatMap((module) => [...module.children.allSuites()].map((suite) => suite.meta()))
    const places = metas.flatMap(({ place }) => place ?? [])
    return [...new Map(places.map((place) => [place.suite, place])).values()]
  } finally {
    await vitest.close()
  }
}

/** A row without its last cell. */
export const rowOf = ({ suite, host, runtime, proxy = '', transports, client }: Place): string =>
  `| ${[suite, host, runtime, proxy, transports.join(', '), client].join(' | ')} |`

/** One row for each place, and what came of it in its last run. */
export function formatMatrix(places: readonly Place[], results: readonly SuiteResult[]): string {
  const passedIn = (suite: string) => {
    const found = results.find((result) => result.suite === suite)
    return found ? `${found.passed}/${found.run}` : 'not run'
  }
  const lines = [`| ${HEAD.join(' | ')} |`, `|${' --- |'.repeat(HEAD.length)}`]
  return [...lines, ...places.map((place) => `${rowOf(place)} ${passedIn(place.suite)} |`)].join('\n')
}

/** The rows of a document, each without its last cell. */
export const rowsIn = (table: string): readonly string[] =>
  table
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
    .map((line) => line.replace(/ [^|]+ \|$/, ''))
