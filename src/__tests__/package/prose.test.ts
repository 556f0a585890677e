import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { WIDTH, wideComments } from '../../../tools/docs/wrapComments'

// What no compiler reads: the links of the pages, and the width of what is written for people.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
/** Generated from the machine. */
const GENERATED = ['docs/states.md']
const LINK = /\[[^\]]*\]\(([^()\s]+)\)|<(?:img|a)\b[^>]*\b(?:src|href)="([^"]+)"/g

const texts = new Map(
  ts.sys
    .readDirectory(ROOT, ['.md'], ['**/node_modules', 'dist', 'reports'], ['*.md', 'docs', 'examples', 'tools'])
    .map((path) => [relative(ROOT, path), readFileSync(path, 'utf8')]),
)

test('every link of a page leads to a file of the project, and every #anchor to a heading', () => {
  const links = [...texts].flatMap(([page, text]) =>
    Array.from(withoutCode(text).matchAll(LINK), ([, markdown, html]) => [page, markdown ?? html ?? ''] as const),
  )
  const local = links.filter(([, link]) => !/^([a-z]+:|\/\/)/i.test(link))
  expect(local.length).toBeGreaterThan(100)
  expect(local.filter(([page, link]) => !leadsSomewhere(page, link)).map((pair) => pair.join(' points to '))).toEqual(
    [],
  )
})

test(`prose wraps at ${WIDTH} columns; tables, code and links, which cannot, may be longer`, () => {
  const long = [...texts]
    .filter(([page]) => !GENERATED.includes(page))
    .flatMap(([page, text]) =>
      blankedCode(text)
        .split('\n')
        .map((line, index) => ({ line, where: `${page}:${index + 1}` }))
        .filter(({ line }) => line.length > WIDTH && !/^\s*\||^!\[/.test(line) && / /.test(line.slice(0, WIDTH).trim()))
        .map(({ line, where }) => `${where} has ${line.length}: ${line.slice(0, 60)}…`),
    )
  expect(long).toEqual([])
})

test(`comments wrap at ${WIDTH} columns: run npx tsx tools/docs/wrap.ts <files>`, () => {
  const wide = sources().flatMap((path) =>
    wideComments(readFileSync(join(ROOT, path), 'utf8')).map((line) => `${path}:${line}`),
  )
  expect(wide).toEqual([])
})

function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', anchor] = decodeURI(link).split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(ROOT, target))) return false
  return anchor === undefined || anchorsOf(target).includes(anchor)
}

/** As GitHub makes them of headings, and those that stand in the text. */
function anchorsOf(page: string): readonly string[] {
  const seen = new Map<string, number>()
  const named = Array.from((texts.get(page) ?? '').matchAll(/<a id="(\w+)">/g), ([, id = '']) => id)
  const headings = Array.from(blankedCode(texts.get(page) ?? '').matchAll(/^#+ +(.*)$/gm), ([, heading = '']) => {
    const slug = heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
    const times = seen.get(slug) ?? 0
    seen.set(slug, times + 1)
    return times === 0 ? slug : `${slug}-${times}`
  })
  return [...headings, ...named]
}

/** Blocks of code keep their lines, so that those behind them keep their numbers. */
function blankedCode(markdown: string): string {
  return markdown.replace(/^ *```[\s\S]*?^ *```/gm, (block) => block.replace(/[^\n]/g, ''))
}

/** A link in code is none. */
const withoutCode = (markdown: string) => blankedCode(markdown).replace(/`[^`\n]*`/g, '')

function sources(): readonly string[] {
  return ts.sys
    .readDirectory(
      ROOT,
      ['.ts', '.tsx'],
      ['**/node_modules', 'dist', 'reports'],
      ['*.ts', 'src', 'demo', 'examples', 'tools'],
    )
    .map((path) => relative(ROOT, path))
}
