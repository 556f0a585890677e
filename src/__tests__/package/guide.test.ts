import { readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

// docs/guide.md builds examples/app: its code is that of the app, and no file of it is left out.

const root = fileURLToPath(new URL('../../..', import.meta.url))
const app = `${root}examples/app/`
const guide = readFileSync(`${root}docs/guide.md`, 'utf8')
/** Where the code of a block stands, and the code. The configuration of nginx is in the README. */
const blocks = Array.from(
  guide.matchAll(/```(tsx?|nginx)\n(?:\/\/ (.*)\n)?([\s\S]*?)```/g),
  ([, , path, code = '']) => ({
    path: path ?? 'README.md',
    code,
  }),
)

/** Without its indentation: code from inside of a function has none in the guide. */
const lines = (text: string) => `\n${text.trim().replace(/^ +/gm, '')}\n`

test('every paragraph of code in docs/guide.md stands in the file of examples/app that it names, in this order', () => {
  expect(blocks.length).toBeGreaterThan(20)
  const strange = blocks.flatMap(({ path, code }) => {
    const source = lines(readFileSync(app + path, 'utf8'))
    let from = 0
    return code.split(/\n{2,}/).flatMap((paragraph) => {
      const at = source.indexOf(lines(paragraph), from)
      if (at < 0) return [`${path}: ${paragraph}`]
      from = at + 1
      return []
    })
  })
  expect(strange).toEqual([])
})

test('docs/guide.md names each file of the app', () => {
  const files = ['client/', 'server/', 'shared/', 'test/'].flatMap((folder) =>
    readdirSync(app + folder, { recursive: true, encoding: 'utf8' })
      .map((name) => folder + name)
      .filter((path) => statSync(app + path).isFile()),
  )
  expect(files.length).toBeGreaterThan(20)
  expect(files.filter((path) => !guide.includes(path))).toEqual([])
})

test('docs/first-app.md is all of examples/page', () => {
  const page = readFileSync(`${root}docs/first-app.md`, 'utf8')
  const shown = page.matchAll(/```(?:tsx?|vue)\n(?:\/\/|<!--) (\S+)(?: -->)?\n([\s\S]*?)```/g)
  const files = Object.fromEntries(Array.from(shown, ([, path, code]) => [path, code]))
  const paths = readdirSync(`${root}examples/page`, { recursive: true, encoding: 'utf8' })
  expect(Object.keys(files).sort()).toEqual(paths.filter((path) => /\.(ts|tsx|vue)$/.test(path)).sort())
  for (const [path, code] of Object.entries(files))
    expect(code).toBe(readFileSync(`${root}examples/page/${path}`, 'utf8'))
})
