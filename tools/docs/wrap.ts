import { readFileSync, writeFileSync } from 'node:fs'
import { wrapComments } from './wrapComments'

// npx tsx tools/docs/wrap.ts <files>: wraps comments that are too wide, in pages those of their
// examples.

for (const path of process.argv.slice(2)) {
  const text = readFileSync(path, 'utf8')
  const wrapped = path.endsWith('.md')
    ? text.replace(/(```tsx?\n)([\s\S]*?)(```)/g, (_, begin, code, end) => begin + wrapComments(code) + end)
    : wrapComments(text)
  if (wrapped !== text) writeFileSync(path, wrapped)
}
