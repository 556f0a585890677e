import { readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

// The direction of the imports. A row of the table is a room, and names the rooms that its files
// may import from, types included.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const SRC = fileURLToPath(new URL('../..', import.meta.url))
/**
 * Files of `connection/` that wire the other rooms; the rest of it is what those rooms are told:
 * types, options, the notifier.
 */
const WIRING = ['actors', 'farewell', 'line', 'publicConnection', 'reminder', 'resume', 'stream', 'watch', 'whenOpen']
const LEAVES = ['environment', 'errors', 'protocol']
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  environment: [],
  errors: [],
  protocol: ['errors'],
  machine: ['errors', 'protocol'],
  connection: [...LEAVES, 'machine', 'adapters', 'trace'],
  trace: [...LEAVES, 'machine'],
  adapters: [...LEAVES, 'connection'],
  storage: [...LEAVES, 'connection', 'adapters'],
  inbox: [...LEAVES, 'connection'],
  outbox: [...LEAVES, 'connection', 'machine', 'adapters'],
  wiring: [...LEAVES, 'connection', 'machine', 'adapters', 'inbox', 'outbox', 'trace'],
  createConnection: [...LEAVES, 'connection', 'wiring', 'adapters', 'inbox', 'outbox', 'trace'],
  index: [...LEAVES, 'connection', 'createConnection', 'machine', 'adapters', 'trace'],
  compat: [...LEAVES, 'connection', 'wiring', 'adapters', 'createConnection'],
  inspect: [...LEAVES, 'machine', 'trace', 'tabs'],
  threads: [...LEAVES, 'connection'],
  'ag-ui': [...LEAVES, 'connection', 'server', 'threads'],
  sessions: [...LEAVES, 'connection', 'wiring', 'createConnection'],
  react: [...LEAVES, 'connection', 'sessions'],
  vue: [...LEAVES, 'connection', 'sessions'],
  tabs: [...LEAVES, 'connection', 'wiring', 'machine', 'adapters', 'createConnection'],
  server: ['protocol'],
  'ai-sdk': [...LEAVES, 'connection', 'threads'],
  'ai-sdk/server': ['protocol', 'ai-sdk', 'server', 'threads'],
  cli: [...LEAVES, 'connection', 'createConnection', 'testing', 'trace'],
  testing: [...LEAVES, 'connection', 'machine', 'adapters', 'createConnection', 'server'],
}
/** A message, its lane and its flight know each other. */
const KNOWN_CIRCLES = ['outbox/flight.ts → outbox/lane.ts → outbox/message.ts']

interface Import {
  readonly from: string
  readonly to: string
  readonly line: string
}

const isOfTests = (path: string) => path.split('/').includes('__tests__')

const imports = readImports(SRC, ['**/*.ts']).filter(({ from }) => !isOfTests(from))

test('every import goes the way that the table allows', () => {
  const wrong = imports
    .filter(({ from, to }) => roomOf(from) !== roomOf(to) && !MAY_IMPORT[roomOf(from)]?.includes(roomOf(to)))
    .map(({ from, to, line }) => `${from} (${roomOf(from)}) must not import from ${roomOf(to)}: ${line}`)
  expect(wrong).toEqual([])
})

test('every room of the table is there, and every row is needed', () => {
  const used = new Map<string, Set<string>>()
  for (const { from, to } of imports) {
    const rooms = used.get(roomOf(from)) ?? new Set()
    used.set(roomOf(from), rooms.add(roomOf(to)))
  }
  for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
    const idle = allowed.filter((other) => !LEAVES.includes(other) && !used.get(room)?.has(other))
    expect([room, idle]).toEqual([room, []])
  }
})

test('no files import each other in a circle, types included', () => {
  expect(circles()).toEqual(KNOWN_CIRCLES)
})

test('only tests import from `__tests__`; what they share with the tools is in tools/shared', () => {
  const all = readImports(ROOT, ['src', 'demo', 'tools', 'examples'])
  const wrong = all
    .filter(({ from, to }) => isOfTests(to) && !isOfTests(from) && !/^examples\/.*\.test\.tsx?$/.test(from))
    .map(({ from, line }) => `${from} must not import a test's insides: ${line}`)
  expect(wrong).toEqual([])
})

function roomOf(file: string): string {
  const [room = '', ...rest] = file.replace(/\.ts$/, '').split('/')
  if (room === 'ai-sdk' && rest[0] === 'server') return 'ai-sdk/server'
  return room === 'connection' && WIRING.includes(rest.join('/')) ? 'wiring' : room
}

function readImports(base: string, include: readonly string[]): readonly Import[] {
  const { fileNames } = ts.parseJsonConfigFileContent(
    { include, exclude: ['**/node_modules', '**/dist'] },
    ts.sys,
    base,
  )
  return fileNames.flatMap((path) => {
    const text = readFileSync(path, 'utf8')
    return ts.preProcessFile(text).importedFiles.flatMap(({ fileName, pos }) => {
      const target = fileName.startsWith('.') ? resolveFile(resolve(dirname(path), fileName)) : undefined
      const line = `line ${text.slice(0, pos).split('\n').length}, '${fileName}'`
      return target ? [{ from: relative(base, path), to: relative(base, target), line }] : []
    })
  })
}

function resolveFile(path: string): string {
  const found = [path, ...['.ts', '.tsx', '/index.ts'].map((end) => path + end)].find(ts.sys.fileExists)
  if (!found) throw new Error(`${path} is no file`)
  return found
}

/** The strongly connected components with more than one file, each sorted (Tarjan). */
function circles(): readonly string[] {
  const found: string[] = []
  const order = new Map<string, number>()
  const stack: string[] = []
  const visit = (file: string): number => {
    const own = order.size
    order.set(file, own)
    stack.push(file)
    let least = own
    for (const { to } of imports.filter(({ from }) => from === file)) {
      if (!order.has(to)) least = Math.min(least, visit(to))
      else if (stack.includes(to)) least = Math.min(least, order.get(to) ?? least)
    }
    if (least === own) {
      const component = stack.splice(stack.indexOf(file))
      if (component.length > 1) found.push(component.toSorted().join(' → '))
    }
    return least
  }
  for (const { from } of imports) if (!order.has(from)) visit(from)
  return found
}
