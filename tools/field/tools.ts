import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { warnLoudly } from '../shared/warnLoudly'
import type { Place } from './place'

const OWN = fileURLToPath(new URL('./node_modules/.bin/', import.meta.url))
const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/**
 * The path of a command: one of this folder's packages, else one of the machine's. `NGINX_PATH` and
 * the like name another.
 */
export function findTool(name: string): string | undefined {
  const named = process.env[`${name.toUpperCase().replace(/\W/g, '_')}_PATH`]
  const folders = [OWN, ...(process.env.PATH ?? '').split(delimiter), ...SBIN]
  return [named, ...folders.map((folder) => join(folder, name))].find((path) => path && existsSync(path))
}

/** The path of a package that only the field tests need. */
export function findPackage(name: string): string | undefined {
  const path = fileURLToPath(new URL(`./node_modules/${name}`, import.meta.url))
  return existsSync(path) ? path : undefined
}

/**
 * Without the tool its tests are skipped, loudly; on CI that is a failure. A suite that has a place
 * is a row of docs/runtimes.md.
 */
export function describeWith(
  given: string | Place,
  tools: Readonly<Record<string, string | undefined>>,
  tests: () => void,
) {
  const [what, options] = typeof given === 'string' ? [given, {}] : [given.suite, { meta: { place: given } }]
  const missing = Object.keys(tools).filter((name) => !tools[name])
  if (!missing.length) return describe(what, options, tests)
  const lines = [
    `SKIPPED, because ${missing.join(', ')} cannot be found: ${what}`,
    '',
    `Install it with apt-get or npm, or say where it is, e.g. NGINX_PATH=/path/to/nginx npm run test:field`,
  ]
  warnLoudly(lines)
  describe.skip(what, options, tests)
  test.runIf(process.env.CI)(`on CI there is ${missing.join(', ')}`, () => expect.unreachable(lines.join('\n')))
}
