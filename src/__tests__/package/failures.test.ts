import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../..', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

/** Installed, built, or not the project's. */
const isForeign = (path: string) => /(^|\/)(node_modules|dist|\.\w+)(\/|$)/.test(path)
function filesIn(folder: string): readonly string[] {
  return readdirSync(new URL(folder, root), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`
    if (isForeign(path)) return []
    return entry.isDirectory() ? filesIn(`${path}/`) : [path]
  })
}
const FILES = filesIn('./').map((path) => path.slice(2))

const NUMBER = /\bC(\d{2,3})\b/g
const numbersIn = (text: string) => new Set(Array.from(text.matchAll(NUMBER), ([number]) => number))

/** Where a number in a title, or in the place of one, leads to the catalogue. */
const isTest = (path: string) =>
  /\.test\.tsx?$/.test(path) ||
  /^src\/testing\/contract\b/.test(path) ||
  /\/(planted|attacks|traps)\b.*\.ts$/.test(path)
const tests = FILES.filter(isTest).map((path) => ({ path, numbers: numbersIn(read(path)) }))

/** `### <a id="c07"></a>C07: title`, what goes wrong, what prevents it, and `Tests: …`. */
interface Entry {
  readonly anchor: string
  readonly number: string
  readonly paragraphs: readonly string[]
  /** Empty for a failure that no test shows. */
  readonly tests: readonly string[]
}
const HEADING = /^### <a id="(.*)"><\/a>(C\d+): \S.*$/
const document = read('docs/internals/failures.md')
const entries = document.split(/^(?=##)/m).flatMap((section): Entry[] => {
  const [heading = '', ...paragraphs] = section.trim().split(/\n\n+/)
  const [, anchor, number] = HEADING.exec(heading) ?? []
  if (anchor === undefined || number === undefined) return []
  const names = /^Tests: (.*)\.$/s.exec(paragraphs.at(-1) ?? '')?.[1] ?? ''
  return [{ anchor, number, paragraphs, tests: namesIn(names) }]
})

function namesIn(text: string): readonly string[] {
  return Array.from(text.matchAll(/`([^`]+)`/g), ([, name = '']) => name)
}

/**
 * A file by its path or the end of it, or all files of a folder; a test without a folder of its own
 * is one of ours.
 */
function filesOf(name: string): readonly string[] {
  return FILES.filter((path) => {
    const [, rest] = `/${path}`.split(`/${name}`, 2)
    const isOther = /\.test\.tsx?$/.test(name) && !/^(src|demo|examples|tools)\//.test(name) && !path.startsWith('src/')
    return rest !== undefined && /^($|\.|\/)/.test(rest) && !isOther
  })
}

test('each number in the title of a test has an entry in docs/internals/failures.md', () => {
  const known = new Set(entries.map(({ number }) => number))
  const missing = tests.flatMap(({ path, numbers }) =>
    [...numbers].filter((number) => !known.has(number)).map((number) => `${number} in ${path}`),
  )
  expect(missing).toEqual([])
})

test('no entry is missing between the first and the last, none is there twice, and each has its anchor', () => {
  const numbers = entries.map(({ number }) => Number(number.slice(1))).sort((a, b) => a - b)
  expect(numbers).toEqual(Array.from({ length: Math.max(...numbers) }, (_, index) => index + 1))
  expect(numbers.length).toBeGreaterThan(100)
  for (const { anchor, number } of entries) expect(anchor).toBe(number.toLowerCase())
})

test('each entry says what goes wrong, what holdline does, and which tests show it: files that name its number', () => {
  const faults = entries.flatMap(({ number, paragraphs, tests: names }) => [
    ...(paragraphs.length === 3 ? [] : [`${number} has ${paragraphs.length} paragraphs, not 3`]),
    ...names.flatMap((name) => {
      const files = filesOf(name)
      const isNamed = files.some((path) => numbersIn(read(path)).has(number))
      return isNamed ? [] : [`${number}: ${name} ${files.length ? 'does not name it' : 'does not exist'}`]
    }),
  ])
  expect(faults).toEqual([])
})

test('an entry without a test says none, and no title has its number: a failure that is not prevented', () => {
  const open = entries.filter(({ tests: names }) => !names.length)
  for (const { number, paragraphs } of open) {
    expect(paragraphs.at(-1)).toBe('Tests: none.')
    expect(paragraphs.at(1)).toMatch(/^Not prevented\./)
    expect(tests.filter(({ numbers }) => numbers.has(number)).map(({ path }) => path)).toEqual([])
  }
})

test('each file that the catalogue names is there', () => {
  const names = namesIn(document).filter((name) => /\.(tsx?|mjs|md|json)$/.test(name))
  expect(names.filter((name) => !filesOf(name).length)).toEqual([])
})
