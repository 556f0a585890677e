import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { AppFiles } from './appFiles'
import { CliError } from './cliError'

/** Throws unless the folder is new or empty. A fresh repository counts as empty. */
export function checkFolder(folder: string) {
  const [first, ...others] = entriesOf(folder).filter((name) => name !== '.git')
  if (first === undefined) return
  const seen = others.length ? `${first} and ${others.length} more` : first
  throw new CliError(`${folder} is not empty (it has ${seen}): name a new folder, or an empty one.`, 2)
}

function entriesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    if (code === 'ENOTDIR') throw new CliError(`${folder} is a file, or below one: name a new folder.`, 2)
    throw new CliError(`${folder} cannot be read (${message}): name another folder.`, 1)
  }
}

/** All files, or none: what was made before a failure is removed, and nothing else is. */
export function writeApp(folder: string, files: AppFiles) {
  const made: string[] = []
  try {
    makeFolder(folder, made)
    for (const [path, content] of files) writeNew(join(folder, path), content, made)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    const left = made.toReversed().filter((path) => !isRemoved(path))
    const rest = left.length ? `${left.join(', ')} could not be removed` : 'nothing of it was left behind'
    throw new CliError(`The app could not be written (${why}), and ${rest}.`, 1)
  }
}

function makeFolder(path: string, made: string[]) {
  if (existsSync(path)) return
  makeFolder(dirname(path), made)
  mkdirSync(path)
  made.push(path)
}

/** Never over a file that is there. */
function writeNew(path: string, content: string | Uint8Array, made: string[]) {
  makeFolder(dirname(path), made)
  const file = openSync(path, 'wx')
  made.push(path)
  try {
    writeFileSync(file, content)
  } finally {
    closeSync(file)
  }
}

function isRemoved(path: string): boolean {
  try {
    if (lstatSync(path).isDirectory()) rmdirSync(path)
    else unlinkSync(path)
    return true
  } catch {
    return false
  }
}
