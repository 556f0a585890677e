import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { CliError } from './cliError'
import type { OwnPackage } from './ownPackage'

export const LOGS = ['memory', 'redis'] as const

export interface AppChoices {
  readonly name: string
  readonly language: 'ts' | 'js'
  /** Where the events of the sessions are kept. */
  readonly log: (typeof LOGS)[number]
}

/** The path of each file in the app, and what is in it. */
export type AppFiles = ReadonlyMap<string, string | Uint8Array>

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** The app of this package's version, from its template. */
export function appFiles(own: OwnPackage, { name, language, log }: AppChoices): AppFiles {
  const template = readTemplate(join(own.template, language))
  const variant = `variants/${log}/`
  const files = new Map([...template].filter(([path]) => !path.startsWith('variants/')))
  // The files of a variant take the place of those of the same path.
  for (const [path, content] of template) if (path.startsWith(variant)) files.set(path.slice(variant.length), content)
  const manifest: Manifest = JSON.parse(String(template.get('package.json')))
  const added = { holdline: `^${own.version}`, ...(log === 'redis' && { ioredis: own.ioredis }) }
  const dependencies = sorted({ ...manifest.dependencies, ...added })
  return files.set('package.json', `${JSON.stringify({ ...manifest, name, dependencies }, null, 2)}\n`)
}

/** The names of the packages that the app depends on. */
export function dependenciesOf(files: AppFiles): readonly string[] {
  const { dependencies, devDependencies }: Manifest = JSON.parse(String(files.get('package.json')))
  return Object.keys({ ...dependencies, ...devDependencies })
}

function readTemplate(folder: string): ReadonlyMap<string, string | Uint8Array> {
  try {
    const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    const files = paths.filter((path) => statSync(join(folder, path)).isFile())
    return new Map(files.map((path) => [appPath(path), readFileSync(join(folder, path))]))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CliError(`The template of the app cannot be read (${why}): install holdline again.`, 1)
  }
}

/** npm packs no `.gitignore`, so the template has it without its dot. */
function appPath(path: string): string {
  const portable = path.split(sep).join('/')
  return portable === 'gitignore' ? '.gitignore' : portable
}

const sorted = (record: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
