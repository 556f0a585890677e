import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

// A function fits a screen. Classes are counted by their methods; callbacks of tests are not
// counted.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const MOST = 60

/** Functions that are longer, and why. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'src/compat/createChatConnection.ts createChatConnection':
    'one object that answers each member of the old interface, around one connection and one listener',
}

interface Long {
  readonly file: string
  readonly name: string
  readonly line: number
  readonly length: number
}

const long = filesOf(['src', 'tools', 'demo']).flatMap(longFunctions)
const keyOf = ({ file, name }: Long) => `${file} ${name}`

test(`no function has more than ${MOST} lines`, () => {
  const wrong = long
    .filter((one) => !Object.hasOwn(EXCEPTIONS, keyOf(one)))
    .map(({ file, line, name, length }) => `${file}:${line} ${name} has ${length} lines`)
  expect(wrong).toEqual([])
})

test('every exception is still needed', () => {
  const found = new Set(long.map(keyOf))
  expect(Object.keys(EXCEPTIONS).filter((key) => !found.has(key))).toEqual([])
})

function filesOf(include: readonly string[]): readonly string[] {
  const config = { compilerOptions: { allowJs: true }, include, exclude: ['**/node_modules', '**/dist'] }
  return ts
    .parseJsonConfigFileContent(config, ts.sys, ROOT)
    .fileNames.filter((path) => !/\/__tests__\/|\.test\.tsx?$/.test(path))
}

function longFunctions(path: string): readonly Long[] {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1
  const found: Long[] = []
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const line = lineAt(node.getStart())
      const length = lineAt(node.end) - line + 1
      if (length > MOST) found.push({ file: relative(ROOT, path), name: nameOf(node), line, length })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Its own, or that of what it is assigned to. */
function nameOf(node: ts.SignatureDeclaration): string {
  const { parent } = node
  const isNamed = ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)
  return (node.name ?? (isNamed ? parent.name : undefined))?.getText() ?? 'a function without a name'
}
