import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const examples = fileURLToPath(new URL('..', import.meta.url))
const isSource = (path: string) => /\.tsx?$/.test(path) && !/\.test\./.test(path)

test.each([
  ['recipes.md', 20],
  ['history.md', 7],
  ['uploads.md', 2],
])('every paragraph of code in docs/%s, but its imports, stands in an example', (name, least) => {
  const doc = readFileSync(`${examples}../docs/${name}`, 'utf8')
  const sources = readdirSync(examples, { recursive: true, encoding: 'utf8' })
    .filter(isSource)
    .map((path) => readFileSync(examples + path, 'utf8'))
  const paragraphs = [...doc.matchAll(/```tsx?\n([\s\S]*?)```/g)]
    .flatMap(([, code = '']) => code.replace(/^import [\s\S]*?from '.*'\n/gm, '').split(/\n{2,}/))
    .map((paragraph) => paragraph.trim())
    .filter((paragraph) => paragraph !== '')
  expect(paragraphs.length).toBeGreaterThan(least)
  expect(paragraphs.filter((paragraph) => !sources.some((source) => source.includes(paragraph)))).toEqual([])
})
