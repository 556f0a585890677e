import { builtinModules } from 'node:module'
import { CliError } from './cliError'

/** [npm] Lower case, safe in a URL, and neither a dot nor an underscore first. */
const NAME = /^[a-z\d][a-z\d._-]*$/
/** [npm] The most characters. */
const LONGEST = 214
const RESERVED = ['node_modules', 'favicon.ico']

/**
 * Throws unless npm takes the name for a new package. `dependencies` are the packages of the app: a
 * package cannot depend on one of its own name.
 */
export function checkName(name: string, dependencies: readonly string[]) {
  const fault = faultOf(name, dependencies)
  if (!fault) return
  const other = nearName(name)
  const advice = faultOf(other, dependencies) ? 'choose another one' : `call the folder ${other}`
  throw new CliError(`"${name}" cannot be the name of an app, because ${fault}: ${advice}.`, 2)
}

function faultOf(name: string, dependencies: readonly string[]): string | undefined {
  if (!NAME.test(name))
    return 'npm wants lower-case letters, digits, dots, hyphens and underscores, with a letter or digit first'
  if (name.length > LONGEST) return `npm takes at most ${LONGEST} characters`
  if (RESERVED.includes(name)) return 'npm reserves it'
  if (builtinModules.includes(name)) return 'it is a module of Node'
  if (dependencies.includes(name)) return 'it is a package that the app depends on'
  return undefined
}

/** The part of it that is in npm's alphabet; with a word more, where that changes nothing. */
function nearName(name: string): string {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase()
  const near = plain.replace(/[^a-z\d._-]+/g, '-').replace(/^[^a-z\d]+|-+$/g, '')
  return near === name ? `${name}-app` : near
}
