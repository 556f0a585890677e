import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, matchesGlob } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Stryker } from '@stryker-mutator/core'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const config = JSON.parse(readFileSync(join(ROOT, 'stryker.config.json'), 'utf8'))

/** One mutant, and how it ended. */
export type Result = Awaited<ReturnType<Stryker['runMutationTest']>>[number]

/** The tests of the room, or all that vitest.mutation.config.ts allows. */
export type Pass = 'own' | 'all'

interface OfFile {
  /** The digest of the code that was mutated. */
  readonly key: string
  results: readonly Result[]
}

/**
 * The results of a room, kept in `reports/mutation`: a run that was stopped goes on where it was,
 * and only a file whose code has changed is mutated again, since more tests detect no less. A
 * survivor is tried again as soon as any code or test has changed.
 */
export class KeptResults {
  readonly #path: string
  readonly #files: Record<string, OfFile>
  /** By pass and survivor, the code and tests that it has passed. */
  readonly #tried: Record<string, string>
  readonly #everything = digest(allFiles('src'))

  constructor(room: string) {
    this.#path = join(ROOT, 'reports/mutation', `${room}.json`)
    const kept = existsSync(this.#path) ? JSON.parse(readFileSync(this.#path, 'utf8')) : { files: {}, tried: {} }
    const now = filesOf(room)
    this.#files = Object.fromEntries(Object.entries<OfFile>(kept.files).filter(([file]) => now.includes(file)))
    this.#tried = kept.tried
  }

  get results(): readonly Result[] {
    return Object.values(this.#files).flatMap(({ results }) => results)
  }

  isOld(file: string): boolean {
    return this.#files[file]?.key !== digest([file])
  }

  /** Survivors that have not been tried in this pass, or before code or tests changed. */
  untried(pass: Pass): readonly Result[] {
    return this.results.filter(
      (result) => isSurvivor(result) && this.#tried[triedName(pass, result)] !== this.#everything,
    )
  }

  record(files: readonly string[], results: readonly Result[]) {
    for (const file of files) {
      this.#files[file] = { key: digest([file]), results: results.filter((result) => fileOf(result) === file) }
    }
    this.#save()
  }

  recordAgain(pass: Pass, tried: readonly Result[], results: readonly Result[]) {
    const again = new Map(results.map((result) => [identityOf(result), result]))
    const missed = tried.find((result) => !again.has(identityOf(result)))
    if (missed) throw new Error(`Stryker did not make this change again: ${identityOf(missed)}`)
    for (const result of tried) this.#tried[triedName(pass, result)] = this.#everything
    const names = new Set(tried.map(identityOf))
    for (const file of Object.values(this.#files)) {
      file.results = file.results.map(
        (result) => (names.has(identityOf(result)) && again.get(identityOf(result))) || result,
      )
    }
    this.#save()
  }

  #save() {
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(this.#path, JSON.stringify({ files: this.#files, tried: this.#tried }))
  }
}

/** The files of a room that stryker.config.json lets be mutated. */
export function filesOf(room: string): readonly string[] {
  const folders = room === 'adapters' ? ['src/adapters', 'src/adapters/websocket'] : [`src/${room}`]
  const files = folders.flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`))
  return files.filter((file) => file.endsWith('.ts') && config.mutate.some((glob: string) => matchesGlob(file, glob)))
}

function allFiles(folder: string): readonly string[] {
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
  return names
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`)
    .sort()
}

function digest(files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) hash.update(file).update(readFileSync(join(ROOT, file)))
  return hash.digest('hex')
}

export function isSurvivor({ status }: Result): boolean {
  return status === 'Survived' || status === 'NoCoverage'
}

export function fileOf({ fileName }: Result): string {
  return fileName.replace(/^.*?(?=src\/)/, '')
}

/** As Stryker takes it: columns count from 0. Those of its results count from 1. */
export function placeOf(result: Result): string {
  const { start, end } = result.location
  return `${fileOf(result)}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`
}

function identityOf(result: Result): string {
  return `${placeOf(result)} ${result.mutatorName} ${result.replacement}`
}

function triedName(pass: Pass, result: Result): string {
  return `${pass} ${identityOf(result)}`
}
